//! Reading and parsing on one thread while another counts, where a file is large enough for that.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::parsed::Parsed;
use super::top_counts::Digests;
use crate::logs::Lines;
use crate::parse::AutoParser;

/// How many blocks are read before another thread is worth its start.
const ALONE: usize = if cfg!(test) { 1 } else { 2 };

/// How many pieces may wait to be counted, and how many lines each has at most: a block may hold very many empty ones.
const WAITING: usize = 2;
const MOST_LINES: usize = 8192;

/// Reads a file piece by piece to its end and hands the lines of each to `take`, together with how many lines before them were
/// passed over so far because they were too long. `digests` makes those of paths, where they are wanted.
///
/// # Errors
/// Those of `take`; then the rest is not read.
pub fn each_block<E>(
    lines: &mut Lines,
    parser: &mut AutoParser,
    digests: Option<&Digests>,
    mut take: impl FnMut(&Parsed, u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut piece = Piece::default();
    for _ in 0..ALONE {
        if !alone(lines, parser, digests, &mut piece, &mut take)? {
            return Ok(());
        }
    }
    // What is unpacked has a thread of its own already, and more of them than processors are in each other's way.
    let mut is_alone = lines.compressed && std::thread::available_parallelism().is_ok_and(|n| n.get() < 3);
    if !is_alone {
        std::thread::scope(|scope| {
            let (full, ready) = sync_channel::<Piece>(WAITING);
            let (empty, used) = channel::<Piece>();
            let (lines, parser) = (&mut *lines, &mut *parser);
            let reader = std::thread::Builder::new().name("reader".to_owned());
            is_alone = reader.spawn_scoped(scope, move || read(lines, parser, digests, &full, &used)).is_err();
            count(&ready, &empty, &mut take)
        })?;
    }
    while is_alone && alone(lines, parser, digests, &mut piece, &mut take)? {}
    Ok(())
}

/// Lines that were read together.
#[derive(Default)]
struct Piece {
    parsed: Parsed,
    /// How many lines before them were too long.
    overlong: u64,
}

/// Reads, parses and counts a block; false where there is none.
fn alone<E>(
    lines: &mut Lines,
    parser: &mut AutoParser,
    digests: Option<&Digests>,
    piece: &mut Piece,
    take: &mut impl FnMut(&Parsed, u64) -> Result<(), E>,
) -> Result<bool, E> {
    if lines.next_block().is_none() {
        return Ok(false);
    }
    let (mut done, whole) = (0, lines.block().len());
    while done < whole {
        done += piece.parse(lines, done, parser, digests);
        take(&piece.parsed, piece.overlong)?;
    }
    Ok(true)
}

fn read(
    lines: &mut Lines,
    parser: &mut AutoParser,
    digests: Option<&Digests>,
    full: &SyncSender<Piece>,
    used: &Receiver<Piece>,
) {
    while lines.next_block().is_some() {
        let (mut done, whole) = (0, lines.block().len());
        while done < whole {
            let mut piece = used.try_recv().unwrap_or_default();
            done += piece.parse(lines, done, parser, digests);
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
    take: &mut impl FnMut(&Parsed, u64) -> Result<(), E>,
) -> Result<(), E> {
    for piece in ready {
        take(&piece.parsed, piece.overlong)?;
        // The reader may have come to its end.
        let _ = empty.send(piece);
    }
    Ok(())
}

impl Piece {
    /// Parses lines of the block from this place on, which become those of this piece; returns their length.
    fn parse(&mut self, lines: &mut Lines, from: usize, parser: &mut AutoParser, digests: Option<&Digests>) -> usize {
        self.overlong = lines.overlong;
        let block = &lines.block()[from..];
        let length = self.parsed.parse(block, parser, MOST_LINES, digests);
        if from == 0 && length == block.len() {
            lines.swap_block(&mut self.parsed.text);
        } else {
            self.parsed.text.reserve_exact(length);
            self.parsed.text.extend_from_slice(&block[..length]);
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::logs::{MAX_LINE, split};
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
        // So many requests that are too long that they would be most of the log.
        let long = format!(
            "192.0.2.7 - - [20/Nov/2026:10:00:00 +0000] \"GET /{} HTTP/1.1\" 404 5 \"-\" \"-\"\n",
            "x".repeat(MAX_LINE)
        );
        text.extend(long.repeat(2000 / 20).into_bytes());
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), text.repeat(3)).unwrap();
        let mut alone = Vec::new();
        let (mut lines, mut parser_alone) = (Lines::open(log.path()).unwrap(), parser());
        while let Some(text) = lines.next_block() {
            for line in split(text) {
                let event = if line.len() > MAX_LINE { None } else { parser_alone.parse(line) };
                alone.push(format!("{:?}", (line, event)));
            }
        }
        let (mut lines, mut parser, mut ahead, mut passed) =
            (Lines::open(log.path()).unwrap(), parser(), Vec::new(), 0);
        let digests = Digests::default();
        let mut with_paths = 0;
        let Ok(()) = each_block(&mut lines, &mut parser, Some(&digests), |parsed, overlong| {
            passed = overlong;
            for chunk in parsed.chunks(100) {
                for (index, line) in chunk.lines().enumerate() {
                    assert_eq!(chunk.event(index), line.event());
                    if let Some(digest) = chunk.paths[index] {
                        let path = line.event().and_then(|event| event.path());
                        assert_eq!(path.map(|path| digests.of(path)), Some(digest.get()));
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
        assert_eq!((parser.format(), parser.header()), (parser_alone.format(), parser_alone.header()));
    }
}
