//! The store: a folder in which archives lie by host, source, year and month.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::manifest::{MANIFEST, beside, is_archive_name, manifest_path};
use crate::fs::{remove, replace};

/// What is in a store.
#[derive(Debug, Default)]
pub struct Shelf {
    /// Archives, by path.
    pub archives: Vec<PathBuf>,
    /// Files that an interrupted run has left: unfinished ones, and manifests without an archive.
    pub leftovers: Vec<PathBuf>,
    /// What could not be looked at.
    pub problems: Vec<String>,
}

impl Shelf {
    /// Looks into a store; one that doesn't exist is empty.
    pub fn look(store: &Path) -> Self {
        let mut shelf = Self::default();
        let mut manifests = Vec::new();
        for entry in WalkDir::new(store).max_depth(5).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => continue,
                Err(error) => {
                    shelf.problems.push(format!("can't look into {error}"));
                    continue;
                }
            };
            if !entry.file_type().is_file() || !is_ours(store, entry.path()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            match () {
                () if name.starts_with('.') && name.ends_with(".partial") => shelf.leftovers.push(entry.into_path()),
                () if is_archive_name(&name) => shelf.archives.push(entry.into_path()),
                () if name.ends_with(MANIFEST) => manifests.push(entry.into_path()),
                () => {}
            }
        }
        let with_archive: BTreeSet<PathBuf> = shelf.archives.iter().map(|path| manifest_path(path)).collect();
        shelf.leftovers.extend(manifests.into_iter().filter(|manifest| !with_archive.contains(manifest)));
        shelf
    }

    /// Where the archives of a host's source and month are.
    pub fn folder(store: &Path, host: &str, source: &str, date: &str) -> PathBuf {
        let (year, month) = (date.get(..4).unwrap_or("0000"), date.get(5..7).unwrap_or("00"));
        [store, Path::new(host), Path::new(source), Path::new(year), Path::new(month)].iter().collect()
    }
}

/// Whether a file lies where archives do, and is called as they are: HOST/SOURCE/YYYY/MM/HOST-SOURCE-… Anything else in the store
/// is somebody else's.
fn is_ours(store: &Path, path: &Path) -> bool {
    let names: Option<Vec<&str>> =
        path.strip_prefix(store).ok().and_then(|below| below.iter().map(|name| name.to_str()).collect());
    let Some([host, source, year, month, name]) = names.as_deref() else { return false };
    let is_number = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.strip_prefix('.').unwrap_or(name);
    is_number(year, 4) && is_number(month, 2) && name.starts_with(&format!("{host}-{source}-{year}-{month}-"))
}

/// The file that says that an archive must not be removed, and why.
pub fn hold_path(archive: &Path) -> PathBuf {
    beside(archive, ".hold")
}

/// Why an archive must not be removed; `None` where it may.
///
/// # Errors
/// Fails where that can't be told.
pub fn hold(archive: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(hold_path(archive)) {
        Ok(why) => Ok(Some(why.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Has an archive stay whatever the rules say.
///
/// # Errors
/// Fails where that can't be written beside it.
pub fn add_hold(archive: &Path, why: &str) -> io::Result<()> {
    replace(&hold_path(archive), format!("{}\n", why.trim()).as_bytes())
}

/// Lets the rules decide about an archive again.
///
/// # Errors
/// Fails where its mark can't be removed.
pub fn end_hold(archive: &Path) -> io::Result<()> {
    remove(&hold_path(archive))
}

/// Removes an archive and then its manifest, so that what is left of an interrupted removal is known as a leftover.
///
/// # Errors
/// Fails where they can't be removed.
pub fn remove_archive(archive: &Path) -> io::Result<()> {
    remove(archive)?;
    remove(&manifest_path(archive))
}
