//! Text in UTF-16, as PowerShell's `>` and SQL Server write it, read as UTF-8.

use std::io::{self, Read};

use super::lines::read_fully;

/// How much is read at a time, in bytes.
const BLOCK: usize = 64 << 10;

/// Whether a file begins with the mark of UTF-16.
pub fn is_marked(start: &[u8]) -> bool {
    start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff")
}

/// Reads such a text, without its mark. What is no character is a replacement character, and half a character at the end, which may
/// yet be written, is nothing.
pub struct Utf16<R> {
    input: R,
    is_little_endian: bool,
    /// Whether the mark was read.
    has_begun: bool,
    /// What was read and not converted.
    bytes: Vec<u8>,
    text: io::Cursor<Vec<u8>>,
}

impl<R: Read> Utf16<R> {
    /// Reads from this, from its mark on.
    pub fn new(input: R) -> Self {
        Self { input, is_little_endian: true, has_begun: false, bytes: Vec::new(), text: io::Cursor::default() }
    }

    /// Converts what follows; false at the end.
    fn convert_more(&mut self) -> io::Result<bool> {
        let kept = self.bytes.len();
        self.bytes.resize(kept + BLOCK, 0);
        let (got, failure) = read_fully(&mut self.input, &mut self.bytes[kept..]);
        self.bytes.truncate(kept + got);
        if !std::mem::replace(&mut self.has_begun, true) {
            self.is_little_endian = self.bytes.starts_with(b"\xff\xfe");
            self.bytes.drain(..self.bytes.len().min(2));
        }
        let (pairs, _) = self.bytes.as_chunks::<2>();
        let from = if self.is_little_endian { u16::from_le_bytes } else { u16::from_be_bytes };
        let is_first_half = |unit: &[u8; 2]| (0xd800..0xdc00).contains(&from(*unit));
        let whole = pairs.len() - usize::from(pairs.last().is_some_and(is_first_half));
        let text = std::mem::take(&mut self.text).into_inner();
        let mut text = String::from_utf8(text).unwrap_or_default();
        text.clear();
        let units = pairs[..whole].iter().map(|unit| from(*unit));
        text.extend(char::decode_utf16(units).map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER)));
        self.text = io::Cursor::new(text.into_bytes());
        self.bytes.drain(..2 * whole);
        failure.map_or(Ok(got > 0), Err)
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.text.read(buffer)?;
            if got > 0 || buffer.is_empty() || !self.convert_more()? {
                return Ok(got);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> String {
        let mut text = String::new();
        assert!(is_marked(bytes));
        Utf16::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn text_in_utf_16_is_the_same_in_utf_8() {
        let long = "a\u{e4}\u{1f600}\r\n".repeat(BLOCK / 5);
        for text in ["", "x", "caf\u{e9} \u{1f600}\n", &long] {
            let units = || [0xfeff].into_iter().chain(text.encode_utf16());
            assert_eq!(read(&units().flat_map(u16::to_le_bytes).collect::<Vec<_>>()), text);
            assert_eq!(read(&units().flat_map(u16::to_be_bytes).collect::<Vec<_>>()), text);
        }
    }

    #[test]
    fn what_is_cut_is_how_the_whole_begins() {
        let whole: Vec<u8> = "\u{feff}a\u{1f600}b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let texts = (2..=whole.len()).map(|end| read(&whole[..end]));
        assert_eq!(
            texts.collect::<Vec<_>>(),
            ["", "", "a", "a", "a", "a", "a\u{1f600}", "a\u{1f600}", "a\u{1f600}b", "a\u{1f600}b", "a\u{1f600}b\n"]
        );
    }

    #[test]
    fn half_a_character_before_another_is_replaced() {
        assert_eq!(read(b"\xff\xfe\x00\xd8a\x00\x00\xdcb\x00"), "\u{fffd}a\u{fffd}b");
    }
}
