//! The only place that publishes a file, and the small rules every file access keeps.
//!
//! A published file is either absent or whole: it is written under a temporary name, synced,
//! renamed and its folder synced, so a crash or a full disk leaves at most a `.partial` file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, RenameFlags};

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

/// The temporary name a file has until it is published: `.NAME.partial` in the same folder.
pub fn partial_name(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.partial"))
}

/// Creates `path` (mode 0640) for writing and truncates what a crashed run left there.
///
/// # Errors
/// Fails where the file can't be created.
pub fn create_partial(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(path)
}

/// Gives a synced temporary file its final name; never replaces an existing file.
///
/// # Errors
/// `AlreadyExists` where `target` exists; else what the rename or the sync of the folder says.
pub fn publish_new(partial: &Path, target: &Path) -> io::Result<()> {
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, partial, here, target, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // A file system without RENAME_NOREPLACE (NFS): a hard link refuses an existing name too.
            std::fs::hard_link(partial, target)?;
            std::fs::remove_file(partial)?;
        }
        other => other?,
    }
    sync_parent(target)
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

/// Creates a folder (mode 0750: logs are nobody's business) and those above it, where they don't exist.
///
/// # Errors
/// Fails where a folder can't be created.
pub fn create_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(path)
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
