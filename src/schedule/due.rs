//! Which slots of a job lie between two instants, and which of them still deserve a run.

use chrono::{DateTime, TimeDelta, Utc};

use super::next_after;
use crate::model::Schedule;

/// How many missed slots are put on record one by one; older ones are only counted.
pub const MISSED_KEPT: usize = 100;

/// How old a missed slot may be to be made up for.
pub const CATCH_UP_WINDOW: TimeDelta = TimeDelta::days(7);

/// The slots after `cursor` up to and including `now`, oldest first, and how many older ones were left out.
pub fn between(schedule: &Schedule, cursor: DateTime<Utc>, now: DateTime<Utc>) -> (Vec<DateTime<Utc>>, usize) {
    let mut slots = std::collections::VecDeque::new();
    let mut dropped = 0;
    let mut at = cursor;
    while let Some(next) = next_after(schedule, at).filter(|next| *next <= now) {
        if slots.len() == MISSED_KEPT {
            slots.pop_front();
            dropped += 1;
        }
        slots.push_back(next);
        at = next;
    }
    (slots.into(), dropped)
}
