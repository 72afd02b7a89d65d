//! Verifying: an archive is read as a stranger would read it and compared with what it should hold.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::pack::sum_line;
use super::pieces::{Text, decode, most_threads, stored};
use super::read::{Opened, is_log, place, unpacked};
use super::seal::Keys;
use super::workers::Effort;
use super::{ArchiveError, SUMS, Step};
use crate::digest::Hasher;
use crate::model::{ArchiveEntry, Member};

/// How many damaged places are named.
const NAMED: usize = 20;

/// Compares an archive with its entry: size and digest of the whole, and every member's name, size and digest. Of an encrypted one,
/// whose members can't be looked at, the whole.
///
/// # Errors
/// Names the members and blocks that are damaged, or says why the archive can't be read.
pub fn verify(path: &Path, entry: &ArchiveEntry, effort: Effort, step: Step<'_>) -> Result<(), ArchiveError> {
    if entry.inside.is_none() {
        return verify_content(path, &Opened::with(path, entry.clone(), None)?, effort, step);
    }
    let mut file = File::open(path).map_err(ArchiveError::io(path))?;
    let mut hasher = Hasher::default();
    let size = copy(&mut file, &mut hasher, step)?.map_err(ArchiveError::io(path))?;
    if size == entry.size && hasher.finish() == entry.sha256 {
        return Ok(());
    }
    let reason = "its bytes are not those that were written".to_owned();
    Err(ArchiveError::Differs { path: path.to_owned(), reason })
}

/// Compares an encrypted archive with its entry, and what is in it as well.
///
/// # Errors
/// As [`verify`]; also where none of the keys fits.
pub fn verify_inside(
    path: &Path,
    entry: &ArchiveEntry,
    keys: &Arc<Keys>,
    effort: Effort,
    step: Step<'_>,
) -> Result<(), ArchiveError> {
    let outside = verify(path, entry, effort, &|_| step(0));
    // What is inside tells more of a damage.
    verify_content(path, &Opened::with(path, entry.clone(), Some(keys))?, effort, step)?;
    outside
}

fn verify_content(path: &Path, opened: &Opened, effort: Effort, step: Step<'_>) -> Result<(), ArchiveError> {
    let differs = |reason: String| ArchiveError::Differs { path: path.to_owned(), reason };
    let (size, expected) = (opened.content.length().map_err(ArchiveError::io(path))?, opened.entry.content().0);
    let reason = match read_through(opened, effort, step)? {
        None if size == expected => return Ok(()),
        None => format!("it has {size} bytes instead of {expected}"),
        Some(reason) => reason,
    };
    let places = damaged_places(opened, step)?;
    if places.is_empty() {
        return Err(differs(format!("{reason}; every log in it is whole")));
    }
    let more = places.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more places") } else { String::new() };
    Err(differs(places[..places.len().min(NAMED)].join("; ") + &more))
}

/// Reads it from one end to the other; says in which way it differs.
fn read_through(opened: &Opened, effort: Effort, step: Step<'_>) -> Result<Option<String>, ArchiveError> {
    let entry = &opened.entry;
    if !opened.in_pieces() {
        return read_others(opened, step);
    }
    let effort = Effort { threads: effort.threads.min(most_threads(entry.codec)), ..effort };
    let whole = Arc::<Mutex<Hasher>>::default();
    let watched = whole.clone();
    let watch = move |bytes: &[u8]| {
        // Writing to a digest can't fail.
        let _ = watched.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes);
    };
    let mut text = Text::new(opened.content.clone(), entry.codec, opened.places().into_iter(), effort, watch);
    if let Some(reason) = compare(&mut text, opened, step)? {
        return Ok(Some(text.broken.map_or(reason, |(at, why)| format!("at byte {}: {why}", at.offset))));
    }
    let digest = whole.lock().unwrap_or_else(PoisonError::into_inner).clone().finish();
    Ok((digest != entry.content().1).then(|| "its bytes are not those that were written".to_owned()))
}

