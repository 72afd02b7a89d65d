//! Whether a rotated log is finished, so that nothing is added to it any more.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::model::Identity;

/// Files that a process has open for writing, as far as this one may see.
pub struct Writers(HashSet<(u64, u64)>);

impl Writers {
    /// Looks at all processes. Without the rights of root, only those of the same account can be looked at.
    pub fn look() -> Self {
        let inside = |path: &std::path::Path| std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
        let processes = inside(std::path::Path::new("/proc")).filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        });
        let descriptors = processes.flat_map(|process| inside(&process.path().join("fd")).collect::<Vec<_>>());
        let open = descriptors.filter_map(|descriptor| {
            // The link's own permissions tell for what it is open (proc_pid_fd(5)).
            let for_writing = descriptor.metadata().is_ok_and(|link| link.mode() & 0o200 != 0);
            let meta = std::fs::metadata(descriptor.path()).ok().filter(|meta| for_writing && meta.is_file())?;
            Some((meta.dev(), meta.ino()))
        });
        Self(open.collect())
    }

    /// Whether somebody may still write to this file.
    pub fn have(&self, identity: &Identity) -> bool {
        self.0.contains(&(identity.device, identity.inode))
    }
}

/// Why a log is not finished yet; `None` where it is. `now` is in seconds since 1970 UTC.
pub fn unfinished(identity: &Identity, writers: &Writers, quiet: Duration, now: i64) -> Option<String> {
    if writers.have(identity) {
        return Some("a program has it open for writing".to_owned());
    }
    // A time in the future says nothing about how long ago it was.
    let age = now.saturating_sub(identity.modified());
    let fresh = age >= 0 && age.unsigned_abs() < quiet.as_secs();
    fresh.then(|| format!("it was written to {age} seconds ago"))
}
