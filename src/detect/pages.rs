//! Subjects as they are stored: in pages, which are read only where one of their subjects turns up or something of them is over.
//! An attack leaves tens of thousands of subjects behind, and a scan that follows a log sees but few of them again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a detector remembers, as it is stored.
#[derive(Debug)]
pub struct Remembered {
    /// What it needs at once.
    pub head: Box<RawValue>,
    /// The rest by the numbers of its pages; none where a page is as it was stored before.
    pub pages: BTreeMap<u16, Option<String>>,
}

impl From<Box<RawValue>> for Remembered {
    fn from(head: Box<RawValue>) -> Self {
        Self { head, pages: BTreeMap::new() }
    }
}

/// The page of a subject. What is stored relies on it, and on the keys.
pub fn page_of(key: &[u8]) -> u8 {
    // FNV-1a, folded.
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    key.iter().fold(0x811c_9dc5, mix).to_le_bytes().into_iter().fold(0, |all, byte| all ^ byte)
}

/// What is known of a page without reading it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Summary {
    /// Once no event before this time will come, something of it is over.
    pub due: i64,
    /// How many subjects it holds.
    pub subjects: usize,
}

/// The pages that were not read yet.
#[derive(Debug, Default)]
pub struct Unread {
    pages: BTreeMap<u8, (Summary, String)>,
    subjects: usize,
    /// Those that are not there.
    missing: u64,
}

impl Unread {
    /// These pages, of which this is known.
    pub fn new(summaries: &BTreeMap<u8, Summary>, mut texts: BTreeMap<u16, Option<String>>) -> Self {
        let mut unread = Self::default();
        for (number, summary) in summaries {
            match texts.remove(&u16::from(*number)).flatten() {
                Some(text) => {
                    unread.subjects += summary.subjects;
                    unread.pages.insert(*number, (*summary, text));
                }
                None => unread.missing += 1,
            }
        }
        unread
    }

    /// How many subjects they hold.
    pub fn subjects(&self) -> usize {
        self.subjects
    }

    /// Whether this is one of them.
    pub fn holds(&self, page: u8) -> bool {
        self.pages.contains_key(&page)
    }

    /// What is known of them.
    pub fn summaries(&self) -> impl Iterator<Item = (u8, Summary)> {
        self.pages.iter().map(|(number, (summary, _))| (*number, *summary))
    }

    /// How many are not there that should be.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Whether all were read.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Takes one out, to be read.
    pub fn take(&mut self, number: u8) -> Option<String> {
        let (summary, text) = self.pages.remove(&number)?;
        self.subjects -= summary.subjects;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_stays_on_the_page_where_earlier_versions_put_it() {
        assert_eq!([&b""[..], b"4\xc0\x00\x02\x07", b"u\x04root"].map(page_of), [197, 79, 235]);
    }

    #[test]
    fn addresses_spread_over_all_pages() {
        let mut subjects = [0; 256];
        for number in 0..25_600_u32 {
            let [_, _, high, low] = number.to_be_bytes();
            subjects[usize::from(page_of(&[b'4', 192, 0, high, low]))] += 1;
        }
        assert!(subjects.iter().all(|subjects| (50..200).contains(subjects)), "{subjects:?}");
    }
}
