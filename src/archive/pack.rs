//! Packing: a temporary file, synced, read back, compared, and only then named.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::inspect::{Candidate, spanning};
use super::line_blocks::LineBlocks;
use super::pieces::{Raw, encode, forget_compressors, most_threads, piece_size};
use super::seal::{Sealing, seal, seal_index};
use super::workers::{Effort, Workers};
use super::{ArchiveError, SUMS, Step, TextTimes, TimesOf, manifest, manifest_path, verify};
use crate::digest::Hasher;
use crate::fs::{create_folder, create_partial, forget_cached, identity, open_beneath, partial_name, publish_new};
use crate::model::archive::{Block, Codec, DateRule, Inside, MANIFEST_VERSION, RawName, SEALED};
use crate::model::{ArchiveEntry, Member};

/// How many archives one source can have on one day.
const MAX_PER_DAY: u32 = 1000;

/// What follows the last member of a tar file.
const END: usize = 1024;

/// What an archive is about.
pub struct Bundle<'a> {
    /// The folder that receives it.
    pub folder: PathBuf,
    /// The host.
    pub host: &'a str,
    /// The source.
    pub source: &'a str,
    /// The date, `YYYY-MM-DD`.
    pub date: String,
    /// What that date is.
    pub date_rule: DateRule,
    /// The zone of stamps that have none.
    pub zone: &'a str,
    /// How it is compressed.
    pub codec: Codec,
    /// To whom it is encrypted.
    pub sealing: Option<Sealing<'a>>,
    /// Told what an archive holds before it is published.
    pub announce: &'a dyn Fn(&Path, &ArchiveEntry) -> io::Result<()>,
    /// Whether an archive is known under a path where there may be no file.
    pub is_taken: &'a dyn Fn(&Path) -> bool,
}

impl Bundle<'_> {
    /// The name of the n-th archive of its day.
    fn name(&self, n: u32) -> String {
        let Self { host, source, date, .. } = self;
        let number = if n > 1 { format!("-{n}") } else { String::new() };
        let sealed = if self.sealing.is_some() { SEALED } else { "" };
        format!("{host}-{source}-{date}{number}{}{sealed}", self.codec.suffix())
    }

    fn free_name(&self) -> Result<PathBuf, ArchiveError> {
        let paths = (1..=MAX_PER_DAY).map(|n| self.folder.join(self.name(n)));
        let is_free = |path: &PathBuf| !path.exists() && !manifest_path(path).exists() && !(self.is_taken)(path);
        let free = paths.into_iter().find(is_free);
        free.ok_or_else(|| {
            let reason = format!("there are {MAX_PER_DAY} archives of that day already");
            ArchiveError::Differs { path: self.folder.join(self.name(1)), reason }
        })
    }
}

/// A published archive.
#[derive(Debug)]
pub struct Packed {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub entry: ArchiveEntry,
}

/// How packing went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The archive; `None` where every log had to be skipped.
    pub packed: Option<Packed>,
    /// Logs that are not in it, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

/// Packs logs into a new archive, reads it back, compares and publishes it. A log that changes or vanishes while it is read is
/// left for another time.
///
/// # Errors
/// Fails where the archive can't be written or does not hold what was written; then nothing is published.
pub fn pack(
    bundle: &Bundle<'_>,
    candidates: &[Candidate],
    effort: Effort,
    times_of: TimesOf<'_>,
    step: Step<'_>,
) -> Result<Outcome, ArchiveError> {
    create_folder(&bundle.folder).map_err(ArchiveError::io(&bundle.folder))?;
    let target = bundle.free_name()?;
    let partial = partial_name(&target);
    let done = write(bundle, &target, &partial, candidates, effort, times_of, step);
    if !matches!(&done, Ok(Outcome { packed: Some(_), .. })) {
        // The next run removes it where this fails too.
        let _ = std::fs::remove_file(&partial);
    }
    done
}

