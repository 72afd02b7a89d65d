//! The processes below the supervisor.

use std::collections::HashMap;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use rustix::process::Pid;

/// Whether no process is left below this one. Because orphans become its children, having no child means having none at all.
/// Dead ones are taken out of the way, so the leader must have been waited for.
pub fn is_empty() -> bool {
    reap(None) == Left::Nothing
}

/// Takes dead orphans out of the way while the leader runs; its own end is left to who waits for it.
pub fn reap_orphans(leader: Pid) {
    reap(Some(leader));
}

#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Something,
}

fn reap(but: Option<Pid>) -> Left {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::All, look) {
            Err(nix::errno::Errno::ECHILD) => return Left::Nothing,
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..))
                if but.is_none_or(|but| but.as_raw_nonzero().get() != pid.as_raw()) =>
            {
                // It is dead, so this does not wait.
                let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            }
            _ => return Left::Something,
        }
    }
}

/// All living processes below this one.
pub fn descendants() -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for entry in entries {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else { continue };
        // proc(5): "pid (name) state ppid …", and the name may hold anything.
        let Some(close) = memchr::memrchr(b')', &stat) else { continue };
        let rest = String::from_utf8_lossy(&stat[close + 1..]).into_owned();
        let mut fields = rest.split_ascii_whitespace();
        let (Some(state), Some(Ok(parent))) = (fields.next(), fields.next().map(str::parse::<i32>)) else { continue };
        children.entry(parent).or_default().push((pid, state == "Z"));
    }
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let (mut found, mut queue) = (Vec::new(), vec![me]);
    while let Some(parent) = queue.pop() {
        for (pid, dead) in children.remove(&parent).unwrap_or_default() {
            queue.push(pid);
            match Pid::from_raw(pid) {
                Some(pid) if !dead => found.push(pid),
                _ => {}
            }
        }
    }
    found
}
