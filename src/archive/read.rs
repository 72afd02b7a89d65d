//! Reading archives: ours by their blocks, others' from one end to the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::inspect::{HEAD, read_text, spanning};
use super::pieces::{self, MOST_TEXT, Place, Text, most_threads};
use super::seal::{Content, Keys};
use super::workers::Effort;
use super::{ArchiveError, SUMS, TimesOf, manifest};
use crate::digest::{Hasher, sha256};
use crate::model::archive::{Block, Codec, DateRule, Inside, MANIFEST_VERSION, RawName, SEALED};
use crate::model::{ArchiveEntry, Identity, Member};
use crate::packed::{MAGIC, Packing};

const BLOCK: usize = 1 << 20;

/// An archive open for reading.
pub struct Opened {
    /// What it holds.
    pub entry: ArchiveEntry,
    pub(super) content: Arc<Content>,
    /// Whether it consists of pieces that are known.
    in_pieces: bool,
}

impl Opened {
    /// Opens an archive that should hold this; where it is encrypted, with these keys.
    ///
    /// # Errors
    /// Fails where it can't be opened, or none of the keys fits.
    pub fn with(path: &Path, mut entry: ArchiveEntry, keys: Option<&Arc<Keys>>) -> Result<Self, ArchiveError> {
        let io = ArchiveError::io(path);
        let file = File::open(path).map_err(&io)?;
        let keys = match (&entry.inside, keys) {
            (None, _) => None,
            (Some(_), Some(keys)) => Some(keys),
            (Some(_), None) => return Err(io(io::Error::other("it is encrypted; --identity FILE names the key"))),
        };
        if let (Some(Inside { index: Some(index), .. }), Some(keys)) = (&entry.inside, keys) {
            entry.members = keys.index(index).map_err(&io)?;
        }
        let in_pieces = entry.members.iter().all(|member| member.size == 0 || !member.blocks.is_empty());
        let length = entry.content().0;
        let content = Content::new(file, keys.map(|keys| (keys, length))).map_err(&io)?;
        Ok(Self { entry, content: Arc::new(content), in_pieces })
    }

    /// Opens an archive by the manifest beside it; one that has none, also of another program, or a damaged one, is read to know what
    /// it holds.
    ///
    /// # Errors
    /// Fails where it can't be read.
    pub fn new(path: &Path, keys: Option<&Arc<Keys>>, times_of: TimesOf<'_>) -> Result<Self, ArchiveError> {
        match manifest::read(path) {
            Ok(entry) => Self::with(path, entry, keys),
            Err(error) if error.is_lost() => Self::with(path, rebuild(path, times_of)?, None),
            Err(error) => Err(error),
        }
    }

    /// Whether it consists of pieces that are known, so that any part of it can be read alone.
    pub fn in_pieces(&self) -> bool {
        self.in_pieces
    }

    /// All its pieces: the blocks of its logs, and what stands between them.
    pub(super) fn places(&self) -> Vec<Place> {
        let blocks = self.entry.members.iter().flat_map(|member| &member.blocks);
        let (mut places, mut at) = (Vec::new(), 0);
        let between = |at: u64, end: u64| Place { offset: at, length: end.saturating_sub(at), text: None };
        for block in blocks {
            if block.offset > at {
                places.push(between(at, block.offset));
            }
            places.push(place(block));
            at = block.offset.saturating_add(block.length.into());
        }
        places.push(between(at, self.entry.content().0));
        places
    }

    /// A log as it is stored, block by block.
    pub(super) fn stored(&self, member: &Member, effort: Effort) -> Text<std::vec::IntoIter<Place>> {
        let places: Vec<Place> = member.blocks.iter().map(place).collect();
        Text::new(self.content.clone(), self.entry.codec, places.into_iter(), limited(effort, self.entry.codec), |_| ())
    }

