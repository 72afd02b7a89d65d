//! Reading and parsing on one thread while another counts, where a file is large enough for that.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::logs::{Lines, MAX_LINE};
use crate::model::{Action, Category, Event, Peer};
use crate::parse::AutoParser;

/// How many blocks are read before another thread is worth its start.
const ALONE: usize = 2;

/// How many blocks may wait to be counted.
const WAITING: usize = 2;

/// Reads a file block by block to its end and hands each to `take`, together with what tells each of its lines' events, to be
/// asked for line by line in their order. Lines end with their line break, where they have one.
///
/// # Errors
/// Those of `take`; then the rest is not read.
pub fn each_block<E>(
    lines: &mut Lines,
    parser: &mut AutoParser,
    mut take: impl for<'t> FnMut(&'t [u8], &mut dyn FnMut(&'t [u8]) -> Option<Event<'t>>) -> Result<(), E>,
) -> Result<(), E> {
    for _ in 0..ALONE {
        let Some(text) = lines.next_block() else { return Ok(()) };
        take(text, &mut |line| event(parser, line))?;
    }
    let mut has_thread = true;
    std::thread::scope(|scope| {
        let (full, ready) = sync_channel::<Block>(WAITING);
        let (empty, used) = channel::<Block>();
        let (lines, parser) = (&mut *lines, &mut *parser);
        let reader = std::thread::Builder::new().name("reader".to_owned());
        has_thread = reader.spawn_scoped(scope, move || read(lines, parser, &full, &used)).is_ok();
        count(&ready, &empty, &mut take)
    })?;
    while !has_thread && let Some(text) = lines.next_block() {
        take(text, &mut |line| event(parser, line))?;
    }
    Ok(())
}

/// The event of a line; none of one that is too long to be looked at.
pub fn event<'a>(parser: &mut AutoParser, line: &'a [u8]) -> Option<Event<'a>> {
    if line.len() > MAX_LINE { None } else { parser.parse(line) }
}

fn read(lines: &mut Lines, parser: &mut AutoParser, full: &SyncSender<Block>, used: &Receiver<Block>) {
    while let Some(text) = lines.next_block() {
        let mut block = used.try_recv().unwrap_or_default();
        block.fill(text, parser);
        // Nobody wants to know more.
        if full.send(block).is_err() {
            return;
        }
    }
}

fn count<E>(
    ready: &Receiver<Block>,
    empty: &Sender<Block>,
    take: &mut impl for<'t> FnMut(&'t [u8], &mut dyn FnMut(&'t [u8]) -> Option<Event<'t>>) -> Result<(), E>,
) -> Result<(), E> {
    for block in ready {
        let mut events = block.events.iter();
        take(&block.text, &mut |line| events.next()?.as_ref().map(|event| event.of(line)))?;
        // The reader may have come to its end.
        let _ = empty.send(block);
    }
    Ok(())
}

/// A block and what was made of its lines.
#[derive(Default)]
struct Block {
    text: Vec<u8>,
    events: Vec<Option<PlacedEvent>>,
}

impl Block {
    fn fill(&mut self, text: &[u8], parser: &mut AutoParser) {
        self.text.clear();
        self.text.extend_from_slice(text);
        self.events.clear();
        let events =
            crate::logs::split(text).map(|line| event(parser, line).map(|event| PlacedEvent::new(line, &event)));
        self.events.extend(events);
    }
}

/// An event by the places of its texts in its line, so that it can go from one thread to another with it.
struct PlacedEvent {
    time: Option<i64>,
    category: Category,
    action: Action,
    peer: Option<PlacedPeer>,
    user: Option<Place>,
    request: Place,
    host: Place,
    pid: u32,
}

enum PlacedPeer {
    Ip(std::net::IpAddr),
    Name(Place),
}

/// Start and end in a line, which is not that long.
#[derive(Clone, Copy)]
struct Place(u32, u32);

impl Place {
    /// Where a part of a line stands; an empty one stands nowhere in particular.
    fn new(line: &[u8], part: &[u8]) -> Self {
        let Range { start, end } = crate::model::event::place(line, part);
        Self(start as u32, end as u32)
    }

    fn of(self, line: &[u8]) -> &[u8] {
        line.get(self.0 as usize..self.1 as usize).unwrap_or_default()
    }
}

impl PlacedEvent {
    fn new(line: &[u8], event: &Event<'_>) -> Self {
        let Event { time, category, action, peer, user, request, host, pid } = *event;
        let place = |part| Place::new(line, part);
        let peer = peer.map(|peer| match peer {
            Peer::Ip(ip) => PlacedPeer::Ip(ip),
            Peer::Name(name) => PlacedPeer::Name(place(name)),
        });
        Self { time, category, action, peer, user: user.map(place), request: place(request), host: place(host), pid }
    }

    fn of<'a>(&self, line: &'a [u8]) -> Event<'a> {
        let Self { time, category, action, pid, .. } = *self;
        let peer = self.peer.as_ref().map(|peer| match peer {
            PlacedPeer::Ip(ip) => Peer::Ip(*ip),
            PlacedPeer::Name(name) => Peer::Name(name.of(line)),
        });
        let (user, request, host) = (self.user.map(|user| user.of(line)), self.request.of(line), self.host.of(line));
        Event { time, category, action, peer, user, request, host, pid }
    }
}
