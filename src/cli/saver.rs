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
    /// What follows the kind in the files' names.
    end: String,
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
    /// Files `KIND-DATE.log` in this folder (`-2` and so on where there are some already), first that of the flagged lines.
    ///
    /// # Errors
    /// Says which file can't be made.
    pub fn create(folder: &Path, date: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|error| anyhow::anyhow!("can't create {}: {error}", folder.display()))?;
        let numbers = (1..1000).map(|n| if n == 1 { format!("{date}.log") } else { format!("{date}-{n}.log") });
        let is_free = |end: &String| KINDS.iter().all(|kind| !folder.join(format!("{kind}-{end}")).exists());
        let end = numbers.into_iter().find(is_free).ok_or_else(|| {
            anyhow::anyhow!("there are the files of 999 scans of {date} in {} already", folder.display())
        })?;
        let mut saver = Self { folder: folder.to_owned(), end, files: BTreeMap::new(), failed: None };
        saver.open(FLAGGED)?;
        Ok(saver)
    }

    fn open(&mut self, kind: &'static str) -> anyhow::Result<()> {
        let path = self.folder.join(format!("{kind}-{}", self.end));
        let file = std::fs::File::options().write(true).create_new(true).mode(0o640).open(&path);
        let file = file.map_err(|error| anyhow::anyhow!("can't create {}: {error}", path.display()))?;
        self.files.insert(kind, Saved { path, file: std::io::BufWriter::new(file), lines: 0 });
        Ok(())
    }

    /// Keeps a line; what can't be written is told in the end.
    pub fn save(&mut self, line: &Triaged<'_>) {
        let mut write = |name| self.write(name, line.line);
        let written = write(kind(line)).and_then(|()| if line.flagged { write(FLAGGED) } else { Ok(()) });
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn write(&mut self, name: &'static str, line: &[u8]) -> anyhow::Result<()> {
        if self.failed.is_some() {
            return Ok(());
        }
        if !self.files.contains_key(name) {
            self.open(name)?;
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

/// The kinds of files.
const KINDS: [&str; 11] = [
    FLAGGED,
    "access-standard",
    "access-urgent",
    "error-standard",
    "error-urgent",
    "auth-standard",
    "auth-urgent",
    "system-standard",
    "system-urgent",
    "unknown-standard",
    "unknown-urgent",
];
const FLAGGED: &str = "flagged";

fn kind(line: &Triaged<'_>) -> &'static str {
    let first = match line.category {
        Category::Access => 1,
        Category::Error => 3,
        Category::Auth => 5,
        Category::System => 7,
        Category::Unknown => 9,
    };
    KINDS[first + usize::from(line.urgent)]
}