    /// Hands over each of these logs, in their order, as it is stored. What a log says is read to its end or not at all.
    ///
    /// # Errors
    /// Fails where the archive can't be read, or `hand` fails.
    pub fn each<E: From<io::Error>>(
        &self,
        wanted: impl Fn(&Member) -> bool,
        mut hand: impl FnMut(&Member, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.in_pieces {
            for member in self.entry.members.iter().filter(|member| wanted(member)) {
                hand(member, &mut self.stored(member, Effort::up_to(2, false)))?;
            }
            return Ok(());
        }
        let mut tar = tar::Archive::new(unpacked(self.content.plain()?)?);
        let mut members = self.entry.members.iter();
        for log in tar.entries()? {
            let mut log = log?;
            if is_log(&log)
                && let Some(member) = members.next()
                && wanted(member)
            {
                hand(member, &mut log)?;
            }
        }
        Ok(())
    }

    /// The text of a log, decompressed where it was compressed when it was packed; `None` where it is empty or the archive is not
    /// in pieces.
    ///
    /// # Errors
    /// Fails where its start can't be read.
    pub fn text(&self, member: &Member) -> io::Result<Option<Box<dyn Read + Send>>> {
        if member.blocks.is_empty() {
            return Ok(None);
        }
        let start = self.start(member, MAGIC)?;
        let stored = self.stored(member, Effort::up_to(2, false));
        Ok(Some(match Packing::of(&start) {
            Some(packing) => packing.reader(stored)?,
            None => Box::new(stored),
        }))
    }

    /// How a log begins as it is stored: at most so many bytes.
    pub(super) fn start(&self, member: &Member, length: usize) -> io::Result<Vec<u8>> {
        let Some(first) = member.blocks.first() else { return Ok(Vec::new()) };
        pieces::start(self.entry.codec, &pieces::stored(&self.content, place(first), Vec::new())?, length)
    }
}

fn limited(effort: Effort, codec: Codec) -> Effort {
    Effort { threads: effort.threads.min(most_threads(codec)), ..effort }
}

pub(super) fn place(block: &Block) -> Place {
    Place { offset: block.offset, length: block.length.into(), text: Some(block.text as usize) }
}

/// Whether a member of a tar file is a log and not a folder, a link, or the list of digests at the end.
pub(super) fn is_log<R: Read>(entry: &tar::Entry<'_, R>) -> bool {
    let kind = entry.header().entry_type();
    (kind.is_file() || kind.is_contiguous()) && *entry.path_bytes() != *SUMS
}

/// The tar file in a file that may be compressed in any way.
pub(super) fn unpacked(file: &File) -> io::Result<Box<dyn Read + Send>> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    let mut start = Vec::new();
    (&file).take(MAGIC as u64).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    match Packing::of(&start) {
        Some(packing) => packing.reader(file),
        None => Ok(Box::new(file)),
    }
}

/// Reads an archive that has no manifest to know what it holds. One that consists of pieces gets its blocks back.
///
/// # Errors
/// Fails where it can't be read to its end, or holds nothing.
pub fn rebuild(path: &Path, times_of: TimesOf<'_>) -> Result<ArchiveEntry, ArchiveError> {
    let io = ArchiveError::io(path);
    let mut file = File::open(path).map_err(&io)?;
    let mut hasher = Hasher::default();
    let size = io::copy(&mut file, &mut hasher).map_err(&io)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.ends_with(SEALED) {
        let help =
            "it is encrypted and its manifest is lost; \"age -d\" makes a plain archive of it, which can be read";
        return Err(io(io::Error::other(help)));
    }
    let codec = if name.ends_with(Codec::Zstd.suffix()) { Codec::Zstd } else { Codec::Gzip };
    let (host, source, date) = labels(path);
    let (mut members, starts) = members(&file).map_err(&io)?;
    if let Ok(Some(places)) = piece_places(&file, codec) {
        assign(&mut members, &starts, &places);
    }
    let entry = ArchiveEntry {
        version: MANIFEST_VERSION,
        name,
        host,
        source,
        date,
        date_rule: DateRule::Content,
        zone: "UTC".to_owned(),
        codec,
        size,
        sha256: hasher.finish(),
        members,
        inside: None,
    };
    let mut opened = Opened::with(path, entry, None)?;
    if opened.in_pieces {
        for index in 0..opened.entry.members.len() {
            let mut member = opened.entry.members[index].clone();
            describe(&opened, &mut member, times_of).map_err(&io)?;
            opened.entry.members[index] = member;
        }
    }
    Ok(opened.entry)
}

/// Host, source and date as an archive's place in its store tells: `HOST/SOURCE/YYYY/MM/HOST-SOURCE-YYYY-MM-DD.tar.gz`.
fn labels(path: &Path) -> (String, String, String) {
    let folders: Vec<String> = path
        .ancestors()
        .skip(3)
        .filter_map(|at| Some(at.file_name()?.to_string_lossy().into_owned()))
        .take(2)
        .collect();
    let [source, host] = folders.as_slice() else { return Default::default() };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let date = name.strip_prefix(&format!("{host}-{source}-")).and_then(|rest| rest.get(..10)).unwrap_or_default();
    (host.clone(), source.clone(), date.to_owned())
}

