//! SHA-256 of what passes.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::model::archive::hex;

/// The digest of these bytes, hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of what is written to it, which never fails.
#[derive(Default, Clone)]
pub struct Hasher(Sha256);

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
