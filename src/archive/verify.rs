//! Verifying: an archive is read as a stranger would read it and compared with what it should hold.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::digest::Hasher;
use super::{ArchiveError, SUMS};
use crate::model::ArchiveEntry;

/// Compares an archive with its entry: size and digest of the whole, and every member's name, size and digest.
///
/// # Errors
/// Says where the archive differs, or why it can't be read.
pub fn verify(path: &Path, entry: &ArchiveEntry, stop: &dyn Fn() -> bool) -> Result<(), ArchiveError> {
    let differs = |reason: String| ArchiveError::Differs { path: path.to_owned(), reason };
    let file = File::open(path).map_err(ArchiveError::io(path))?;
    let whole = Whole { file, hasher: Hasher::default(), size: 0 };
    let mut archive = tar::Archive::new(MultiGzDecoder::new(whole));
    let mut expected = entry.members.iter();
    let mut sums_seen = false;
    let entries = archive.entries().map_err(|error| differs(error.to_string()))?;
    for member in entries {
        if stop() {
            return Err(ArchiveError::Stopped);
        }
        let mut member = member.map_err(|error| differs(error.to_string()))?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let mut hasher = Hasher::default();
        let size = io::copy(&mut member, &mut hasher).map_err(|error| differs(format!("{name}: {error}")))?;
        match expected.next() {
            Some(known) if known.name == name && known.size == size && known.sha256 == hasher.finish() => {}
            Some(known) => return Err(differs(format!("member {} is not what was packed", known.name))),
            None if name == SUMS && !sums_seen => sums_seen = true,
            None => return Err(differs(format!("{name} does not belong there"))),
        }
    }
    if let Some(missing) = expected.next() {
        return Err(differs(format!("member {} is missing", missing.name)));
    }
    if !sums_seen {
        return Err(differs(format!("its end with {SUMS} is missing")));
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| differs(error.to_string()))?;
    let mut whole = rest.into_inner();
    io::copy(&mut whole, &mut io::sink()).map_err(ArchiveError::io(path))?;
    if (whole.size, whole.hasher.finish()) != (entry.size, entry.sha256.clone()) {
        return Err(differs("its bytes are not those that were written".to_owned()));
    }
    Ok(())
}

/// Digests the archive's bytes as they are read.
struct Whole {
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.write_all(&buffer[..read])?;
        self.size += read as u64;
        Ok(read)
    }
}
