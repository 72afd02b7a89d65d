//! Which archives stay and which may go: decided from their dates and sizes alone.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, NaiveDate, Utc};

use crate::model::archive::Retention;

/// What counts about an archive.
#[derive(Debug, Clone)]
pub struct Item {
    /// Whose logs it holds: host and source. Rules count the archives of each alone.
    pub group: (String, String),
    /// The date in its name.
    pub date: NaiveDate,
    /// When it was made, seconds since 1970 UTC.
    pub made: i64,
    /// Its size in bytes, with its manifest.
    pub size: u64,
    /// Why it stays whatever the rules say: somebody wants it, or it is damaged or not there.
    pub held: Option<String>,
    /// Whether it can be read; one that can't takes no other's place.
    pub whole: bool,
}

/// What becomes of an archive, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it goes.
    pub goes: bool,
    /// Why.
    pub reason: String,
}

/// Decides about each archive of a store. Those of a group's newest date stay, and what is held stays. An archive is no copy of
/// another one of its date, so of a date that is kept all stay. `free` is how many bytes the store's file system has left.
pub fn retain(items: &[Item], keep: &Retention, now: DateTime<Utc>, free: u64) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = items.iter().map(|_| gone("no rule keeps it")).collect();
    let mut groups: BTreeMap<&(String, String), Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        groups.entry(&item.group).or_default().push(index);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|index| std::cmp::Reverse((items[*index].date, items[*index].made, *index)));
        by_rules(items, group, keep, now, &mut verdicts);
    }
    let newest: BTreeSet<usize> = groups.values().flat_map(|group| newest(items, group)).collect();
    by_size(items, &newest, keep, free, &mut verdicts);
    verdicts
}

fn stays(reason: impl Into<String>) -> Verdict {
    Verdict { goes: false, reason: reason.into() }
}

fn gone(reason: impl Into<String>) -> Verdict {
    Verdict { goes: true, reason: reason.into() }
}

/// The archives of a group's newest date of which one can be read.
fn newest<'a>(items: &'a [Item], group: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let date = group.iter().find(|index| items[**index].whole).map(|index| items[*index].date);
    group.iter().copied().filter(move |index| Some(items[*index].date) == date)
}

