//! The file that sshd writes on Windows where it is told to (`SyslogFacility LOCAL0`, `%ProgramData%\ssh\logs\sshd.log`):
//! `4711 2026-11-20 10:00:00.123 MESSAGE`, the process first, in local time.
//! (<https://github.com/PowerShell/Win32-OpenSSH/wiki/Logging-Facilities>)
//!
//! Other programs begin their lines so, too, and may go on with what visitors choose: only a file that is called sshd's is believed.

use memchr::memchr;

use super::syslog::number;
use super::time::WallClock;
use super::{Context, Parser, sshd};
use crate::model::{Category, Event};

/// The parser.
pub struct SshdFile {
    wall: WallClock,
    is_sshds: bool,
}

/// The length of `2026-11-20 10:00:00.123`.
const STAMP: usize = 23;

impl SshdFile {
    /// A parser for stamps in the context's zone.
    pub fn new(context: Context) -> Self {
        Self { wall: WallClock::new(context), is_sshds: false }
    }
}

impl Parser for SshdFile {
    fn named(&mut self, file: &str) {
        self.is_sshds = file.to_ascii_lowercase().contains("sshd");
    }

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Event<'a>> {
        if !self.is_sshds {
            return None;
        }
        let (pid, rest) = line.split_at(memchr(b' ', line.get(..line.len().min(10))?)?);
        let (stamp, rest) = rest[1..].split_at_checked(STAMP)?;
        let message = rest.strip_prefix(b" ").filter(|_| stamp[10] == b' ' && stamp[19] == b'.')?;
        let time = self.wall.zoneless(stamp)?;
        let mut event = Event { pid: number(pid)?, ..Event::plain(Some(time), Category::Auth) };
        sshd::read(message, 1, &mut event);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Shape;
    use crate::model::{Action, Peer};
    use crate::parse::YearRule;

    #[test]
    fn lines_of_its_own_only_are_read() {
        let context = Context { zone: chrono_tz::Europe::Berlin, year: YearRule::From(2026) };
        let mut parser = SshdFile::new(context);
        parser.named("sshd.log");
        let failed =
            b"9332 2026-11-20 10:00:05.070 Failed password for invalid user eve from fe80::9%10 port 2029 ssh2";
        let event = parser.parse(failed).unwrap();
        assert_eq!((event.time, event.pid, event.user), (Some(1_795_165_205), 9332, Some(&b"eve"[..])));
        assert_eq!(event.action, Action::LoginFailed { times: 1, shape: Shape::Explicit });
        assert_eq!(event.peer, Peer::read(b"fe80::9"));
        let other = parser.parse(b"7 2026-11-20 10:00:05.070 debug1: attempt 3 failures 2 [preauth]").unwrap();
        assert_eq!((other.action, other.category), (Action::Other, Category::Auth));
        for other in [
            "9332 2026-11-20 10:00:05,070 Failed password for eve from 192.0.2.7 port 2029 ssh2",
            "9332 2026-11-20T10:00:05.070 Failed password for eve from 192.0.2.7 port 2029 ssh2",
            "9332 2026-11-20 10:00:05.0701 x",
            "9332 2026-11-31 10:00:05.070 x",
            "x 2026-11-20 10:00:05.070 x",
            "2026-11-20 10:00:05.070 x",
            "9332 2026-11-20 10:00:05.07",
            "9332 ",
            "",
        ] {
            assert!(parser.parse(other.as_bytes()).is_none(), "{other}");
        }
        parser.named("app.log");
        assert!(parser.parse(failed).is_none(), "what others write may be their visitors'");
    }
}
