//! Which files belong to a source.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use walkdir::WalkDir;

use crate::model::Source;
use crate::packed::SUFFIXES;

/// One log and its rotated siblings: what was written under one name, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The live file's path, whether or not it exists now.
    pub path: PathBuf,
    /// The files, oldest first, the live one last.
    pub files: Vec<LogFile>,
}

/// One file of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The folder that the configuration names, without wildcards.
    pub folder: PathBuf,
    /// Where it is.
    pub path: PathBuf,
    /// Whether its name says that it was rotated away, so that nothing is added to it any more.
    pub rotated: bool,
}

/// How a rotated name orders among its siblings, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rotation {
    /// `NAME-20261120` or `NAME-20261120.gz`.
    Dated(String),
    /// `NAME.2` or `NAME.2.gz`; the higher the older.
    Numbered(Reverse<u32>),
    /// The live file.
    Live,
}

/// The streams of a source, by path, and what could not be looked at.
pub fn streams(source: &Source) -> (Vec<Stream>, Vec<String>) {
    let mut found: BTreeMap<PathBuf, Vec<(Rotation, PathBuf, PathBuf)>> = BTreeMap::new();
    let mut problems = Vec::new();
    for pattern in &source.files {
        // A pattern that isn't one was refused when the configuration was read.
        let Ok(glob) = GlobBuilder::new(pattern).literal_separator(true).build() else { continue };
        let matcher = glob.compile_matcher();
        let (folder, depth) = literal_folder(pattern);
        let is_read =
            |entry: &walkdir::DirEntry| entry.depth() == 0 || !is_hidden(entry.path()) || names_hidden(pattern);
        for entry in WalkDir::new(&folder).max_depth(depth).sort_by_file_name().into_iter().filter_entry(is_read) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound) => continue,
                Err(error) => {
                    problems.push(format!("can't look into {error}"));
                    continue;
                }
            };
            if entry.path_is_symlink() && matcher.is_match(entry.path()) && entry.path().is_file() {
                problems
                    .push(format!("{} is a link and is not read; name the file it points to", entry.path().display()));
            }
            if entry.path_is_symlink() && leads_to_other_logs(&entry, &folder, depth - entry.depth(), &matcher) {
                problems.push(format!(
                    "{} is a link and is not looked into; name the folder it points to",
                    entry.path().display()
                ));
            }
            if !entry.file_type().is_file() {
                continue;
            }
            let Some(name) = entry.file_name().to_str() else {
                if matcher.is_match(entry.path()) {
                    problems.push(format!(
                        "{} is not read because its name is no UTF-8; rename it",
                        entry.path().display()
                    ));
                }
                continue;
            };
            let (base, rotation) = rotation_of(name);
            let base = entry.path().with_file_name(base);
            // A name such as "app.8080" looks rotated, but is the live file where the pattern says so itself.
            let own = !matcher.is_match(&base);
            let (live, rotation) = if own { (entry.path().to_owned(), Rotation::Live) } else { (base, rotation) };
            if matcher.is_match(&live) {
                let files = found.entry(live).or_default();
                if !files.iter().any(|(_, path, _)| path == entry.path()) {
                    files.push((rotation, entry.into_path(), folder.clone()));
                }
            }
        }
    }
    let streams = found.into_iter().map(|(path, mut files)| {
        files.sort();
        let files = files.into_iter().map(|(rotation, path, folder)| LogFile {
            folder,
            path,
            rotated: rotation != Rotation::Live,
        });
        Stream { path, files: files.collect() }
    });
    (streams.collect(), problems)
}

/// Whether a link leads out of the folder that is looked into, to a folder with logs that the pattern names.
fn leads_to_other_logs(link: &walkdir::DirEntry, folder: &Path, depth: usize, pattern: &GlobMatcher) -> bool {
    let Ok(target) = link.path().canonicalize() else { return false };
    let is_inside = folder.canonicalize().is_ok_and(|folder| target.starts_with(folder));
    let mut inside = WalkDir::new(link.path()).max_depth(depth).into_iter().filter_map(Result::ok);
    target.is_dir() && !is_inside && inside.any(|entry| entry.file_type().is_file() && pattern.is_match(entry.path()))
}

