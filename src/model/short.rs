//! Bytes of which there are very many in tables, most of them few: they lie in the table itself, because looking for another
//! one elsewhere takes time.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// How many bytes are kept in place.
const IN_PLACE: usize = 22;

/// Bytes, to be found in a table by a slice of the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub enum ShortBytes {
    /// How many, and which.
    Short(u8, [u8; IN_PLACE]),
    /// More than have their place.
    Long(Box<[u8]>),
}

impl Default for ShortBytes {
    fn default() -> Self {
        Self::Short(0, [0; IN_PLACE])
    }
}

impl From<&[u8]> for ShortBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut short = [0; IN_PLACE];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Short(bytes.len() as u8, short)
            }
            None => Self::Long(bytes.into()),
        }
    }
}

impl From<Vec<u8>> for ShortBytes {
    fn from(bytes: Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl From<ShortBytes> for Vec<u8> {
    fn from(short: ShortBytes) -> Self {
        short.as_slice().into()
    }
}

impl ShortBytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for ShortBytes {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for ShortBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for ShortBytes {}

impl PartialOrd for ShortBytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ShortBytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for ShortBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_ones_are_what_they_were() {
        for length in 0..60 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(ShortBytes::from(bytes.as_slice()).as_slice(), bytes);
        }
    }
}
