//! The pieces of an archive: each is compressed alone and can be decompressed alone.
//!
//! A `.tar.gz` may consist of any number of gzip members (RFC 1952, 2.2), a `.tar.zst` of any number of frames (RFC 8878, 3).
//! Here each holds up to one and three quarters MiB of whole lines of one log, or the tar headers between two logs. So archives are packed,
//! verified and searched by many threads, and a line is found without decompressing what is before it.

use std::cell::RefCell;
use std::io::{self, Read};
use std::sync::Arc;

use flate2::bufread::{GzDecoder, MultiGzDecoder};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::zstd_safe::{CParameter, find_frame_compressed_size, get_frame_content_size};

use super::seal::Content;
use super::workers::{Effort, Workers};
use crate::model::archive::Codec;

/// As measured: level 5 of zlib-rs packs logs as small as gzip's default at more than twice its speed.
const GZIP_LEVEL: u32 = 5;
/// As far back as gzip looks, two to the power of this.
const WINDOW_BITS: u8 = 15;
/// How many bytes gzip writes at a time.
const STEP: usize = 1 << 17;
const ZSTD_LEVEL: i32 = 3;
/// As measured: in logs, which repeat themselves in long pieces, these find more than the level's own at the same speed.
const ZSTD_SEARCH: [CParameter; 3] = [CParameter::MinMatch(6), CParameter::HashLog(18), CParameter::ChainLog(17)];

thread_local! {
    /// The tables of a compressor take more time to make than a small piece to compress, and memory that the system's allocator may
    /// keep.
    static GZIP: RefCell<Option<Compress>> = const { RefCell::new(None) };
    static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static UNZSTD: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
}

/// The most text that is packed into one piece, in bytes. What is compressed as it is becomes no smaller in large pieces, but
/// takes more memory.
pub const fn piece_size(codec: Codec, packed: bool) -> usize {
    match codec {
        _ if packed => 3 << 18,
        Codec::Gzip => 3 << 19,
        Codec::Zstd => 7 << 18,
    }
}

/// The most text in one piece that is read, in bytes: pieces were larger once.
pub const MOST_TEXT: usize = 5 << 19;

/// So many threads hold about 16 MiB of pieces at most.
pub const fn most_threads(codec: Codec) -> usize {
    match codec {
        Codec::Gzip => 3,
        Codec::Zstd => 2,
    }
}

/// Text on its way into an archive.
pub struct Raw {
    /// The text.
    pub text: Vec<u8>,
    /// Whether it is compressed as it is, so that doing it again gains nothing.
    pub packed: bool,
}

/// Compresses a piece, into the place of other bytes.
///
/// # Errors
/// Fails where there is no memory for it.
pub fn encode(codec: Codec, raw: &Raw, mut into: Vec<u8>) -> io::Result<Vec<u8>> {
    into.clear();
    match codec {
        Codec::Gzip => {
            let level = if raw.packed { Compression::none() } else { Compression::new(GZIP_LEVEL) };
            GZIP.with_borrow_mut(|kept| {
                let encoder = kept.get_or_insert_with(|| Compress::new_gzip(level, WINDOW_BITS));
                encoder.reset();
                encoder.set_level(level)?;
                // What comes out depends on how much room there is: it is the same for all.
                loop {
                    let (read, written, at) = (encoder.total_in() as usize, encoder.total_out(), into.len());
                    into.resize(at + STEP, 0);
                    let status = encoder.compress(&raw.text[read..], &mut into[at..], FlushCompress::Finish)?;
                    into.truncate(at + (encoder.total_out() - written) as usize);
                    if status == Status::StreamEnd {
                        return Ok(into);
                    }
                }
            })
        }
        Codec::Zstd => ZSTD.with_borrow_mut(|kept| {
            let encoder = match kept {
                Some(encoder) => encoder,
                None => kept.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
            };
            encoder.include_checksum(true)?;
            encoder.set_compression_level(if raw.packed { 1 } else { ZSTD_LEVEL })?;
            ZSTD_SEARCH.into_iter().try_for_each(|parameter| encoder.set_parameter(parameter))?;
            into.reserve(zstd::zstd_safe::compress_bound(raw.text.len()));
            encoder.compress_to_buffer(&raw.text, &mut into)?;
            Ok(into)
        }),
    }
}

