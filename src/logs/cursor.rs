//! Remembering how far a stream was read, across rotation, compression and truncation.
//!
//! A file is recognised by the digest of the first bytes of its text, which stays the same when it is renamed or
//! compressed; device and inode decide between files that begin alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::lines::{HEAD, Lines, same_text};
use super::select::Stream;
use crate::model::Identity;

/// How many positions of files that are gone are remembered, in case they come back under another name.
const GONE_KEPT: usize = 64;

/// How far the files of one stream were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// One position a file.
    pub positions: Vec<Position>,
}

/// How far one file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// What the file was when it was read last.
    pub identity: Identity,
    /// How many bytes the digest covers.
    pub head_len: usize,
    /// SHA-256 of the first `head_len` bytes of its text, hexadecimal.
    pub head: String,
    /// Bytes of text read, up to the end of a line.
    pub offset: u64,
    /// Lines read.
    pub line: u64,
    /// The lines read before that say how the next ones are to be read.
    #[serde(default)]
    pub header: String,
    /// Whether everything was read, so that only a change of the file is of interest.
    pub finished: bool,
}

/// A file that has something new.
pub struct Plan {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was rotated away, so that its last line is whole even without a line break.
    pub rotated: bool,
    /// Where reading goes on.
    pub position: Position,
    /// Files that hold the same text, as while a log is being compressed or copied: they count as read as far as this one.
    pub twins: Vec<Identity>,
}

impl Plan {
    /// Opens the file where reading goes on. `None` where it was rotated away meanwhile: it will be found under its new name.
    ///
    /// # Errors
    /// Says why the file can't be read.
    pub fn open(&mut self, notes: &mut Vec<String>) -> std::io::Result<Option<Lines>> {
        let mut lines = match Lines::open(&self.path) {
            Ok(lines) => lines,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let known = self.position.identity;
        let replaced = (lines.identity.device, lines.identity.inode) != (known.device, known.inode);
        // Copied and truncated since it was planned, or a copy that is still being written: the next scan sorts it out.
        let truncated = self.position.head_len > 0 && !begins_with(lines.head(), &self.position);
        if replaced || truncated {
            return Ok(None);
        }
        let (identity, head) = (lines.identity, lines.head().to_vec());
        lines.skip_to(self.position.offset)?;
        // Of a text that was converted only its end tells how long it is.
        let end = if lines.is_plain() { identity.size } else { lines.offset };
        let shrunk = !lines.compressed && end < self.position.offset;
        if shrunk && self.rotated {
            return Ok(None);
        }
        refresh_head(identity, &head, &mut self.position);
        if shrunk {
            let lost = self.position.offset - end;
            let path = self.path.display();
            notes.push(format!("{path} lost its last {lost} bytes since it was read; going on at its end"));
            self.position.offset = end;
            lines.skip_to(end)?;
        }
        Ok(Some(lines))
    }

    /// Whether another file may be a copy of it: of a short live log that was never read nobody knows whether one is, or just begins as
    /// it does.
    fn may_have_copies(&self) -> bool {
        self.rotated || self.position.offset > 0 || self.position.head_len >= HEAD
    }

    /// The positions of its twins, once this file was read up to `position`.
    pub fn twin_positions(&self, position: &Position) -> Vec<Position> {
        self.twins.iter().map(|twin| as_far_as(position, *twin)).collect()
    }
}

/// The position of a file that holds the same text as another, perhaps not all of it yet: as far read as the other.
fn as_far_as(other: &Position, identity: Identity) -> Position {
    Position { identity, finished: false, ..other.clone() }
}

/// A file as it was found: what it is and how its text begins.
struct Found<'a> {
    path: &'a Path,
    rotated: bool,
    identity: Identity,
    head: Vec<u8>,
}

