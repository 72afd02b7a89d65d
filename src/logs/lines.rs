//! Reading a log in blocks of whole lines.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::buffer::spare_capacity;

use super::evtx::{self, Records};
use super::one_a_line::{self, OneALine};
use super::unpacking::Unpacking;
use super::utf16::{self, Decoded};
use crate::fs::open_regular;
use crate::model::Identity;
use crate::packed::{MAGIC, Packing};

/// The longest line that is looked at, in bytes; a longer one counts as not parsed. Apache and nginx take some 32 KiB of what they log of a
/// request (`LimitRequestFieldSize`, `large_client_header_buffers`), and may write each byte as four.
pub const MAX_LINE: usize = 192 * 1024;

/// How much is read at a time, in bytes; of a longer line nothing is kept.
pub const BLOCK: usize = 256 * 1024;

/// How many bytes at the start of the text tell one file from another.
pub const HEAD: usize = 1024;

/// A compressed file may become this much larger before its ratio is looked at.
const INFLATED_UNCHECKED: u64 = 1 << 30;

/// More than this many bytes out of one is no log but a bomb; logs reach about 200.
const INFLATED_RATIO: u64 = 500;

enum Input {
    Plain(File),
    /// A pipe.
    Stream(Box<dyn Read + Send>),
    /// A compressed file, an event log, text in UTF-16, or of records that are no lines.
    Packed(Unpacking),
}

/// The lines of a text, each with its line break; the last one may have none.
pub fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', text).map(|at| at + 1).chain([text.len()]);
    ends.filter_map(move |end| {
        let line = &text[start..end];
        start = end;
        (!line.is_empty()).then_some(line)
    })
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.read.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// How reading a file came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All there is was read.
    Whole,
    /// What follows can't be read: the reason.
    Damaged(String),
}

/// A log file read in blocks of whole lines; a compressed one is recognised by its content.
pub struct Lines {
    input: Input,
    /// What the file was when it was opened.
    pub identity: Identity,
    /// Whether it is compressed, or something else that text is made of.
    pub compressed: bool,
    buffer: Vec<u8>,
    used: usize,
    /// Bytes of text before the unread rest: what a cursor remembers.
    pub offset: u64,
    inflated: u64,
    /// How much of a compressed input was read, where its size is not known before.
    packed: Arc<AtomicU64>,
    /// Lines longer than a block that were passed over.
    pub overlong: u64,
    skipping: bool,
    skipped: u64,
    ending: Option<Ending>,
}

