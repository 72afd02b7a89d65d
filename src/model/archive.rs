//! Archives: date-stamped bundles of rotated logs.

use serde::{Deserialize, Serialize};

use crate::model::Identity;

/// An archive as in the catalogue and in the manifest beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveEntry {
    /// The manifest's format; 1.
    pub version: u32,
    /// File name: `HOST-SOURCE-YYYY-MM-DD.tar.gz`.
    pub name: String,
    /// The host whose logs it holds.
    pub host: String,
    /// The source's name.
    pub source: String,
    /// The date in its name, `YYYY-MM-DD`.
    pub date: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of the archive's bytes, hexadecimal.
    pub sha256: String,
    /// What it holds.
    pub members: Vec<Member>,
}

/// One rotated log in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name in the archive.
    pub name: String,
    /// Where it was collected.
    pub path: String,
    /// Size in bytes as stored.
    pub size: u64,
    /// Last modification, seconds since 1970 UTC.
    pub modified: i64,
    /// SHA-256 as stored, hexadecimal.
    pub sha256: String,
    /// SHA-256 of its text, decompressed where it was compressed: what recognises a log that was
    /// renamed or compressed after it was archived.
    pub content_sha256: String,
    /// What the original was when it was read.
    pub identity: Identity,
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
