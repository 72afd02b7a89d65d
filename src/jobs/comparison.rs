//! Comparing a copy with the archive here while it is read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use crate::digest::Hasher;

/// After so many bytes it is noted how far a copy has been compared.
const NOTED: u64 = 8 << 20;

/// What is read of a copy, beside the archive here.
pub struct Comparison<'a> {
    file: File,
    /// How many bytes were read, and of how many that is noted.
    at: u64,
    noted: u64,
    /// Whether they are those of the archive here; whether the copy is whole is told by the digest alone.
    is_same: bool,
    /// Of all bytes so far.
    pub digest: Hasher,
    note: &'a dyn Fn(u64) -> io::Result<()>,
}

impl<'a> Comparison<'a> {
    /// Goes on behind so many bytes that were the same as in this file.
    pub fn behind(at: u64, file: File, note: &'a dyn Fn(u64) -> io::Result<()>) -> io::Result<Self> {
        let mut digest = Hasher::default();
        io::copy(&mut (&file).take(at), &mut digest)?;
        Ok(Self { file, at, noted: at, is_same: true, digest, note })
    }
}

impl Write for Comparison<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut here = [0; 1 << 14];
        for part in bytes.chunks(here.len()) {
            let here = &mut here[..part.len()];
            self.is_same = self.is_same && self.file.read_exact_at(here, self.at).is_ok() && here == part;
            self.at += part.len() as u64;
        }
        self.digest.write_all(bytes)?;
        if self.is_same && self.at - self.noted >= NOTED {
            (self.note)(self.at)?;
            self.noted = self.at;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
