//! Rotating a log and compressing what was rotated, so that a crash at any point loses nothing.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::NaiveDateTime;

use super::select::{LogFile, Rotation, Stream, rotation_of};
use crate::digest::Hasher;
use crate::fs::{self, NewFile};
use crate::model::archive::Codec;
use crate::model::{Identity, Names};
use crate::packed::{self, MAGIC, Packing};

/// The highest number of a rotated log.
const MOST_NUMBERED: u32 = 9999;

/// How often what was added to a log while it was copied is copied, too, before the log is emptied all the same.
const LATE_COPIES: u32 = 50;

/// What a log rotated at that time of the wall clock is called; `None` where two of that second are there.
pub fn target(stream: &Stream, names: Names, at: NaiveDateTime) -> Option<PathBuf> {
    let named = |added: String| {
        let mut name = stream.path.clone().into_os_string();
        name.push(added);
        PathBuf::from(name)
    };
    if names == Names::Numbered {
        return Some(named(".1".to_owned()));
    }
    let forms = ["-%Y%m%d", "-%Y%m%d-%H%M%S"].map(|form| at.format(form).to_string());
    let is_free = |target: &PathBuf| !stream.files.iter().any(|file| same_log(&file.path, target));
    forms.into_iter().map(named).find(is_free)
}

/// The name of a file without that of its compression, whatever its bytes.
fn text_name(path: &Path) -> &[u8] {
    let name = path.as_os_str().as_encoded_bytes();
    packed::SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix.as_bytes())).unwrap_or(name)
}

/// Whether a rotated log is there, compressed by now or not.
pub fn is_there(stream: &Stream, target: &Path) -> bool {
    stream.files.iter().any(|file| file.rotated && same_log(&file.path, target))
}

/// Whether two names are those of one rotated log, compressed or not.
pub fn same_log(one: &Path, other: &Path) -> bool {
    text_name(one) == text_name(other)
}

/// Makes number 1 free: numbered logs move on by one, up to the first number that is free, the oldest first.
///
/// # Errors
/// Fails where one can't be renamed.
pub fn make_room(stream: &Stream) -> io::Result<()> {
    let mut numbered: BTreeMap<u32, Vec<&LogFile>> = BTreeMap::new();
    for file in stream.files.iter().filter(|file| file.rotated) {
        if let Rotation::Numbered(number) = rotation_of(&file.path.file_name().unwrap_or_default().to_string_lossy()).1
        {
            numbered.entry(number.0).or_default().push(file);
        }
    }
    let free = (1..=MOST_NUMBERED).find(|number| !numbered.contains_key(number));
    let free = free.ok_or_else(|| io::Error::other(format!("{MOST_NUMBERED} rotated logs are there already")))?;
    for number in (1..free).rev() {
        for file in numbered.get(&number).into_iter().flatten() {
            fs::rename_beneath(&file.folder, &file.path, &renumbered(&file.path, number + 1))?;
        }
    }
    Ok(())
}

/// `access.log.2.gz` for `access.log.1.gz` and 2.
fn renumbered(path: &Path, number: u32) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let base = rotation_of(&name).0;
    let rest = name[base.len()..].trim_start_matches('.').trim_start_matches(|c: char| c.is_ascii_digit());
    path.with_file_name(format!("{base}.{number}{rest}"))
}

/// Permissions, owner and group of a new log.
pub type Like = (u32, (u32, u32));

/// Gives a log its new name and, if asked, makes a new one in its place. Gives what went wrong after it was renamed.
///
/// # Errors
/// Fails where it can't be renamed or no new one can be made; then it is as it was.
pub fn rename(log: &LogFile, target: &Path, create: Option<Like>) -> io::Result<Option<io::Error>> {
    // Made before, so that its program never waits for a log that can't be made.
    let new = create.map(|like| prepared(log, like)).transpose()?;
    let renamed = fs::rename_beneath(&log.folder, &log.path, target);
    // Where the disk fails after the renaming, its program needs a new log all the same.
    if renamed.is_err() && (log.path.exists() || !target.exists()) {
        if let Some(new) = new {
            new.discard()?;
        }
        return renamed.map(|()| None);
    }
    let begun = new.map_or(Ok(()), begin);
    Ok(renamed.err().or(begun.err()))
}

/// Makes a new, empty log.
///
/// # Errors
/// Fails where it can't be made.
pub fn create(log: &LogFile, like: Like) -> io::Result<()> {
    begin(prepared(log, like)?)
}