/// Where the systemd journal is, on the disk or in memory.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// The folders in which a source's logs are: one that is watched tells when a log grows. Of one that doesn't exist the nearest above it that
/// does: it tells when that one is made.
pub fn folders(source: &Source) -> Vec<PathBuf> {
    let nearest = |(folder, depth): (PathBuf, usize)| match folder.ancestors().find(|above| above.is_dir()) {
        Some(above) if above != folder => (above.to_owned(), 1),
        _ => (folder, depth),
    };
    let patterns = source.files.iter().map(|pattern| nearest(literal_folder(pattern)));
    let journals = journal_folders(source).into_iter().map(|folder| (folder, 2));
    let inside = |(folder, depth): (PathBuf, usize)| {
        let entries = WalkDir::new(folder).max_depth(depth.saturating_sub(1)).into_iter().filter_map(Result::ok);
        // The first may be a link to a folder elsewhere.
        let is_folder =
            |entry: &walkdir::DirEntry| entry.file_type().is_dir() || entry.depth() == 0 && entry.path().is_dir();
        entries.filter(is_folder).map(walkdir::DirEntry::into_path)
    };
    let mut folders: Vec<PathBuf> = patterns.chain(journals).flat_map(inside).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// The files of a source, the journal's included where that is read.
pub fn files(source: &Source) -> Vec<PathBuf> {
    let logs = streams(source).0.into_iter().flat_map(|stream| stream.files).map(|file| file.path);
    let journals = journal_folders(source).into_iter().flat_map(|folder| {
        let entries = WalkDir::new(folder).max_depth(2).into_iter().filter_map(Result::ok);
        entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path)
    });
    logs.chain(journals).collect()
}

/// Tells logs of sources from other files by their paths.
pub struct Patterns {
    /// Each with whether it names hidden files.
    files: Vec<(GlobMatcher, bool)>,
    journals: Vec<PathBuf>,
}

impl Patterns {
    /// For these sources.
    pub fn new(sources: &[Source]) -> Self {
        let patterns = sources.iter().flat_map(|source| &source.files);
        // A pattern that isn't one was refused when the configuration was read.
        let globs = patterns.filter_map(|pattern| {
            Some((
                GlobBuilder::new(pattern).literal_separator(true).build().ok()?.compile_matcher(),
                names_hidden(pattern),
            ))
        });
        let journals = sources.iter().flat_map(journal_folders).collect();
        Self { files: globs.collect(), journals }
    }

    /// Whether a file of that path could be such a log, live or rotated.
    pub fn may_hold(&self, path: &Path) -> bool {
        let base = path.file_name().and_then(|name| name.to_str()).map(|name| path.with_file_name(rotation_of(name).0));
        let fits = |(glob, names_hidden): &(GlobMatcher, bool)| {
            (*names_hidden || !is_hidden(path))
                && (glob.is_match(path) || base.as_ref().is_some_and(|base| glob.is_match(base)))
        };
        self.files.iter().any(fits) || self.journals.iter().any(|folder| path.starts_with(folder))
    }
}

/// The folders of the journal, where it is read because no file of the source exists.
fn journal_folders(source: &Source) -> Vec<PathBuf> {
    match &source.journal_folder {
        _ if source.journal.is_empty() || !streams(source).0.is_empty() => Vec::new(),
        Some(folder) => vec![folder.clone()],
        None => JOURNALS.map(PathBuf::from).to_vec(),
    }
}

/// Whether a file's name begins with a dot, as that of one which is still being copied: a pattern has to say so that it means such.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a pattern does.
fn names_hidden(pattern: &str) -> bool {
    let wild = Path::new(pattern).components().skip(literal_folder(pattern).0.components().count());
    wild.map(|part| part.as_os_str().to_string_lossy().into_owned())
        .any(|part| part.starts_with('.') || ["{.", ",.", "[."].iter().any(|start| part.contains(start)))
}

