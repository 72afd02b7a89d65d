//! The only place that asks the machine for the time.
//!
//! Everything else takes an instant or a [`Clock`], so tests set the time and replaying
//! March gives what living through it gave.

use chrono::{DateTime, Utc};

/// Something that tells the present instant.
pub trait Clock: Send + Sync {
    /// The present instant in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that stands still at one instant.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub DateTime<Utc>);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}
