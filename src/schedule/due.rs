//! Which slots of a job have come, and what is to become of each.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::{LONGEST_SHIFT, next_after};
use crate::model::{CatchUp, Policy, Schedule};

/// How many slots are decided one by one; older ones are left out.
pub const KEPT: usize = 100;

/// A slot that is not older than this is simply due: the machine was busy, or logkeeper was started again.
pub const FRESH: TimeDelta = TimeDelta::seconds(60);

/// A difference between the wall clock's progress and real time that is larger than this means that the clock was set.
pub const STEP: TimeDelta = TimeDelta::seconds(60);

/// How far back is looked at first.
const FIRST_LOOK: TimeDelta = TimeDelta::minutes(2);

/// Slots are looked for so far back, or as far as the catch-up window reaches if that is farther.
const LOOK_BACK: TimeDelta = TimeDelta::days(1);

/// What becomes of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Due,
    /// It was missed, and runs now.
    CatchUp,
    /// It doesn't run, and why.
    Missed(&'static str),
}

/// The slots of a job that have come since it was looked at last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Oldest first.
    pub slots: Vec<(DateTime<Utc>, Verdict)>,
    /// Whether there are older ones that are not among them.
    pub more: bool,
    /// Whether the job's time begins anew, because the clock was set back: slots that come again are new ones.
    pub anew: bool,
    /// Every slot up to here is decided.
    pub cursor: DateTime<Utc>,
}

/// Decides about the slots after `cursor` up to `now`. `step` is how far the wall clock was set since the last look, forward
/// or (negative) back.
///
/// Debian's rules for a clock that was set (cron(8)): forward by up to three hours, a wall-clock job runs once for what it
/// missed, and one that follows elapsed time has missed nothing. Back by up to three hours, a wall-clock job waits
/// until the time it has seen has passed again. Beyond three hours the clock was wrong before, and nothing is made up.
pub fn decide(
    schedule: &Schedule,
    policy: &Policy,
    cursor: DateTime<Utc>,
    now: DateTime<Utc>,
    step: TimeDelta,
) -> Decision {
    let wildcard = schedule.expression.is_wildcard();
    let bearable = if wildcard { STEP } else { LONGEST_SHIFT };
    if cursor > now + bearable || step < -bearable {
        return Decision { slots: Vec::new(), more: false, anew: true, cursor: now };
    }
    let (found, more) = between(schedule, policy, cursor, now);
    let before_step = now - step.max(TimeDelta::zero());
    let last = found.back().copied();
    let window = TimeDelta::from_std(policy.catch_up_window).unwrap_or(TimeDelta::MAX);
    let makes_up = found.front().is_some_and(|first| *first < now - FRESH);
    let verdict = |slot: DateTime<Utc>| {
        let skipped = step > STEP && slot > before_step;
        match policy.catch_up {
            _ if skipped && (wildcard || step > LONGEST_SHIFT) => Verdict::Missed("the clock was set forward over it"),
            _ if skipped && Some(slot) == last => Verdict::Due,
            _ if skipped => Verdict::Missed("the clock was set forward over it, and a later slot ran"),
            // It takes its place behind those that are made up for, instead of being skipped because of them.
            CatchUp::All if slot >= now - FRESH && makes_up => Verdict::CatchUp,
            _ if slot >= now - FRESH => Verdict::Due,
            _ if now.signed_duration_since(slot) > window => Verdict::Missed("it was missed for too long"),
            CatchUp::All => Verdict::CatchUp,
            CatchUp::Last if Some(slot) == last => Verdict::CatchUp,
            CatchUp::Last => Verdict::Missed("logkeeper was not running at that time, and a later slot ran"),
            CatchUp::None => Verdict::Missed("logkeeper was not running at that time"),
        }
    };
    let slots = found.into_iter().map(|slot| (slot, verdict(slot))).collect();
    Decision { slots, more, anew: false, cursor: cursor.max(last.unwrap_or(now)) }
}