/// A rule that keeps the newest archive of each of the last so many periods: its name, its number, the period of a date.
type PeriodRule = (&'static str, u32, fn(NaiveDate) -> (i32, u32));

/// `group` is one group's archives, newest first.
fn by_rules(items: &[Item], group: &[usize], keep: &Retention, now: DateTime<Utc>, verdicts: &mut [Verdict]) {
    let periods: [PeriodRule; 4] = [
        ("day", keep.daily, |date| (date.year(), date.ordinal())),
        ("week", keep.weekly, |date| (date.iso_week().year(), date.iso_week().week())),
        ("month", keep.monthly, |date| (date.year(), date.month())),
        ("year", keep.yearly, |date| (date.year(), 0)),
    ];
    // Of each rule the periods that have had theirs, with the date that it was.
    let mut seen: [BTreeMap<(i32, u32), NaiveDate>; 4] = Default::default();
    let newest: BTreeSet<usize> = newest(items, group).collect();
    let mut rank = 0;
    for &index in group {
        let item = &items[index];
        let mut reasons = Vec::new();
        if rank < keep.last {
            reasons.push(format!("one of the last {}", keep.last));
        }
        rank += u32::from(item.whole);
        for ((name, count, period), seen) in periods.iter().zip(&mut seen) {
            let period = period(item.date);
            if item.whole && seen.len() < *count as usize {
                seen.entry(period).or_insert(item.date);
            }
            if seen.get(&period) == Some(&item.date) {
                reasons.push(format!("the newest of its {name}"));
            }
        }
        let age = now.date_naive().signed_duration_since(item.date).num_days();
        if let Some(within) = keep.within
            && age * 86_400 <= within.as_secs() as i64
        {
            reasons.push(format!("{age} days old"));
        }
        verdicts[index] = match &item.held {
            Some(why) => stays(why.clone()),
            None if newest.contains(&index) => stays("the newest of its source"),
            _ if !reasons.is_empty() => stays(reasons.join(", ")),
            _ if !keep.has_rules() => stays("no rule of dates"),
            _ => gone("no rule keeps it"),
        };
    }
}

/// Lets the oldest go until what is left fits.
fn by_size(items: &[Item], newest: &BTreeSet<usize>, keep: &Retention, free: u64, verdicts: &mut [Verdict]) {
    let sum = |verdicts: &[Verdict], goes: bool| -> u64 {
        items.iter().zip(verdicts).filter(|(_, verdict)| verdict.goes == goes).map(|(item, _)| item.size).sum()
    };
    let (mut total, mut free) = (sum(verdicts, false), free.saturating_add(sum(verdicts, true)));
    let mut by_age: Vec<usize> = (0..items.len()).filter(|index| !verdicts[*index].goes).collect();
    by_age.sort_by_key(|index| (items[*index].date, items[*index].made));
    for index in by_age {
        let item = &items[index];
        let reason = match (keep.max_total, keep.min_free) {
            (Some(most), _) if total > most => format!("the store holds more than {most} bytes"),
            (_, Some(least)) if free < least => format!("the disk has less than {least} bytes free"),
            _ => return,
        };
        if item.held.is_none() && !newest.contains(&index) {
            verdicts[index] = gone(reason);
            (total, free) = (total - item.size, free.saturating_add(item.size));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily(days: u32) -> Vec<Item> {
        let last = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        let item = |age: u32| Item {
            group: ("web1".into(), "logs".into()),
            date: last - chrono::Days::new(age.into()),
            made: 0,
            size: 10,
            held: None,
            whole: true,
        };
        (0..days).map(item).collect()
    }

    fn left(items: &[Item], keep: &Retention, free: u64) -> Vec<String> {
        let now = "2026-11-21T03:00:00Z".parse().unwrap();
        let verdicts = retain(items, keep, now, free);
        let kept = items.iter().zip(verdicts).filter(|(_, verdict)| !verdict.goes);
        kept.map(|(item, _)| item.date.to_string()).collect()
    }

    #[test]
    fn each_rule_keeps_the_newest_of_its_periods() {
        let items = daily(800);
        assert_eq!(left(&items, &Retention { last: 2, ..Retention::default() }, 0), ["2026-11-20", "2026-11-19"]);
        assert_eq!(
            left(&items, &Retention { monthly: 3, ..Retention::default() }, 0),
            ["2026-11-20", "2026-10-31", "2026-09-30"]
        );
        assert_eq!(left(&items, &Retention { weekly: 2, ..Retention::default() }, 0), ["2026-11-20", "2026-11-15"]);
        assert_eq!(
            left(&items, &Retention { yearly: 5, ..Retention::default() }, 0),
            ["2026-11-20", "2025-12-31", "2024-12-31"]
        );
        let week = Retention { within: Some(std::time::Duration::from_secs(3 * 86_400)), ..Retention::default() };
        assert_eq!(left(&items, &week, 0), ["2026-11-20", "2026-11-19", "2026-11-18"]);
    }

    #[test]
    fn without_rules_all_stay_and_sizes_let_the_oldest_go() {
        let items = daily(5);
        assert_eq!(left(&items, &Retention::default(), 0).len(), 5);
        assert_eq!(
            left(&items, &Retention { max_total: Some(25), ..Retention::default() }, 0),
            ["2026-11-20", "2026-11-19"]
        );
        assert_eq!(
            left(&items, &Retention { min_free: Some(130), ..Retention::default() }, 100),
            ["2026-11-20", "2026-11-19"]
        );
        assert_eq!(left(&items, &Retention { min_free: Some(100), ..Retention::default() }, 100).len(), 5);
    }

    #[test]
    fn the_newest_and_what_is_held_stay_whatever_the_rules_say() {
        let mut items = daily(4);
        items[3].held = Some("lawsuit".into());
        assert_eq!(
            left(&items, &Retention { max_total: Some(1), ..Retention::default() }, 0),
            ["2026-11-20", "2026-11-17"]
        );
        assert_eq!(
            left(&items[1..], &Retention { yearly: 1, ..Retention::default() }, 0),
            ["2026-11-19", "2026-11-17"]
        );
    }

    #[test]
    fn archives_of_one_day_are_no_copies_of_each_other() {
        let mut items = [daily(3), daily(3), daily(3)].concat();
        assert_eq!(left(&items, &Retention { daily: 2, ..Retention::default() }, 0).len(), 6);
        assert_eq!(left(&items, &Retention { last: 1, ..Retention::default() }, 0), ["2026-11-20"; 3]);
        items.truncate(6);
        assert_eq!(left(&items, &Retention { max_total: Some(1), ..Retention::default() }, 0), ["2026-11-20"; 2]);
    }

    #[test]
    fn what_can_not_be_read_takes_no_others_place() {
        let mut items = daily(60);
        for index in [0, 20] {
            (items[index].whole, items[index].held) = (false, Some("damaged".into()));
        }
        let kept = left(&items, &Retention { monthly: 2, ..Retention::default() }, 0);
        assert_eq!(kept, ["2026-11-20", "2026-11-19", "2026-10-31", "2026-10-30"]);
    }

    #[test]
    fn groups_are_counted_alone() {
        let mut items = daily(2);
        items[1].group.0 = "web2".into();
        assert_eq!(left(&items, &Retention { last: 1, ..Retention::default() }, 0).len(), 2);
    }
}
