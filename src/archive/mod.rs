//! Archives: rotated logs packed under a date stamp, read back and compared before anything else happens.
//!
//! An archive is a plain `.tar.gz`. It ends with a member `SHA256SUMS`, which `sha256sum -c` understands, and beside it
//! lies `NAME.manifest.json` with the same digests and more.

mod digest;
mod pack;
mod verify;

use std::path::{Path, PathBuf};

pub use digest::{Digests, digests};
pub use pack::{Bundle, Candidate, Packed, pack};
pub use verify::verify;

/// The member that lists the digests of the others.
const SUMS: &str = "SHA256SUMS";

/// Why an archive could not be made or does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file system operation failed.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What was read back is not what was written, or should be there.
    #[error("{path} does not hold: {reason}")]
    Differs {
        /// The archive.
        path: PathBuf,
        /// In which way.
        reason: String,
    },
    /// The run was told to stop.
    #[error("stopped")]
    Stopped,
}

impl ArchiveError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

/// The manifest that belongs to an archive.
pub fn manifest_path(archive: &Path) -> PathBuf {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".tar.gz").unwrap_or(&name);
    archive.with_file_name(format!("{stem}.manifest.json"))
}
