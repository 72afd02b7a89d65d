//! Lines with what a parser made of each, so compact that they can go from one thread to another.

use crate::logs::{MAX_LINE, split};
use crate::model::{Action, Category, Event, Peer};
use crate::parse::AutoParser;

/// Whole lines and what was made of them.
#[derive(Default)]
pub struct Parsed {
    /// The lines, each with its line break; the last one may have none.
    pub text: Vec<u8>,
    lines: Vec<PlacedLine>,
    /// Texts of events that their lines don't hold as they are.
    others: Vec<u8>,
}

/// A line: where it ends in the text, and what it tells.
type PlacedLine = (usize, Option<PlacedEvent>);

/// Some lines of them, one after the other.
pub struct Chunk<'a> {
    /// The lines, each with its line break.
    pub text: &'a [u8],
    /// Where they begin in the text that their ends are counted in.
    start: usize,
    lines: &'a [PlacedLine],
    others: &'a [u8],
}

/// One line of them.
#[derive(Clone, Copy)]
pub struct ParsedLine<'a> {
    /// The line with its line break.
    pub line: &'a [u8],
    /// What is told by it; none where no parser understood it.
    pub event: Option<&'a PlacedEvent>,
    others: &'a [u8],
}

/// An event whose texts are places in its line; small, because there is one for each line.
#[derive(Clone, Copy)]
pub struct PlacedEvent {
    /// As [`Event::time`].
    pub time: Option<i64>,
    /// As [`Event::category`].
    pub category: Category,
    /// As [`Event::action`].
    pub action: Action,
    peer: Option<PlacedPeer>,
    user: Option<Place>,
    request: Place,
    is_post: bool,
    host: Place,
    pid: u32,
}

#[derive(Clone, Copy)]
enum PlacedPeer {
    Ip(std::net::IpAddr),
    Name(Place),
}

impl Parsed {
    /// The lines of a text.
    pub fn of(text: Vec<u8>, parser: &mut AutoParser) -> Self {
        let mut parsed = Self::default();
        parsed.parse(&text, parser, usize::MAX);
        Self { text, ..parsed }
    }

    /// Parses at most so many lines from the front of a text, which the caller makes those of this one; returns their length.
    pub fn parse(&mut self, text: &[u8], parser: &mut AutoParser, most: usize) -> usize {
        self.text.clear();
        self.lines.clear();
        self.others.clear();
        let mut end = 0;
        for line in split(text).take(most) {
            end += line.len();
            // One that is too long is not looked at.
            let event = if line.len() > MAX_LINE { None } else { parser.parse(line) };
            let event = event.map(|event| PlacedEvent::new(line, &event, &mut self.others));
            self.lines.push((end, event));
        }
        end
    }

    /// The lines, so many at a time.
    pub fn chunks(&self, lines: usize) -> impl Iterator<Item = Chunk<'_>> {
        let mut start = 0;
        self.lines.chunks(lines).map(move |lines| {
            let end = lines.last().map_or(start, |(end, _)| *end);
            let chunk = Chunk { text: &self.text[start..end], start, lines, others: &self.others };
            start = end;
            chunk
        })
    }
}

impl<'a> Chunk<'a> {
    /// One after the other.
    pub fn lines(&self) -> impl Iterator<Item = ParsedLine<'a>> {
        let Self { text, start, lines, others } = *self;
        let mut from = 0;
        lines.iter().map(move |(end, event)| {
            let line = &text[from..*end - start];
            from += line.len();
            ParsedLine { line, event: event.as_ref(), others }
        })
    }

    /// The event of the line at this place.
    pub fn event(&self, index: usize) -> Option<Event<'a>> {
        let Self { text, start, lines, others } = *self;
        let from = index.checked_sub(1).and_then(|before| lines.get(before)).map_or(0, |(end, _)| *end - start);
        let (end, event) = lines.get(index)?;
        ParsedLine { line: &text[from..*end - start], event: event.as_ref(), others }.event()
    }
}

impl<'a> ParsedLine<'a> {
    /// The event, whole.
    pub fn event(&self) -> Option<Event<'a>> {
        let PlacedEvent { time, category, action, user, request, is_post, host, pid, .. } = *self.event?;
        let user = user.map(|user| self.text(user));
        let (request, host) = (self.text(request), self.text(host));
        Some(Event { time, category, action, peer: self.peer(), user, request, is_post, host, pid })
    }

    /// Who caused it.
    pub fn peer(&self) -> Option<Peer<'a>> {
        Some(match self.event?.peer? {
            PlacedPeer::Ip(ip) => Peer::Ip(ip),
            PlacedPeer::Name(name) => Peer::Name(self.text(name)),
        })
    }

    /// The host that the line names.
    pub fn host(&self) -> &'a [u8] {
        self.event.map_or(b"", |event| self.text(event.host))
    }

    fn text(&self, place: Place) -> &'a [u8] {
        place.of(self.line, self.others)
    }
}

impl PlacedEvent {
    fn new(line: &[u8], event: &Event<'_>, others: &mut Vec<u8>) -> Self {
        let Event { time, category, action, peer, user, request, is_post, host, pid } = *event;
        let mut place = |text| Place::new(line, text, others);
        let peer = peer.map(|peer| match peer {
            Peer::Ip(ip) => PlacedPeer::Ip(ip),
            Peer::Name(name) => PlacedPeer::Name(place(name)),
        });
        Self {
            time,
            category,
            action,
            peer,
            user: user.map(&mut place),
            request: place(request),
            is_post,
            host: place(host),
            pid,
        }
    }
}

/// Where a text begins and how long it is. From the length of its line on, it begins among the other texts.
#[derive(Clone, Copy)]
struct Place(u32, u32);

impl Place {
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
