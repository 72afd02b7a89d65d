//! Reading and parsing on one thread while another counts, where a file is large enough for that.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::logs::{Lines, MAX_LINE, split};
use crate::model::{Action, Category, Event, Peer};
use crate::parse::AutoParser;

/// How many blocks are read before another thread is worth its start.
const ALONE: usize = if cfg!(test) { 1 } else { 2 };

/// How many pieces may wait to be counted, and how many lines each has at most: a block may hold very many empty ones.
const WAITING: usize = 2;
const MOST_LINES: usize = 8192;

/// The lines of a text, each with its line break and with what was made of it.
pub type Parsed<'e, 't> = &'e mut dyn Iterator<Item = (&'t [u8], Option<Event<'t>>)>;

/// Reads a file piece by piece to its end and hands each to `take`, together with how many lines before it were passed over so
/// far because they were too long, and with its lines.
///
/// # Errors
/// Those of `take`; then the rest is not read.
pub fn each_block<E>(
    lines: &mut Lines,
    parser: &mut AutoParser,
    mut take: impl for<'e, 't> FnMut(&'t [u8], u64, Parsed<'e, 't>) -> Result<(), E>,
) -> Result<(), E> {
    for _ in 0..ALONE {
        if !alone(lines, parser, &mut take)? {
            return Ok(());
        }
    }
    let mut has_thread = true;
    std::thread::scope(|scope| {
        let (full, ready) = sync_channel::<Piece>(WAITING);
        let (empty, used) = channel::<Piece>();
        let (lines, parser) = (&mut *lines, &mut *parser);
        let reader = std::thread::Builder::new().name("reader".to_owned());
        has_thread = reader.spawn_scoped(scope, move || read(lines, parser, &full, &used)).is_ok();
        count(&ready, &empty, &mut take)
    })?;
    while !has_thread && alone(lines, parser, &mut take)? {}
    Ok(())
}

/// Reads, parses and counts a block; false where there is none.
fn alone<E>(
    lines: &mut Lines,
    parser: &mut AutoParser,
    take: &mut impl for<'e, 't> FnMut(&'t [u8], u64, Parsed<'e, 't>) -> Result<(), E>,
) -> Result<bool, E> {
    if lines.next_block().is_none() {
        return Ok(false);
    }
    let overlong = lines.overlong;
    take(lines.block(), overlong, &mut parsed(parser, lines.block()))?;
    Ok(true)
}

/// The lines of a text and what this parser makes of them.
pub fn parsed<'a>(parser: &mut AutoParser, text: &'a [u8]) -> impl Iterator<Item = (&'a [u8], Option<Event<'a>>)> {
    split(text).map(|line| (line, event(parser, line)))
}

/// The event of a line; none of one that is too long to be looked at.
fn event<'a>(parser: &mut AutoParser, line: &'a [u8]) -> Option<Event<'a>> {
    if line.len() > MAX_LINE { None } else { parser.parse(line) }
}

fn read(lines: &mut Lines, parser: &mut AutoParser, full: &SyncSender<Piece>, used: &Receiver<Piece>) {
    while lines.next_block().is_some() {
        let (mut done, whole) = (0, lines.block().len());
        while done < whole {
            let mut piece = used.try_recv().unwrap_or_default();
            let taken = piece.parse(&lines.block()[done..], parser);
            piece.overlong = lines.overlong;
            if taken == whole {
                lines.swap_block(&mut piece.text);
            } else {
                piece.text.clear();
                piece.text.extend_from_slice(&lines.block()[done..done + taken]);
            }
            done += taken;
            // Nobody wants to know more.
            if full.send(piece).is_err() {
                return;
            }
        }
    }
}

fn count<E>(
    ready: &Receiver<Piece>,
    empty: &Sender<Piece>,
    take: &mut impl for<'e, 't> FnMut(&'t [u8], u64, Parsed<'e, 't>) -> Result<(), E>,
) -> Result<(), E> {
    for piece in ready {
        take(&piece.text, piece.overlong, &mut piece.lines())?;
        // The reader may have come to its end.
        let _ = empty.send(piece);
    }
    Ok(())
}

/// Whole lines and what was made of them.
#[derive(Default)]
struct Piece {
    text: Vec<u8>,
    /// Of each line where it ends and what it tells.
    parsed: Vec<(usize, Option<PlacedEvent>)>,
    /// Texts of events that their lines don't hold as they are.
    others: Vec<u8>,
    overlong: u64,
}

impl Piece {
    /// Parses lines from the front of a text, which become those of this piece; returns their length.
    fn parse(&mut self, text: &[u8], parser: &mut AutoParser) -> usize {
        self.parsed.clear();
        self.others.clear();
        let mut end = 0;
        for (line, event) in parsed(parser, text).take(MOST_LINES) {
            end += line.len();
            self.parsed.push((end, event.map(|event| PlacedEvent::new(line, &event, &mut self.others))));
        }
        end
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], Option<Event<'_>>)> {
        let starts = [0].into_iter().chain(self.parsed.iter().map(|(end, _)| *end));
        starts.zip(&self.parsed).map(|(start, (end, event))| {
            let line = &self.text[start..*end];
            (line, event.as_ref().map(|event| event.of(line, &self.others)))
        })
    }
}

/// An event that can go from one thread to another with its line; small, because there is one for each.
#[derive(Clone, Copy)]
struct PlacedEvent {
    time: Option<i64>,
    category: Category,
    action: Action,
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

    fn of<'a>(&self, line: &'a [u8], others: &'a [u8]) -> Event<'a> {
        let Self { time, category, action, is_post, pid, .. } = *self;
        let peer = self.peer.map(|peer| match peer {
            PlacedPeer::Ip(ip) => Peer::Ip(ip),
            PlacedPeer::Name(name) => Peer::Name(name.of(line, others)),
        });
        let user = self.user.map(|user| user.of(line, others));
        let (request, host) = (self.request.of(line, others), self.host.of(line, others));
        Event { time, category, action, peer, user, request, is_post, host, pid }
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
        // Neither is longer than a block.
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::model::Formats;
    use crate::parse::{Context, YearRule};

    fn parser() -> AutoParser {
        AutoParser::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) }, &Formats::default())
    }

    #[test]
    fn what_is_read_ahead_is_what_is_read_alone() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/rules");
        let mut text = b"2026-11-20T10:00:00Z web1 sshd[7]: ROOT LOGIN REFUSED FROM 192.0.2.7 port 22\n".to_vec();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                text.extend(std::fs::read(path).unwrap());
            }
        }
        // Lines that are nothing, and one that is too long to be looked at.
        text.extend(vec![b'\n'; 3 * MOST_LINES]);
        text.extend([&vec![b'x'; 1 << 20][..], b"\nlast\n"].concat());
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), text.repeat(3)).unwrap();
        let mut alone = Vec::new();
        let (mut lines, mut parser_alone) = (Lines::open(log.path()).unwrap(), parser());
        while let Some(text) = lines.next_block() {
            alone.extend(parsed(&mut parser_alone, text).map(|line| format!("{line:?}")));
        }
        let (mut lines, mut parser, mut ahead, mut passed) =
            (Lines::open(log.path()).unwrap(), parser(), Vec::new(), 0);
        let Ok(()) = each_block(&mut lines, &mut parser, |_, overlong, parsed| {
            passed = overlong;
            ahead.extend(parsed.map(|line| format!("{line:?}")));
            Ok::<_, Infallible>(())
        });
        assert_eq!((ahead.len(), passed), (alone.len(), 3));
        assert!(ahead == alone);
    }
}