/// The logs in a tar file, and where their text begins in it.
fn members(file: &File) -> io::Result<(Vec<Member>, Vec<u64>)> {
    let mut tar = tar::Archive::new(unpacked(file)?);
    let (mut members, mut starts) = (Vec::new(), Vec::new());
    for log in tar.entries()? {
        let mut log = log?;
        if !is_log(&log) {
            continue;
        }
        let name = RawName(log.path_bytes().into_owned());
        let header = log.header();
        let modified = i64::try_from(header.mtime()?).unwrap_or(0);
        let number = |found: io::Result<u64>| found.ok().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        let (mode, uid, gid) = (header.mode()?, number(header.uid()), number(header.gid()));
        let mut hasher = Hasher::default();
        starts.push(log.raw_file_position());
        let said = log.size();
        let size = io::copy(&mut log, &mut hasher)?;
        if size != said {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} is cut off")));
        }
        let sha256 = hasher.finish();
        let (modified_ns, head_sha256) = (modified.saturating_mul(1_000_000_000), String::new());
        let identity = Identity { device: 0, inode: 0, size, modified_ns };
        let (first, last, blocks) = (None, None, Vec::new());
        let content_sha256 = sha256.clone();
        members.push(Member {
            name,
            size,
            modified,
            mode,
            uid,
            gid,
            sha256,
            content_sha256,
            head_sha256,
            first,
            last,
            identity,
            blocks,
        });
    }
    Ok((members, starts))
}

/// Where the pieces of an archive are, with the lengths of their texts; `None` where it doesn't consist of pieces.
fn piece_places(file: &File, codec: Codec) -> io::Result<Option<Vec<Place>>> {
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    let mut input = Positioned { input: BufReader::with_capacity(BLOCK, file), position: 0 };
    let mut places = Vec::new();
    let most = MOST_TEXT as u64;
    while !input.fill_buf()?.is_empty() {
        let offset = input.position;
        let text = match codec {
            Codec::Gzip => {
                let mut decoder = flate2::bufread::GzDecoder::new(&mut input);
                io::copy(&mut decoder.by_ref().take(most + 1), &mut io::sink())?
            }
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut input)?.single_frame();
                io::copy(&mut decoder.by_ref().take(most + 1), &mut io::sink())?
            }
        };
        if text > most {
            return Ok(None);
        }
        places.push(Place { offset, length: input.position - offset, text: usize::try_from(text).ok() });
    }
    Ok(Some(places))
}

/// Counts how far a buffered input was used up.
struct Positioned<R> {
    input: R,
    position: u64,
}

impl<R: BufRead> Read for Positioned<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Positioned<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.input.consume(bytes);
    }
}

/// Gives each log the pieces that hold its text and nothing else; none where there are others.
fn assign(members: &mut [Member], starts: &[u64], places: &[Place]) {
    let mut at = 0;
    let texts: Vec<(u64, &Place)> = places
        .iter()
        .map(|place| {
            let start = at;
            at += place.text.unwrap_or(0) as u64;
            (start, place)
        })
        .collect();
    for (member, start) in members.iter_mut().zip(starts) {
        let end = start + member.size;
        let first = texts.partition_point(|(at, _)| at < start);
        let inside = texts[first..].iter().take_while(|(at, place)| at + place.text.unwrap_or(0) as u64 <= end);
        let block = |(_, place): &(u64, &Place)| Block {
            offset: place.offset,
            length: place.length as u32,
            text: place.text.unwrap_or(0) as u32,
            first: None,
            last: None,
        };
        let blocks: Vec<Block> = inside.map(block).collect();
        if blocks.iter().map(|block| u64::from(block.text)).sum::<u64>() == member.size {
            member.blocks = blocks;
        }
    }
}

/// Finds out what only the text of a log tells.
fn describe(opened: &Opened, member: &mut Member, times_of: TimesOf<'_>) -> io::Result<()> {
    let mut times = times_of(member.modified);
    let mut blocks = opened.stored(member, Effort::up_to(2, false));
    let (mut index, mut start) = (0, Vec::new());
    let mut span = None;
    while let Some(text) = blocks.next_piece()? {
        if index == 0 {
            start = text[..text.len().min(HEAD)].to_vec();
        }
        let found = times(&text);
        span = spanning(span, found);
        (member.blocks[index].first, member.blocks[index].last) =
            (found.map(|found| found.0), found.map(|found| found.1));
        index += 1;
    }
    member.head_sha256 = sha256(&start);
    if let Some(packing) = Packing::of(&start[..start.len().min(MAGIC)]) {
        let text = packing.reader(opened.stored(member, Effort::up_to(2, false)));
        // One that can't be decompressed to its end is known by what is stored, and has no times.
        span = None;
        if let Ok(text) = text.and_then(|text| read_text(text, &mut times_of(member.modified))) {
            (member.content_sha256, member.head_sha256, span) = (text.sha256, text.head_sha256, text.times);
        }
        for block in &mut member.blocks {
            (block.first, block.last) = (span.map(|span| span.0), span.map(|span| span.1));
        }
    }
    (member.first, member.last) = (span.map(|span| span.0), span.map(|span| span.1));
    Ok(())
}

/// The name of a log as a path.
pub(super) fn path_of(name: &RawName) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(&name.0))
}
