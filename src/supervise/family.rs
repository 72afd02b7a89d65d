//! The processes below the supervisor.

use std::collections::HashMap;

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions};

/// Whether no process is left below this one. Because orphans become its children, having no child means having none at all.
pub fn is_empty() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match rustix::process::waitid(WaitId::All, look) {
            Err(rustix::io::Errno::CHILD) => return true,
            // A dead one, which is taken out of the way; a failure means that somebody else was quicker.
            Ok(Some(_)) => drop(rustix::process::wait(WaitOptions::NOHANG)),
            _ => return false,
        }
    }
}

/// All living processes below this one; dead ones that nobody waited for are reaped on the way.
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
                // The leader itself is waited for by its thread; a failure here means that it was quicker.
                Some(pid) if dead && parent == me => drop(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG)),
                Some(pid) if !dead => found.push(pid),
                _ => {}
            }
        }
    }
    found
}
