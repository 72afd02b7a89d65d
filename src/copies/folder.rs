//! Copies in a folder, which is often another machine's disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{CopyError, Place, Seen, Sending};
use crate::digest::Hasher;
use crate::fs::{
    create_folder, forget_cached, identity, open_regular, partial_name, publish_new, remove, replace, sync_parent,
};

/// The file that tells a disk from an empty folder where none is mounted.
const MARKER: &str = ".logkeeper-copies";

/// How much is copied between two looks whether to stop.
const PART: usize = 1 << 20;

/// A folder.
pub struct Folder {
    path: PathBuf,
    identity: String,
}

impl Folder {
    /// That must be the one to which was copied before, if there was any.
    pub fn new(path: &Path, known: Option<&str>, may_mark: bool) -> Result<Self, CopyError> {
        let shown = path.display();
        let place = |error: io::Error| {
            // The shipped unit lets the service write below its state folder only.
            let is_unit = error.kind() == io::ErrorKind::ReadOnlyFilesystem;
            let help = "; under logkeeper.service, \"systemctl edit logkeeper\" has to name it: ReadWritePaths=";
            let help = if is_unit { format!("{help}{shown}") } else { String::new() };
            CopyError::Place(format!("{shown}: {error}{help}"))
        };
        if !path.is_dir() {
            return Err(CopyError::Place(format!("{shown} is no folder; is its disk mounted?")));
        }
        let marker = path.join(MARKER);
        let identity = match std::fs::read_to_string(&marker) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound && known.is_none() => String::new(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let marker = marker.display();
                return Err(CopyError::Place(format!(
                    "{shown} is not the disk that was copied to before; is it mounted? If it is a new one, an empty file {marker} \
                     says so, and everything is copied again"
                )));
            }
            Err(error) => return Err(place(error)),
        };
        if !identity.is_empty() || !may_mark {
            return Ok(Self { path: path.to_owned(), identity });
        }
        let identity = std::fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(place)?.trim().to_owned();
        replace(&marker, format!("{identity}\n").as_bytes()).map_err(place)?;
        Ok(Self { path: path.to_owned(), identity })
    }

    fn path(&self, key: &str) -> PathBuf {
        self.path.join(key)
    }

    /// Makes the folders above a file; the place itself must be there still.
    fn make_way(&self, path: &Path) -> io::Result<()> {
        if self.path.join(MARKER).exists() {
            return create_folder(path.parent().unwrap_or(&self.path));
        }
        Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, "its disk is gone"))
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CopyError {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull};
    move |error| {
        let text = format!("{}: {error}", path.display());
        let is_disk = [PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull];
        let is_io = error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error());
        if is_io || is_disk.contains(&error.kind()) { CopyError::Place(text) } else { CopyError::One(text) }
    }
}

impl Place for Folder {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn look(&mut self, key: &str, _: &dyn Fn() -> bool) -> Result<Option<Seen>, CopyError> {
        let path = self.path(key);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => {
                let identity = identity(&meta);
                Ok(Some(Seen { size: identity.size, version: identity.modified_ns.to_string() }))
            }
            Ok(_) => Err(CopyError::One(format!("{} is no file", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    fn send(&mut self, sending: &Sending<'_>, stop: &dyn Fn() -> bool) -> Result<String, CopyError> {
        let path = self.path(sending.key);
        let partial = partial_name(&path);
        let io = failed(&path);
        self.make_way(&path).map_err(&io)?;
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640).custom_flags(flags);
        let copy = options.open(&partial).map_err(&io)?;
        let busy = |_| CopyError::One("another run is copying it".to_owned());
        flock(&copy, FlockOperation::NonBlockingLockExclusive).map_err(busy)?;
        let meta = copy.metadata().map_err(&io)?;
        if !std::fs::symlink_metadata(&partial).is_ok_and(|now| (now.dev(), now.ino()) == (meta.dev(), meta.ino())) {
            return Err(CopyError::One("another run has just copied it".to_owned()));
        }
        // A beginning that turns out to be damaged is written anew.
        for begun in [meta.len(), 0] {
            append(&copy, sending, begun, stop).map_err(|error| error.unwrap_or_else(&io))?;
            if digest(&copy, stop).map_err(|error| error.unwrap_or_else(&io))? == sending.sha256 {
                if let Err(error) = publish_new(&partial, &path) {
                    remove(&partial).map_err(&io)?;
                    return Err(io(error));
                }
                let meta = copy.metadata().map_err(&io)?;
                return Ok(identity(&meta).modified_ns.to_string());
            }
        }
        remove(&partial).map_err(&io)?;
        Err(CopyError::One("what arrived there was not the same, and was removed again".to_owned()))
    }

    fn read(&mut self, key: &str, from: u64, to: &mut dyn Write, stop: &dyn Fn() -> bool) -> Result<(), CopyError> {
        let path = self.path(key);
        let io = failed(&path);
        let (mut file, _): (File, _) = open_regular(&path).map_err(&io)?;
        forget_cached(&file);
        file.seek(SeekFrom::Start(from)).map_err(&io)?;
        copy_parts(&file, to, stop).map_err(|error| error.unwrap_or_else(&io)).map(drop)
    }

    fn remove(&mut self, key: &str, _: &dyn Fn() -> bool) -> Result<(), CopyError> {
        let path = self.path(key);
        std::fs::remove_file(&path).and_then(|()| sync_parent(&path)).map_err(failed(&path))
    }
}

/// What stopped a copying: a failure of the system, or what is an error already.
enum Failure {
    Io(io::Error),
    Copy(CopyError),
}

impl Failure {
    fn unwrap_or_else(self, make: impl Fn(io::Error) -> CopyError) -> CopyError {
        match self {
            Failure::Io(error) => make(error),
            Failure::Copy(error) => error,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}

/// Writes what is missing of a copy that has so many bytes already.
fn append(copy: &File, sending: &Sending<'_>, begun: u64, stop: &dyn Fn() -> bool) -> Result<(), Failure> {
    let begun = if begun > sending.size { 0 } else { begun };
    copy.set_len(begun)?;
    let (mut from, mut to) = (sending.file, copy);
    from.seek(SeekFrom::Start(begun))?;
    to.seek(SeekFrom::Start(begun))?;
    if begun + copy_parts(from.take(sending.size - begun), &mut to, stop)? < sending.size {
        return Err(Failure::Copy(CopyError::One("it became shorter while it was copied".to_owned())));
    }
    Ok(copy.sync_all()?)
}

/// The digest of a file as it is on the disk.
fn digest(mut file: &File, stop: &dyn Fn() -> bool) -> Result<String, Failure> {
    forget_cached(file);
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Hasher::default();
    copy_parts(file, &mut hash, stop)?;
    Ok(hash.finish())
}

fn copy_parts(mut from: impl Read, mut to: impl Write, stop: &dyn Fn() -> bool) -> Result<u64, Failure> {
    let (mut buffer, mut copied) = (vec![0; PART], 0);
    loop {
        if stop() {
            return Err(Failure::Copy(CopyError::Stopped));
        }
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(copied);
        }
        to.write_all(&buffer[..read])?;
        copied += read as u64;
    }
}
