//! What a scanner remembers of a stream.

use serde::{Deserialize, Serialize};

use super::access_logs::RequestHosts;
use super::web_failures::WebFailures;
use crate::detect::{Held, LATENESS, Sessions};

/// How long a silent stream still holds back what is settled, in seconds of real time, and for how long lines are expected to come as late as
/// others did.
const ACTIVE: i64 = 24 * 60 * 60;

/// What is remembered.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct StreamState {
    pub(super) sessions: Sessions,
    /// The latest event, seconds since 1970 UTC.
    latest: Option<i64>,
    /// The run that last read something, seconds since 1970 UTC.
    active: i64,
    /// How late lines came lately, if some came later than all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    late: Option<Late>,
    #[serde(default, skip_serializing_if = "RequestHosts::is_empty")]
    pub(super) request_hosts: RequestHosts,
    #[serde(default, skip_serializing_if = "WebFailures::is_empty")]
    pub(super) web_failures: WebFailures,
}

/// How late lines come, as those of a host whose clock or zone is another one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Late {
    /// By how many seconds at most.
    by: i64,
    /// How far the stream had come when the last of these lines was read.
    seen: i64,
}

impl StreamState {
    /// The latest event, seconds since 1970 UTC; none before the first stamp.
    pub fn latest(&self) -> Option<i64> {
        self.latest
    }

    /// How far it has come, given that lines will come as late as they did within a day before, beyond what all may be late.
    pub fn reached(&self) -> Option<i64> {
        self.latest.map(|latest| latest.saturating_sub(self.late_by(latest)))
    }

    /// When a line of that host was written that has this stamp, or else stands in a log without stamps of that time, and whether that is late.
    /// `now` is the time of the run, `present` that at which it is read. All in seconds since 1970 UTC.
    pub fn place_in_time(
        &mut self,
        stamp: Option<i64>,
        fallback: i64,
        host: &[u8],
        now: i64,
        present: i64,
    ) -> (i64, bool) {
        let time = stamp.or(self.latest).unwrap_or(fallback);
        let late = self.latest.is_some_and(|latest| time < latest.saturating_sub(LATENESS));
        self.note_late(late.then_some(time), host);
        if let Some(stamp) = stamp {
            self.active = now;
            // A stamp so far ahead is a clock gone wrong, and says nothing of other lines.
            if stamp <= present.saturating_add(ACTIVE) {
                self.latest = Some(self.latest.map_or(stamp, |latest| latest.max(stamp)));
            }
        }
        (time, late)
    }

    /// Forgets what is too long ago at `now`, seconds since 1970 UTC; adds the lines whose sessions are over.
    pub fn forget(&mut self, now: i64, over: &mut Vec<Held>) {
        self.request_hosts.forget(now);
        self.web_failures.forget(now);
        self.sessions.settle(now, over);
    }

    fn late_by(&self, latest: i64) -> i64 {
        self.late.filter(|late| late.seen >= latest.saturating_sub(ACTIVE)).map_or(0, |late| late.by)
    }

    fn note_late(&mut self, time: Option<i64>, host: &[u8]) {
        // What is older still is an old log, or a clock gone wrong.
        let late = self.latest.zip(time).map(|(latest, time)| (latest, latest.saturating_sub(time)));
        let late = late.filter(|(_, by)| *by <= ACTIVE);
        if let Some((latest, by)) = late {
            self.late = Some(Late { by: by.max(self.late_by(latest)), seen: latest });
        }
        self.sessions.note_late(host, late.map(|(_, by)| by));
    }

    /// Whether something of it was read within a day before `now`, seconds since 1970 UTC.
    pub fn is_active(&self, now: i64) -> bool {
        self.active >= now - ACTIVE
    }

    /// Whether something waits for lines that won't come, because nothing was written for so long.
    pub fn is_left_open(&self, now: i64) -> bool {
        !self.sessions.is_empty() && !self.is_active(now)
    }

    /// Whether something waits that the run which read it last did not tell of, and one at `now` would.
    pub fn has_news(&self, now: i64) -> bool {
        self.sessions.any_held(|held| held.may_be_let_in(self.active) && !held.may_be_let_in(now))
    }
}
