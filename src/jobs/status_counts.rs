//! Counts of answers by status: of everything, and of one address among very many.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// Counts of answers by status.
#[derive(Clone)]
pub struct StatusCounts(Box<[u64; 1000]>);

impl Default for StatusCounts {
    fn default() -> Self {
        Self(Box::new([0; 1000]))
    }
}

impl StatusCounts {
    /// Counts an answer.
    pub fn add(&mut self, status: u16) {
        if let Some(count) = self.0.get_mut(usize::from(status)) {
            *count += 1;
        }
    }

    /// The statuses that occurred.
    pub fn all(&self) -> BTreeMap<u16, u64> {
        (0..).zip(self.0.iter().copied()).filter(|(_, count)| *count > 0).collect()
    }
}

/// Counts of answers by status that need little room while there are few different ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FewCounts {
    /// Those that were seen first.
    first: [(u16, u16); 4],
    others: Option<Box<Others>>,
}

/// What few addresses have, outside the table: half a line of the cache holds the rest then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Others(BTreeMap<u16, u64>);

impl FewCounts {
    /// Counts an answer.
    pub fn add(&mut self, status: u16) {
        for (known, count) in &mut self.first {
            if *count == 0 {
                *known = status;
            }
            if *known == status {
                *count += 1;
                if *count == u16::MAX {
                    self.others.get_or_insert_default().add(status, u64::from(std::mem::take(count)));
                }
                return;
            }
        }
        self.others.get_or_insert_default().add(status, 1);
    }

    /// The statuses that occurred.
    pub fn all(&self) -> BTreeMap<u16, u64> {
        let mut all = self.others.as_ref().map(|others| others.0.clone()).unwrap_or_default();
        for (status, count) in self.first.iter().filter(|(_, count)| *count > 0) {
            *all.entry(*status).or_default() += u64::from(*count);
        }
        all
    }

    /// How many answers these are.
    pub fn sum(&self) -> u64 {
        let others = self.others.iter().flat_map(|others| others.0.values());
        others.sum::<u64>() + self.first.iter().map(|(_, count)| u64::from(*count)).sum::<u64>()
    }
}

impl Others {
    fn add(&mut self, status: u16, count: u64) {
        *self.0.entry(status).or_default() += count;
    }
}

impl Serialize for FewCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.others.is_some() {
            return self.all().serialize(serializer);
        }
        let mut all = self.first;
        all.sort_unstable();
        serializer.collect_map(all.iter().filter(|(_, count)| *count > 0).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_statuses_are_counted_alike() {
        let (mut few, mut all) = (FewCounts::default(), StatusCounts::default());
        for n in 0..400_000_u32 {
            // Some so often that they need more room.
            let status = 200 + if n % 3 == 0 { 0 } else { n * 7919 % 23 } as u16;
            few.add(status);
            all.add(status);
        }
        assert_eq!(few.all(), all.all());
        assert_eq!((few.all().values().sum(), few.sum()), (400_000_u64, 400_000));
    }
}
