//! Limits that hold for everything a command starts together: control groups, version 2.
//!
//! Only where systemd has delegated a group to the daemon (`Delegate=`, see
//! <https://systemd.io/CGROUP_DELEGATION>) and the kernel's control groups are of version 2; elsewhere a command has
//! the limits of setrlimit(2), which hold for each process by itself.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Limits;

/// The group of the daemon and its supervisors, below the delegated one: a group that shares out must hold no process.
const DAEMON: &str = "daemon";

/// What the names of commands' groups begin with.
const RUN: &str = "run-";

/// The number of this process's next group: one that can't be removed must not be in the way of the next.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The period of cpu.max in microseconds, the kernel's default.
const CPU_PERIOD: u64 = 100_000;

/// The group of a command; removed when dropped, at the latest by the next daemon.
pub struct Group {
    folder: PathBuf,
}

impl Group {
    /// A new group with these limits; `None` where there are none to hold or no group can be made.
    pub fn new(limits: &Limits) -> Option<Self> {
        if limits.memory.is_none() && limits.cpu_percent.is_none() {
            return None;
        }
        let delegated = delegated_parent(&own_group()?)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = delegated.join(format!("{RUN}{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let group = Self { folder };
        group.limit(limits).ok()?;
        Some(group)
    }

    fn limit(&self, limits: &Limits) -> io::Result<()> {
        if let Some(memory) = limits.memory {
            self.set("memory.max", &memory.to_string())?;
            self.set("memory.oom.group", "1")?;
            // Without swap there is no such file. With it, a command over its limit would slow down the machine.
            let _ = self.set("memory.swap.max", "0");
        }
        if let Some(percent) = limits.cpu_percent {
            self.set("cpu.max", &format!("{} {CPU_PERIOD}", u64::from(percent) * CPU_PERIOD / 100))?;
        }
        Ok(())
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        std::fs::write(self.folder.join(file), value)
    }

    /// The folder to [`join`].
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The most memory that the command held, all processes together, in bytes; `None` before Linux 5.19.
    pub fn peak_bytes(&self) -> Option<i64> {
        std::fs::read_to_string(self.folder.join("memory.peak")).ok()?.trim().parse().ok()
    }

    /// Whether the kernel ended it because it wanted more memory than it may have.
    pub fn ran_out_of_memory(&self) -> bool {
        let events = std::fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        // The machine may have been out of memory, too: then the limit was not met.
        let happened =
            |what: &str| events.lines().any(|line| line.strip_prefix(what).is_some_and(|times| times.trim() != "0"));
        happened("oom ") && happened("oom_kill ")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // With something left in it that can't be killed it stays.
        let _ = std::fs::remove_dir(&self.folder);
    }
}

/// Moves this process into a group.
///
/// # Errors
/// Fails where the group is gone or belongs to somebody else.
pub fn join(folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join("cgroup.procs"), "0")
}

/// Prepares the group that is delegated to this daemon for groups of commands. Returns whether there is one.
///
/// # Errors
/// Fails where there is one that can't be used.
pub fn prepare() -> io::Result<bool> {
    let Some(own) = own_group() else { return Ok(false) };
    let delegated = if is_delegated(&own) {
        let daemon = own.join(DAEMON);
        match std::fs::create_dir(&daemon) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => join(&daemon)?,
        }
        own
    } else if let Some(parent) = delegated_parent(&own) {
        parent
    } else {
        return Ok(false);
    };
    let control = delegated.join("cgroup.subtree_control");
    // One by one: a group may have been given only one of them.
    std::fs::write(&control, "+memory").and(std::fs::write(&control, "+cpu"))?;
    for entry in std::fs::read_dir(&delegated)?.filter_map(Result::ok) {
        if entry.file_name().as_bytes().starts_with(RUN.as_bytes()) {
            // What a dead supervisor left; a group with processes in it can't be removed.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
    Ok(true)
}

/// The folder of this process's group; `None` without control groups of version 2.
fn own_group() -> Option<PathBuf> {
    let own = std::fs::read("/proc/self/cgroup").ok()?;
    // cgroups(7): version 2 has hierarchy 0 and no controllers.
    let path = own.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    let mount = mounts.split(|byte| *byte == b'\n').find_map(cgroup2_mount)?;
    Some(mount.join(OsStr::from_bytes(path)))
}

/// proc(5): the fifth field is the mount point, and after a lone hyphen comes the type.
fn cgroup2_mount(line: &[u8]) -> Option<PathBuf> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let hyphen = fields.iter().position(|field| *field == b"-")?;
    (*fields.get(hyphen + 1)? == b"cgroup2").then(|| PathBuf::from(OsStr::from_bytes(fields[4])))
}

fn delegated_parent(own: &Path) -> Option<PathBuf> {
    own.parent().filter(|parent| is_delegated(parent)).map(Path::to_owned)
}

/// Whether systemd says that its manager leaves this group to us. The first mark needs systemd 251, the second root;
/// older ones at least give the files to the service's account.
fn is_delegated(folder: &Path) -> bool {
    let is_marked = ["user.delegate", "trusted.delegate"].iter().any(|mark| {
        let mut value = [0; 1];
        rustix::fs::getxattr(folder, *mark, &mut value) == Ok(1) && value == *b"1"
    });
    let me = rustix::process::geteuid();
    let is_mine = |file: &str| std::fs::metadata(folder.join(file)).is_ok_and(|meta| meta.uid() == me.as_raw());
    let is_service = folder.extension().is_some_and(|extension| extension == "service");
    is_marked || is_service && !me.is_root() && is_mine("cgroup.procs") && is_mine("cgroup.subtree_control")
}
