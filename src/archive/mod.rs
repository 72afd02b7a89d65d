//! Archives: rotated logs packed under a date stamp, read back and compared before anything else happens.
//!
//! An archive is a plain `.tar.gz` or `.tar.zst`. It ends with a member `SHA256SUMS`, which `sha256sum -c` understands, and
//! beside it lies `NAME.manifest.json` with the same digests and more. It consists of [`pieces`] that can be read alone.

mod inspect;
mod line_blocks;
mod manifest;
mod pack;
pub mod pieces;
mod read;
mod restore;
mod retain;
mod seal;
mod search;
mod shelf;
mod verify;
mod workers;

use std::path::{Path, PathBuf};

pub use inspect::{Candidate, content_sha256, inspect};
pub use manifest::{
    MANIFEST, is_archive_name, manifest_path, parse as parse_manifest, read as read_manifest, write as write_manifest,
};
pub use pack::{Bundle, Outcome as PackOutcome, Packed, pack};
pub use read::{Opened, rebuild};
pub use restore::{Restored, restore};
pub use retain::{Item, Verdict, retain};
pub use seal::{Keys, Sealing, recipient};
pub use search::{Pattern, Window, search};
pub use shelf::{Shelf, add_hold, end_hold, hold, remove_archive};
pub use verify::{verify, verify_inside};
pub use workers::Effort;

/// The times in a block of whole lines: the earliest and the latest, seconds since 1970 UTC. It is shown the blocks of one log
/// in their order; a line without a time has that of the line before.
pub type TextTimes = Box<dyn FnMut(&[u8]) -> Option<(i64, i64)> + Send>;

/// Makes what finds the times in a log that was last changed then, seconds since 1970 UTC.
pub type TimesOf<'a> = &'a dyn Fn(i64) -> TextTimes;

/// Told after each block how many bytes of logs were read since the last time; gives whether to stop.
pub type Step<'a> = &'a dyn Fn(u64) -> bool;

/// The member that lists the digests of the others.
const SUMS: &[u8] = b"SHA256SUMS";

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
    /// What was read is not what was written, or should be there.
    #[error("{path} does not hold: {reason}")]
    Differs {
        /// The archive.
        path: PathBuf,
        /// In which way.
        reason: String,
    },
    /// A manifest was written by a newer logkeeper.
    #[error(
        "{path} has format {found}, this logkeeper knows {}: install the newer one",
        crate::model::archive::MANIFEST_VERSION
    )]
    Newer {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The run was told to stop.
    #[error("stopped")]
    Stopped,
}

impl ArchiveError {
    /// Whether a manifest can't be read because it is not there or not what was written, so that another one may take its place.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Io { error, .. } => error.kind() == std::io::ErrorKind::NotFound,
            Self::Differs { .. } => true,
            Self::Newer { .. } | Self::Stopped => false,
        }
    }

    fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Io { path: path.clone(), error }
    }
}
