//! The only place that publishes a file, and the small rules every file access keeps.
//!
//! A published file is either absent or whole: it is written under a temporary name, synced,
//! renamed and its folder synced, so a crash or a full disk leaves at most a `.partial` file.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

use crate::model::Identity;

/// What a file is, from its metadata.
pub fn identity(meta: &std::fs::Metadata) -> Identity {
    let modified_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
    Identity { device: meta.dev(), inode: meta.ino(), size: meta.len(), modified_ns }
}

/// Opens a regular file for reading without following a link in its last component.
///
/// # Errors
/// Fails where the file can't be opened, is a symbolic link, or is no regular file
/// (a FIFO is not waited for).
pub fn open_regular(path: &Path) -> io::Result<(File, Identity)> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let identity = identity(&meta);
    Ok((file, identity))
}

/// Opens a regular file that has one name only for reading, following no link on the way from `folder`, which is trusted,
/// to it: who may write into a folder of logs must not have us read other people's files.
///
/// # Errors
/// Fails where a part of the way is a link, the file has a second name or is no regular file, or it can't be opened.
pub fn open_beneath(folder: &Path, path: &Path) -> io::Result<(File, std::fs::Metadata)> {
    open_only(folder, path, OFlags::RDONLY)
}

/// The same for reading and writing.
///
/// # Errors
/// As there.
pub fn open_beneath_to_write(folder: &Path, path: &Path) -> io::Result<(File, std::fs::Metadata)> {
    open_only(folder, path, OFlags::RDWR)
}

fn open_only(folder: &Path, path: &Path, access: OFlags) -> io::Result<(File, std::fs::Metadata)> {
    let (at, name) = way_to(folder, below(folder, path)?, false)?;
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&at, name, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::LOOP => invalid("it is a link"),
        error => error.into(),
    })?;
    let file = File::from(file);
    let meta = file.metadata()?;
    match (meta.is_file(), meta.nlink()) {
        (false, _) => Err(invalid("not a regular file")),
        (true, 1) => Ok((file, meta)),
        (true, 0) => Err(io::ErrorKind::NotFound.into()),
        (true, names) => Err(invalid(&format!("it has {names} names (hard links)"))),
    }
}

/// Removes a file durably where it is still what it was, following no link on the way from `folder` to it. Gives whether it was.
///
/// # Errors
/// Fails where the way can't be gone or the file can't be removed.
pub fn remove_beneath(folder: &Path, path: &Path, known: &Identity) -> io::Result<bool> {
    let (at, name) = way_to(folder, below(folder, path)?, false)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(&at, name, flags, Mode::empty())?);
    if identity(&file.metadata()?) != *known {
        return Ok(false);
    }
    rustix::fs::unlinkat(&at, name, AtFlags::empty())?;
    sync_folder(&at)?;
    Ok(true)
}

/// Gives a file another name durably, following no link on the way from `folder` to both; never replaces an existing file.
///
/// # Errors
/// `AlreadyExists` where `to` exists; else fails where a way can't be gone or the file can't be renamed.
pub fn rename_beneath(folder: &Path, from: &Path, to: &Path) -> io::Result<()> {
    let (from_folder, from) = way_to(folder, below(folder, from)?, false)?;
    let (to_folder, to) = way_to(folder, below(folder, to)?, false)?;
    rename_new((from_folder.as_fd(), Path::new(from)), (to_folder.as_fd(), Path::new(to)))?;
    sync_folder(&to_folder)?;
    sync_folder(&from_folder)
}

/// Gives a file an owner and a group, where it has others.
///
/// # Errors
/// Fails where that is not allowed.
pub fn own(file: &File, (uid, gid): (u32, u32)) -> io::Result<()> {
    let meta = file.metadata()?;
    if (meta.uid(), meta.gid()) == (uid, gid) {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(uid), Some(gid))
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn below<'a>(folder: &Path, path: &'a Path) -> io::Result<&'a Path> {
    path.strip_prefix(folder).map_err(|_| invalid("not in the folder of its source"))
}

/// The folder of a place below a folder, reached without following a link, and the name there; with `make`, the folders between are
/// created (mode 0750).
fn way_to<'a>(folder: &Path, below: &'a Path, make: bool) -> io::Result<(OwnedFd, &'a OsStr)> {
    let names: Option<Vec<&OsStr>> = below
        .components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| if let Component::Normal(name) = component { Some(name) } else { None })
        .collect();
    let names = names.ok_or_else(|| invalid("its name would lead out of the folder"))?;
    let Some((name, above)) = names.split_last() else { return Err(invalid("it has no name")) };
    let mut at = open_folder(folder)?;
    for name in above {
        if make {
            match rustix::fs::mkdirat(&at, *name, Mode::from_raw_mode(0o750)) {
                Ok(()) => sync_folder(&at)?,
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        at = rustix::fs::openat(&at, *name, WAY | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok((at, name))
}

/// How a folder is opened as a place.
const WAY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a folder that is named in full by who may be trusted. A link on the way to it is followed only where nobody but root and this
/// account could have put it there.
fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let start = if path.is_absolute() { Path::new("/") } else { Path::new(".") };
    let mut at = rustix::fs::open(start, WAY, Mode::empty())?;
    for component in path.components() {
        let name = match component {
            Component::Normal(name) => name,
            Component::ParentDir => OsStr::new(".."),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
        };
        at = match rustix::fs::openat(&at, name, WAY | OFlags::NOFOLLOW, Mode::empty()) {
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                let place = rustix::fs::fstat(&at)?;
                let ours = place.st_uid == 0 || place.st_uid == rustix::process::geteuid().as_raw();
                if !ours || place.st_mode & 0o022 != 0 {
                    let name = name.to_string_lossy();
                    let reason =
                        format!("{name} on the way to {} is a link that others could have made", path.display());
                    return Err(invalid(&reason));
                }
                rustix::fs::openat(&at, name, WAY, Mode::empty())?
            }
            opened => opened?,
        };
    }
    Ok(at)
}

/// Syncs a folder that may be open only as a place.
fn sync_folder(at: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::fsync(rustix::fs::openat(at, ".", flags, Mode::empty())?)?)
}

