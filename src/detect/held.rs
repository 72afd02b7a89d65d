//! A line that tells of a failed login and waits, because its session may yet tell that another line counts for it, or that it was none.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use serde::{Deserialize, Serialize};

use super::session::SESSION;
use super::{KeptLine, Sighting};
use crate::model::event::Shape;
use crate::model::short::ShortBytes;
use crate::model::{Action, Address, Category, Event, Peer};

/// How PAM calls su where it asks for it, and login.
pub const SU_ASKS: [&[u8]; 2] = [b"(su:auth)", b"(su-l:auth)"];
pub const LOGIN_ASKS: [&[u8]; 2] = [b"(login:auth)", b" login(pam_unix)["];

static SSHD: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("sshd"));

/// How PAM begins behind the process, where it tells that first.
static PAM_OF_PROCESS: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new("]: (pam_"));

/// A line whose failures are not settled yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    /// When it was logged.
    pub time: i64,
    /// Its shape.
    pub shape: Shape,
    /// How many failures it tells of.
    pub times: u32,
    /// Where they came from.
    pub peer: Option<Address>,
    /// The account.
    pub user: Option<ShortBytes>,
    /// The host that wrote it.
    host: ShortBytes,
    /// The line.
    kept: KeptLine,
    /// Its number in the file.
    pub number: u64,
    /// Whether another of PAM's modules has said the same.
    #[serde(default)]
    pub repeated: bool,
}

impl Held {
    /// A line with the event that it tells, of this shape, so many times.
    pub fn new(sighting: &Sighting<'_>, event: &Event<'_>, shape: Shape, times: u32) -> Self {
        Self {
            time: sighting.time,
            shape,
            times,
            peer: event.peer.map(Address::from),
            user: event.user.map(ShortBytes::from),
            host: event.host.into(),
            kept: sighting.evidence(),
            number: sighting.number,
            repeated: false,
        }
    }

    /// As detectors see it.
    pub fn sighting(&self) -> Sighting<'_> {
        let Self { time, times, number, kept, .. } = self;
        let (file, line) = kept.place();
        Sighting {
            time: *time,
            event: Some(self.event()),
            failures: *times,
            urgent: false,
            late: false,
            line,
            file,
            number: *number,
            kept: OnceCell::from(kept.clone()),
            who: OnceCell::new(),
        }
    }

    /// Whether it may yet turn out at `now` that whoever offered this key was let in with another one.
    pub fn may_be_let_in(&self, now: i64) -> bool {
        is_key(self.shape) && self.time.saturating_add(SESSION) >= now
    }

    /// Whether it may tell of an attempt on this event's account, so many seconds before at most.
    pub fn is_attempt_of(&self, event: &Event<'_>, time: i64, seconds: i64) -> bool {
        (0..=seconds).contains(&time.saturating_sub(self.time)) && self.may_be_of_account(event)
    }

    /// Whether it may tell of this event's account.
    pub fn may_be_of_account(&self, event: &Event<'_>) -> bool {
        let user = self.user.as_ref().map(ShortBytes::as_slice);
        user.is_none() || event.user.is_none() || user == event.user
    }

    /// Whether somebody was refused without an address, which other lines of the process may tell, or with the name that one has.
    pub fn lacks_address(&self) -> bool {
        matches!(strength(self.shape), Shape::Refused | Shape::InvalidUser) && self.ip().is_none()
    }

    /// Whether it is from this event's address, or a name was written in its place and the account is the same.
    pub fn is_from_or_names(&self, event: &Event<'_>) -> bool {
        let peer = self.peer.as_ref().map(Address::peer);
        peer == event.peer || matches!(peer, Some(Peer::Name(_))) && self.user.is_some() && event.user.is_some()
    }

    /// Whether sshd's PAM said it.
    pub fn is_of_sshd(&self) -> bool {
        let (_, line) = self.kept.place();
        SSHD.find_iter(line).any(|at| match (&line[..at], &line[at + 4..]) {
            ([.., b'('], [b':', ..]) => true,
            ([.., b' '], rest @ [b'[', ..]) => PAM_OF_PROCESS.find(rest).is_some(),
            (_, rest) => rest.starts_with(b"(pam_unix)"),
        })
    }

    /// Whether PAM said it to one that it calls so.
    pub fn is_asked_by(&self, names: [&[u8]; 2]) -> bool {
        let (_, line) = self.kept.place();
        names.iter().any(|name| memmem::find(line, name).is_some())
    }

    /// The address, if one is told.
    pub fn ip(&self) -> Option<IpAddr> {
        self.peer.as_ref().and_then(|peer| peer.peer().ip())
    }

    /// The event that it tells.
    pub fn event(&self) -> Event<'_> {
        // As an error it was counted when it was read.
        let shape = if self.shape == Shape::ErrorLog { Shape::Explicit } else { self.shape };
        let action = Action::LoginFailed { times: self.times, shape };
        let peer = self.peer.as_ref().map(Address::peer);
        let (user, host) = (self.user.as_ref().map(ShortBytes::as_slice), self.host.as_slice());
        Event { action, peer, user, host, ..Event::plain(Some(self.time), Category::Auth) }
    }
}

/// Whether a key was refused.
pub fn is_key(shape: Shape) -> bool {
    matches!(shape, Shape::Key | Shape::KeyElsewhere)
}

/// PAM's modules, sshd's processes, and who is sent away, are told apart only to see who repeats whom.
pub fn strength(shape: Shape) -> Shape {
    match shape {
        Shape::PamSecond => Shape::Pam,
        Shape::RefusedSecond | Shape::TooMany => Shape::Refused,
        shape => shape,
    }
}
