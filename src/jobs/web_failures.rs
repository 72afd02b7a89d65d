//! Who failed to log in at a web server, to tell when they are let in: access logs say so of no login, only of each request.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::detect::{LATENESS, Sighting};
use crate::model::Action;

/// How long failures are remembered, in seconds.
const KEPT: i64 = 24 * 60 * 60;

/// Of how many they are remembered at most; of more of the later half.
const MOST: usize = 5000;

/// When who failed last, asking for what, by digests of both. A server may log a name that it was given with a request for what anybody may
/// have, or that it only sends elsewhere, so only an answer to the very same question tells that somebody was let in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct WebFailures(BTreeMap<u64, i64>);

impl WebFailures {
    /// Takes in what became of a request; says whether it lets in who failed before.
    pub fn let_in(&mut self, sighting: &Sighting<'_>) -> bool {
        let Some(event) = sighting.event else { return false };
        let Action::Request { status } = event.action else { return false };
        let (failed, time) = (sighting.failures > 0, sighting.time);
        if !failed && (!(200..300).contains(&status) || self.0.is_empty()) {
            return false;
        }
        let Some(who) = sighting.who() else { return false };
        let key = FixedState::with_seed(0).hash_one((who, event.request));
        if failed {
            self.0.entry(key).and_modify(|last| *last = time.max(*last)).or_insert(time);
            self.make_room();
            return false;
        }
        // A request has the time at which it began, and is logged when it ends.
        let is_soon = |last: &i64| (-LATENESS..=KEPT).contains(&time.saturating_sub(*last));
        let lets_in = self.0.get(&key).is_some_and(is_soon);
        if lets_in {
            self.0.remove(&key);
        }
        lets_in
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets what is too long ago at `now`, seconds since 1970 UTC.
    pub fn forget(&mut self, now: i64) {
        self.0.retain(|_, last| last.saturating_add(KEPT) >= now);
    }

    fn make_room(&mut self) {
        if self.0.len() > MOST {
            let mut by_time: Vec<(i64, u64)> = self.0.iter().map(|(key, last)| (*last, *key)).collect();
            by_time.select_nth_unstable(MOST / 2);
            for (_, key) in &by_time[..MOST / 2] {
                self.0.remove(key);
            }
        }
    }
}
