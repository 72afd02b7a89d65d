//! Reading and parsing on one thread while another settles and a third counts, where a file is large enough for that.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use super::settler::{Piece, Settler};
use super::top_counts::Digests;
use crate::logs::Lines;
use crate::parse::AutoParser;

/// How many blocks are read before further threads are worth their start.
const ALONE: usize = if cfg!(test) { 1 } else { 2 };

/// How many pieces may wait for each of the other threads, and how many lines each has at most: a block may hold very many empty ones.
const WAITING: usize = 2;
const MOST_LINES: usize = 8192;

/// Reads a file piece by piece to its end and hands the settled lines of each to `take`. `digests` makes those of paths, where they are
/// wanted.
///
/// # Errors
/// Those of `take`; then the rest is not read.
pub fn each_piece<E>(
    lines: &mut Lines,
    parser: &mut AutoParser,
    digests: Option<&Digests>,
    settler: &mut Settler<'_>,
    mut take: impl FnMut(&Piece) -> Result<(), E>,
) -> Result<(), E> {
    let mut piece = Piece::default();
    for _ in 0..ALONE {
        if !alone(lines, parser, digests, settler, &mut piece, &mut take)? {
            return Ok(());
        }
    }
    // What is unpacked has a thread of its own already, which is busy all the time: on two processors more are in its way.
    let mut is_alone = lines.compressed && std::thread::available_parallelism().is_ok_and(|n| n.get() < 3);
    if !is_alone {
        std::thread::scope(|scope| {
            let (to_settle, parsed) = sync_channel::<Piece>(WAITING);
            let (to_count, settled) = sync_channel::<Piece>(WAITING);
            let (empty, used) = channel::<Piece>();
            let (lines, parser, settler) = (&mut *lines, &mut *parser, &mut *settler);
            // Where the second can't be started, the first one ends, to which nobody sends anything.
            is_alone = !start(scope, "settler", move || settle(settler, &parsed, &to_count))
                || !start(scope, "reader", move || read(lines, parser, digests, &to_settle, &used));
            count(&settled, &empty, &mut take)
        })?;
    }
    while is_alone && alone(lines, parser, digests, settler, &mut piece, &mut take)? {}
    Ok(())
}

/// Starts a thread; false where the system gives none.
fn start<'s>(scope: &'s Scope<'s, '_>, name: &str, work: impl FnOnce() + Send + 's) -> bool {
    std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work).is_ok()
}

/// Reads, parses, settles and counts a block; false where there is none.
fn alone<E>(
    lines: &mut Lines,
    parser: &mut AutoParser,
    digests: Option<&Digests>,
    settler: &mut Settler<'_>,
    piece: &mut Piece,
    take: &mut impl FnMut(&Piece) -> Result<(), E>,
) -> Result<bool, E> {
    if lines.next_block().is_none() {
        return Ok(false);
    }
    let (mut done, whole) = (0, lines.block().len());
    while done < whole {
        done += parse(piece, lines, done, parser, digests);
        settler.settle(piece);
        take(piece)?;
        piece.settled.over = Vec::new();
    }
    Ok(true)
}

fn read(
    lines: &mut Lines,
    parser: &mut AutoParser,
    digests: Option<&Digests>,
    to_settle: &SyncSender<Piece>,
    used: &Receiver<Piece>,
) {
    while lines.next_block().is_some() {
        let (mut done, whole) = (0, lines.block().len());
        while done < whole {
            let mut piece = used.try_recv().unwrap_or_default();
            done += parse(&mut piece, lines, done, parser, digests);
            // Nobody wants to know more.
            if to_settle.send(piece).is_err() {
                return;
            }
        }
    }
}

fn settle(settler: &mut Settler<'_>, parsed: &Receiver<Piece>, to_count: &SyncSender<Piece>) {
    for mut piece in parsed {
        settler.settle(&mut piece);
        if to_count.send(piece).is_err() {
            return;
        }
    }
}

fn count<E>(
    settled: &Receiver<Piece>,
    empty: &Sender<Piece>,
    take: &mut impl FnMut(&Piece) -> Result<(), E>,
) -> Result<(), E> {
    for mut piece in settled {
        take(&piece)?;
        // There may be very many, and it may be long until it is used again.
        piece.settled.over = Vec::new();
        // The reader may have come to its end.
        let _ = empty.send(piece);
    }
    Ok(())
}

