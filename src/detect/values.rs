//! A set of the values that belong to one subject. Most sets have very few, there are very many sets, and some have thousands.

use foldhash::{HashSet, HashSetExt};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// From how many on they are found by their hashes.
const MANY: usize = 32;

/// The set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub enum Values {
    /// So few that looking at each is fastest.
    Few(SmallVec<[u64; 2]>),
    /// Many.
    Many(Box<HashSet<u64>>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl Values {
    /// How many different ones there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Few(values) => values.len(),
            Self::Many(values) => values.len(),
        }
    }

    /// Adds one, if it is new.
    pub fn insert(&mut self, value: u64) {
        match self {
            Self::Few(values) if values.contains(&value) => {}
            Self::Few(values) if values.len() < MANY => values.push(value),
            Self::Few(values) => {
                let mut many = HashSet::with_capacity(2 * MANY);
                many.extend(values.drain(..).chain([value]));
                *self = Self::Many(Box::new(many));
            }
            Self::Many(values) => {
                values.insert(value);
            }
        }
    }
}

impl From<Values> for Vec<u64> {
    fn from(values: Values) -> Self {
        let mut all = match values {
            Values::Few(values) => values.into_vec(),
            Values::Many(values) => values.into_iter().collect(),
        };
        all.sort_unstable();
        all
    }
}

impl From<Vec<u64>> for Values {
    fn from(all: Vec<u64>) -> Self {
        let mut values = Self::default();
        all.into_iter().for_each(|value| values.insert(value));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_counts_once_however_many_there_are() {
        let mut values = Values::default();
        for n in 0..1000_u64 {
            values.insert(n % 7);
            assert_eq!(values.len() as u64, 7.min(n + 1));
        }
        (0..500).chain(0..100).for_each(|n| values.insert(n));
        assert_eq!(values.len(), 500);
        let stored = serde_json::to_string(&values).unwrap();
        assert_eq!(serde_json::from_str::<Values>(&stored).unwrap(), values);
        assert!(stored.starts_with("[0,1,2,"));
    }
}
