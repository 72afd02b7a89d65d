//! Waiting for an instant of the wall clock, whatever happens to that clock.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::sync::Notify;

use crate::clock::{Clock, SystemClock};

/// Where there is no timerfd the wall clock is looked at this often at least, because a sleep neither sees a clock step nor
/// counts a suspend.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The year 2100, in seconds since 1970.
const FAR_AWAY: i64 = 4_102_444_800;

/// Something that waits.
pub trait Timer: Send + Sync {
    /// Returns at `until`, or earlier when the clock was set, or for no reason; without `until` when the clock was set.
    fn wait(&self, until: Option<DateTime<Utc>>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's timer: a thread that waits for a timerfd, which notices when the clock is set and counts the machine's sleep.
pub struct SystemTimer {
    /// `None` where the system gives none.
    fd: Option<Arc<OwnedFd>>,
    woken: Arc<Notify>,
}

impl SystemTimer {
    /// A timer. Its thread ends with the process.
    pub fn new() -> Self {
        let woken = Arc::new(Notify::new());
        match Self::watched(woken.clone()) {
            Ok(fd) => Self { fd: Some(fd), woken },
            Err(error) => {
                tracing::warn!(
                    "no timer that notices clock steps, the clock is looked at every minute instead: {error}"
                );
                Self { fd: None, woken }
            }
        }
    }

    fn watched(woken: Arc<Notify>) -> std::io::Result<Arc<OwnedFd>> {
        let fd = Arc::new(rustix::time::timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC)?);
        let watched = fd.clone();
        std::thread::Builder::new().name("timer".to_owned()).spawn(move || {
            loop {
                match rustix::io::read(&*watched, &mut [0; 8]) {
                    // A step of the clock shows as ECANCELED; either way the wait is over.
                    Ok(_) | Err(Errno::CANCELED) => woken.notify_one(),
                    Err(Errno::INTR) => {}
                    Err(_) => return,
                }
            }
        })?;
        Ok(fd)
    }
}

impl Default for SystemTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer for SystemTimer {
    fn wait(&self, until: Option<DateTime<Utc>>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if let Some(fd) = &self.fd
                && arm(fd, until).is_ok()
            {
                return self.woken.notified().await;
            }
            let wait = until.and_then(|until| (until - SystemClock.now()).to_std().ok()).unwrap_or(LONGEST_SLEEP);
            tokio::time::sleep(wait.min(LONGEST_SLEEP)).await;
        })
    }
}

/// Sets the timer; an instant that is over fires at once, and none at all only on a step of the clock.
fn arm(fd: &OwnedFd, until: Option<DateTime<Utc>>) -> rustix::io::Result<()> {
    let at = until.map_or((FAR_AWAY, 0), |until| (until.timestamp(), until.timestamp_subsec_nanos()));
    // Zero would disarm it.
    let it_value = Timespec { tv_sec: at.0.max(1), tv_nsec: i64::from(at.1) };
    let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    rustix::time::timerfd_settime(fd, flags, &Itimerspec { it_interval, it_value }).map(drop)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[tokio::test]
    async fn the_timer_wakes_at_the_instant_and_not_before() {
        let timer = SystemTimer::new();
        assert!(timer.fd.is_some());
        for _ in 0..2 {
            let until = SystemClock.now() + TimeDelta::milliseconds(30);
            timer.wait(Some(until)).await;
            assert!(SystemClock.now() >= until);
        }
        timer.wait(Some(SystemClock.now() - TimeDelta::days(1))).await;
    }
}