/// Splits a file name into the live file's name and how it was rotated.
///
/// ```
/// use logkeeper::logs::rotation_of;
/// assert_eq!(rotation_of("access.log.2.gz").0, "access.log");
/// assert_eq!(rotation_of("access.log-20261120.zst").0, "access.log");
/// assert_eq!(rotation_of("access.log-2026-11-20.gz").0, "access.log");
/// assert_eq!(rotation_of("access.log.2026-11-20.gz").0, "access.log");
/// assert_eq!(rotation_of("access.log-20261120-143000").0, "access.log");
/// assert_eq!(rotation_of("access.log-2026-11-20T14:30:00.gz").0, "access.log");
/// assert_eq!(rotation_of("access-20261120.log").0, "access-20261120.log");
/// assert_eq!(rotation_of("access.log").0, "access.log");
/// ```
pub fn rotation_of(name: &str) -> (&str, Rotation) {
    let plain = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let digits = |text: &str, range: std::ops::RangeInclusive<usize>| {
        range.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    if let Some((base, number)) = plain.rsplit_once('.')
        && digits(number, 1..=4)
        && let Ok(number) = number.parse()
    {
        return (base, Rotation::Numbered(Reverse(number)));
    }
    let dated = plain.match_indices(['-', '.']).filter(|(at, _)| *at > 0);
    let mut dated = dated.filter_map(|(at, _)| Some((&plain[..at], Rotation::Dated(date(&plain[at + 1..])?))));
    if let Some(found) = dated.next() {
        return found;
    }
    if plain.len() < name.len() {
        return (plain, Rotation::Dated(String::new()));
    }
    (name, Rotation::Live)
}

/// A higher number is none of a rotation but, say, a port.
const MOST_ROTATED: u32 = 1000;

/// Which of these files hold one log, each log's oldest first: rotated ones by their names, numbered ones only beside the live file, because
/// `app.8080` and `app.8081` are two logs. Logs come in the order of their first file.
pub fn logs(paths: &[PathBuf]) -> Vec<Vec<&Path>> {
    let (mut logs, mut places) = (Vec::<Vec<(Rotation, &Path)>>::new(), BTreeMap::new());
    for path in paths {
        let (base, rotation) = path.file_name().and_then(OsStr::to_str).map_or(("", Rotation::Live), rotation_of);
        let live = path.with_file_name(base);
        let (live, rotation) = match rotation {
            Rotation::Dated(_) => (live, rotation),
            Rotation::Numbered(Reverse(..MOST_ROTATED)) if live.is_file() => (live, rotation),
            _ => (path.clone(), Rotation::Live),
        };
        let place = *places.entry(live).or_insert(logs.len());
        if place == logs.len() {
            logs.push(Vec::new());
        }
        logs[place].push((rotation, path));
    }
    logs.iter_mut().for_each(|files| files.sort());
    logs.into_iter().map(|files| files.into_iter().map(|(_, path)| path).collect()).collect()
}

/// The digits of a date, as `20261120`, `2026-11-20`, `2026112014` or seconds since 1970, and of a time of day behind it, as `-14`, `_1430`,
/// `T14:30:00` or seconds since 1970. Names with a date alone come before those of the same day with a time.
fn date(text: &str) -> Option<String> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let is_iso = |date: &str| {
        date.bytes()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
    };
    let (date, time) = match text.split_at_checked(10).filter(|(date, _)| is_iso(date)) {
        Some(parts) => parts,
        None => text.split_at_checked(end).filter(|(date, _)| (8..=10).contains(&date.len()))?,
    };
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).map(char::from).collect::<String>();
    let time_digits = digits(time);
    let is_below = |at: usize, limit: u32| {
        time_digits.get(at..at + 2).is_none_or(|two| two.parse::<u32>().is_ok_and(|number| number < limit))
    };
    let is_of_day = matches!(time_digits.len(), 2 | 4 | 6) && is_below(0, 24) && is_below(2, 60) && is_below(4, 60);
    let is_time = time.starts_with(['-', '_', '.', 'T'])
        && time[1..].bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b':'))
        && (is_of_day || matches!(time_digits.len(), 9..=10));
    // Of this century, whichever end the year stands at: other numbers may be anybody's.
    let is_date = date.starts_with("20") || date.len() == 10 || date.get(4..6) == Some("20");
    (time.is_empty() || is_time && is_date).then(|| digits(date) + &time_digits)
}

