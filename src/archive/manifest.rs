//! Manifests: what an archive holds and where, in a file beside it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ArchiveError;
use crate::digest::sha256;
use crate::fs::replace;
use crate::model::ArchiveEntry;
use crate::model::archive::{Codec, MANIFEST_VERSION, SEALED};

/// The most bytes of a manifest that are read: more than that of a TiB.
const MOST: u64 = 256 << 20;

/// A manifest with the digest of its text, so that no flipped digit in it goes unseen.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    sha256: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// What is added to the name of an archive for that of its manifest.
pub const MANIFEST: &str = ".manifest.json";

/// The file beside an archive whose name has something added.
pub fn beside(archive: &Path, added: &str) -> PathBuf {
    let mut path = archive.as_os_str().to_owned();
    path.push(added);
    path.into()
}

/// The manifest that belongs to an archive.
pub fn manifest_path(archive: &Path) -> PathBuf {
    beside(archive, MANIFEST)
}

/// Whether a file's name is that of an archive.
pub fn is_archive_name(name: &str) -> bool {
    let name = name.strip_suffix(SEALED).unwrap_or(name);
    !name.starts_with('.') && [Codec::Gzip, Codec::Zstd].iter().any(|codec| name.ends_with(codec.suffix()))
}

/// Writes the manifest of an archive.
///
/// # Errors
/// Fails where it can't be written.
pub fn write(archive: &Path, entry: &ArchiveEntry) -> Result<(), ArchiveError> {
    let path = manifest_path(archive);
    let failed = |error: serde_json::Error| ArchiveError::io(&path)(error.into());
    let manifest = serde_json::value::to_raw_value(entry).map_err(failed)?;
    let sealed = Sealed { sha256: sha256(manifest.get().as_bytes()), manifest: &manifest };
    let json = serde_json::to_vec(&sealed).map_err(failed)?;
    replace(&path, &json).map_err(ArchiveError::io(&path))
}

/// Reads the manifest of an archive.
///
/// # Errors
/// Fails where it is not there, is not what was written, or is newer than this program.
pub fn read(archive: &Path) -> Result<ArchiveEntry, ArchiveError> {
    let path = manifest_path(archive);
    let mut json = Vec::new();
    let file = File::open(&path).map_err(ArchiveError::io(&path))?;
    file.take(MOST).read_to_end(&mut json).map_err(ArchiveError::io(&path))?;
    parse(&path, &json)
}

/// What a manifest says; `path` is told where it is none.
///
/// # Errors
/// Fails where it is not what was written, or is newer than this program.
pub fn parse(path: &Path, json: &[u8]) -> Result<ArchiveEntry, ArchiveError> {
    let differs = |reason: String| ArchiveError::Differs { path: path.to_owned(), reason };
    let broken = |error: serde_json::Error| differs(format!("it is no manifest: {error}"));
    let sealed: Sealed<'_> = serde_json::from_slice(json).map_err(broken)?;
    if sha256(sealed.manifest.get().as_bytes()) != sealed.sha256 {
        return Err(differs("its text is not what was written".to_owned()));
    }
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_str(sealed.manifest.get()).map_err(broken)?;
    if version > MANIFEST_VERSION {
        return Err(ArchiveError::Newer { path: path.to_owned(), found: version });
    }
    serde_json::from_str(sealed.manifest.get()).map_err(broken)
}
