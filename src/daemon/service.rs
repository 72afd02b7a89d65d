//! What systemd is told: ready, alive, ending (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, where there is one.
#[derive(Debug, Default)]
pub struct Service {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Service {
    /// As the environment says.
    pub fn from_env() -> Self {
        let address = std::env::var("NOTIFY_SOCKET").ok().and_then(|name| match name.strip_prefix('@') {
            Some(abstract_name) => SocketAddr::from_abstract_name(abstract_name).ok(),
            None => SocketAddr::from_pathname(&name).ok(),
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Self { watchdog: micros.filter(|_| socket.is_some()).map(Duration::from_micros), socket }
    }

    /// Within what time it wants to hear that the daemon is alive: half of what it waits.
    pub fn pulse(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// Tells it something: `READY=1`, `WATCHDOG=1`, `STOPPING=1`, `STATUS=…`.
    pub fn tell(&self, what: &str) {
        if let Some((socket, address)) = &self.socket {
            // Whoever doesn't listen misses it.
            let _ = socket.send_to_addr(what.as_bytes(), address);
        }
    }
}
