//! The clock is set back and forth under the real ticker, through the `Timer` trait: the machine's own clock is left alone.
//!
//! What Debian's cron does was measured; the figures are in `../shared/vectors/cron.json` under `debian_measured_clock_steps`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use logkeeper::clock::Clock;
use logkeeper::daemon::planner::Planner;
use logkeeper::daemon::service::Service;
use logkeeper::daemon::ticker;
use logkeeper::daemon::timer::Timer;
use logkeeper::runner::App;
use logkeeper::store::{RunFilter, Store};

use crate::support::TestBed;

/// A wall clock and the time since boot, in milliseconds, set by hand.
#[derive(Clone)]
struct HandClock {
    wall: Arc<AtomicI64>,
    boot: Arc<AtomicI64>,
}

impl HandClock {
    fn at(instant: &str) -> Self {
        let wall: DateTime<Utc> = instant.parse().unwrap();
        Self { wall: Arc::new(wall.timestamp_millis().into()), boot: Arc::new(1_000_000_000.into()) }
    }

    /// Time passes.
    fn pass(&self, time: TimeDelta) {
        self.boot.fetch_add(time.num_milliseconds(), Ordering::SeqCst);
        self.set(time);
    }

    /// Only the wall clock changes.
    fn set(&self, by: TimeDelta) {
        self.wall.fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.wall.load(Ordering::SeqCst)).unwrap()
    }
    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.boot.load(Ordering::SeqCst).unsigned_abs())
    }
    fn boot(&self) -> String {
        "one".to_owned()
    }
}

/// Wakes at the instant or when the clock is set, as a timerfd does.
impl Timer for HandClock {
    fn wait(&self, until: Option<DateTime<Utc>>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let lag = |clock: &Self| clock.wall.load(Ordering::SeqCst) - clock.boot.load(Ordering::SeqCst);
        Box::pin(async move {
            let before = lag(self);
            while until.is_none_or(|until| self.now() < until) && lag(self) == before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    }
}

/// What began, as `job HH:MM`, when the clock is set by `step` at 75 seconds after `start` and two more minutes pass.
fn began(start: &str, step: TimeDelta) -> Vec<String> {
    let bed = TestBed::new();
    bed.main("[sources.none]\nfiles = [\"/nonexistent/*.log\"]\n");
    // Jobs that need no process: nothing to archive.
    for (job, schedule) in
        [("every", "* * * * *"), ("half-11", "30 11 * * *"), ("half-12", "30 12 * * *"), ("half-13", "30 13 * * *")]
    {
        bed.file(&format!("jobs/{job}.toml"), &format!("schedule = \"{schedule}\"\n[archive]\nsources = [\"none\"]\n"));
    }
    let config = bed.config();
    let store = Store::open(&config.state).unwrap();
    let clock = HandClock::at(&format!("2026-06-01T{start}Z"));
    let (app, _follow_ups) = App::new(config, store, Arc::new(clock.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let planner = Planner::new(app.clone());
        planner.plan(true).await.unwrap();
        let ticking =
            ticker::start(planner.clone(), Arc::new(clock.clone()), Arc::new(Service::default())).await.unwrap();
        // The crate asks again half a second after each tick.
        let settle = || tokio::time::sleep(Duration::from_millis(900));
        settle().await;
        clock.pass(TimeDelta::seconds(30));
        settle().await;
        clock.pass(TimeDelta::seconds(45));
        settle().await;
        clock.set(step);
        settle().await;
        for seconds in [15, 60] {
            clock.pass(TimeDelta::seconds(seconds));
            settle().await;
        }
        ticking.stop().await;
    });
    let mut runs = app.store.runs(&RunFilter::default()).unwrap();
    runs.reverse();
    let began = runs.iter().filter(|run| run.started.is_some());
    began.map(|run| format!("{} {}", run.job, run.slot.unwrap().format("%H:%M"))).collect()
}

#[test]
fn steps_of_the_clock_are_followed_as_debian_does() {
    let hours = TimeDelta::hours;
    // Forward: what is skipped runs once if it keeps to the wall clock, and if the step is no correction.
    assert_eq!(began("12:00:30", hours(1)), ["every 12:01", "half-12 12:30", "every 13:02", "every 13:03"]);
    assert_eq!(
        began("12:00:30", hours(2)),
        ["every 12:01", "half-12 12:30", "half-13 13:30", "every 14:02", "every 14:03"]
    );
    assert_eq!(began("12:00:30", hours(4)), ["every 12:01", "every 16:02", "every 16:03"]);
    assert_eq!(began("12:00:30", hours(24)), ["every 12:01", "every 12:02", "every 12:03"]);
    // Back: who keeps to the wall clock waits for the time it has seen, unless the step is a correction.
    assert_eq!(began("13:29:30", hours(-2)), ["every 13:30", "half-13 13:30", "every 11:31", "every 11:32"]);
    assert_eq!(began("12:29:30", hours(-1)), ["every 12:30", "half-12 12:30", "every 11:31", "every 11:32"]);
    assert_eq!(began("13:29:30", hours(-4)), ["every 13:30", "half-13 13:30", "every 09:31", "every 09:32"]);
    assert_eq!(began("13:29:30", hours(-24)), ["every 13:30", "half-13 13:30", "every 13:31", "every 13:32"]);
    // A correction of a day lets it run again: its time began anew.
    assert_eq!(began("13:28:30", hours(-24)), ["every 13:29", "every 13:30", "half-13 13:30", "every 13:31"]);
}