/// The newest slots after `cursor` up to and including `now`, oldest first, and whether older ones were left out.
///
/// It looks back a little, then farther, because a job of every second has half a million slots in a week.
fn between(
    schedule: &Schedule,
    policy: &Policy,
    cursor: DateTime<Utc>,
    now: DateTime<Utc>,
) -> (VecDeque<DateTime<Utc>>, bool) {
    let window = TimeDelta::from_std(policy.catch_up_window).unwrap_or(LOOK_BACK).max(LOOK_BACK);
    let earliest = now.checked_sub_signed(window).map_or(cursor, |earliest| earliest.max(cursor));
    let mut reach = FIRST_LOOK;
    loop {
        let from = now.checked_sub_signed(reach).map_or(earliest, |from| from.max(earliest));
        let (mut slots, mut more) = (VecDeque::new(), from > earliest);
        let following = std::iter::successors(next_after(schedule, from), |at| next_after(schedule, *at));
        for slot in following.take_while(|slot| *slot <= now) {
            if slots.len() == KEPT {
                slots.pop_front();
                more = true;
            }
            slots.push_back(slot);
        }
        if from == earliest || slots.len() == KEPT {
            return (slots, more);
        }
        reach = reach * 8;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn instant(text: &str) -> DateTime<Utc> {
        format!("2026-06-{text}Z").parse().unwrap()
    }

    /// What becomes of the slots of `expression`, as `day-hour:minute verdict`.
    fn decided(expression: &str, catch_up: CatchUp, cursor: &str, now: &str, step: TimeDelta) -> (Vec<String>, bool) {
        let schedule = Schedule { expression: expression.parse().unwrap(), zone: chrono_tz::UTC };
        let policy = Policy {
            catch_up,
            catch_up_window: Duration::from_secs(86_400),
            overlap: crate::model::Overlap::Skip,
            timeout: None,
            grace: Duration::ZERO,
            retries: 0,
            retry_delay: Duration::ZERO,
            jitter: Duration::ZERO,
        };
        let decision = decide(&schedule, &policy, instant(cursor), instant(now), step);
        let word = |verdict| match verdict {
            Verdict::Due => "due",
            Verdict::CatchUp => "catch-up",
            Verdict::Missed(_) => "missed",
        };
        let slots = decision.slots.iter().map(|(at, verdict)| format!("{} {}", at.format("%H:%M"), word(*verdict)));
        (slots.collect(), decision.anew)
    }

    #[test]
    fn downtime_follows_the_jobs_catch_up() {
        let hourly = |catch_up| decided("0 * * * *", catch_up, "01T10:30:00", "01T13:20:00", TimeDelta::zero()).0;
        assert_eq!(hourly(CatchUp::Last), ["11:00 missed", "12:00 missed", "13:00 catch-up"]);
        assert_eq!(hourly(CatchUp::All), ["11:00 catch-up", "12:00 catch-up", "13:00 catch-up"]);
        assert_eq!(hourly(CatchUp::None), ["11:00 missed", "12:00 missed", "13:00 missed"]);
        let late = decided("0 * * * *", CatchUp::None, "01T10:30:00", "01T11:00:20", TimeDelta::zero()).0;
        assert_eq!(late, ["11:00 due"], "a short restart loses nothing");
        let old = decided("0 12 * * *", CatchUp::All, "01T00:00:00", "02T13:00:00", TimeDelta::zero()).0;
        assert_eq!(old, ["12:00 catch-up"], "what lies beyond the window is not looked for");
    }

    /// The measured runs of Debian's cron are in `../shared/vectors/cron.json` under `debian_measured_clock_steps`.
    #[test]
    fn a_clock_that_was_set_is_followed_as_debian_does() {
        let (hours, last) = (TimeDelta::hours, CatchUp::Last);
        // Forward by two hours at 12:01:45, so that it is 14:02 when the daemon looks.
        assert_eq!(decided("30 12 * * *", last, "01T12:00:30", "01T14:02:00", hours(2)).0, ["12:30 due"]);
        assert_eq!(
            decided("30 12,13 * * *", last, "01T12:00:30", "01T14:02:00", hours(2)).0,
            ["12:30 missed", "13:30 due"]
        );
        let every = decided("*/30 * * * *", last, "01T12:01:00", "01T14:02:00", hours(2)).0;
        assert_eq!(every, ["12:30 missed", "13:00 missed", "13:30 missed", "14:00 missed"]);
        // Forward by four hours: a correction.
        assert_eq!(decided("30 12 * * *", last, "01T12:00:30", "01T16:02:00", hours(4)).0, ["12:30 missed"]);
        // Back by two hours after 13:30 ran: the wall-clock job waits, the other one follows.
        assert_eq!(decided("30 13 * * *", last, "01T13:30:00", "01T11:31:00", hours(-2)), (vec![], false));
        assert_eq!(decided("* * * * *", last, "01T13:30:00", "01T11:31:00", hours(-2)), (vec![], true));
        // Back by four hours: both follow.
        assert_eq!(decided("30 13 * * *", last, "01T13:30:00", "01T09:31:00", hours(-4)), (vec![], true));
        // The machine slept: that is no step.
        assert_eq!(decided("30 12 * * *", last, "01T12:00:30", "01T16:02:00", hours(0)).0, ["12:30 catch-up"]);
    }
}
