//! One logkeeper at a time runs jobs in a state folder.

use std::path::{Path, PathBuf};

/// The lock on a state folder: one logkeeper at a time runs jobs in it.
pub struct Lock {
    _file: std::fs::File,
}

/// Why a state folder can't be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another logkeeper holds it.
    #[error("another logkeeper is using {folder}: {holder}")]
    Held {
        /// The state folder.
        folder: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// Root would leave files there that its owner can't use.
    #[error(
        "the state folder {folder} belongs to {owner}: run this as that account (sudo -u {owner} logkeeper …), or start the daemon and ask it"
    )]
    Foreign {
        /// The state folder.
        folder: PathBuf,
        /// Its owner.
        owner: String,
    },
    /// The folder or the lock file can't be used.
    #[error("can't lock {folder}: {error}")]
    Io {
        /// The state folder.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock of a state folder, or says who holds it. `purpose` is what a second one is told.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process holds it.
    pub fn take(state: &Path, purpose: &str) -> Result<Self, LockError> {
        use std::io::{Read, Seek, Write};
        let io = |error| LockError::Io { folder: state.to_owned(), error };
        crate::fs::create_folder(state).map_err(io)?;
        refuse_foreign(state)?;
        let mut file = crate::fs::create_private(&state.join("lock")).map_err(io)?;
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // A holder that has not written yet is nameless.
            let _ = file.read_to_string(&mut holder);
            let holder =
                if holder.trim().is_empty() { "it has just started".to_owned() } else { holder.trim().to_owned() };
            return Err(LockError::Held { folder: state.to_owned(), holder });
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        file.write_all(format!("pid {}, {purpose}\n", std::process::id()).as_bytes()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// Makes sure that what is written below a state folder can be used by its owner.
///
/// # Errors
/// [`LockError::Foreign`] where this process is root and the folder somebody else's.
pub fn refuse_foreign(state: &Path) -> Result<(), LockError> {
    match foreign_owner(state) {
        Ok(Some(owner)) => Err(LockError::Foreign { folder: state.to_owned(), owner }),
        // Whoever uses it next says what is wrong with it.
        Ok(None) | Err(_) => Ok(()),
    }
}

/// The owner of a folder, where this process is root and the folder somebody else's.
fn foreign_owner(folder: &Path) -> std::io::Result<Option<String>> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(folder)?.uid();
    if owner == 0 || !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let account = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(owner)).ok().flatten();
    Ok(Some(account.map_or_else(|| owner.to_string(), |account| account.name)))
}