fn write(
    bundle: &Bundle<'_>,
    target: &Path,
    partial: &Path,
    candidates: &[Candidate],
    effort: Effort,
    times_of: TimesOf<'_>,
    step: Step<'_>,
) -> Result<Outcome, ArchiveError> {
    let io = ArchiveError::io(partial);
    let file = create_partial(partial).map_err(&io)?;
    // What will be encrypted has no name until it is: whatever happens, no plain text stays.
    let packed = match &bundle.sealing {
        None => partial.to_owned(),
        Some(_) => {
            std::fs::remove_file(partial).map_err(&io)?;
            PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
        }
    };
    let mut writer = Writer::new(bundle.codec, file, effort);
    let mut skipped = Vec::new();
    for candidate in candidates {
        match writer.append(candidate, times_of(candidate.identity.modified()), step) {
            Ok(()) => {}
            Err(Failure::Log(reason)) => {
                writer.take_back().map_err(&io)?;
                skipped.push((candidate.path.clone(), reason));
            }
            Err(Failure::Archive(error)) => return Err(io(error)),
            Err(Failure::Stopped) => return Err(ArchiveError::Stopped),
        }
    }
    if writer.members.is_empty() {
        return Ok(Outcome { packed: None, skipped });
    }
    let (file, members, size, sha256) = writer.finish().map_err(&io)?;
    forget_cached(&file);
    let entry = ArchiveEntry {
        version: MANIFEST_VERSION,
        name: target.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        host: bundle.host.to_owned(),
        source: bundle.source.to_owned(),
        date: bundle.date.clone(),
        date_rule: bundle.date_rule,
        zone: bundle.zone.to_owned(),
        codec: bundle.codec,
        size,
        sha256,
        members,
        inside: None,
    };
    verify(&packed, &entry, effort, step)?;
    let entry = match &bundle.sealing {
        None => entry,
        Some(sealing) => sealed(entry, sealing, &packed, partial, step)?,
    };
    let index = bundle.sealing.as_ref().filter(|sealing| sealing.hide_index);
    let index = index.map(|sealing| seal_index(&entry.members, sealing.recipients)).transpose().map_err(&io)?;
    (bundle.announce)(target, &entry).map_err(&io)?;
    // The manifest first: an archive that is there has one.
    manifest::write(target, &entry.shown(index))?;
    publish_new(partial, target).map_err(ArchiveError::io(target))?;
    Ok(Outcome { packed: Some(Packed { path: target.to_owned(), entry }), skipped })
}

/// Encrypts a packed archive.
fn sealed(
    entry: ArchiveEntry,
    sealing: &Sealing<'_>,
    plain: &Path,
    target: &Path,
    step: Step<'_>,
) -> Result<ArchiveEntry, ArchiveError> {
    let mut plain = File::open(plain).map_err(ArchiveError::io(plain))?;
    let done = seal(&mut plain, &entry.sha256, target, sealing.recipients, step).map_err(ArchiveError::io(target))?;
    let (size, sha256) = done.ok_or(ArchiveError::Stopped)?;
    let inside = Some(Inside { size: entry.size, sha256: entry.sha256.clone(), index: None });
    Ok(ArchiveEntry { size, sha256, inside, ..entry })
}

enum Failure {
    /// This log can't be packed.
    Log(String),
    /// The archive can't be made.
    Archive(io::Error),
    Stopped,
}

/// Whom a piece belongs to, and the times of its lines.
struct Tag {
    member: usize,
    /// `None`: it is no text of a log, but what stands between them.
    text: Option<(u32, Option<(i64, i64)>)>,
}

/// A piece to be compressed, and a buffer for what becomes of it.
type ToEncode = (Tag, Raw, Vec<u8>);

/// What became of it, and the text it was.
type Encoded = (Tag, io::Result<Vec<u8>>, Vec<u8>);

/// How many pieces wait to be compressed, or to be written: two keep all threads at work, as measured.
const SPARE: usize = 2;

/// An archive in the making.
struct Writer {
    codec: Codec,
    workers: Workers<ToEncode, Encoded>,
    /// Buffers of texts and of pieces to be used again: what is given back to the system's allocator it may keep.
    texts: Vec<Vec<u8>>,
    pieces: Vec<Vec<u8>>,
    file: File,
    hasher: Hasher,
    written: u64,
    /// Those that are in it.
    members: Vec<Member>,
    names: BTreeSet<Vec<u8>>,
    /// Blocks of the one at work.
    blocks: Vec<Block>,
    /// What stands between the last text and the next: padding and headers.
    between: Vec<u8>,
    /// Where the last one begins whose header was written while it was at work: its number, the place, the digest so far.
    start: Option<(usize, u64, Hasher)>,
    /// Whether pieces of the one at work are thrown away.
    discarding: bool,
}

