//! Packing: a temporary file, synced, read back, compared, and only then named.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::digest::{Hasher, Tee};
use super::{ArchiveError, SUMS, manifest_path, verify};
use crate::fs::{create_partial, open_regular, partial_name, publish_new, replace};
use crate::model::{ArchiveEntry, Identity, Member};

/// As measured: level 5 of zlib-rs packs logs as small as gzip's default at more than twice its speed.
const LEVEL: u32 = 5;

/// How many archives one source can have on one day.
const MAX_PER_DAY: u32 = 1000;

/// A log to be packed.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Where it is.
    pub path: PathBuf,
    /// What it was when its digest was taken.
    pub identity: Identity,
    /// The digest of its text.
    pub content_sha256: String,
}

/// What an archive is about.
#[derive(Debug, Clone, Copy)]
pub struct Bundle<'a> {
    /// The folder that receives it.
    pub store: &'a Path,
    /// The host.
    pub host: &'a str,
    /// The source.
    pub source: &'a str,
    /// The date, `YYYY-MM-DD`.
    pub date: &'a str,
}

/// A published archive.
#[derive(Debug)]
pub struct Packed {
    /// Where it is.
    pub path: PathBuf,
    /// What it holds.
    pub entry: ArchiveEntry,
    /// Logs that are not in it, with the reason.
    pub skipped: Vec<(PathBuf, String)>,
}

type Writer = Tee<BufWriter<File>>;

