//! Unpacking on a thread of its own, where a text is long enough for that: it takes as long as all that is done with the lines.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use super::lines::{HEAD, read_fully};

/// How much is unpacked before another thread is worth its start, and in which pieces.
const ALONE: usize = 1 << 20;
const SMALL_PIECE: usize = 32 << 10;

/// How much another thread unpacks at a time, and how many pieces may wait to be read.
const PIECE: usize = 256 << 10;
const WAITING: usize = 8;

/// Reads what unpacks a file, ahead of whoever reads from here.
pub struct Unpacking {
    /// None once another thread has it.
    unpacker: Option<Box<dyn Read + Send>>,
    /// How much was unpacked here.
    alone: usize,
    ahead: Option<Ahead>,
    piece: Piece,
    /// How much of the piece was read.
    read: usize,
}

/// What another thread unpacks.
struct Ahead {
    thread: JoinHandle<()>,
    ready: Receiver<Piece>,
    used: Sender<Vec<u8>>,
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
        Self { unpacker: Some(unpacker), alone: 0, ahead: None, piece: Piece::default(), read: 0 }
    }

    /// Appends so many bytes to a text, or as many as there are.
    ///
    /// # Errors
    /// Fails where what follows can't be read; what comes before was appended.
    pub fn append(&mut self, text: &mut Vec<u8>, wanted: usize) -> io::Result<()> {
        let enough = text.len() + wanted;
        while text.len() < enough {
            let rest = &self.piece.bytes[self.read..self.piece.length];
            if !rest.is_empty() {
                let next = &rest[..rest.len().min(enough - text.len())];
                text.extend_from_slice(next);
                self.read += next.len();
            } else if let Some(failure) = self.piece.failure.take() {
                return Err(failure);
            } else if self.piece.is_last {
                break;
            } else {
                let used = std::mem::take(&mut self.piece).bytes;
                self.read = 0;
                self.piece = self.next(used)?;
            }
        }
        Ok(())
    }

    fn next(&mut self, used: Vec<u8>) -> io::Result<Piece> {
        if self.alone >= ALONE {
            self.hand_over();
        }
        if let Some(unpacker) = &mut self.unpacker {
            // Of most files nobody wants to know more than how they begin.
            let piece = Piece::unpack(unpacker, used, if self.alone == 0 { HEAD } else { SMALL_PIECE });
            self.alone += piece.length;
            return Ok(piece);
        }
        if let Some(Ahead { ready, used: empty, .. }) = &self.ahead {
            // The unpacker may have come to its end.
            let _ = empty.send(used);
            if let Ok(piece) = ready.recv() {
                return Ok(piece);
            }
        }
        // What is wrong with a thread that came to no end is wrong here.
        if let Some(Err(panic)) = self.ahead.take().map(|ahead| ahead.thread.join()) {
            std::panic::resume_unwind(panic);
        }
        Err(io::Error::other("the thread that unpacks it is gone"))
    }

    /// Lets another thread go on, if there is one.
    fn hand_over(&mut self) {
        let (start, begin) = sync_channel::<Box<dyn Read + Send>>(1);
        let (full, ready) = sync_channel(WAITING);
        let (used, empty) = channel();
        let work = move || begin.recv().into_iter().for_each(|unpacker| unpack(unpacker, &full, &empty));
        // Where there is no thread, the unpacker must still be here.
        if let Ok(thread) = std::thread::Builder::new().name("unpacker".to_owned()).spawn(work)
            && let Some(unpacker) = self.unpacker.take()
            && start.send(unpacker).is_ok()
        {
            self.ahead = Some(Ahead { thread, ready, used });
        }
        self.alone = 0;
    }
}

impl Piece {
    /// The next one of at most this size, in the room of another.
    fn unpack(unpacker: &mut (impl Read + ?Sized), mut bytes: Vec<u8>, size: usize) -> Self {
        bytes.resize(size, 0);
        let (length, failure) = read_fully(unpacker, &mut bytes);
        Self { bytes, length, failure, is_last: length < size }
    }
}

fn unpack(mut unpacker: Box<dyn Read + Send>, full: &SyncSender<Piece>, empty: &Receiver<Vec<u8>>) {
    loop {
        let piece = Piece::unpack(&mut *unpacker, empty.try_recv().unwrap_or_default(), PIECE);
        let is_last = piece.is_last;
        // Nobody wants to know more.
        if full.send(piece).is_err() || is_last {
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
        let mut text = Vec::new();
        for wanted in (1..).map(|n: usize| 1 + n * 7919 % PIECE) {
            let before = text.len();
            match unpacking.append(&mut text, wanted) {
                Ok(()) if text.len() < before + wanted => return (text, None),
                Ok(()) => assert_eq!(text.len(), before + wanted),
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