/// What there is to read in a stream: the files, oldest first, and what must be said about it.
/// `cursor` is left with the positions of the files that have nothing new.
pub fn plan(stream: &Stream, cursor: &mut Cursor, notes: &mut Vec<String>) -> Vec<Plan> {
    let mut old: Vec<Option<Position>> = std::mem::take(&mut cursor.positions).into_iter().map(Some).collect();
    let (mut found, mut settled) = (Vec::new(), Vec::new());
    for file in &stream.files {
        if let Some(position) = unchanged(&file.path, &mut old) {
            settled.push((file.path.as_path(), position));
            continue;
        }
        // Opened one after the other: there may be more files than a process may hold open.
        match Lines::open(&file.path) {
            Ok(mut lines) => {
                let head = lines.head().to_vec();
                let identity = lines.identity;
                found.push(Found { path: &file.path, rotated: file.rotated, identity, head });
            }
            // Rotated away between listing and opening: it is found under its new name next time.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => notes.push(format!("can't read {}: {error}", file.path.display())),
        }
    }
    let mut positions: Vec<Option<Position>> = found.iter().map(|file| take_same_inode(file, &mut old)).collect();
    for (file, position) in found.iter().zip(&mut positions).filter(|(_, position)| position.is_none()) {
        *position = take_same_head(&file.head, &mut old);
    }
    let mut plans: Vec<Plan> = Vec::new();
    let mut known: Vec<(&Found<'_>, Position)> =
        found.iter().zip(&positions).filter_map(|(file, position)| Some((file, position.clone()?))).collect();
    // Of copies the one that was read furthest comes first, and a live one before those that were rotated.
    known.sort_by_key(|(file, position)| (std::cmp::Reverse(position.offset), file.rotated));
    for (file, position) in known {
        let is_copy = |of: &Path, other: &Position| {
            file.rotated
                && other.offset >= position.offset
                && (other.head_len > position.head_len || other.head == position.head)
                && same_text(of, file.path)
        };
        if let Some(plan) = plans.iter_mut().find(|plan| is_copy(&plan.path, &plan.position)) {
            plan.twins.push(file.identity);
        } else if let Some((_, other)) = settled.iter().find(|(path, other)| is_copy(path, other)) {
            plans.push(planned(file, as_far_as(other, file.identity)));
        } else {
            plans.push(planned(file, position));
        }
    }
    let unknown = found.iter().zip(&positions).filter(|(_, known)| known.is_none());
    let mut unknown: Vec<&Found<'_>> = unknown.map(|(file, _)| file).collect();
    // The live one first, because the others may be copies of it.
    unknown.sort_by_key(|file| file.rotated);
    for file in unknown {
        // A live file is never a copy: it may just begin like an older one.
        let same = |path: &Path, position: &Position| {
            file.rotated && begins_with(&file.head, position) && same_text(path, file.path)
        };
        // A short one that was copied and not truncated yet.
        let is_short = file.rotated && (1..HEAD).contains(&file.head.len());
        let is_all_of =
            |plan: &Plan| is_short && found.iter().any(|other| *other.path == *plan.path && other.head == file.head);
        // Of several copies the one that was read furthest, or may be read furthest, tells what is known.
        let known =
            settled.iter().filter(|(path, position)| same(path, position)).max_by_key(|(_, known)| known.offset);
        if let Some((_, position)) = known {
            plans.push(planned(file, as_far_as(position, file.identity)));
        } else if let Some(plan) = plans
            .iter_mut()
            .filter(|plan| is_all_of(plan) || plan.may_have_copies() && same(&plan.path, &plan.position))
            .max_by_key(|plan| plan.position.offset)
        {
            plan.twins.push(file.identity);
        } else {
            plans.push(planned(file, start_of(file.identity)));
        }
    }
    // Oldest first again.
    plans.sort_by_key(|plan| stream.files.iter().position(|file| file.path == plan.path));
    // Those gone longest come first, and are the first to be forgotten.
    let gone: Vec<Position> = old.into_iter().flatten().filter(|position| position.head_len > 0).collect();
    cursor.positions = gone.into_iter().rev().take(GONE_KEPT).rev().collect();
    cursor.positions.extend(settled.into_iter().map(|(_, position)| position));
    plans
}

fn planned(file: &Found<'_>, mut position: Position) -> Plan {
    position.finished = false;
    refresh_head(file.identity, &file.head, &mut position);
    Plan { path: file.path.to_owned(), rotated: file.rotated, position, twins: Vec::new() }
}

/// The position of a file that is as it was and was read to its end.
fn unchanged(path: &Path, old: &mut [Option<Position>]) -> Option<Position> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    let identity = crate::fs::identity(&meta);
    let slot = old.iter_mut().find(|slot| slot.as_ref().is_some_and(|p| p.identity == identity && p.finished))?;
    slot.take()
}

