//! Where quotes, backslashes and line breaks stand in a text: 64 bytes are looked at together, because most of these texts are so
//! short that beginning a search for each takes longer than the search.

use wide::u8x16;

/// The places of the quotation marks, backslashes and line breaks of a text, in order.
pub struct Marks<'a> {
    text: &'a [u8],
    /// How much of it was looked at.
    seen: usize,
    /// Where the last 64 bytes begin, and which of them are marks that were not told yet.
    start: usize,
    bits: u64,
}

impl<'a> Marks<'a> {
    /// Those of this text.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, seen: 0, start: 0, bits: 0 }
    }

    /// The next quotation mark of the line that no backslash takes the meaning away from; after the last one there is none, and no
    /// sense in asking again.
    #[inline]
    pub fn quote(&mut self) -> Option<usize> {
        loop {
            let at = self.next()?;
            match self.text[at] {
                b'"' => return Some(at),
                b'\n' => return None,
                // What follows a backslash is no mark.
                _ if matches!(self.text.get(at + 1), Some(b'"' | b'\\')) => _ = self.next(),
                _ => {}
            }
        }
    }

    /// Looks at the next bytes; false where there are none.
    fn look(&mut self) -> bool {
        let rest = &self.text[self.seen..];
        let (bits, length) = match (rest.first_chunk(), self.text.last_chunk()) {
            (Some(block), _) => (bits(block, is_mark), 64),
            // Some of these were looked at already.
            (None, Some(block)) if !rest.is_empty() => (bits(block, is_mark) >> (64 - rest.len()), rest.len()),
            _ => {
                let mut block = [0; 64];
                block[..rest.len()].copy_from_slice(rest);
                (bits(&block, is_mark), rest.len())
            }
        };
        (self.start, self.bits) = (self.seen, bits);
        self.seen += length;
        length > 0
    }
}

impl Iterator for Marks<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            if !self.look() {
                return None;
            }
        }
        let at = self.start + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(at)
    }
}

/// How many bytes [`first_marks`] looks at.
const FIRST: usize = 256;

/// The places of the first six bytes of a text that are a quotation mark or a line break (or an asterisk or 0x02: then it takes two steps
/// less to tell): all are looked for together, because whether a line's next one lies among its next 64 bytes can't be foretold. None where
/// there are fewer, or more in one of the four blocks of 64.
#[inline]
pub fn first_marks(text: &[u8; FIRST]) -> Option<[usize; 6]> {
    const MOST: usize = 6;
    let (blocks, _) = text.as_chunks::<64>();
    let (mut places, mut found) = ([0_u8; FIRST / 64 * MOST], 0);
    for (start, block) in [0, 64, 128, 192].into_iter().zip(blocks) {
        // They have these bits in common, and differ in the others.
        let mut bits = bits(block, |bytes| (bytes & u8x16::splat(0xd7)).simd_eq(u8x16::splat(2)));
        let here = bits.count_ones() as usize;
        // Places behind the last one are written over by those of the next block.
        for place in places.get_mut(found..found + MOST)? {
            *place = start | bits.trailing_zeros() as u8 & 63;
            bits &= bits.wrapping_sub(1);
        }
        if here > MOST {
            return None;
        }
        found += here;
    }
    let first = places.first_chunk::<6>().filter(|_| found >= 6)?;
    Some(first.map(usize::from))
}

/// Whether a byte is a quotation mark, a backslash or a line break.
#[inline]
fn is_mark(bytes: u8x16) -> u8x16 {
    let is = |mark| bytes.simd_eq(u8x16::splat(mark));
    is(b'"') | is(b'\\') | is(b'\n')
}

/// For which of these bytes that holds, the first in the lowest bit.
#[inline]
fn bits(block: &[u8; 64], holds: impl Fn(u8x16) -> u8x16) -> u64 {
    let (parts, _) = block.as_chunks::<16>();
    let bits = |part: &[u8; 16]| u64::from(holds(u8x16::new(*part)).to_bitmask());
    parts.iter().rev().fold(0, |all, part| all << 16 | bits(part))
}

/// How many digits a text begins with. The first 16 bytes are looked at together, because how many there are can't be foretold.
#[inline]
pub fn leading_digits(text: &[u8]) -> usize {
    if let Some(first) = text.first_chunk() {
        let values = u8x16::new(*first) - u8x16::splat(b'0');
        let digits = values.min(u8x16::splat(9)).simd_eq(values).to_bitmask();
        let length = (!digits).trailing_zeros() as usize;
        if length < 16 {
            return length;
        }
    }
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::random::Random;

    /// Texts of few letters, most of them marks.
    fn texts() -> impl Iterator<Item = Vec<u8>> {
        let mut random = Random::new(1);
        (0..2000).map(move |length| {
            let pause = random.below(100);
            (0..length % 200).map(|at| if at < pause { b'x' } else { random.pick(b"\"\\ab\n") }).collect()
        })
    }

    #[test]
    fn every_mark_is_found_in_its_place() {
        for text in texts() {
            let one_by_one: Vec<usize> =
                (0..text.len()).filter(|at| matches!(text[*at], b'"' | b'\\' | b'\n')).collect();
            assert_eq!(Marks::new(&text).collect::<Vec<_>>(), one_by_one, "{text:?}");
        }
    }

    #[test]
    fn the_first_marks_of_a_line_are_found_together() {
        let mut random = Random::new(1);
        let (mut found, mut rounds) = (0, 0);
        while rounds < 3000 {
            let often = 1 + random.below(60);
            let text = [0; FIRST].map(|_| if random.below(often) == 0 { random.pick(b"\"\n*\x02\\") } else { b'x' });
            let places = |text: &[u8]| -> Vec<usize> {
                (0..text.len()).filter(|at| matches!(text[*at], b'"' | b'\n' | b'*' | 2)).collect()
            };
            let one_by_one = places(&text);
            let crowded = text.chunks(64).any(|block| places(block).len() > 6);
            let expected = one_by_one.first_chunk().filter(|_| !crowded);
            assert_eq!(first_marks(&text).as_ref(), expected, "{text:?}");
            (found, rounds) = (found + usize::from(expected.is_some()), rounds + 1);
        }
        assert!(found > 500, "{found}");
    }

    #[test]
    fn digits_are_counted_however_many_there_are() {
        for digits in 0..40 {
            for rest in ["", " ", "/", ":", "x, and so on and on", "\u{b0}9999999999999999"] {
                let text = ["7".repeat(digits).as_str(), rest].concat();
                assert_eq!(leading_digits(text.as_bytes()), digits, "{text}");
            }
        }
    }

    #[test]
    fn quotes_behind_a_backslash_are_passed_over() {
        for text in texts() {
            let (mut escaped, mut quotes) = (false, Vec::new());
            for (at, byte) in text.iter().enumerate().take_while(|(_, byte)| **byte != b'\n') {
                if !escaped && *byte == b'"' {
                    quotes.push(at);
                }
                escaped = !escaped && *byte == b'\\';
            }
            let mut marks = Marks::new(&text);
            assert_eq!(std::iter::from_fn(|| marks.quote()).collect::<Vec<_>>(), quotes, "{text:?}");
        }
    }
}