/// Parses lines of the block from this place on, which become those of the piece; returns their length.
fn parse(
    Piece { parsed, overlong, .. }: &mut Piece,
    lines: &mut Lines,
    from: usize,
    parser: &mut AutoParser,
    digests: Option<&Digests>,
) -> usize {
    *overlong = lines.overlong;
    let block = &lines.block()[from..];
    let length = parsed.parse(block, parser, MOST_LINES, digests);
    if from == 0 && length == block.len() {
        lines.swap_block(&mut parsed.text);
    } else {
        parsed.text.reserve_exact(length);
        parsed.text.extend_from_slice(&block[..length]);
    }
    length
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::settler::{Input, SettledLine};
    use super::super::stream_state::StreamState;
    use super::*;
    use crate::logs::{MAX_LINE, split};
    use crate::model::{Formats, WebLogins};
    use crate::parse::{Context, YearRule};

    fn parser() -> AutoParser {
        AutoParser::new(Context { zone: chrono_tz::UTC, year: YearRule::From(2026) }, &Formats::default())
    }

    #[test]
    fn whoever_wants_no_more_waits_for_nobody() {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), "2026-11-20T10:00:00Z web1 x: y\n".repeat(200_000)).unwrap();
        let usual = WebLogins::default();
        let input = input(&usual);
        let (mut stream, mut taken) = (StreamState::default(), 0);
        let mut settler = Settler::new(&input, &mut stream, input.present, 0);
        let (mut lines, mut parser) = (Lines::open(log.path()).unwrap(), parser());
        let stopped = each_piece(&mut lines, &mut parser, None, &mut settler, |_| {
            taken += 1;
            if taken < 4 { Ok(()) } else { Err("stopped") }
        });
        assert_eq!((stopped, taken), (Err("stopped"), 4));
        assert!(lines.next_block().is_some());
    }

    fn input(web_logins: &WebLogins) -> Input<'_> {
        Input {
            source: "a",
            file: "a.log".into(),
            fallback: 0,
            present: 1_800_000_000,
            host: "",
            web_logins,
            requests_are_read: false,
            access_logs: None,
        }
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
        // So many requests that are too long that they would be most of the log.
        let long = format!(
            "192.0.2.7 - - [20/Nov/2026:10:00:00 +0000] \"GET /{} HTTP/1.1\" 404 5 \"-\" \"-\"\n",
            "x".repeat(MAX_LINE)
        );
        text.extend(long.repeat(2000 / 20).into_bytes());
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), text.repeat(3)).unwrap();
        let usual = WebLogins::default();
        let input = input(&usual);
        // When sessions are over, those of lines that come days late, depends on where blocks end.
        let told = |line: &SettledLine| (!line.late).then(|| format!("{line:?}"));
        let (mut alone, mut settled_alone, mut over_alone) = (Vec::new(), Vec::new(), 0);
        let (mut lines, mut parser_alone, mut parser_of_block) = (Lines::open(log.path()).unwrap(), parser(), parser());
        let mut stream = StreamState::default();
        let mut settler = Settler::new(&input, &mut stream, input.present, 0);
        while let Some(text) = lines.next_block() {
            for line in split(text) {
                let event = if line.len() > MAX_LINE { None } else { parser_alone.parse(line) };
                alone.push(format!("{:?}", (line, event)));
            }
            let text = text.to_vec();
            let mut piece = Piece::of(text, lines.overlong, &mut parser_of_block);
            settler.settle(&mut piece);
            settled_alone.extend(piece.settled.lines.iter().map(told));
            over_alone += piece.settled.over.len();
        }
        let (mut lines, mut parser, mut ahead, mut passed) =
            (Lines::open(log.path()).unwrap(), parser(), Vec::new(), 0);
        let digests = Digests::default();
        let mut stream = StreamState::default();
        let mut settler = Settler::new(&input, &mut stream, input.present, 0);
        let (mut settled_ahead, mut over_ahead) = (Vec::new(), 0);
        let (mut with_paths, mut number) = (0, 0);
        let Ok(()) = each_piece(&mut lines, &mut parser, Some(&digests), &mut settler, |piece| {
            let Piece { parsed, overlong, settled } = piece;
            number += overlong - passed;
            passed = *overlong;
            assert_eq!((settled.before, settled.lines.len()), (number, parsed.lines().count()));
            number += settled.lines.len() as u64;
            settled_ahead.extend(settled.lines.iter().map(told));
            over_ahead += settled.over.len();
            for chunk in parsed.chunks(100) {
                for (index, line) in chunk.lines().enumerate() {
                    assert_eq!(chunk.event(index), line.event());
                    if let Some(digest) = chunk.paths[index] {
                        let event = line.event().unwrap();
                        let path = digest.text(event.request);
                        assert_eq!((event.path(), digest.digest), (Some(path), digests.of(path)));
                        with_paths += 1;
                    }
                    ahead.push(format!("{:?}", (line.line, line.event())));
                }
            }
            Ok::<_, Infallible>(())
        });
        assert_eq!((ahead.len(), passed), (alone.len(), 3));
        assert!(with_paths > 100, "{with_paths}");
        assert!(ahead == alone);
        assert!(settled_ahead == settled_alone);
        assert!(over_alone > 0 && over_ahead > 0, "{over_alone} {over_ahead}");
        assert_eq!((parser.format(), parser.header()), (parser_alone.format(), parser_alone.header()));
    }
}