fn take_same_inode(file: &Found<'_>, old: &mut [Option<Position>]) -> Option<Position> {
    let same = |p: &Position| (p.identity.device, p.identity.inode) == (file.identity.device, file.identity.inode);
    let at = old.iter().position(|slot| slot.as_ref().is_some_and(|p| same(p) && begins_with(&file.head, p)))?;
    // What compresses a log may be given the inode of one that was just removed: then another position says more of how the
    // file begins than this one does.
    let known = old[at].as_ref().map_or(0, |position| position.head_len);
    let fits_better = |p: &Position| p.head_len > known && begins_with(&file.head, p);
    if file.rotated && old.iter().flatten().any(fits_better) {
        return None;
    }
    old[at].take()
}

fn take_same_head(head: &[u8], old: &mut [Option<Position>]) -> Option<Position> {
    let candidates = old.iter_mut().filter(|slot| slot.as_ref().is_some_and(|p| begins_with(head, p)));
    candidates.max_by_key(|slot| slot.as_ref().map(|p| (p.head_len, p.offset)))?.take()
}

/// Whether a file, which has the number of this one, is this one: uncompressed, beginning alike, and no shorter than what was read.
pub fn is_of(path: &Path, position: &Position) -> bool {
    let Ok(mut lines) = Lines::open(path) else { return false };
    lines.is_plain() && lines.identity.size >= position.offset && begins_with(lines.head(), position)
}

/// A file that may be a copy of another, or the other compressed.
pub struct Copy {
    path: PathBuf,
    lines: Lines,
    head: Vec<u8>,
    /// Digests of the head by how much of it they cover.
    digests: BTreeMap<usize, String>,
}

impl Copy {
    /// Opens it; nothing where it can't be read.
    pub fn open(path: &Path) -> Option<Self> {
        let mut lines = Lines::open(path).ok()?;
        let head = lines.head().to_vec();
        Some(Self { path: path.to_owned(), lines, head, digests: BTreeMap::new() })
    }

    /// Whether it begins as the file that was read to this position.
    pub fn begins_as(&mut self, position: &Position) -> bool {
        let Some(head) = self.head.get(..position.head_len).filter(|head| !head.is_empty()) else { return false };
        *self.digests.entry(position.head_len).or_insert_with(|| digest(head)) == position.head
    }

    /// How much of its text a position may know.
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    /// As far read as the file that it was made from.
    pub fn taking(&self, position: &Position) -> Position {
        as_far_as(position, self.lines.identity)
    }

    /// Whether one of both files is how the other begins; an empty one has nothing of any.
    pub fn has_text_of(&self, other: &Path) -> bool {
        std::fs::metadata(other).is_ok_and(|other| other.len() > 0) && same_text(other, &self.path)
    }

    /// Whether it has all that was read to this position.
    pub fn reaches(&mut self, position: &Position) -> bool {
        match self.lines.is_plain() {
            true => self.lines.identity.size >= position.offset,
            false => self.lines.skip_to(position.offset).is_ok() && self.lines.offset >= position.offset,
        }
    }
}

fn begins_with(head: &[u8], position: &Position) -> bool {
    position.head_len > 0 && head.get(..position.head_len).is_some_and(|start| digest(start) == position.head)
}

fn start_of(identity: Identity) -> Position {
    Position { identity, head_len: 0, head: String::new(), offset: 0, line: 0, header: String::new(), finished: false }
}

fn refresh_head(identity: Identity, head: &[u8], position: &mut Position) {
    position.identity = identity;
    if head.len() > position.head_len {
        position.head_len = head.len();
        position.head = digest(head);
    }
}

fn digest(bytes: &[u8]) -> String {
    crate::model::archive::hex(&Sha256::digest(bytes))
}