/// Lets this thread's compressors go, for which there is better use of the memory once an archive is packed.
pub fn forget_compressors() {
    GZIP.set(None);
    ZSTD.set(None);
}

/// The most bytes of a piece whose text becomes no smaller, with gzip and zstd alike.
const MOST_PACKED: usize = MOST_TEXT + MOST_TEXT / 128 + 1024;

/// Decompresses what must be exactly one piece of at most [`MOST_TEXT`] bytes, or of `length` where that is known, into the place
/// of other text.
///
/// # Errors
/// Fails where it is damaged, or is not one piece.
pub fn decode(codec: Codec, packed: &[u8], length: Option<usize>, mut text: Vec<u8>) -> io::Result<Vec<u8>> {
    let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
    let most = length.unwrap_or(MOST_TEXT);
    text.clear();
    text.reserve_exact(most);
    let rest = match codec {
        Codec::Gzip => {
            let mut decoder = GzDecoder::new(packed);
            decoder.by_ref().take(most as u64 + 1).read_to_end(&mut text)?;
            decoder.into_inner().len()
        }
        Codec::Zstd => {
            let frame = find_frame_compressed_size(packed).map_err(|_| wrong("it is cut off or damaged"))?;
            let (frame, rest) = packed.split_at_checked(frame).unwrap_or((packed, b""));
            let is_longer =
                get_frame_content_size(frame).is_ok_and(|known| known.is_some_and(|known| known > most as u64));
            if is_longer {
                return Err(wrong(OTHER_LENGTH));
            }
            UNZSTD.with_borrow_mut(|decoder| decoder.decompress_to_buffer(frame, &mut text))?;
            rest.len()
        }
    };
    match () {
        () if text.len() > most || length.is_some_and(|length| text.len() != length) => Err(wrong(OTHER_LENGTH)),
        () if rest > 0 => Err(wrong("it ends too early")),
        () => Ok(text),
    }
}

const OTHER_LENGTH: &str = "its text is not as long as it was";

/// Decompresses the pieces between two logs: headers, padding, the digests at the end.
///
/// # Errors
/// Fails where they are damaged or hold more than anybody writes there.
fn decode_between(codec: Codec, packed: &[u8], mut text: Vec<u8>) -> io::Result<Vec<u8>> {
    text.clear();
    let most = MOST_BETWEEN + 1;
    match codec {
        Codec::Gzip => MultiGzDecoder::new(packed).take(most).read_to_end(&mut text)?,
        Codec::Zstd => zstd::stream::read::Decoder::with_buffer(packed)?.take(most).read_to_end(&mut text)?,
    };
    if text.len() as u64 == most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "there is too much between two logs"));
    }
    Ok(text)
}

/// The most bytes between two logs: the digests of about half a million.
const MOST_BETWEEN: u64 = 64 << 20;

/// How the text of a piece begins: at most `length` bytes of it.
///
/// # Errors
/// Fails where its start is damaged.
pub fn start(codec: Codec, packed: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match codec {
        Codec::Gzip => GzDecoder::new(packed).take(length as u64).read_to_end(&mut text)?,
        Codec::Zstd => zstd::stream::read::Decoder::with_buffer(packed)?.take(length as u64).read_to_end(&mut text)?,
    };
    Ok(text)
}

/// Where a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In bytes from the start of the archive.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
    /// The length of its text where it is one piece of a log; else there may be several pieces.
    pub text: Option<usize>,
}

