//! What programs say of themselves, whoever carries it: syslog, the journal, or a collector of either.

use std::sync::Arc;

use memchr::memchr;

use super::access::Access;
use super::custom::Custom;
use super::syslog::{is_sshd, number};
use super::syslog_head::is_priority;
use super::{Context, Parser, apache_error, dropbear, local, nginx_error, pam, snare, sshd, windows};
use crate::model::format::Format;
use crate::model::repeated::repeated;
use crate::model::writer::{
    BY_ANYBODY, PRINTED, WebServer, is_about_logins, may_log_requests_in_json, web_server, without_path,
};
use crate::model::{Action, Category, Event};

/// What messages of programs tell, of which some are requests in JSON.
#[derive(Default)]
pub struct Messages {
    /// The formats of these.
    recognised: Vec<Custom>,
    is_in_json: bool,
}

/// No syslog cuts what is shorter, in bytes (RFC 5426, 3.2, of all that is sent, of which the message is the largest part).
const NEVER_CUT: usize = 480;

impl Messages {
    /// Those of these formats are read that are recognised.
    pub fn new(context: Context, formats: &[Arc<Format>]) -> Self {
        Self { recognised: Custom::all_recognised(formats, context), is_in_json: false }
    }

    /// Whether the last one was an object of JSON.
    pub fn is_in_json(&self) -> bool {
        self.is_in_json
    }

    /// What one tells.
    pub fn event<'a>(&mut self, time: i64, host: &'a [u8], program: &[u8], pid: u32, message: &'a [u8]) -> Event<'a> {
        let event = event(time, host, program, pid, message);
        let message = without_id(message);
        self.is_in_json = message.starts_with(b"{");
        // What nginx prints may be a visitor's own, and what anybody may have written is nobody's word.
        let is_marked = [PRINTED, BY_ANYBODY].iter().any(|mark| program.ends_with(mark.as_bytes()));
        let is_servers = !is_marked && may_log_requests_in_json(without_path(program));
        if event.action != Action::Other || !self.is_in_json || !is_servers {
            return event;
        }
        if message.len() >= NEVER_CUT && !message.trim_ascii_end().ends_with(b"}") {
            // A request, perhaps, of which nobody knows what became.
            return Event { category: Category::Unknown, ..event };
        }
        let request = self.recognised.iter_mut().find_map(|format| format.parse_said_at(message, time));
        request.map_or(event, |request| Event { host, ..request })
    }
}

/// What a message of a program tells.
fn event<'a>(time: i64, host: &'a [u8], program: &[u8], pid: u32, message: &'a [u8]) -> Event<'a> {
    if program.ends_with(BY_ANYBODY.as_bytes()) {
        return Event { time: Some(time), host, pid, ..Event::plain(None, Category::System) };
    }
    let (message, times) = repeated(without_id(message));
    let program = without_path(program);
    if is_sshd(program) {
        let mut event = Event { time: Some(time), host, pid, ..Event::plain(None, Category::Auth) };
        sshd::read(message, times, &mut event);
        return event;
    }
    if program == b"dropbear" && !pam::may_speak(program, message) {
        let mut event = Event { time: Some(time), host, pid, ..Event::plain(None, Category::Auth) };
        dropbear::read(message, times, &mut event);
        return event;
    }
    let printed = program.strip_suffix(PRINTED.as_bytes());
    let mut event = Event { time: Some(time), host, pid, ..Event::plain(None, Category::System) };
    if let Some(server) = web_server(printed.unwrap_or(program)) {
        if let Some(told) = of_web_server(server, message, times) {
            let told = Event { host, time: told.time.or(Some(time)), ..told };
            return if printed.is_some() { Event { peer: None, user: None, ..told } } else { told };
        }
        // What else stands there may be a visitor's own.
        if printed.is_some() || server.log.is_some() {
            return event;
        }
    }
    if is_about_logins(program) {
        event.category = Category::Auth;
        local::read(program, message, times, &mut event);
    } else if pam::may_speak(program, message) || program == local::AIX {
        local::read(program, message, times, &mut event);
        if event.action != Action::Other {
            event.category = Category::Auth;
        }
    } else if program == b"windows" {
        windows::read(message, &mut event);
    } else if matches!(program, b"" | b"-")
        && let Some(record) = snare::record(message)
    {
        windows::read_record(&record, &mut event);
    } else if let Some(record) = snare::record_of(program, message) {
        windows::read_record(&record, &mut event);
    } else if program.is_empty()
        && let Some(told) = apache_error::without_stamp(message).and_then(apache_error::event)
        && matches!(told.action, Action::LoginFailed { .. })
    {
        // Synology's web server, which names no program.
        return Event { time: Some(time), host, ..told };
    }
    event
}

/// A request, or a line of an error log that stands for `times` equal ones: nginx begins it with a stamp all the same, and Apache with
/// its level, or with a stamp where a container's output goes to syslog.
fn of_web_server<'a>(server: WebServer, message: &'a [u8], times: u32) -> Option<Event<'a>> {
    if times == 1
        && server.log != Some(Category::Error)
        && let Some(request) = Access::through_syslog().parse(message)
    {
        return Some(request);
    }
    if server.log == Some(Category::Access) {
        return None;
    }
    let mut event = if server.name == "nginx" {
        nginx_error::event(message)
    } else {
        apache_error::event(message).or_else(|| apache_error::event(apache_error::without_stamp(message)?))
    }?;
    if let Action::LoginFailed { times: told, .. } = &mut event.action {
        *told = told.saturating_mul(times);
    }
    Some(event)
}

/// What follows `[ID 800047 auth.info] `, as Solaris writes before each message (log(4D)).
fn without_id(message: &[u8]) -> &[u8] {
    let Some(rest) = message.strip_prefix(b"[ID ") else { return message };
    let id = memchr(b']', rest).map(|end| (rest[..end].split(|byte| *byte == b' '), &rest[end + 1..]));
    let Some((mut words, rest)) = id else { return message };
    let is_id =
        words.next().and_then(number).is_some() && words.next().is_some_and(is_priority) && words.next().is_none();
    if is_id { rest.trim_ascii_start() } else { message }
}