/// A file in the making in a folder that was reached without following links.
pub struct NewFile {
    folder: OwnedFd,
    name: OsString,
    /// What is written; it can be read as well.
    pub file: File,
}

impl NewFile {
    /// Begins a file at a place below a folder; the folders between are created (mode 0750).
    ///
    /// # Errors
    /// Fails where the way would lead out of the folder, goes over a link, or can't be made.
    pub fn beneath(folder: &Path, below: &Path) -> io::Result<Self> {
        let (at, name) = way_to(folder, below, true)?;
        match rustix::fs::unlinkat(&at, partial_of(name), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&at, partial_of(name), flags, Mode::from_raw_mode(0o600))?;
        Ok(Self { folder: at, name: name.to_os_string(), file: file.into() })
    }

    /// Syncs it and gives it its name with something added; never replaces an existing file.
    ///
    /// # Errors
    /// `AlreadyExists` where there is a file of that name, which then stays.
    pub fn publish(self, added: &str) -> io::Result<()> {
        let done = self.file.sync_all().and_then(|()| {
            let mut name = self.name.clone();
            name.push(added);
            let partial = partial_of(&self.name);
            rename_new((self.folder.as_fd(), Path::new(&partial)), (self.folder.as_fd(), Path::new(&name)))
        });
        if done.is_err() {
            self.discard()?;
            return done;
        }
        sync_folder(&self.folder)
    }

    /// Removes it.
    ///
    /// # Errors
    /// Fails where it can't be removed.
    pub fn discard(self) -> io::Result<()> {
        rustix::fs::unlinkat(&self.folder, partial_of(&self.name), AtFlags::empty())?;
        sync_folder(&self.folder)
    }
}

fn partial_of(name: &OsStr) -> OsString {
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(".partial");
    partial
}

/// The temporary name a file has until it is published: `.NAME.partial` in the same folder.
pub fn partial_name(target: &Path) -> PathBuf {
    target.with_file_name(partial_of(target.file_name().unwrap_or_default()))
}

/// Creates `path` (mode 0640) for writing, after removing what a crashed run, or somebody else, left there.
///
/// # Errors
/// Fails where the file can't be created.
pub fn create_partial(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new().write(true).create_new(true).mode(0o640).open(path),
    }
}

/// Gives a synced temporary file its final name; never replaces an existing file.
///
/// # Errors
/// `AlreadyExists` where `target` exists; else what the rename or the sync of the folder says.
pub fn publish_new(partial: &Path, target: &Path) -> io::Result<()> {
    rename_new((rustix::fs::CWD, partial), (rustix::fs::CWD, target))?;
    sync_parent(target)
}

fn rename_new((at, name): (BorrowedFd<'_>, &Path), (to, target): (BorrowedFd<'_>, &Path)) -> io::Result<()> {
    match rustix::fs::renameat_with(at, name, to, target, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // A file system without RENAME_NOREPLACE (NFS): a hard link refuses an existing name too.
            rustix::fs::linkat(at, name, to, target, AtFlags::empty())?;
            Ok(rustix::fs::unlinkat(at, name, AtFlags::empty())?)
        }
        other => Ok(other?),
    }
}

/// Writes `bytes` to `path` durably, replacing what was there in one step.
///
/// # Errors
/// Fails where writing, syncing or renaming fails; the old content is then untouched.
#[allow(clippy::disallowed_methods, reason = "this is the one place that may rename")]
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = partial_name(path);
    let mut file = create_partial(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    sync_parent(path)
}

/// Syncs the folder that holds `path`, so that a rename or removal in it survives a power cut.
///
/// # Errors
/// Fails where the folder can't be opened or synced.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Creates a folder (mode 0750: logs are nobody's business) and those above it, where they don't exist, so that they survive a
/// power cut.
///
/// # Errors
/// Fails where a folder can't be created or synced.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    match std::fs::DirBuilder::new().mode(0o750).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => Err(error),
        _ => sync_parent(path),
    }
}

/// Has the next reader of a synced file read it from the disk, so far as the system can do that.
pub fn forget_cached(file: &File) {
    // Only a wish: a file system that knows no cache says no.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Removes a file durably; one that is not there is no error.
///
/// # Errors
/// Fails where it can't be removed or its folder can't be synced.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path).and_then(|()| sync_parent(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Opens a file for reading and writing that only its owner and group may read (mode 0640), and creates it where it
/// doesn't exist.
///
/// # Errors
/// Fails where it can't be opened or its mode can't be set.
pub fn create_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o007 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(mode & 0o770))?;
    }
    Ok(file)
}

/// Appends `bytes` to the file at `path` in one write, creating it (mode 0640) when absent.
///
/// # Errors
/// Fails where the file can't be opened or written.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    file.write_all(bytes)
}
