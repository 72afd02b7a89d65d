//! Tallies: what was counted per quarter of an hour, the stuff that reports are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The length of the pieces of time that are counted by themselves, in seconds: so short that every zone's midnight
/// lies between two of them.
pub const BUCKET: i64 = 15 * 60;

macro_rules! tally {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Counts of one quarter of an hour of one source.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Tally { $($(#[$doc])* pub $field: u64,)* }

        impl Tally {
            /// Names of the counts, in the order of [`Tally::values`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field),)*];

            /// The counts, in the order of [`Tally::NAMES`].
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$field,)*]
            }

            /// The count of that name, to be changed.
            pub fn field_mut(&mut self, name: &str) -> Option<&mut u64> {
                match name { $(stringify!($field) => Some(&mut self.$field),)* _ => None }
            }

            /// Adds the other's counts.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

tally! {
    /// Lines read.
    lines,
    /// Lines no parser understood.
    unparsed,
    /// Lines of access logs.
    access_lines,
    /// Lines of error logs.
    error_lines,
    /// Lines about logging in.
    auth_lines,
    /// Lines of the system and its services.
    system_lines,
    /// Lines that triage calls urgent; the others are standard.
    urgent,
    /// Lines so much older than one before them that rules may have seen them too late.
    late,
    /// Requests answered by a web server.
    requests,
    /// Answers 401: not logged in.
    status_401,
    /// Answers 403: forbidden.
    status_403,
    /// Answers 404: not found.
    status_404,
    /// All answers 4xx, those three included.
    status_4xx,
    /// Answers 5xx: the server failed.
    status_5xx,
    /// Failed logins: each attempt once, whatever number of lines tell of it.
    failed_logins,
    /// Successful logins.
    logins,
    /// Error log lines of level `error` and worse.
    errors_logged,
}

/// Lets go of the piece of time that lies farthest from the present.
pub fn forget_far_from<V>(now: i64, pieces: &mut BTreeMap<i64, V>) -> Option<V> {
    let is_first_farther = |first: &i64, last: &i64| now.abs_diff(*first) >= now.abs_diff(*last);
    let (first, last) = (pieces.keys().next()?, pieces.keys().next_back()?);
    let farthest = if is_first_farther(first, last) { pieces.pop_first() } else { pieces.pop_last() };
    farthest.map(|(_, forgotten)| forgotten)
}
