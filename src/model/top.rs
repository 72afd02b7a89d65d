//! Who and what occurs most often in an hour.

use serde::{Deserialize, Serialize};

use super::run::words;

words! {
    /// What is told apart.
    TopKind {
        /// Addresses, by requests, logins and attempts.
        Ip = "ip",
        /// Accounts, by logins and attempts.
        User = "user",
        /// Paths on a web server, without what follows a `?`, by requests.
        Path = "path",
        /// Addresses, by failed logins.
        Attacker = "attacker",
        /// Accounts, by failed logins.
        Target = "target",
        /// Paths on a web server, by requests that were answered with an error (4xx or 5xx).
        ErrorPath = "error-path",
        /// Addresses, by successful logins.
        Login = "login",
    }
}

impl TopKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Ip, Self::User, Self::Path, Self::Attacker, Self::Target, Self::ErrorPath, Self::Login];
}

/// How many of each kind are kept of an hour of a source.
pub const KEPT: usize = 20;

/// How many are kept of an hour that may go on, so that whoever begins late has a chance.
pub const KEPT_MEANWHILE: usize = 300;

/// How often a name occurred in one hour of one source; at least so often where very many names did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Top {
    /// The source.
    pub source: String,
    /// The hour: seconds since 1970 UTC divided by 3600.
    pub hour: i64,
    /// Of what it is one.
    pub kind: TopKind,
    /// The address, account or path, printable.
    pub name: String,
    /// How often.
    pub count: u64,
}
