//! What was counted in each quarter of an hour.

use std::collections::BTreeMap;

use foldhash::HashMap;

use crate::model::Tally;
use crate::model::tally::{BUCKET, forget_far_from};
use crate::store::BucketTally;

/// The hours of thirteen months and a bit, of which a source's counts are kept at least: a log may claim to be of any year.
pub const LEAST_HOURS: usize = 10_000;

/// Counts by source and bucket.
pub struct Tallies {
    sources: HashMap<String, BTreeMap<i64, Tally>>,
    /// The present bucket.
    now: i64,
    /// How many buckets of a source are kept.
    most: usize,
    /// Lines whose counts were let go of.
    forgotten: u64,
}

impl Tallies {
    /// No counts yet. `now`, in seconds since 1970 UTC: of more buckets than those of so many hours the ones next to it are kept.
    pub fn new(now: i64, hours: usize) -> Self {
        let most = hours.max(LEAST_HOURS) * (60 * 60 / BUCKET) as usize;
        Self { sources: HashMap::default(), now: now.div_euclid(BUCKET), most, forgotten: 0 }
    }

    /// Adds counts of one bucket.
    pub fn add(&mut self, source: &str, bucket: i64, counts: &Tally) {
        if !self.sources.contains_key(source) {
            self.sources.insert(source.to_owned(), BTreeMap::new());
        }
        let Some(buckets) = self.sources.get_mut(source) else { return };
        buckets.entry(bucket).or_default().add(counts);
        if buckets.len() > self.most {
            self.forgotten += forget_far_from(self.now, buckets).map_or(0, |forgotten| forgotten.lines);
        }
    }

    /// How many lines are not in the counts, because there were too many buckets.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The counts, by source and in the order of time.
    pub fn take(&mut self) -> Vec<BucketTally> {
        let sources: BTreeMap<String, BTreeMap<i64, Tally>> = std::mem::take(&mut self.sources).into_iter().collect();
        let of_source = |(source, buckets): (String, BTreeMap<i64, Tally>)| {
            let bucket = move |(bucket, tally)| BucketTally { source: source.clone(), bucket, tally };
            buckets.into_iter().map(bucket)
        };
        sources.into_iter().flat_map(of_source).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_buckets_than_a_year_has_those_next_to_the_present_stay() {
        let mut tallies = Tallies::new(50_000 * BUCKET, 0);
        for bucket in [1, 1_000_000].into_iter().chain(30_000..50_000).chain(49_999 + 1..70_000) {
            tallies.add("web", bucket, &Tally { lines: 2, ..Tally::default() });
        }
        assert_eq!(tallies.forgotten(), 4);
        let kept: Vec<i64> = tallies.take().into_iter().map(|tally| tally.bucket).collect();
        assert_eq!(kept, (30_000..70_000).collect::<Vec<_>>());
    }
}