impl Lines {
    /// Opens a file at the start of its text; links are not followed.
    ///
    /// # Errors
    /// Fails where the file can't be opened or is no regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (mut file, identity) = open_regular(path)?;
        let mut magic = [0; MAGIC];
        let (got, failure) = read_fully(&mut file, &mut magic);
        failure.map_or(Ok(()), Err)?;
        file.seek(SeekFrom::Start(0))?;
        let input = match Packing::of(&magic[..got]) {
            Some(packing) => Input::Packed(text_of(packing.reader(file)?)),
            None if magic == evtx::MAGIC => Input::Packed(Unpacking::new(Box::new(Records::new(file)?))),
            None if is_made(&magic[..got]) => Input::Packed(text_of(file)),
            None => Input::Plain(file),
        };
        // To text in UTF-16, or of records, something may yet be added.
        let compressed = matches!(input, Input::Packed(_)) && !is_made(&magic[..got]);
        Ok(Self::new(input, identity, compressed))
    }

    /// Opens what somebody named on the command line: links are followed, pipes are read.
    ///
    /// # Errors
    /// Fails where it can't be opened or is a folder.
    pub fn open_named(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder"));
        }
        let mut magic = [0; MAGIC];
        let (got, failure) = read_fully(&mut file, &mut magic);
        failure.map_or(Ok(()), Err)?;
        if magic == evtx::MAGIC {
            // Event logs are not read from one end to the other, which a pipe can't do.
            file.seek(SeekFrom::Start(0))?;
            let records = Unpacking::new(Box::new(Records::new(file)?));
            return Ok(Self::new(Input::Packed(records), crate::fs::identity(&meta), true));
        }
        let (packing, is_made) = (Packing::of(&magic[..got]), is_made(&magic[..got]));
        // What the kernel makes up as it is read seems to be empty, and can't be read twice.
        if meta.is_file() && meta.len() > 0 && packing.is_none() && !is_made {
            file.seek(SeekFrom::Start(0))?;
            return Ok(Self::new(Input::Plain(file), crate::fs::identity(&meta), false));
        }
        let whole = io::Cursor::new(magic).take(got as u64).chain(file);
        let packed = Arc::<AtomicU64>::default();
        let input = match packing {
            Some(packing) => {
                let counted = Counted { input: whole, read: packed.clone() };
                Input::Packed(text_of(packing.reader(counted)?))
            }
            None if is_made => Input::Packed(text_of(whole)),
            None => Input::Stream(Box::new(whole)),
        };
        let lines = Self::new(input, crate::fs::identity(&meta), packing.is_some());
        Ok(Self { packed, ..lines })
    }

    fn new(input: Input, identity: Identity, compressed: bool) -> Self {
        Self {
            input,
            identity,
            compressed,
            buffer: Vec::new(),
            used: 0,
            offset: 0,
            inflated: 0,
            packed: Arc::default(),
            overlong: 0,
            skipping: false,
            skipped: 0,
            ending: None,
        }
    }

    /// Whether the text lies in the file as it is read, so that a place in one is a place in the other.
    pub fn is_plain(&self) -> bool {
        matches!(self.input, Input::Plain(_))
    }

    /// The first bytes of the text, at most 1 KiB, without moving on.
    pub fn head(&mut self) -> &[u8] {
        while self.buffer.len() < HEAD && self.ending.is_none() {
            self.fill(HEAD);
        }
        &self.buffer[..self.buffer.len().min(HEAD)]
    }

    /// Moves to a place in the text, counted from its start; must come before any block is read.
    ///
    /// # Errors
    /// Fails where the file can't be read.
    pub fn skip_to(&mut self, offset: u64) -> io::Result<()> {
        if let Input::Plain(file) = &mut self.input {
            file.seek(SeekFrom::Start(offset))?;
            (self.offset, self.ending) = (offset, None);
            self.buffer.clear();
            return Ok(());
        }
        while self.offset < offset && !(self.buffer.is_empty() && self.ending.is_some()) {
            let step = usize::try_from(offset - self.offset).unwrap_or(usize::MAX).min(self.buffer.len());
            self.buffer.drain(..step);
            self.offset += step as u64;
            if self.buffer.is_empty() && self.ending.is_none() {
                self.fill(BLOCK);
            }
        }
        Ok(())
    }

    /// The next whole lines, each with its line break; `None` when there are no more.
    pub fn next_block(&mut self) -> Option<&[u8]> {
        self.buffer.drain(..self.used);
        self.offset += self.used as u64;
        self.used = 0;
        loop {
            if self.skipping {
                self.skip_overlong();
            }
            if !self.skipping
                && let Some(last) = memchr::memrchr(b'\n', &self.buffer)
            {
                self.used = last + 1;
                return Some(&self.buffer[..self.used]);
            }
            if self.ending.is_some() {
                return None;
            }
            if self.buffer.len() >= BLOCK {
                self.skipping = true;
                continue;
            }
            self.fill(BLOCK);
        }
    }

    /// The block that was read last.
    pub fn block(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    /// Hands the block that was read last over and takes another buffer for what follows, so that nothing long is copied.
    pub fn swap_block(&mut self, other: &mut Vec<u8>) {
        let rest = &self.buffer[self.used..];
        other.clear();
        // No more than that: all room there is gets filled.
        other.reserve_exact(rest.len());
        other.extend_from_slice(rest);
        std::mem::swap(&mut self.buffer, other);
        other.truncate(self.used);
        self.offset += self.used as u64;
        self.used = 0;
    }

    /// What follows the last line break, once there are no more blocks; the offset stays before it.
    pub fn tail(&self) -> &[u8] {
        if self.skipping { &[] } else { &self.buffer[self.used..] }
    }

    /// Counts the tail as read.
    pub fn take_tail(&mut self) {
        self.overlong += u64::from(self.skipping);
        self.offset += self.skipped + self.buffer.len() as u64;
        (self.skipping, self.skipped, self.used) = (false, 0, 0);
        self.buffer.clear();
    }

    /// How it ended; whole until something else is known.
    pub fn ending(&self) -> Ending {
        self.ending.clone().unwrap_or(Ending::Whole)
    }

    /// Drops bytes up to and including the next line break.
    fn skip_overlong(&mut self) {
        let end = memchr::memchr(b'\n', &self.buffer);
        let dropped = end.map_or(self.buffer.len(), |at| at + 1);
        self.buffer.drain(..dropped);
        // The offset stays before the line until its end is seen: a reader that stops here comes back to it.
        self.skipped += dropped as u64;
        if end.is_some() {
            self.offset += self.skipped;
            (self.skipping, self.skipped) = (false, 0);
            self.overlong += 1;
        }
    }

    fn fill(&mut self, want: usize) {
        let old = self.buffer.len();
        self.buffer.reserve_exact(want);
        let got = match &mut self.input {
            Input::Plain(file) => read_plain(file, &mut self.buffer, want),
            Input::Packed(unpacking) => unpacking.append(&mut self.buffer, want),
            Input::Stream(stream) => {
                self.buffer.resize(old + want, 0);
                let (got, failure) = read_fully(stream, &mut self.buffer[old..]);
                self.buffer.truncate(old + got);
                failure.map_or(Ok(()), Err)
            }
        };
        let read = self.buffer.len() - old;
        self.inflated += read as u64;
        if let Err(error) = got {
            self.ending = Some(Ending::Damaged(error.to_string()));
        } else if read < want {
            self.ending = Some(Ending::Whole);
        }
        let packed = self.identity.size.max(self.packed.load(Ordering::Relaxed)).max(1);
        if self.compressed && self.inflated > INFLATED_UNCHECKED && self.inflated / packed > INFLATED_RATIO {
            self.buffer.truncate(old);
            let message = format!("{packed} bytes became more than {}: this is no log", self.inflated);
            self.ending = Some(Ending::Damaged(message));
        }
    }
}

