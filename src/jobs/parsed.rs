//! Lines with what a parser made of each, so compact that they can go from one thread to another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memchr;

use super::facts::Kinds;
use super::top_counts::{Digests, Named, PathDigest};
use crate::logs::MAX_LINE;
use crate::model::{Action, Category, Event, Peer};
use crate::parse::{AutoParser, PlainRequest};

/// Whole lines and what was made of them.
#[derive(Default)]
pub struct Parsed {
    /// The lines, each with its line break; the last one may have none.
    pub text: Vec<u8>,
    lines: Vec<PlacedLine>,
    /// Digests of the lines' paths, as far as they are made here; nothing where nobody wants them.
    paths: Vec<Option<PathDigest>>,
    /// Texts of events that their lines don't hold as they are, and addresses.
    others: Vec<u8>,
}

/// Some lines of them, one after the other.
pub struct Chunk<'a> {
    /// The lines, each with its line break.
    pub text: &'a [u8],
    /// Where they begin in the text that their ends are counted in.
    start: usize,
    lines: &'a [PlacedLine],
    /// The digests of their paths, as far as they are known.
    pub paths: &'a [Option<PathDigest>],
    others: &'a [u8],
}

/// One line of them.
#[derive(Clone, Copy)]
pub struct ParsedLine<'a> {
    /// The line with its line break.
    pub line: &'a [u8],
    placed: &'a PlacedLine,
    others: &'a [u8],
}

/// A line: where it ends in the text, and its event, whose texts are places in it. As small as can be, because there are very many.
#[derive(Clone, Copy)]
struct PlacedLine {
    end: u32,
    /// None where no parser understood the line.
    category: Option<Category>,
    is_post: bool,
    is_page: bool,
    is_challenge: bool,
    action: Action,
    /// [`NO_TIME`] where it has no stamp.
    time: i64,
    peer: PlacedPeer,
    user: Place,
    request: Place,
    host: Place,
    pid: u32,
}

const _: () = assert!(size_of::<PlacedLine>() <= 64);

/// No log is that old.
const NO_TIME: i64 = i64::MIN;

#[derive(Clone, Copy)]
enum PlacedPeer {
    None,
    V4(Ipv4Addr),
    /// It stands among the other texts, at this place.
    V6(u32),
    Name(Place),
}

impl Parsed {
    /// The lines of a text.
    pub fn of(text: Vec<u8>, parser: &mut AutoParser) -> Self {
        let mut parsed = Self::default();
        parsed.parse(&text, parser, usize::MAX, None);
        Self { text, ..parsed }
    }

    /// Parses at most so many lines from the front of a text, which the caller makes those of this one; returns their length.
    /// Makes digests of plain requests' paths, where these are wanted.
    pub fn parse(&mut self, text: &[u8], parser: &mut AutoParser, most: usize, digests: Option<&Digests>) -> usize {
        self.text.clear();
        self.lines.clear();
        self.paths.clear();
        self.others.clear();
        let mut end = 0;
        while end < text.len() && self.lines.len() < most {
            let rest = &text[end..];
            // One that is too long ends behind them.
            if let Some(plain) = parser.plain_request(&rest[..rest.len().min(MAX_LINE)]) {
                end += plain.length;
                self.lines.push(PlacedLine::request(end as u32, &plain));
                if let Some(digests) = digests {
                    let (start, length) = plain.request;
                    self.paths.push(digests.of_path(&rest[start..start + length]));
                }
                continue;
            }
            let line = &rest[..memchr(b'\n', rest).map_or(rest.len(), |at| at + 1)];
            end += line.len();
            // One that is too long is not looked at.
            let event = if line.len() > MAX_LINE { None } else { parser.parse(line) };
            self.lines.push(PlacedLine::new(end as u32, line, event.as_ref(), &mut self.others));
            if digests.is_some() {
                self.paths.push(None);
            }
        }
        end
    }

    /// One after the other.
    pub fn lines(&self) -> impl Iterator<Item = ParsedLine<'_>> {
        self.chunks(usize::MAX).flat_map(|chunk| chunk.lines())
    }

    /// The lines, so many at a time.
    pub fn chunks(&self, lines: usize) -> impl Iterator<Item = Chunk<'_>> {
        let (mut start, mut paths) = (0, &self.paths[..]);
        self.lines.chunks(lines).map(move |lines| {
            let end = lines.last().map_or(start, |last| last.end as usize);
            let (theirs, others) = paths.split_at(lines.len().min(paths.len()));
            let chunk = Chunk { text: &self.text[start..end], start, lines, paths: theirs, others: &self.others };
            (start, paths) = (end, others);
            chunk
        })
    }
}

impl<'a> Chunk<'a> {
    /// One after the other.
    pub fn lines(&self) -> impl Iterator<Item = ParsedLine<'a>> + use<'a> {
        let Self { text, start, lines, others, .. } = *self;
        let mut from = 0;
        lines.iter().map(move |placed| {
            let line = &text[from..placed.end as usize - start];
            from += line.len();
            ParsedLine { line, placed, others }
        })
    }

    /// Of which kinds the lines are.
    pub fn kinds(&self) -> Kinds {
        self.lines.iter().fold(Kinds::NONE, |all, line| all.with(line.category.unwrap_or(Category::Unknown)))
    }

