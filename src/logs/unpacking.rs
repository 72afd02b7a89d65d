//! Unpacking on a thread of its own, where a text is long enough for that: it takes as long as all that is done with the lines.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::lines::read_fully;

/// How much is unpacked before another thread is worth its start: of most files only the beginning is looked at.
const ALONE: usize = 1 << 20;

/// How much is unpacked at a time, and how many pieces may wait to be read.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

/// Reads what unpacks a file, ahead of whoever reads from here.
pub struct Unpacking {
    /// None once another thread has it.
    unpacker: Option<Box<dyn Read + Send>>,
    /// How much was unpacked here.
    alone: usize,
    ahead: Option<Ahead>,
}

/// What another thread unpacks.
struct Ahead {
    /// None once it has ended.
    thread: Option<JoinHandle<()>>,
    ready: Receiver<Piece>,
    used: Sender<Vec<u8>>,
    piece: Piece,
    read: usize,
}

/// Some of the text, and whether what follows it is its end or can't be read.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    length: usize,
    failure: Option<io::Error>,
    is_last: bool,
}

impl Unpacking {
    /// Reads from this.
    pub fn new(unpacker: Box<dyn Read + Send>) -> Self {
        Self { unpacker: Some(unpacker), alone: 0, ahead: None }
    }

    /// Lets another thread go on, if there is one.
    fn hand_over(&mut self) {
        let (start, begin) = sync_channel(1);
        let (full, ready) = sync_channel(WAITING);
        let (used, empty) = channel();
        let work =
            move || begin.recv().into_iter().for_each(|unpacker: Box<dyn Read + Send>| unpack(unpacker, &full, &empty));
        // Where there is no thread, the unpacker must still be here.
        if let Ok(thread) = std::thread::Builder::new().name("unpacker".to_owned()).spawn(work)
            && let Some(unpacker) = self.unpacker.take()
            && start.send(unpacker).is_ok()
        {
            self.ahead = Some(Ahead { thread: Some(thread), ready, used, piece: Piece::default(), read: 0 });
        }
        self.alone = 0;
    }
}

impl Read for Unpacking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.alone >= ALONE {
            self.hand_over();
        }
        match (&mut self.ahead, &mut self.unpacker) {
            (Some(ahead), _) => ahead.read(buffer),
            (None, Some(unpacker)) => {
                let got = unpacker.read(buffer)?;
                self.alone += got;
                Ok(got)
            }
            (None, None) => Err(io::Error::other("the thread that unpacks it is gone")),
        }
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.length {
            if let Some(failure) = self.piece.failure.take() {
                return Err(failure);
            }
            if self.piece.is_last {
                return Ok(0);
            }
            let Ok(next) = self.ready.recv() else { return Err(self.failure()) };
            let last = std::mem::replace(&mut self.piece, next);
            self.read = 0;
            // The unpacker may have come to its end.
            let _ = self.used.send(last.bytes);
        }
        let rest = &self.piece.bytes[self.read..self.piece.length];
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        self.read += got;
        Ok(got)
    }
}

impl Ahead {
    /// Why no more comes of a thread that came to no end: what is wrong there is wrong here.
    fn failure(&mut self) -> io::Error {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        io::Error::other("the thread that unpacks it is gone")
    }
}

fn unpack(mut unpacker: Box<dyn Read + Send>, full: &SyncSender<Piece>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut bytes = empty.try_recv().unwrap_or_default();
        bytes.resize(PIECE, 0);
        let (length, failure) = read_fully(&mut unpacker, &mut bytes);
        let is_last = length < PIECE;
        // Nobody wants to know more.
        if full.send(Piece { bytes, length, failure, is_last }).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of this in pieces of many sizes, and how it ended.
    fn read(unpacker: impl Read + Send + 'static) -> (Vec<u8>, Option<String>) {
        let mut unpacking = Unpacking::new(Box::new(unpacker));
        let (mut text, mut buffer) = (Vec::new(), vec![0; PIECE]);
        for size in (1..).map(|n: usize| n * 7919 % PIECE) {
            match unpacking.read(&mut buffer[..size + 1]) {
                Ok(0) => return (text, None),
                Ok(got) => text.extend_from_slice(&buffer[..got]),
                Err(error) => return (text, Some(error.to_string())),
            }
        }
        unreachable!("every text has an end")
    }

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("damaged"))
        }
    }

    struct Panicking;

    impl Read for Panicking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            std::panic::resume_unwind(Box::new("unpacking"))
        }
    }

    #[test]
    fn what_is_unpacked_elsewhere_is_what_is_unpacked_here() {
        let text: Vec<u8> = (0..1_500_000_u32).flat_map(u32::to_le_bytes).collect();
        for length in [0, 1, ALONE - 1, ALONE, ALONE + 1, ALONE + PIECE, ALONE + 2 * PIECE + 1, text.len()] {
            let part = text[..length].to_vec();
            assert_eq!(read(io::Cursor::new(part.clone())), (part.clone(), None), "{length}");
            let damaged = io::Cursor::new(part.clone()).chain(Failing);
            assert_eq!(read(damaged), (part.clone(), Some("damaged".to_owned())), "{length}");
            // What is wrong in another thread is not taken for the end of the text.
            let panicking = io::Cursor::new(part).chain(Panicking);
            assert!(std::panic::catch_unwind(|| read(panicking)).is_err(), "{length}");
        }
    }
}
