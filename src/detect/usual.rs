//! What is usual: how many answers with an error a minute of this hour of this weekday has.
//!
//! The median of the minutes of the same hour of the week and of the hours before and after it, over the last weeks, and
//! how far they spread. A median doesn't mind a few bad minutes among them, and those that were found are left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An hour of the week comes again after so many hours.
const WEEK: i64 = 7 * 24;

/// How many weeks are looked back.
const WEEKS: i64 = 8;

/// How many weeks must have passed before anything is called usual, and in how many of those looked at something must have been
/// counted: of the others nobody knows whether there was nothing or nobody looked.
const WEEKS_NEEDED: i64 = 2;

/// How many minutes of an hour are left out at most. What stays unusual for longer is going to be usual.
const MOST_LEFT_OUT: u32 = 15;

/// From the median absolute deviation to the standard deviation of a normal distribution.
const DEVIATION: f64 = 1.48;

/// The minutes of past hours. Hours are counted on the wall clock, from 1970 on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    hours: BTreeMap<i64, Hour>,
}

/// The minutes of one hour.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Hour {
    /// How many minutes had so many answers; those without any are not listed.
    counts: BTreeMap<u64, u32>,
    /// How many minutes are left out because they were unusual.
    left_out: u32,
}

/// What is usual.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Half of the minutes had at most so many.
    pub median: u64,
    /// How far minutes are usually away from that, at least 1.
    pub spread: f64,
}

impl Level {
    /// What lies `factor` spreads above the usual; more than this is unusual.
    pub fn limit(&self, factor: u32) -> f64 {
        self.median as f64 + f64::from(factor) * self.spread
    }
}

impl History {
    /// Remembers a minute with so many answers.
    pub fn learn(&mut self, hour: i64, answers: u64) {
        *self.hours.entry(hour).or_default().counts.entry(answers).or_default() += 1;
    }

    /// Remembers that a minute was unusual.
    pub fn leave_out(&mut self, hour: i64) {
        self.hours.entry(hour).or_default().left_out += 1;
    }

    /// How many minutes of an hour were left out.
    fn left_out(&self, hour: i64) -> u32 {
        self.hours.get(&hour).map_or(0, |hour| hour.left_out)
    }

    /// Forgets what no hour from `hour` on looks back to.
    pub fn forget_before(&mut self, hour: i64) {
        self.hours = self.hours.split_off(&(hour - WEEKS * WEEK - WEEK / 2));
    }
}

/// Whether another unusual minute of an hour may be left out, given these histories together.
pub fn may_leave_out(histories: [&History; 2], hour: i64) -> bool {
    histories.iter().map(|history| history.left_out(hour)).sum::<u32>() < MOST_LEFT_OUT
}

/// What is usual for an hour, given these histories together, of which nothing is known before the hour `since`; `None` as
/// long as that is too short ago.
pub fn level(histories: [&History; 2], since: i64, hour: i64) -> Option<Level> {
    if hour - WEEKS_NEEDED * WEEK < since {
        return None;
    }
    let is_known = |week: &i64| {
        let middle = hour - week * WEEK;
        histories.iter().any(|history| history.hours.range(middle - WEEK / 2..=middle + WEEK / 2).next().is_some())
    };
    let weeks: Vec<i64> = (1..=WEEKS).filter(is_known).collect();
    if (weeks.len() as i64) < WEEKS_NEEDED {
        return None;
    }
    let past = weeks.iter().flat_map(|week| [-1, 0, 1].map(|beside| hour - week * WEEK + beside));
    let past: Vec<i64> = past.filter(|past| *past >= since).collect();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut minutes = past.len() as u64 * 60;
    for hour in past.iter().flat_map(|past| histories.map(|history| history.hours.get(past))).flatten() {
        minutes = minutes.saturating_sub(u64::from(hour.left_out));
        for (answers, minutes) in &hour.counts {
            *counts.entry(*answers).or_default() += u64::from(*minutes);
        }
    }
    let with_answers: u64 = counts.values().sum();
    *counts.entry(0).or_default() += minutes.saturating_sub(with_answers);
    let median = median(&counts);
    let mut distances: BTreeMap<u64, u64> = BTreeMap::new();
    for (answers, minutes) in &counts {
        *distances.entry(answers.abs_diff(median)).or_default() += minutes;
    }
    let deviation = DEVIATION * self::median(&distances) as f64;
    Some(Level { median, spread: deviation.max((median as f64).sqrt()).max(1.0) })
}

/// The value in the middle, given how often each occurs.
fn median(counts: &BTreeMap<u64, u64>) -> u64 {
    let middle = counts.values().sum::<u64>() / 2;
    let mut before = 0;
    let at = counts.iter().find(|(_, times)| {
        before += **times;
        before > middle
    });
    at.map_or(0, |(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread_are_those_of_the_same_hour_of_the_week() {
        let mut history = History::default();
        // Minutes of 0 to 59 answers in each of the three hours of two weeks; the hours between are silent.
        for hour in [-1, 0, 1].into_iter().flat_map(|beside| [beside, WEEK + beside]) {
            (0..60).for_each(|minute| history.learn(hour, minute));
        }
        let none = History::default();
        let level_at = |hour| level([&history, &none], -1, hour);
        assert_eq!(level_at(2 * WEEK), Some(Level { median: 30, spread: 1.48 * 15.0 }));
        assert_eq!(level_at(2 * WEEK + 10), Some(Level { median: 0, spread: 1.0 }), "silence is usual here");
        assert_eq!(level_at(2 * WEEK - 2), None, "two weeks are needed");
        assert_eq!(level([&none, &history], -1, 2 * WEEK), level_at(2 * WEEK), "whichever history knows it");
    }

    #[test]
    fn weeks_of_which_nothing_is_known_say_nothing() {
        let (mut history, none) = (History::default(), History::default());
        // One line of years ago, and one week.
        history.learn(-100 * WEEK, 1);
        (0..WEEK).for_each(|hour| history.learn(hour, 20));
        assert_eq!(level([&history, &none], -100 * WEEK, WEEK), None);
        (WEEK..2 * WEEK).for_each(|hour| (0..60).for_each(|_| history.learn(hour, 20)));
        assert!(level([&history, &none], -100 * WEEK, 2 * WEEK + WEEK / 3).is_some());
    }

    #[test]
    fn what_is_left_out_is_not_taken_for_silence() {
        let (mut history, none) = (History::default(), History::default());
        for hour in [WEEK - 1, WEEK, WEEK + 1, -1, 0, 1] {
            (0..20).for_each(|_| history.learn(hour, 9));
            (0..40).for_each(|_| history.leave_out(hour));
        }
        assert_eq!(level([&history, &none], -1, 2 * WEEK).unwrap().median, 9);
    }
}