/// Packs the candidates into a new archive, reads it back, compares and publishes it. `None` where every candidate had to
/// be skipped: one that changes or vanishes while it is read is left for another time.
///
/// # Errors
/// Fails where the archive can't be written or does not hold what was written; then nothing is published.
pub fn pack(
    bundle: Bundle<'_>,
    mut candidates: Vec<Candidate>,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Packed>, ArchiveError> {
    let mut skipped = Vec::new();
    crate::fs::create_folder(bundle.store).map_err(ArchiveError::io(bundle.store))?;
    while !candidates.is_empty() {
        let target = free_name(bundle)?;
        let partial = partial_name(&target);
        let written = write(&partial, &target, bundle, &candidates, stop);
        match written {
            Ok(entry) => {
                publish(&partial, &target, &entry)?;
                return Ok(Some(Packed { path: target, entry, skipped }));
            }
            Err(Failure::Candidate(index, reason)) => skipped.push((candidates.remove(index).path, reason)),
            Err(Failure::Archive(error)) => {
                // The next run removes it where this fails too.
                let _ = std::fs::remove_file(&partial);
                return Err(error);
            }
        }
        // Overwritten by the next attempt; left behind only when there is none.
        let _ = std::fs::remove_file(&partial);
    }
    Ok(None)
}

enum Failure {
    /// This candidate can't be packed.
    Candidate(usize, String),
    /// The archive can't be made.
    Archive(ArchiveError),
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

fn free_name(bundle: Bundle<'_>) -> Result<PathBuf, ArchiveError> {
    let Bundle { store, host, source, date } = bundle;
    let name = |n: u32| {
        store.join(if n == 1 {
            format!("{host}-{source}-{date}.tar.gz")
        } else {
            format!("{host}-{source}-{date}-{n}.tar.gz")
        })
    };
    let free = (1..=MAX_PER_DAY).map(name).find(|path| !path.exists());
    free.ok_or_else(|| ArchiveError::Differs {
        path: name(1),
        reason: "there are too many archives of this day".to_owned(),
    })
}

fn write(
    partial: &Path,
    target: &Path,
    bundle: Bundle<'_>,
    candidates: &[Candidate],
    stop: &dyn Fn() -> bool,
) -> Result<ArchiveEntry, Failure> {
    let io = |error| Failure::Archive(ArchiveError::io(partial)(error));
    let file = create_partial(partial).map_err(io)?;
    let tee = Tee { inner: BufWriter::with_capacity(1 << 20, file), hasher: Hasher::default(), written: 0 };
    let mut builder = tar::Builder::new(GzEncoder::new(tee, Compression::new(LEVEL)));
    let mut members = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        members.push(append(&mut builder, index, candidate, partial, stop)?);
    }
    let sums: String = members.iter().map(|member| format!("{}  {}\n", member.sha256, member.name)).collect();
    let mut header = header(sums.len() as u64, members.iter().map(|member| member.modified).max().unwrap_or(0));
    builder.append_data(&mut header, SUMS, sums.as_bytes()).map_err(io)?;
    // Each step is taken by hand: dropping a builder or encoder swallows a full disk.
    let tee = builder.into_inner().and_then(GzEncoder::finish).map_err(io)?;
    let Tee { inner, hasher, written } = tee;
    inner.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
    let entry = ArchiveEntry {
        version: 1,
        name: target.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        host: bundle.host.to_owned(),
        source: bundle.source.to_owned(),
        date: bundle.date.to_owned(),
        size: written,
        sha256: hasher.finish(),
        members,
    };
    verify(partial, &entry, stop)?;
    Ok(entry)
}

fn append(
    builder: &mut tar::Builder<GzEncoder<Writer>>,
    index: usize,
    candidate: &Candidate,
    partial: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Member, Failure> {
    let path = &candidate.path;
    let refuse = |reason: String| Failure::Candidate(index, reason);
    if stop() {
        return Err(ArchiveError::Stopped.into());
    }
    let (file, identity) = open_regular(path).map_err(|error| refuse(error.to_string()))?;
    if identity != candidate.identity {
        return Err(refuse("it changed since it was looked at".to_owned()));
    }
    let name = path.strip_prefix("/").unwrap_or(path).to_string_lossy().into_owned();
    let mut header = header(identity.size, identity.modified());
    // Exactly as many bytes as the header says, whatever happens to the file meanwhile.
    let mut reader =
        Source { file: file.take(identity.size), hasher: Hasher::default(), left: identity.size, failed: None };
    let appended = builder.append_data(&mut header, &name, &mut reader);
    if let Some(error) = reader.failed {
        return Err(refuse(error));
    }
    appended.map_err(|error| Failure::Archive(ArchiveError::io(partial)(error)))?;
    let now = std::fs::symlink_metadata(path).map(|meta| crate::fs::identity(&meta));
    if !now.is_ok_and(|now| now == identity) {
        return Err(refuse("it changed while it was read".to_owned()));
    }
    Ok(Member {
        name,
        path: path.to_string_lossy().into_owned(),
        size: identity.size,
        modified: identity.modified(),
        sha256: reader.hasher.finish(),
        content_sha256: candidate.content_sha256.clone(),
        identity,
    })
}

fn header(size: u64, modified: i64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mtime(u64::try_from(modified).unwrap_or(0));
    header.set_mode(0o640);
    header
}

/// Reads a log, digests it, and keeps the log's own failures apart from the archive's.
struct Source {
    file: io::Take<File>,
    hasher: Hasher,
    left: u64,
    failed: Option<String>,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer).inspect_err(|error| self.failed = Some(error.to_string()))?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            let reason = "it became shorter while it was read".to_owned();
            self.failed = Some(reason.clone());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        self.left -= read as u64;
        self.hasher.write_all(&buffer[..read])?;
        Ok(read)
    }
}

/// The manifest first: an archive that is there has one.
fn publish(partial: &Path, target: &Path, entry: &ArchiveEntry) -> Result<(), ArchiveError> {
    let manifest = manifest_path(target);
    // A manifest is made of texts and numbers, which always can be written as JSON.
    let json = serde_json::to_vec_pretty(entry).unwrap_or_default();
    replace(&manifest, &json).map_err(ArchiveError::io(&manifest))?;
    publish_new(partial, target).map_err(ArchiveError::io(target))
}
