//! HTTP over a Unix socket: how the command line talks to the daemon.

mod client;
mod server;

use std::path::{Path, PathBuf};

pub use client::{Client, ClientError};
pub use server::serve;

/// The socket of a state folder.
pub fn socket_path(state: &Path) -> PathBuf {
    state.join("logkeeper.sock")
}
