//! A line that is kept as evidence. There are very many and most are never shown, so each lies in one piece of memory, as it came.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::model::Evidence;
use crate::model::finding::JOURNAL;
use crate::model::untrusted;

/// A line, cut to what is shown of it, and where it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Evidence", into = "Evidence")]
pub struct KeptLine(
    /// The line's number in its file, how many bytes were cut off, how long the file's name is, the name, the line.
    Arc<[u8]>,
);

/// The length of the three numbers.
const NUMBERS: usize = 24;

impl KeptLine {
    /// One of a file; 0 is the number of a line that has none, as those of the journal.
    pub fn new(file: &str, number: u64, line: &[u8]) -> Self {
        let number = if file == JOURNAL { 0 } else { number };
        let (line, cut_off) = untrusted::cut(line);
        Self::of(file, number, line, cut_off as u64)
    }

    fn of(file: &str, number: u64, line: &[u8], cut_off: u64) -> Self {
        let mut bytes = SmallVec::<[u8; 512]>::new();
        let numbers = [number, cut_off, file.len() as u64].map(u64::to_le_bytes);
        for part in [numbers.as_flattened(), file.as_bytes(), line] {
            bytes.extend_from_slice(part);
        }
        Self(bytes.as_slice().into())
    }

    /// As it is shown.
    pub fn evidence(&self) -> Evidence {
        let ([line, cut_off], file, text) = self.parts();
        Evidence { file: file.into(), line, text: untrusted::shown_cut(text, cut_off as usize) }
    }

    /// The file's name, and what is kept of the line.
    pub fn place(&self) -> (&str, &[u8]) {
        let (_, file, text) = self.parts();
        (file, text)
    }

    /// The line's number in its file and how many bytes were cut off, the file's name, the line.
    fn parts(&self) -> ([u64; 2], &str, &[u8]) {
        let (numbers, rest) = self.0.split_at(NUMBERS);
        let mut numbers = numbers.as_chunks().0.iter().map(|number| u64::from_le_bytes(*number));
        let mut next = || numbers.next().unwrap_or(0);
        let (line, cut_off, length) = (next(), next(), next());
        let (file, text) = rest.split_at(length as usize);
        // It was a text.
        ([line, cut_off], str::from_utf8(file).unwrap_or_default(), text)
    }
}

impl From<Evidence> for KeptLine {
    /// What is printable stays as it is when it is shown.
    fn from(Evidence { file, line, text }: Evidence) -> Self {
        Self::of(&file, line, text.as_bytes(), 0)
    }
}

impl From<KeptLine> for Evidence {
    fn from(kept: KeptLine) -> Self {
        kept.evidence()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_line_is_shown_as_evidence_before_and_after_it_was_stored() {
        let long = [&b"caf\xc3\xa9 \x1b[31m\xff"[..], &[b'x'; 1000]].concat();
        for line in [&b"GET / HTTP/1.1\r\n"[..], b"", b"\x00\xe2\x80\xae\t", &long] {
            let kept = KeptLine::new("/var/log/b\u{fc}ro/access.log", 7, line);
            let shown = kept.evidence();
            let (file, text) = ("/var/log/b\u{fc}ro/access.log", untrusted::evidence(line));
            assert_eq!((&*shown.file, shown.line, &shown.text), (file, 7, &text));
            let stored = serde_json::to_string(&kept).unwrap();
            assert_eq!(stored, serde_json::to_string(&shown).unwrap());
            assert_eq!(serde_json::from_str::<KeptLine>(&stored).unwrap().evidence(), shown);
        }
    }
}
