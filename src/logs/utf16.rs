//! Text in UTF-16, as PowerShell's `>` and SQL Server write it, read as UTF-8.

use std::io::{self, Read};

use super::lines::read_fully;

/// How much is read at a time, in bytes.
const BLOCK: usize = 64 << 10;

/// How many bytes tell whether a text is in UTF-16.
const MARK: usize = 4;

/// Whether a file begins with the mark of UTF-16 and a letter as all logs begin with, so that no name that a visitor chose does.
pub fn is_marked(start: &[u8]) -> bool {
    matches!(start, [0xff, 0xfe, 1..=0x7f, 0, ..] | [0xfe, 0xff, 0, 1..=0x7f, ..])
}

/// Reads a text in UTF-8, whichever it is in: without its mark where that is UTF-16, else as it is. What is no character is a replacement
/// character, and half a character at the end, which may yet be written, is nothing.
pub struct Decoded<R> {
    input: R,
    /// None before anything was read.
    encoding: Option<Encoding>,
    /// What was read and not converted.
    bytes: Vec<u8>,
    text: io::Cursor<Vec<u8>>,
    /// Why what follows that can't be read.
    failure: Option<io::Error>,
}

#[derive(Clone, Copy)]
enum Encoding {
    AsItIs,
    Utf16 { unit: fn([u8; 2]) -> u16 },
}

impl<R: Read> Decoded<R> {
    /// Reads from this, from its beginning on.
    pub fn new(input: R) -> Self {
        Self { input, encoding: None, bytes: Vec::new(), text: io::Cursor::default(), failure: None }
    }

    fn begin(&mut self) -> Encoding {
        let mut start = vec![0; MARK];
        let (got, failure) = read_fully(&mut self.input, &mut start);
        self.failure = failure;
        start.truncate(got);
        let encoding = if is_marked(&start) {
            self.bytes = start.split_off(2);
            Encoding::Utf16 { unit: if start[0] == 0xff { u16::from_le_bytes } else { u16::from_be_bytes } }
        } else {
            self.text = io::Cursor::new(start);
            Encoding::AsItIs
        };
        self.encoding = Some(encoding);
        encoding
    }

    /// Converts what follows; false at the end.
    fn convert_more(&mut self, unit: fn([u8; 2]) -> u16) -> io::Result<bool> {
        self.failure.take().map_or(Ok(()), Err)?;
        let kept = self.bytes.len();
        self.bytes.resize(kept + BLOCK, 0);
        let (got, failure) = read_fully(&mut self.input, &mut self.bytes[kept..]);
        self.bytes.truncate(kept + got);
        let (pairs, _) = self.bytes.as_chunks::<2>();
        let is_first_half = |pair: &[u8; 2]| (0xd800..0xdc00).contains(&unit(*pair));
        let whole = pairs.len() - usize::from(pairs.last().is_some_and(is_first_half));
        let decoded = char::decode_utf16(pairs[..whole].iter().map(|pair| unit(*pair)));
        let text: String = decoded.map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        self.text = io::Cursor::new(text.into_bytes());
        self.bytes.drain(..2 * whole);
        self.failure = failure;
        Ok(got > 0 || whole > 0 || self.failure.is_some())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let encoding = self.encoding.unwrap_or_else(|| self.begin());
        loop {
            let got = self.text.read(buffer)?;
            if got > 0 || buffer.is_empty() {
                return Ok(got);
            }
            match encoding {
                Encoding::AsItIs => return self.failure.take().map_or_else(|| self.input.read(buffer), Err),
                Encoding::Utf16 { unit } if self.convert_more(unit)? => {}
                Encoding::Utf16 { .. } => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> String {
        let mut text = Vec::new();
        Decoded::new(bytes).read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    #[test]
    fn text_in_utf_16_is_the_same_in_utf_8() {
        let long = "a\u{e4}\u{1f600}\r\n".repeat(BLOCK / 5);
        for text in ["x", "caf\u{e9} \u{1f600}\n", &long] {
            let units = || [0xfeff].into_iter().chain(text.encode_utf16());
            assert_eq!(read(&units().flat_map(u16::to_le_bytes).collect::<Vec<_>>()), text);
            assert_eq!(read(&units().flat_map(u16::to_be_bytes).collect::<Vec<_>>()), text);
        }
    }

    #[test]
    fn what_is_cut_is_how_the_whole_begins() {
        let whole: Vec<u8> = "\u{feff}a\u{1f600}b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let texts = (4..=whole.len()).map(|end| read(&whole[..end]));
        assert_eq!(
            texts.collect::<Vec<_>>(),
            ["a", "a", "a", "a", "a\u{1f600}", "a\u{1f600}", "a\u{1f600}b", "a\u{1f600}b", "a\u{1f600}b\n"]
        );
    }

    #[test]
    fn what_could_be_read_is_told_before_why_the_rest_could_not() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("damaged"))
            }
        }
        for (bytes, told) in [(&b"ab"[..], "ab"), (b"a long text", "a long text"), (b"\xff\xfea\0b\0", "ab"), (b"", "")]
        {
            let mut text = Vec::new();
            let failure = Decoded::new(bytes.chain(Failing)).read_to_end(&mut text).unwrap_err();
            assert_eq!((String::from_utf8(text).unwrap().as_str(), failure.to_string().as_str()), (told, "damaged"));
        }
    }

    #[test]
    fn half_a_character_before_another_is_replaced() {
        assert_eq!(read(b"\xff\xfea\x00\x00\xd8b\x00\x00\xdc"), "a\u{fffd}b\u{fffd}");
    }
}
