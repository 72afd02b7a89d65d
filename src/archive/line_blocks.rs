//! Text in blocks of whole lines.

use std::io::{self, Read};

/// Reads text in blocks that end at the end of a line, so far as no line is longer than a block.
pub struct LineBlocks<R> {
    input: R,
    size: usize,
    /// What of the last line has been read already.
    rest: Vec<u8>,
}

impl<R: Read> LineBlocks<R> {
    /// Blocks of at most `size` bytes.
    pub fn new(input: R, size: usize) -> Self {
        Self { input, size, rest: Vec::new() }
    }

    /// Puts the next block in the place of another one; false at the end.
    ///
    /// # Errors
    /// Fails where the input can't be read.
    pub fn next_block(&mut self, block: &mut Vec<u8>) -> io::Result<bool> {
        block.clear();
        block.reserve_exact(self.size);
        block.append(&mut self.rest);
        let room = (self.size - block.len()) as u64;
        let read = self.input.by_ref().take(room).read_to_end(block)? as u64;
        if read == room
            && let Some(end) = memchr::memrchr(b'\n', block)
        {
            self.rest.extend_from_slice(&block[end + 1..]);
            block.truncate(end + 1);
        }
        Ok(!block.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_whole_lines_and_together_the_whole_text() {
        let blocks = |text: &str, size| {
            let mut reader = LineBlocks::new(io::Cursor::new(text.to_owned()), size);
            let mut block = Vec::new();
            let blocks = std::iter::from_fn(|| reader.next_block(&mut block).unwrap().then(|| block.clone()));
            blocks.map(|block| String::from_utf8(block).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(blocks("", 4), Vec::<String>::new());
        assert_eq!(blocks("ab\ncd\nef", 4), ["ab\n", "cd\n", "ef"]);
        assert_eq!(blocks("abcdefgh\nij\n", 4), ["abcd", "efgh", "\nij\n"]);
        assert_eq!(blocks("a\nb\nc\nd\n", 4), ["a\nb\n", "c\nd\n"]);
    }
}