/// The deepest folder of a pattern without wildcards, and how many levels below it the pattern reaches.
fn literal_folder(pattern: &str) -> (PathBuf, usize) {
    let is_wild = |component: &Component<'_>| component.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']);
    let components: Vec<Component<'_>> = Path::new(pattern).components().collect();
    let literal = components.iter().take(components.len().saturating_sub(1)).take_while(|c| !is_wild(c)).count();
    let depth = if pattern.contains("**") { usize::MAX } else { components.len() - literal };
    (components[..literal].iter().collect(), depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pattern: String) -> Source {
        Source { name: "logs".into(), files: vec![pattern], ..Source::default() }
    }

    #[test]
    fn siblings_are_ordered_oldest_first_and_strangers_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "access.log",
            "access.log.1",
            "access.log.10.gz",
            "access.log.2.gz",
            "access.log.bak",
            "error.log",
            "access.log.conf-1",
        ] {
            std::fs::write(folder.path().join(name), "x\n").unwrap();
        }
        let source = source(format!("{}/access.lo*", folder.path().display()));
        let (streams, problems) = streams(&source);
        assert_eq!(problems, Vec::<String>::new());
        let names = |stream: &Stream| {
            stream.files.iter().map(|f| f.path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let access = streams.iter().find(|s| s.path.ends_with("access.log")).unwrap();
        assert_eq!(names(access), ["access.log.10.gz", "access.log.2.gz", "access.log.1", "access.log"]);
    }

    #[test]
    fn a_file_whose_name_is_no_utf8_is_told() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        for name in [&b"caf\xe9.log"[..], b"caf\xe9.txt", "caf\u{e9}.log".as_bytes()] {
            std::fs::write(folder.path().join(OsStr::from_bytes(name)), "x\n").unwrap();
        }
        let (streams, problems) = streams(&source(format!("{}/*.log", folder.path().display())));
        assert_eq!((streams.len(), problems.len()), (1, 1));
        assert!(problems[0].contains("is not read because its name is no UTF-8"), "{problems:?}");
    }

    #[test]
    fn names_with_dates_of_many_kinds_are_of_rotated_logs_and_others_are_not() {
        let dates = "-20261120 .20261120 -20112026 -28112026-080300 -1795165205 .1795165205 -2026112014 -2026-11-20 .2026-11-20 \
                     -20261120-1795165205 -20261120-14 -20261120_14 -20261120-143000 -20261120T1430 -2026-11-20-14 \
                     -2026-11-20_14 -2026-11-20_1430 -2026-11-20T14:30:00 -2026-11-20.14-30-00";
        for (base, date) in ["auth.log", "web-1_a.log", "log2"]
            .into_iter()
            .zip([dates; 3])
            .flat_map(|(base, dates)| dates.split_whitespace().map(move |date| (base, date)))
        {
            for suffix in ["", ".gz", ".zst"] {
                let name = format!("{base}{date}{suffix}");
                let (found, rotation) = rotation_of(&name);
                assert!(found == base && matches!(rotation, Rotation::Dated(_)), "{name}: {found} {rotation:?}");
            }
        }
        for name in [
            "app-2026-11-20.log",
            "app_20261120",
            "app-12345678-01",
            "job-20261128-001",
            "job-20261128-61",
            "u_ex261120.log",
            "app-1234567",
            "app-2026-11-2",
            "app-20261120-x",
            "20261120",
        ] {
            assert_eq!(rotation_of(name), (name, Rotation::Live), "{name}");
        }
        let order = ["a-20261119-235959", "a-20261120", "a-20261120-01", "a-20261120-235959", "a-20261121"];
        assert!(order.is_sorted_by_key(|name| rotation_of(name).1));
    }

    #[test]
    fn a_link_that_leads_to_logs_elsewhere_is_told_and_one_to_what_is_read_anyway_is_not() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        for host in [folder.path().join("web1"), elsewhere.path().join("web2"), elsewhere.path().join("other")] {
            std::fs::create_dir(&host).unwrap();
            std::fs::write(host.join(if host.ends_with("other") { "x" } else { "auth.log" }), "x\n").unwrap();
        }
        link(&folder.path().join("web1"), "again");
        link(&elsewhere.path().join("other"), "other");
        let source = source(format!("{}/*/auth.log", folder.path().display()));
        assert_eq!(streams(&source).1, Vec::<String>::new());
        link(&elsewhere.path().join("web2"), "web2");
        let (streams, problems) = streams(&source);
        assert_eq!(streams.len(), 1);
        assert!(problems.len() == 1 && problems[0].contains("web2 is a link"), "{problems:?}");
    }

    #[test]
    fn a_live_name_that_looks_rotated_is_found() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["app.8080", "app.8080.1"] {
            std::fs::write(folder.path().join(name), "x\n").unwrap();
        }
        let source = source(format!("{}/app.8080", folder.path().display()));
        let (streams, _) = streams(&source);
        assert_eq!(streams.len(), 1);
        let rotated: Vec<bool> = streams[0].files.iter().map(|file| file.rotated).collect();
        assert_eq!(rotated, [true, false]);
    }
}