/// The same for an archive that doesn't consist of known pieces.
fn read_others(opened: &Opened, step: Step<'_>) -> Result<Option<String>, ArchiveError> {
    let file = match opened.content.plain() {
        Ok(file) => file,
        Err(error) => return Ok(Some(error.to_string())),
    };
    let mut text = match unpacked(file) {
        Ok(text) => text,
        Err(error) => return Ok(Some(error.to_string())),
    };
    if let Some(reason) = compare(&mut text, opened, step)? {
        return Ok(Some(reason));
    }
    let mut whole = Hasher::default();
    let mut file = file;
    let rewound = file.seek(SeekFrom::Start(0));
    match rewound.map(|_| copy(&mut file, &mut whole, &|_| step(0))) {
        Ok(copied) => match copied? {
            Ok(_) if whole.finish() == opened.entry.sha256 => Ok(None),
            Ok(_) => Ok(Some("its bytes are not those that were written".to_owned())),
            Err(error) => Ok(Some(error.to_string())),
        },
        Err(error) => Ok(Some(error.to_string())),
    }
}

fn compare(text: &mut impl Read, opened: &Opened, step: Step<'_>) -> Result<Option<String>, ArchiveError> {
    let entry = &opened.entry;
    let mut archive = tar::Archive::new(text);
    let mut expected = entry.members.iter();
    let mut sums_seen = false;
    let is_ours = opened.in_pieces();
    let entries = match archive.entries() {
        Ok(entries) => entries,
        Err(error) => return Ok(Some(error.to_string())),
    };
    for member in entries {
        let mut member = match member {
            Ok(member) => member,
            Err(error) => return Ok(Some(error.to_string())),
        };
        if !is_ours && !is_log(&member) {
            continue;
        }
        let mut hasher = Hasher::default();
        let size = match copy(&mut member, &mut hasher, step)? {
            Ok(size) => size,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let (name, sha256) = (member.path_bytes(), hasher.finish());
        match expected.next() {
            Some(known) if *known.name.0 == *name && known.size == size && known.sha256 == sha256 => {}
            Some(known) => return Ok(Some(format!("member {} is not what was packed", known.name))),
            None if *name == *SUMS && !sums_seen && is_ours => {
                let mut sums = Hasher::default();
                // Writing to a digest can't fail.
                let _ = entry.members.iter().try_for_each(|member| sums.write_all(&sum_line(member)));
                if sums.finish() != sha256 {
                    return Ok(Some("its list of digests is not that of its logs".to_owned()));
                }
                sums_seen = true;
            }
            None => return Ok(Some("it holds more than it should".to_owned())),
        }
    }
    if let Some(missing) = expected.next() {
        return Ok(Some(format!("member {} is missing", missing.name)));
    }
    if !sums_seen && is_ours {
        return Ok(Some("its end with the digests is missing".to_owned()));
    }
    Ok(io::copy(&mut archive.into_inner(), &mut io::sink()).err().map(|error| error.to_string()))
}

fn copy(from: &mut impl Read, to: &mut Hasher, step: Step<'_>) -> Result<io::Result<u64>, ArchiveError> {
    let (mut buffer, mut copied) = (vec![0; 256 * 1024], 0);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(Ok(copied)),
            Ok(read) => {
                // Writing to a digest can't fail.
                let _ = to.write_all(&buffer[..read]);
                copied += read as u64;
                if step(read as u64) {
                    return Err(ArchiveError::Stopped);
                }
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Every block that can't be read, and every log that can but isn't what was packed.
fn damaged_places(opened: &Opened, step: Step<'_>) -> Result<Vec<String>, ArchiveError> {
    let mut places = Vec::new();
    for member in &opened.entry.members {
        let before = places.len();
        let mut hasher = Hasher::default();
        for index in 0..member.blocks.len() {
            if step(0) {
                return Err(ArchiveError::Stopped);
            }
            match block(opened, member, index) {
                // Writing to a digest can't fail.
                Ok(text) => drop(hasher.write_all(&text)),
                Err(error) => places.push(error),
            }
        }
        let unread = member.size > 0 && member.blocks.is_empty();
        if places.len() == before && !unread && hasher.finish() != member.sha256 {
            places.push(format!("{}: its text is not what was packed", member.name));
        }
    }
    Ok(places)
}

/// The text of one block of a log; an error that names it.
pub(super) fn block(opened: &Opened, member: &Member, index: usize) -> Result<Vec<u8>, String> {
    let at = place(&member.blocks[index]);
    let bytes = stored(&opened.content, at, Vec::new());
    let text = bytes.and_then(|bytes| decode(opened.entry.codec, &bytes, at.text, Vec::new()));
    text.map_err(|error| {
        let (name, count, end) = (&member.name, member.blocks.len(), at.offset.saturating_add(at.length));
        format!("{name}: block {} of {count} (bytes {} to {end}): {error}", index + 1, at.offset)
    })
}