    /// The event of the line at this place.
    pub fn event(&self, index: usize) -> Option<Event<'a>> {
        self.line(index)?.event()
    }

    /// What the line at this place names.
    pub fn named(&self, index: usize) -> Named<'a> {
        self.line(index).map_or_else(Named::default, |line| line.named())
    }

    fn line(&self, index: usize) -> Option<ParsedLine<'a>> {
        let Self { text, start, lines, others, .. } = *self;
        let from =
            index.checked_sub(1).and_then(|before| lines.get(before)).map_or(0, |before| before.end as usize - start);
        let placed = lines.get(index)?;
        Some(ParsedLine { line: &text[from..placed.end as usize - start], placed, others })
    }
}

impl<'a> ParsedLine<'a> {
    /// The event, whole; none where no parser understood the line.
    pub fn event(&self) -> Option<Event<'a>> {
        let PlacedLine { category, action, is_post, is_page, is_challenge, host, pid, .. } = *self.placed;
        let (Named { user, request }, host) = (self.named(), self.text(host));
        let (time, peer) = (self.time(), self.peer());
        let plain = Event::plain(time, category?);
        Some(Event { action, peer, user, request, is_post, is_page, is_challenge, host, pid, ..plain })
    }

    /// What kind of log it belongs to, and what happened; none where no parser understood it.
    pub fn what(&self) -> Option<(Category, Action)> {
        Some((self.placed.category?, self.placed.action))
    }

    /// When it was written, as it says.
    pub fn time(&self) -> Option<i64> {
        Some(self.placed.time).filter(|time| *time != NO_TIME)
    }

    /// Who caused it.
    pub fn peer(&self) -> Option<Peer<'a>> {
        match self.placed.peer {
            PlacedPeer::None => None,
            PlacedPeer::V4(ip) => Some(Peer::Ip(ip.into())),
            PlacedPeer::V6(place) => {
                let octets = self.others.get(place as usize..)?.first_chunk::<16>()?;
                Some(Peer::Ip(Ipv6Addr::from(*octets).into()))
            }
            PlacedPeer::Name(name) => Some(Peer::Name(self.text(name))),
        }
    }

    /// What it names.
    pub fn named(&self) -> Named<'a> {
        let PlacedLine { user, request, .. } = *self.placed;
        Named { user: (user != Place::NONE).then(|| self.text(user)), request: self.text(request) }
    }

    /// Whether it names an account.
    pub fn has_user(&self) -> bool {
        self.placed.user != Place::NONE
    }

    /// The host that the line names.
    pub fn host(&self) -> &'a [u8] {
        self.text(self.placed.host)
    }

    fn text(&self, place: Place) -> &'a [u8] {
        place.of(self.line, self.others)
    }
}

impl PlacedLine {
    /// A line that nobody understood.
    const UNKNOWN: Self = Self {
        end: 0,
        category: None,
        is_post: false,
        is_page: false,
        is_challenge: false,
        action: Action::Other,
        time: NO_TIME,
        peer: PlacedPeer::None,
        user: Place::NONE,
        request: Place::NONE,
        host: Place::NONE,
        pid: 0,
    };

    #[inline]
    fn request(end: u32, plain: &PlainRequest) -> Self {
        let (start, length) = plain.request;
        Self {
            end,
            category: Some(Category::Access),
            action: Action::Request { status: plain.status },
            time: plain.time,
            peer: PlacedPeer::V4(plain.peer),
            request: Place(start as u32, length as u32),
            ..Self::UNKNOWN
        }
    }

    fn new(end: u32, line: &[u8], event: Option<&Event<'_>>, others: &mut Vec<u8>) -> Self {
        let Some(event) = event else { return Self { end, ..Self::UNKNOWN } };
        let Event { time, category, action, peer, user, request, is_post, is_page, is_challenge, host, pid, .. } =
            *event;
        let peer = match peer {
            None => PlacedPeer::None,
            Some(Peer::Ip(IpAddr::V4(ip))) => PlacedPeer::V4(ip),
            Some(Peer::Ip(IpAddr::V6(ip))) => {
                others.extend_from_slice(&ip.octets());
                PlacedPeer::V6((others.len() - 16) as u32)
            }
            Some(Peer::Name(name)) => PlacedPeer::Name(Place::new(line, name, others)),
        };
        let mut place = |text| Place::new(line, text, others);
        let (user, request, host) = (user.map_or(Place::NONE, &mut place), place(request), place(host));
        let time = time.unwrap_or(NO_TIME);
        let category = Some(category);
        Self { end, category, is_post, is_page, is_challenge, action, time, peer, user, request, host, pid }
    }
}

/// Where a text begins and how long it is. From the length of its line on, it begins among the other texts.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u32, u32);

impl Place {
    /// That of a text that isn't there.
    const NONE: Self = Self(u32::MAX, 0);

    fn new(line: &[u8], text: &[u8], others: &mut Vec<u8>) -> Self {
        if text.is_empty() {
            return Self(0, 0);
        }
        let start = text.as_ptr().addr().wrapping_sub(line.as_ptr().addr());
        // Lines that are parsed are short, and other texts are few.
        if line.get(start..start.saturating_add(text.len())).is_some() {
            return Self(start as u32, text.len() as u32);
        }
        let start = line.len() + others.len();
        others.extend_from_slice(text);
        Self(start as u32, text.len() as u32)
    }

    fn of<'a>(self, line: &'a [u8], others: &'a [u8]) -> &'a [u8] {
        let (start, length) = (self.0 as usize, self.1 as usize);
        let (text, start) = match start.checked_sub(line.len()) {
            Some(start) => (others, start),
            None => (line, start),
        };
        text.get(start..start + length).unwrap_or_default()
    }
}
