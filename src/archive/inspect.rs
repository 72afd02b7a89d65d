//! What a log is, as far as one must know before it is packed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::line_blocks::LineBlocks;
use super::{TextTimes, TimesOf};
use crate::digest::{Hasher, sha256};
use crate::fs::{identity, open_beneath};
use crate::model::Identity;
use crate::packed::{MAGIC, Packing};

/// How much of a log's text tells most logs from one another.
pub(super) const HEAD: usize = 64 * 1024;

/// How much of a log's end is looked at for its last time.
const TAIL: u64 = 64 * 1024;

const BLOCK: usize = 1 << 20;

/// A log that may be packed.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The folder that somebody trusted named; no link below it is followed.
    pub folder: PathBuf,
    /// Where it is.
    pub path: PathBuf,
    /// What it was when it was looked at.
    pub identity: Identity,
    /// How it is compressed.
    pub packing: Option<Packing>,
    /// SHA-256 of how its text begins.
    pub head_sha256: String,
    /// SHA-256 of its text; of a plain log only where it was asked for, because packing tells it, too.
    pub content_sha256: Option<String>,
    /// The earliest and latest time in it; of a plain log that of its last lines.
    pub times: Option<(i64, i64)>,
}

/// Looks at a log: at the start and the end of a plain one, at all of a compressed one. A compressed log that can't be
/// decompressed to its end is archived like any other.
///
/// # Errors
/// Fails where the log can't be read, or is no regular file of one name.
pub fn inspect(folder: &Path, path: &Path, times_of: TimesOf<'_>) -> io::Result<Candidate> {
    let (mut file, meta) = open_beneath(folder, path)?;
    let identity = identity(&meta);
    let mut candidate = Candidate {
        folder: folder.to_owned(),
        path: path.to_owned(),
        identity,
        packing: None,
        head_sha256: String::new(),
        content_sha256: None,
        times: None,
    };
    let mut head = Vec::with_capacity(HEAD);
    (&file).take(HEAD as u64).read_to_end(&mut head)?;
    candidate.packing = Packing::of(&head[..head.len().min(MAGIC)]);
    let mut times = times_of(identity.modified());
    if let Some(packing) = candidate.packing {
        file.seek(SeekFrom::Start(0))?;
        if let Ok(text) = packing.reader(file).and_then(|text| read_text(text, &mut times)) {
            candidate.head_sha256 = text.head_sha256;
            (candidate.content_sha256, candidate.times) = (Some(text.sha256), text.times);
            return Ok(candidate);
        }
    } else {
        candidate.times = last_time(&mut file, &head, identity.size, &mut times)?;
    }
    candidate.head_sha256 = sha256(&head);
    Ok(candidate)
}

/// The digest of a plain log's text.
///
/// # Errors
/// Fails where the log can't be read.
pub fn content_sha256(candidate: &Candidate) -> io::Result<String> {
    if let Some(known) = &candidate.content_sha256 {
        return Ok(known.clone());
    }
    let (mut file, meta) = open_beneath(&candidate.folder, &candidate.path)?;
    let mut hasher = Hasher::default();
    io::copy(&mut file, &mut hasher)?;
    if identity(&meta) != candidate.identity || identity(&file.metadata()?) != candidate.identity {
        return Err(io::Error::other("it changed since it was looked at"));
    }
    Ok(hasher.finish())
}

/// What reading a text to its end tells.
pub(super) struct WholeText {
    pub sha256: String,
    pub head_sha256: String,
    pub times: Option<(i64, i64)>,
}

/// Reads a text to its end.
///
/// # Errors
/// Fails where it can't be read.
pub(super) fn read_text(mut text: impl Read, times: &mut TextTimes) -> io::Result<WholeText> {
    let mut head = Vec::new();
    text.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    let head_sha256 = sha256(&head);
    let mut blocks = LineBlocks::new(io::Cursor::new(head).chain(text), BLOCK);
    let (mut hasher, mut span, mut block) = (Hasher::default(), None, Vec::new());
    while blocks.next_block(&mut block)? {
        hasher.write_all(&block)?;
        span = spanning(span, times(&block));
    }
    Ok(WholeText { sha256: hasher.finish(), head_sha256, times: span })
}

/// The times of the last lines; lines that say how the others are to be read stand first.
fn last_time(file: &mut File, head: &[u8], size: u64, times: &mut TextTimes) -> io::Result<Option<(i64, i64)>> {
    let start = size.saturating_sub(TAIL);
    if start > 0 && head.starts_with(b"#") {
        let end = memchr::memmem::find_iter(head, b"\n").find(|end| head.get(end + 1) != Some(&b'#'));
        times(&head[..end.map_or(head.len(), |end| end + 1)]);
    }
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    (&*file).take(TAIL).read_to_end(&mut tail)?;
    let cut = if start > 0 { memchr::memchr(b'\n', &tail).map_or(tail.len(), |end| end + 1) } else { 0 };
    Ok(times(&tail[cut..]))
}

/// The span of both.
pub(super) fn spanning(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}