impl Writer {
    fn new(codec: Codec, file: File, effort: Effort) -> Self {
        let effort = Effort { threads: effort.threads.min(most_threads(codec)), ..effort };
        Self {
            codec,
            workers: Workers::new(effort, SPARE, move |(tag, raw, into): ToEncode| {
                (tag, encode(codec, &raw, into), raw.text)
            }),
            texts: Vec::new(),
            pieces: Vec::new(),
            file,
            hasher: Hasher::default(),
            written: 0,
            members: Vec::new(),
            names: BTreeSet::new(),
            blocks: Vec::new(),
            between: Vec::new(),
            start: None,
            discarding: false,
        }
    }

    fn append(&mut self, candidate: &Candidate, mut times: TextTimes, step: Step<'_>) -> Result<(), Failure> {
        let refuse = |error: io::Error| Failure::Log(error.to_string());
        let (file, meta) = open_beneath(&candidate.folder, &candidate.path).map_err(refuse)?;
        if identity(&meta) != candidate.identity {
            return Err(Failure::Log("it changed since it was looked at".to_owned()));
        }
        let name = member_name(&candidate.path);
        if self.names.contains(&name) {
            return Err(Failure::Log("a log of that name is in it already".to_owned()));
        }
        let header = header(&name, meta.len(), candidate.identity.modified(), Owner::of(&meta));
        self.between.extend(header.map_err(refuse)?);
        self.push_between().map_err(Failure::Archive)?;
        // Exactly as many bytes as the header says, whatever happens to the file meanwhile.
        let packed = candidate.packing.is_some();
        let mut log = LineBlocks::new(file.take(meta.len()), piece_size(self.codec, packed));
        let (mut hasher, mut read, mut span) = (Hasher::default(), 0, None);
        loop {
            let mut text = self.texts.pop().unwrap_or_default();
            if !log.next_block(&mut text).map_err(refuse)? {
                self.texts.push(text);
                break;
            }
            if step(text.len() as u64) {
                return Err(Failure::Stopped);
            }
            read += text.len() as u64;
            hasher.write_all(&text).map_err(Failure::Archive)?;
            let block = if packed { candidate.times } else { times(&text) };
            span = spanning(span, block);
            self.push(Some((text.len() as u32, block)), Raw { text, packed }).map_err(Failure::Archive)?;
        }
        if read < meta.len() {
            return Err(Failure::Log("it became shorter while it was read".to_owned()));
        }
        let now = open_beneath(&candidate.folder, &candidate.path).map(|(_, meta)| identity(&meta));
        if !now.is_ok_and(|now| now == candidate.identity) {
            return Err(Failure::Log("it changed while it was read".to_owned()));
        }
        let (sha256, Owner { mode, uid, gid }) = (hasher.finish(), Owner::of(&meta));
        self.names.insert(name.clone());
        self.members.push(Member {
            name: RawName(name),
            size: meta.len(),
            modified: candidate.identity.modified(),
            mode,
            uid,
            gid,
            content_sha256: candidate.content_sha256.clone().filter(|_| packed).unwrap_or_else(|| sha256.clone()),
            sha256,
            head_sha256: candidate.head_sha256.clone(),
            first: span.map(|span| span.0),
            last: span.map(|span| span.1),
            identity: candidate.identity,
            blocks: std::mem::take(&mut self.blocks),
        });
        self.between = self.padding();
        Ok(())
    }

    /// What fills the last member's last 512 bytes.
    fn padding(&self) -> Vec<u8> {
        let size = self.members.last().map_or(0, |member| member.size);
        vec![0; size.next_multiple_of(512).abs_diff(size) as usize]
    }

