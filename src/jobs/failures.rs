//! How many failed logins a line tells of, and what else it is, given what its stream told before and which other logs are read.

use super::settler::Input;
use super::stream_state::StreamState;
use crate::detect::Sighting;
use crate::model::event::Shape;
use crate::model::{Action, Event};

/// How many failed logins a line settles that names this host itself, or none.
pub fn failures(
    stream: &mut StreamState,
    input: &Input<'_>,
    named: &[u8],
    event: &Event<'_>,
    sighting: &Sighting<'_>,
) -> u32 {
    match event.action {
        Action::Request { status } => {
            note_request(stream, input, named, sighting.time);
            u32::from(input.web_logins.is_failure(event, status))
        }
        // A file of errors alone counts at once; in syslog the request may stand behind its error.
        Action::LoginFailed { shape: Shape::ErrorLog, times } if named.is_empty() => times,
        Action::LoginFailed { times, shape } => stream.sessions.observe(sighting, event, shape, times),
        Action::LoginSucceeded { .. } => {
            stream.sessions.accept(event, sighting.time);
            0
        }
        Action::Granted { by_module } => {
            stream.sessions.grant(event, sighting.time, by_module);
            0
        }
        _ => 0,
    }
}

/// What an event turns out to be, given what its stream told before, and whether it is left to an access log.
pub fn settled_action(stream: &mut StreamState, event: &Event<'_>, time: i64, is_left: bool) -> Action {
    match event.action {
        Action::NotServed if is_left => Action::Other,
        Action::NotServed => Action::ErrorLogged,
        // Who tried and then went is no scanner.
        Action::Probed if stream.sessions.went(event, time) => Action::Other,
        Action::Gone if stream.sessions.had_not_greeted(event, time) => Action::Probed,
        Action::NotGreeted => {
            stream.sessions.note_not_greeted(event, time);
            Action::Other
        }
        Action::Gone => Action::Other,
        action => action,
    }
}

/// A request was read of the host that its line names, if it names one.
pub fn note_request(stream: &mut StreamState, input: &Input<'_>, named: &[u8], time: i64) {
    // What was said just before may be this.
    if stream.request_hosts.add(named, time) {
        stream.sessions.leave_error_logs(if named.is_empty() { input.host.as_bytes() } else { named }, time);
    }
}

/// Whether an error log's line, which names this host itself or none, tells of a failed login, or of what wasn't served, and an access log
/// that is read tells that, too, by the answer to a request.
pub fn is_left_to_access_log(
    stream: &StreamState,
    input: &Input<'_>,
    named: &[u8],
    event: &Event<'_>,
    time: i64,
) -> bool {
    if !matches!(event.action, Action::LoginFailed { shape: Shape::ErrorLog, .. } | Action::NotServed) {
        return false;
    }
    let is_read = match input.access_logs {
        Some(access_logs) if !named.is_empty() => access_logs.any_of(named),
        _ => input.requests_are_read,
    };
    is_read || stream.request_hosts.holds(named, time)
}