/// Whether the lines that are read are made of what a file holds, as its beginning tells.
fn is_made(start: &[u8]) -> bool {
    utf16::is_marked(start) || one_a_line::kind(start).is_some()
}

/// Reads a text in whichever encoding, each of its records on a line.
fn text_of(input: impl Read + Send + 'static) -> Unpacking {
    Unpacking::new(Box::new(OneALine::new(Decoded::new(input))))
}

/// Whether the shorter text of two files is how the longer one begins.
pub fn same_text(a: &Path, b: &Path) -> bool {
    let (Ok(mut a), Ok(mut b)) = (Lines::open(a), Lines::open(b)) else { return false };
    loop {
        for lines in [&mut a, &mut b] {
            if lines.buffer.is_empty() && lines.ending.is_none() {
                lines.fill(BLOCK);
            }
        }
        let both = a.buffer.len().min(b.buffer.len());
        if a.buffer[..both] != b.buffer[..both] {
            return false;
        }
        if both == 0 {
            return true;
        }
        a.buffer.drain(..both);
        b.buffer.drain(..both);
    }
}

/// Reads at least so much, as far as it is there, and what else there is room for, at once.
fn read_plain(file: &File, buffer: &mut Vec<u8>, want: usize) -> io::Result<()> {
    let enough = buffer.len() + want;
    while buffer.len() < enough {
        match rustix::io::read(file, spare_capacity(buffer)) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the input ends or fails; what was read before a failure counts.
pub fn read_fully(input: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut done = 0;
    while done < buffer.len() {
        match input.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all_lines(path: &Path) -> (Vec<Vec<u8>>, Vec<u8>, Lines) {
        let mut lines = Lines::open(path).unwrap();
        let mut got = Vec::new();
        while let Some(block) = lines.next_block() {
            got.extend(block.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec));
        }
        let tail = lines.tail().to_vec();
        (got, tail, lines)
    }

    #[test]
    fn an_overlong_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut text = b"first\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * BLOCK));
        text.extend(b"\nlast\ntail");
        std::fs::write(&path, &text).unwrap();
        let (got, tail, lines) = all_lines(&path);
        assert_eq!(got, [b"first\n".to_vec(), b"last\n".to_vec()]);
        assert_eq!((tail.as_slice(), lines.overlong), (&b"tail"[..], 1));
        assert_eq!(lines.offset as usize, text.len() - 4);
    }

    #[test]
    fn blocks_stay_small_whatever_buffers_they_are_swapped_with() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut random = crate::demo::random::Random::new(1);
        let mut text = Vec::new();
        while text.len() < 100 * BLOCK {
            text.extend(b"\na\n");
            text.extend(vec![b'x'; BLOCK + random.below(3 * BLOCK)]);
        }
        std::fs::write(log.path(), &text).unwrap();
        let mut lines = Lines::open(log.path()).unwrap();
        let mut others = [const { Vec::new() }; 3];
        for round in 0.. {
            if lines.next_block().is_none() {
                break;
            }
            let other: &mut Vec<u8> = &mut others[round % 3];
            lines.swap_block(other);
            let largest = other.capacity().max(lines.buffer.capacity());
            assert!(largest <= 2 * BLOCK, "{largest} in round {round}");
        }
    }

    #[test]
    fn a_cut_gzip_gives_its_good_lines_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.gz");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        // So long that another thread comes to the damage.
        for i in 0..200_000 {
            writeln!(encoder, "line {i} {}", i * 7919 % 10_007).unwrap();
        }
        let whole = encoder.finish().unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let (got, _, lines) = all_lines(&path);
        assert!(matches!(lines.ending(), Ending::Damaged(_)));
        assert!(got.len() > 80_000, "{}", got.len());
        for (i, line) in got.iter().enumerate() {
            assert_eq!(line, format!("line {i} {}\n", i * 7919 % 10_007).as_bytes());
        }
    }

    #[test]
    fn skipping_works_alike_in_plain_and_compressed_text() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("a"), folder.path().join("b"));
        let text: Vec<u8> = (0..100_000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
        std::fs::write(&plain, &text).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::new(1));
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap();
        for path in [plain, packed] {
            let mut lines = Lines::open(&path).unwrap();
            assert_eq!(lines.head(), &text[..HEAD]);
            lines.skip_to(400_002).unwrap();
            let mut rest = Vec::new();
            while let Some(block) = lines.next_block() {
                rest.extend_from_slice(block);
            }
            assert!(rest == text[400_002..], "{}", path.display());
        }
    }
}