    fn push_between(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.between);
        for text in text.chunks(piece_size(self.codec, false)) {
            self.push(None, Raw { text: text.to_owned(), packed: false })?;
        }
        Ok(())
    }

    fn push(&mut self, text: Option<(u32, Option<(i64, i64)>)>, raw: Raw) -> io::Result<()> {
        let into = self.pieces.pop().unwrap_or_default();
        let done = self.workers.push((Tag { member: self.members.len(), text }, raw, into));
        done.map_or(Ok(()), |done| self.write(done))
    }

    fn write(&mut self, (tag, bytes, text): Encoded) -> io::Result<()> {
        // What stands between logs is short, and would become a long one.
        if tag.text.is_some() {
            self.texts.push(text);
        }
        let is_at_work = tag.member == self.members.len();
        if is_at_work && self.discarding {
            return Ok(());
        }
        let bytes = bytes?;
        match tag.text {
            Some((text, times)) => {
                let length = bytes.len() as u32;
                let (first, last) = (times.map(|times| times.0), times.map(|times| times.1));
                let block = Block { offset: self.written, length, text, first, last };
                self.members.get_mut(tag.member).map_or(&mut self.blocks, |member| &mut member.blocks).push(block);
            }
            None if is_at_work => self.start = Some((tag.member, self.written, self.hasher.clone())),
            None => {}
        }
        self.file.write_all(&bytes)?;
        self.hasher.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        self.pieces.push(bytes);
        Ok(())
    }

    /// Forgets all of the member at work.
    fn take_back(&mut self) -> io::Result<()> {
        self.discarding = true;
        self.drain()?;
        self.discarding = false;
        if let Some((_, written, hasher)) = self.start.take().filter(|(member, ..)| *member == self.members.len()) {
            self.file.set_len(written)?;
            self.file.seek(SeekFrom::Start(written))?;
            (self.written, self.hasher) = (written, hasher);
        }
        self.blocks.clear();
        self.between = self.padding();
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        while let Some(done) = self.workers.pop() {
            self.write(done)?;
        }
        Ok(())
    }

    /// Ends the archive with the digests of its members; gives file, members, size and digest.
    fn finish(mut self) -> io::Result<(File, Vec<Member>, u64, String)> {
        let sums: Vec<u8> = self.members.iter().flat_map(sum_line).collect();
        let modified = self.members.iter().map(|member| member.modified).max().unwrap_or(0);
        let owner = Owner { mode: 0o640, uid: 0, gid: 0 };
        self.between.extend(header(SUMS, sums.len() as u64, modified, owner)?);
        self.between.extend(&sums);
        self.between.resize(self.between.len() + sums.len().next_multiple_of(512) - sums.len() + END, 0);
        self.push_between()?;
        self.drain()?;
        forget_compressors();
        self.file.sync_all()?;
        Ok((self.file, self.members, self.written, self.hasher.finish()))
    }
}

/// Whose a log is, and what they may do with it.
#[derive(Clone, Copy)]
struct Owner {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Owner {
    fn of(meta: &Metadata) -> Self {
        Self { mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() }
    }
}

/// The name of a log in an archive: its path without anything that would lead out of the folder it is restored to.
fn member_name(path: &Path) -> Vec<u8> {
    let names = path.components().filter(|component| matches!(component, Component::Normal(_)));
    names.collect::<PathBuf>().into_os_string().into_vec()
}

/// The header of a member, with what precedes it where its name is long.
fn header(name: &[u8], size: u64, modified: i64, owner: Owner) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mtime(u64::try_from(modified).unwrap_or(0));
    header.set_mode(owner.mode);
    header.set_uid(owner.uid.into());
    header.set_gid(owner.gid.into());
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, Path::new(OsStr::from_bytes(name)), io::empty())?;
    Ok(std::mem::take(builder.get_mut()))
}

/// The line of a member in the list of digests, in the way of sha256sum: with a backslash where the name needs it.
pub(super) fn sum_line(member: &Member) -> Vec<u8> {
    let name = &member.name.0;
    let escaped = name.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    let mut line = if escaped { b"\\".to_vec() } else { Vec::new() };
    line.extend(member.sha256.as_bytes());
    line.extend(b"  ");
    for byte in name {
        match byte {
            b'\\' => line.extend(b"\\\\"),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}
