//! Lines that come over a pipe, without waiting for them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longer lines than any order or message are nobody's.
const LONGEST: usize = 256 << 20;

/// What has come over a pipe and was not taken yet.
pub struct Lines {
    pipe: OwnedFd,
    buffer: Vec<u8>,
    /// Up to here there is no end of a line.
    searched: usize,
    ended: bool,
}

impl Lines {
    /// The lines of a pipe.
    pub fn new(pipe: OwnedFd) -> Self {
        Self { pipe, buffer: Vec::new(), searched: 0, ended: false }
    }

    /// Takes the next whole line, without its end.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]).map(|at| self.searched + at) else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        line.pop();
        Some(line)
    }

    /// Reads what is there; waits only where nothing is.
    ///
    /// # Errors
    /// Fails where the pipe can't be read, or something other than lines comes.
    pub fn fill(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        match rustix::io::read(&self.pipe, &mut piece) {
            Ok(0) => self.ended = true,
            Ok(read) if self.buffer.len() + read <= LONGEST => self.buffer.extend_from_slice(&piece[..read]),
            Ok(_) => return Err(io::Error::other("a line is too long")),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether nothing more will come.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Takes it for ended.
    pub fn close(&mut self) {
        self.ended = true;
    }
}

impl AsFd for Lines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
