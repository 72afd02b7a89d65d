//! Which stream each log of a scan job belongs to: a file counts once, by whatever patterns and names it is found.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::scan_state::Stream;
use crate::logs::{self, Position};
use crate::model::Source;

/// Device and inode.
type Number = (u64, u64);

/// Leaves each file to one of the streams that were found, the one that knows it where there is such, and tells of the others. What another
/// stream knows of a file that belongs to it no more, as of a log that got a name of its own when it was rotated, goes with the file.
pub fn settle(found: &mut Vec<(&Source, logs::Stream)>, known: &mut BTreeMap<String, Stream>, notes: &mut Vec<String>) {
    let mut knowing: HashMap<Number, Vec<String>> = HashMap::new();
    for (name, stream) in known.iter() {
        for position in &stream.cursor.positions {
            knowing.entry(number_of(position)).or_default().push(name.clone());
        }
    }
    let knows = |name: &str, number: &Number| knowing.get(number).is_some_and(|names| names.iter().any(|n| n == name));
    let mut owners: HashMap<Number, (usize, usize)> = HashMap::new();
    for first in [true, false] {
        for (at, (_, stream)) in found.iter().enumerate() {
            let name = stream.path.to_string_lossy();
            // The live one first.
            for (place, file) in stream.files.iter().enumerate().rev() {
                if let Some(number) = number(&file.path).filter(|number| knows(&name, number) == first) {
                    owners.entry(number).or_insert((at, place));
                }
            }
        }
    }
    let paths: HashMap<Number, PathBuf> =
        owners.iter().map(|(number, (at, place))| (*number, found[*at].1.files[*place].path.clone())).collect();
    for (at, (source, stream)) in found.iter_mut().enumerate() {
        let mut place = 0;
        stream.files.retain(|file| {
            let this = (at, place);
            place += 1;
            // What can't be looked at is told where it is opened.
            let Some(number) = number(&file.path) else { return true };
            let is_owner = owners.get(&number) == Some(&this);
            if !is_owner {
                let other = paths.get(&number).unwrap_or(&file.path).display();
                let (path, source) = (file.path.display(), &source.name);
                notes.push(format!("source {source}: {path} is {other} once more, and is read once"));
            }
            is_owner
        });
    }
    found.retain(|(_, stream)| !stream.files.is_empty());
    for (_, stream) in found.iter() {
        let name = stream.path.to_string_lossy();
        for file in &stream.files {
            let Some(number) = number(&file.path).filter(|number| !knows(&name, number)) else { continue };
            let position = take_furthest(known, knowing.get(&number), number, &file.path)
                .or_else(|| of_original(known, &paths, &name, file));
            if let Some(position) = position {
                known.entry(name.clone().into_owned()).or_default().cursor.positions.push(position);
            }
        }
    }
}

/// What another stream knows of the log that a file was copied or compressed from: of one that is there, as far as it was read; what is known
/// of one that is gone, or was emptied, goes with the copy. A log that is written may just begin like an older one of its own stream, and one of another
/// folder like many.
fn of_original(
    known: &mut BTreeMap<String, Stream>,
    paths: &HashMap<Number, PathBuf>,
    name: &str,
    file: &logs::LogFile,
) -> Option<Position> {
    let own = known.get(name).map(|stream| &*stream.cursor.positions).unwrap_or_default();
    if !file.rotated && !own.is_empty() {
        return None;
    }
    let mut copy = logs::Copy::open(&file.path)?;
    let own = own.iter().filter(|position| copy.begins_as(position)).map(|position| position.head_len).max();
    // Its own stream knows how it begins, as far as can be known.
    if own == Some(copy.head_len()) {
        return None;
    }
    let is_beside = |other: &str| Path::new(other).parent() == file.path.parent();
    let may_be_moved = |other: &str| file.rotated && is_above_or_below(Path::new(other), Path::new(name));
    let others = known.keys().filter(|other| *other != name && (is_beside(other) || may_be_moved(other)));
    let mut others: Vec<String> = others.cloned().collect();
    others.sort_by_key(|other| !is_beside(other));
    for other in others {
        let Some(stream) = known.get_mut(&other) else { continue };
        let positions = &mut stream.cursor.positions;
        let is_its = |position: &Position| Some(position.head_len) > own && copy.begins_as(position);
        let Some(at) = positions.iter().rposition(is_its) else { continue };
        // The copy may have got the number of the one that is gone.
        let original = paths.get(&number_of(&positions[at])).filter(|original| **original != file.path);
        if original.is_some_and(|original| copy.has_text_of(original)) {
            return Some(positions[at].clone());
        }
        let is_there = original.is_some_and(|original| logs::is_of(original, &positions[at]));
        // Where its own stream knows how it begins, one that is gone may be another that began so.
        if own.is_none() && !is_there && copy.reaches(&positions[at]) {
            // From now on it is told by the copy, of which there may be another one.
            return Some(copy.taking(&positions.remove(at)));
        }
    }
    None
}

/// Whether two logs of the same name are so placed that one may be rotated into the other's folder.
fn is_above_or_below(one: &Path, other: &Path) -> bool {
    let (folder, other_folder) = (one.parent().unwrap_or(one), other.parent().unwrap_or(other));
    one.file_name() == other.file_name() && (folder.starts_with(other_folder) || other_folder.starts_with(folder))
}

/// Takes what these streams know of a file; of several places the furthest.
fn take_furthest(
    known: &mut BTreeMap<String, Stream>,
    names: Option<&Vec<String>>,
    number: Number,
    path: &Path,
) -> Option<Position> {
    let mut furthest: Option<Position> = None;
    for name in names.into_iter().flatten() {
        let Some(stream) = known.get_mut(name) else { continue };
        stream.cursor.positions.retain(|position| {
            // A number may be given again to another file.
            let is_its = number_of(position) == number && logs::is_of(path, position);
            if is_its && furthest.as_ref().is_none_or(|known| known.offset < position.offset) {
                furthest = Some(position.clone());
            }
            !is_its
        });
    }
    furthest
}

fn number_of(position: &Position) -> Number {
    (position.identity.device, position.identity.inode)
}

fn number(path: &Path) -> Option<Number> {
    std::fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}
