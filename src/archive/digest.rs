//! Digests of logs as stored and of their text.

use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::fs::open_regular;
use crate::model::Identity;
use crate::model::archive::hex;
use crate::packed::{MAGIC, Packing};

/// What a log is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// What the file was when it was read.
    pub identity: Identity,
    /// SHA-256 of its text, decompressed where it is compressed.
    pub content_sha256: String,
}

/// Reads a log and digests its text. A compressed log that can't be decompressed to its end is digested
/// as it is stored: a damaged log is archived like any other.
///
/// # Errors
/// Fails where the file can't be read, or is no regular file.
pub fn digests(path: &Path) -> io::Result<Digests> {
    let (mut file, identity) = open_regular(path)?;
    let mut start = [0; MAGIC];
    let packing = file.read_exact(&mut start).ok().and_then(|()| Packing::of(&start));
    if let Some(packing) = packing {
        let (file, _) = open_regular(path)?;
        if let Ok(content_sha256) = packing.reader(file).and_then(digest) {
            return Ok(Digests { identity, content_sha256 });
        }
    }
    let (file, identity) = open_regular(path)?;
    Ok(Digests { identity, content_sha256: digest(file)? })
}

fn digest(mut input: impl Read) -> io::Result<String> {
    let mut hasher = Hasher::default();
    io::copy(&mut input, &mut hasher)?;
    Ok(hasher.finish())
}

/// SHA-256 of what is written to it.
#[derive(Default, Clone)]
pub(super) struct Hasher(Sha256);

impl Hasher {
    /// The digest, hexadecimal.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes on what is written to it and digests it.
pub(super) struct Tee<W> {
    /// Where it goes.
    pub inner: W,
    /// The digest so far.
    pub hasher: Hasher,
    /// Bytes so far.
    pub written: u64,
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.write_all(&bytes[..written])?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