fn prepared(log: &LogFile, (mode, owner): Like) -> io::Result<NewFile> {
    let new = NewFile::beneath(&log.folder, log.path.strip_prefix(&log.folder).unwrap_or(&log.path))?;
    let done = fs::own(&new.file, owner).and_then(|()| new.file.set_permissions(Permissions::from_mode(mode)));
    match done {
        Ok(()) => Ok(new),
        Err(error) => {
            new.discard()?;
            Err(error)
        }
    }
}

fn begin(new: NewFile) -> io::Result<()> {
    match new.publish("") {
        // Its program was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Copies a log and empties it, once the copy is proven. Gives the time in which a written line would be lost.
///
/// # Errors
/// Fails where it can't be copied; then it is as it was.
pub fn copy_truncate(log: &LogFile, target: &Path, stop: &dyn Fn() -> bool) -> io::Result<Duration> {
    let (live, meta) = fs::open_beneath_to_write(&log.folder, &log.path)?;
    let new = NewFile::beneath(&log.folder, target.strip_prefix(&log.folder).unwrap_or(target))?;
    let copy = new.file.try_clone()?;
    let done = copy_watched(&live, &mut &copy, stop).and_then(|copied| like(&copy, &meta).map(|()| copied));
    let copied = match done {
        Ok(copied) => copied,
        Err(error) => {
            new.discard()?;
            return Err(error);
        }
    };
    let published = new.publish("").and_then(|()| {
        fs::forget_cached(&copy);
        let (here, there) = (fs::identity(&copy.metadata()?), fs::identity(&std::fs::symlink_metadata(target)?));
        if (here.device, here.inode) == (there.device, there.inode) && begin_alike(&live, &copy, copied)? {
            return Ok(());
        }
        Err(io::Error::other("its copy turned out different, or it was changed while it was copied"))
    });
    if published.is_err() {
        // Only the copy is removed, not what may have its name; one that stays is known to be a copy.
        let _ = fs::remove_beneath(&log.folder, target, &fs::identity(&copy.metadata()?));
        return published.map(|()| Duration::ZERO);
    }
    empty(&live, &copy, copied)
}

/// Empties a log that was copied up to there, with what came since copied as well.
fn empty(live: &File, copy: &File, mut copied: u64) -> io::Result<Duration> {
    for late in 0.. {
        let looked = Instant::now();
        let length = live.metadata()?.len();
        if length < copied {
            return Err(io::Error::other("somebody else emptied it while it was copied"));
        }
        let more = length - copied;
        copied += io::copy(&mut { live }.take(more), &mut &*copy)?;
        // One that is written to faster than the disk syncs is emptied at last, and its last lines synced after that.
        if more == 0 || late == LATE_COPIES {
            live.set_len(0)?;
            let gap = looked.elapsed();
            copy.sync_all()?;
            return Ok(gap);
        }
        copy.sync_all()?;
    }
    Ok(Duration::ZERO)
}

/// Removes what interrupted runs left half-written.
///
/// # Errors
/// Fails where it can't be removed.
pub fn tidy(stream: &Stream) -> io::Result<()> {
    let (Some(LogFile { folder, .. }), Some(at)) = (stream.files.first(), stream.path.parent()) else { return Ok(()) };
    let name = stream.path.file_name().unwrap_or_default().to_string_lossy();
    for entry in std::fs::read_dir(at)?.filter_map(Result::ok) {
        let found = entry.file_name().to_string_lossy().into_owned();
        let whole = found.strip_prefix('.').and_then(|rest| rest.strip_suffix(".partial"));
        if whole.is_some_and(|whole| whole == name || rotation_of(whole).0 == name) {
            fs::remove_beneath(folder, &entry.path(), &fs::identity(&entry.metadata()?))?;
        }
    }
    Ok(())
}

/// Undoes a copy that was made, but whose log was not emptied any more. Gives whether it was so.
///
/// # Errors
/// Fails where the two can't be compared.
pub fn take_back(log: &LogFile, target: &Path) -> io::Result<bool> {
    if !is_copy(log, target) {
        return Ok(false);
    }
    let (_, meta) = fs::open_beneath(&log.folder, target)?;
    fs::remove_beneath(&log.folder, target, &fs::identity(&meta))
}

/// Whether a log begins with all that another file holds.
pub fn is_copy(log: &LogFile, target: &Path) -> bool {
    let open = |path| fs::open_beneath(&log.folder, path);
    let (Ok((live, _)), Ok((copy, meta))) = (open(&log.path), open(target)) else { return false };
    begin_alike(&live, &copy, meta.len()).unwrap_or(false)
}

/// Whether two files begin with the same so many bytes.
fn begin_alike(one: &File, other: &File, length: u64) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut at = 0;
    while at < length {
        let part = usize::try_from(length - at).unwrap_or(usize::MAX).min(left.len());
        for (file, buffer) in [(one, &mut left), (other, &mut right)] {
            match file.read_exact_at(&mut buffer[..part], at) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                done => done?,
            }
        }
        if left[..part] != right[..part] {
            return Ok(false);
        }
        at += part as u64;
    }
    Ok(true)
}

