//! Keeps the lines of a scan in files of their kinds.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::jobs::scanner::Triaged;
use crate::model::Category;

/// Collects lines in files of their kinds.
pub struct Saver {
    folder: PathBuf,
    date: String,
    /// By what stands before the date in a file's name.
    files: BTreeMap<&'static str, Saved>,
    failed: Option<anyhow::Error>,
}

/// The file of one kind.
struct Saved {
    path: PathBuf,
    file: std::io::BufWriter<std::fs::File>,
    lines: u64,
}

impl Saver {
    /// Files in this folder, first that of the flagged lines.
    ///
    /// # Errors
    /// Says which file can't be made.
    pub fn create(folder: &Path, date: String) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let flagged = Saved::create(folder, "flagged", &date)?;
        let files = BTreeMap::from([("flagged", flagged)]);
        Ok(Self { folder: folder.to_owned(), date, files, failed: None })
    }

    /// Keeps a line; what can't be written is told in the end.
    pub fn save(&mut self, line: &Triaged<'_>) {
        let mut write = |name| self.write(name, line.line);
        let written = write(kind(line)).and_then(|()| if line.flagged { write("flagged") } else { Ok(()) });
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn write(&mut self, name: &'static str, line: &[u8]) -> anyhow::Result<()> {
        if self.failed.is_some() {
            return Ok(());
        }
        if !self.files.contains_key(name) {
            self.files.insert(name, Saved::create(&self.folder, name, &self.date)?);
        }
        self.files.get_mut(name).map_or(Ok(()), |saved| saved.write(line))
    }

    /// The files, with how many lines each has.
    ///
    /// # Errors
    /// Says which file couldn't be written.
    pub fn finish(self) -> anyhow::Result<Vec<(PathBuf, u64)>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let flushed = self.files.into_values().map(|mut saved| {
            saved.file.flush().map_err(|error| unwritten(&saved.path, &error))?;
            Ok((saved.path, saved.lines))
        });
        flushed.collect()
    }
}

impl Saved {
    /// A new file `NAME-DATE.log` (`-2` and so on where there is one already).
    fn create(folder: &Path, name: &str, date: &str) -> anyhow::Result<Self> {
        for n in 1..1000 {
            let name = if n == 1 { format!("{name}-{date}.log") } else { format!("{name}-{date}-{n}.log") };
            let path = folder.join(name);
            match std::fs::File::options().write(true).create_new(true).mode(0o640).open(&path) {
                Ok(file) => return Ok(Self { path, file: std::io::BufWriter::new(file), lines: 0 }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => anyhow::bail!("can't create {}: {error}", path.display()),
            }
        }
        anyhow::bail!("there are 999 files of {date} in {} already", folder.display())
    }

    fn write(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let end: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
        self.lines += 1;
        let written = self.file.write_all(line).and_then(|()| self.file.write_all(end));
        written.map_err(|error| unwritten(&self.path, &error))
    }
}

fn unwritten(path: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("can't write {}: {error}", path.display())
}

fn kind(line: &Triaged<'_>) -> &'static str {
    match (line.category, line.urgent) {
        (Category::Access, false) => "access-standard",
        (Category::Access, true) => "access-urgent",
        (Category::Error, false) => "error-standard",
        (Category::Error, true) => "error-urgent",
        (Category::Auth, false) => "auth-standard",
        (Category::Auth, true) => "auth-urgent",
        (Category::System, false) => "system-standard",
        (Category::System, true) => "system-urgent",
        (Category::Unknown, false) => "unknown-standard",
        (Category::Unknown, true) => "unknown-urgent",
    }
}