/// Reads the bytes of a piece as they are stored, into the place of others.
///
/// # Errors
/// Fails where the archive is too short or can't be read.
pub fn stored(content: &Content, place: Place, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    // A manifest may say anything.
    let most = if place.text.is_some() { MOST_PACKED as u64 } else { MOST_BETWEEN };
    if place.length > most || place.text.is_some_and(|text| text > MOST_TEXT) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its entry says that it is longer than any piece"));
    }
    let is_there =
        place.offset.checked_add(place.length).is_some_and(|end| content.length().is_ok_and(|length| end <= length));
    if !is_there {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off"));
    }
    bytes.clear();
    bytes.resize(usize::try_from(place.length).map_err(io::Error::other)?, 0);
    content.read_exact_at(&mut bytes, place.offset)?;
    Ok(bytes)
}

/// A piece with its bytes, or why they can't be had, and a buffer for its text.
type ToDecode = (Place, io::Result<Vec<u8>>, Vec<u8>);

/// A piece with its text, or why it can't be had, and the bytes that it was.
type Decoded = (Place, io::Result<Vec<u8>>, Vec<u8>);

/// Is shown the stored bytes of each piece.
type Watch = Box<dyn FnMut(&[u8]) + Send>;

/// The text of pieces, one after the other, decompressed ahead by other threads.
pub struct Text<P> {
    workers: Workers<ToDecode, Decoded>,
    /// Buffers of pieces and of texts to be used again: what is given back to the system's allocator it may keep.
    pieces: Vec<Vec<u8>>,
    texts: Vec<Vec<u8>>,
    places: P,
    content: Arc<Content>,
    /// Shown the stored bytes of each piece, in their order.
    watch: Watch,
    current: io::Cursor<Vec<u8>>,
    ended: bool,
    /// The piece that could not be read, and why.
    pub broken: Option<(Place, String)>,
}

impl<P: Iterator<Item = Place>> Text<P> {
    /// Reads these pieces of an archive.
    pub fn new(
        content: Arc<Content>,
        codec: Codec,
        places: P,
        effort: Effort,
        watch: impl FnMut(&[u8]) + Send + 'static,
    ) -> Self {
        let decode = move |(place, bytes, into): ToDecode| -> Decoded {
            let decode = |bytes: &[u8]| match place.text {
                Some(_) => decode(codec, bytes, place.text, into),
                None => decode_between(codec, bytes, into),
            };
            match bytes {
                Ok(bytes) => (place, decode(&bytes), bytes),
                Err(error) => (place, Err(error), Vec::new()),
            }
        };
        let workers = Workers::new(effort, 1, decode);
        Self {
            workers,
            pieces: Vec::new(),
            texts: Vec::new(),
            places,
            content,
            watch: Box::new(watch),
            current: io::Cursor::default(),
            ended: false,
            broken: None,
        }
    }

    /// The text of the next piece; `None` after the last one.
    ///
    /// # Errors
    /// Fails where a piece can't be read; which one is then in `broken`.
    pub fn next_piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let done = match self.places.next() {
                Some(place) if !self.ended => {
                    let bytes = stored(&self.content, place, self.pieces.pop().unwrap_or_default());
                    if let Ok(bytes) = &bytes {
                        (self.watch)(bytes);
                    }
                    let into = if bytes.is_ok() { self.room_for(place) } else { Vec::new() };
                    self.workers.push((place, bytes, into))
                }
                _ => {
                    self.ended = true;
                    match self.workers.pop() {
                        Some(done) => Some(done),
                        None => return Ok(None),
                    }
                }
            };
            if let Some((place, text, bytes)) = done {
                if bytes.capacity() <= MOST_PACKED {
                    self.pieces.push(bytes);
                }
                return text.map(Some).inspect_err(|error| self.broken = Some((place, error.to_string())));
            }
        }
    }
}

impl<P> Text<P> {
    /// Room for its text, made by this thread, because the system's allocator keeps memory for each that asks for some.
    fn room_for(&mut self, place: Place) -> Vec<u8> {
        let mut text = self.texts.pop().unwrap_or_default();
        text.clear();
        text.reserve_exact(place.text.unwrap_or(0));
        text
    }
}