/// Compresses a rotated log, reads it back, and removes what it was made of. Gives the size it has now, or `None` where it was
/// compressed already.
///
/// # Errors
/// Fails where anything of that can't be done; the log then stays as it is.
pub fn compress(log: &LogFile, codec: Codec, stop: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
    let (file, meta) = fs::open_beneath(&log.folder, &log.path)?;
    let mut start = [0; MAGIC];
    let length = file.read_at(&mut start, 0)?;
    if Packing::of(&start[..length]).is_some() {
        return Ok(None);
    }
    let mut target = log.path.clone().into_os_string();
    target.push(codec.extension());
    let target = PathBuf::from(target);
    let text = sha256(&file, stop)?;
    let known = fs::identity(&meta);
    if !target.exists() {
        let new = NewFile::beneath(&log.folder, target.strip_prefix(&log.folder).unwrap_or(&target))?;
        (&file).seek(SeekFrom::Start(0))?;
        let written = packed::compress(codec, &mut watched(&file, stop), &mut &new.file);
        let written = written.and_then(|()| like(&new.file, &meta));
        if let Err(error) = written.and_then(|()| proven(&new.file, codec, &text, stop)) {
            new.discard()?;
            return Err(error);
        }
        new.publish("")?;
    }
    // The same where an interrupted run had published it.
    let (compressed, new_meta) = fs::open_beneath(&log.folder, &target)?;
    proven(&compressed, codec, &text, stop).map_err(|error| {
        let there = target.display();
        io::Error::other(format!("{error}; where {there} was there before, move one of the two away"))
    })?;
    if !fs::remove_beneath(&log.folder, &log.path, &known)? {
        let identity: Identity = fs::identity(&new_meta);
        fs::remove_beneath(&log.folder, &target, &identity)?;
        return Err(io::Error::other("it was changed while it was compressed"));
    }
    Ok(Some(new_meta.len()))
}

/// Has a copy be on the disk with the mode, owner and time of its original.
fn like(copy: &File, original: &std::fs::Metadata) -> io::Result<()> {
    fs::own(copy, (original.uid(), original.gid()))?;
    copy.set_permissions(Permissions::from_mode(original.mode() & 0o777))?;
    copy.set_modified(original.modified()?)?;
    copy.sync_all()
}

/// Fails where a compressed file, read from the disk, doesn't hold that text.
fn proven(file: &File, codec: Codec, text: &str, stop: &dyn Fn() -> bool) -> io::Result<()> {
    fs::forget_cached(file);
    let mut file = file.try_clone()?;
    file.seek(SeekFrom::Start(0))?;
    let packing = match codec {
        Codec::Gzip => Packing::Gzip,
        Codec::Zstd => Packing::Zstd,
    };
    if sha256(packing.reader(file)?, stop)? == text {
        return Ok(());
    }
    Err(io::Error::other("what was compressed turned out different"))
}

fn sha256(input: impl Read, stop: &dyn Fn() -> bool) -> io::Result<String> {
    let mut hasher = Hasher::default();
    copy_watched(input, &mut hasher, stop)?;
    Ok(hasher.finish())
}

fn copy_watched(input: impl Read, output: &mut impl Write, stop: &dyn Fn() -> bool) -> io::Result<u64> {
    io::copy(&mut watched(input, stop), output)
}

/// Reads until it is told to stop.
fn watched<'a, R: Read + 'a>(input: R, stop: &'a dyn Fn() -> bool) -> impl Read + 'a {
    struct Watched<'a, R>(R, &'a dyn Fn() -> bool);
    impl<R: Read> Read for Watched<'_, R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1() { Err(io::Error::other("the run was stopped")) } else { self.0.read(buffer) }
        }
    }
    io::BufReader::with_capacity(256 * 1024, Watched(input, stop))
}
