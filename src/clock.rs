//! The only place that asks the machine for the time.
//!
//! Everything else takes an instant or a [`Clock`], so tests set the time and replaying
//! March gives what living through it gave.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Something that tells the time.
pub trait Clock: Send + Sync {
    /// The present instant in UTC, as the wall clock has it: it may be set back and forth.
    fn now(&self) -> DateTime<Utc>;

    /// The time since the machine was started, its sleep included. It only goes forward, so a difference between its
    /// progress and the wall clock's shows that the wall clock was set.
    fn since_boot(&self) -> Duration;

    /// A text that is another one after every start of the machine; empty where the machine doesn't tell.
    fn boot(&self) -> String;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn boot(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    }
}

/// A clock that stands still at one instant.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub DateTime<Utc>);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }

    fn boot(&self) -> String {
        "fixed".to_owned()
    }
}