impl<P: Iterator<Item = Place>> Read for Text<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let read = std::mem::take(&mut self.current).into_inner();
            if (1..=MOST_TEXT).contains(&read.capacity()) {
                self.texts.push(read);
            }
            match self.next_piece()? {
                Some(text) => self.current = io::Cursor::new(text),
                None => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::demo::random::Random;

    #[test]
    fn a_piece_comes_out_as_it_went_in_and_no_damage_goes_unseen() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            for packed in [false, true] {
                let text = b"a line\nanother line\n".repeat(50);
                let stored = encode(codec, &Raw { text: text.clone(), packed }, vec![7; 9]).unwrap();
                assert_eq!(decode(codec, &stored, Some(text.len()), vec![7; 9]).unwrap(), text);
                assert_eq!(decode(codec, &stored, None, vec![7; 9]).unwrap(), text);
                assert!(decode(codec, &stored, Some(text.len() - 1), vec![7; 9]).is_err());
                assert!(decode(codec, &stored, Some(text.len() + 1), vec![7; 9]).is_err());
                assert!(decode(codec, &stored[..stored.len() - 1], None, vec![7; 9]).is_err());
                assert!(decode(codec, &[&stored[..], b"x"].concat(), None, vec![7; 9]).is_err());
                assert!(decode(codec, &stored.repeat(2), None, vec![7; 9]).is_err());
            }
            // As large as they were once.
            let text = vec![b'x'; MOST_TEXT];
            let stored = encode(codec, &Raw { text: text.clone(), packed: false }, Vec::new()).unwrap();
            assert!(decode(codec, &stored, None, vec![7; 9]).unwrap() == text);
        }
    }

    #[test]
    fn a_piece_is_the_same_whatever_was_packed_before_and_whatever_buffer_it_gets() {
        // Becomes hardly smaller, and has short matches.
        let mut random = Random::new(1);
        let mut line = |_| [&b"GET /x?token="[..], &[0; 48].map(|_: u8| b'0' + random.below(75) as u8), b"\n"].concat();
        let text: Vec<u8> = (0..31_000).flat_map(&mut line).collect();
        for codec in [Codec::Gzip, Codec::Zstd] {
            let fresh = |packed| {
                let raw = Raw { text: text[..piece_size(codec, packed)].to_vec(), packed };
                std::thread::spawn(move || encode(codec, &raw, Vec::new()).unwrap()).join().unwrap()
            };
            for packed in [false, true, false] {
                let raw = Raw { text: text[..piece_size(codec, packed)].to_vec(), packed };
                let stored = encode(codec, &raw, Vec::with_capacity(4 << 20)).unwrap();
                assert!(stored == fresh(packed), "{codec:?} {packed}");
                assert!(decode(codec, &stored, Some(raw.text.len()), Vec::new()).unwrap() == raw.text);
            }
        }
    }

    #[test]
    fn a_text_that_is_longer_than_it_was_is_none_however_much_room_there_is() {
        let text = vec![b'x'; 1000];
        let mut unknown = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        unknown.write_all(&text).unwrap();
        let unknown = unknown.finish().unwrap();
        for (codec, stored) in [
            (Codec::Gzip, encode(Codec::Gzip, &Raw { text: text.clone(), packed: false }, Vec::new()).unwrap()),
            (Codec::Zstd, encode(Codec::Zstd, &Raw { text: text.clone(), packed: false }, Vec::new()).unwrap()),
            (Codec::Zstd, unknown),
        ] {
            assert!(decode(codec, &stored, Some(1000), Vec::with_capacity(4 << 20)).unwrap() == text);
            for length in [0, 999, 1001] {
                assert!(decode(codec, &stored, Some(length), Vec::with_capacity(4 << 20)).is_err());
                assert!(decode(codec, &stored, Some(length), Vec::new()).is_err());
            }
            // And the next one is read as if nothing had happened.
            assert!(decode(codec, &stored, Some(1000), Vec::new()).unwrap() == text);
        }
    }
}
