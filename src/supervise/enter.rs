//! Becoming what a command is to be: its account, limits and environment.
//!
//! A command that runs as somebody else, or under limits, is started through this program once more, as
//! `logkeeper enter`: the supervisor must stay what it is to end everything at last. The plan comes over a socket that
//! is its standard input; on failure the reason goes back, and the command is never started. With success the
//! socket closes, because the command gets another standard input.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Group, Uid, User};
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::stdin_of;
use crate::model::{CommandSpec, Limits};

/// Exit code of a process that could not become what it should.
const NOT_ENTERED: i32 = 125;

/// A command with everything it needs to begin.
#[derive(Serialize, Deserialize)]
pub struct Plan {
    argv: Vec<String>,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    stdin: Option<String>,
    user: Option<String>,
    group: Option<String>,
    umask: Option<u32>,
    nice: Option<i32>,
    limits: Limits,
    /// The folder of its control group.
    group_folder: Option<PathBuf>,
    #[serde(skip)]
    socket: Option<UnixStream>,
}

impl Plan {
    /// The plan for a command with its whole environment and its control group.
    pub fn new(spec: &CommandSpec, environment: Vec<(String, String)>, group: Option<&cgroup::Group>) -> Self {
        let spec = spec.clone();
        Self {
            argv: spec.argv,
            directory: spec.directory.unwrap_or_else(|| PathBuf::from("/")),
            environment,
            stdin: spec.stdin,
            user: spec.user,
            group: spec.group,
            umask: spec.umask,
            nice: spec.nice,
            limits: spec.limits,
            group_folder: group.map(|group| group.folder().to_owned()),
            socket: None,
        }
    }

    /// Whether the command needs a process between supervisor and itself.
    pub fn needs_entering(&self) -> bool {
        self.user.is_some() || self.umask.is_some() || self.nice.is_some() || self.limits != Limits::default()
    }

    /// The command itself.
    pub fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear().envs(self.environment.iter().cloned());
        command.current_dir(&self.directory).stdin(stdin_of(self.stdin.as_deref())?);
        Ok(command)
    }

    /// This program, to become the command once it has the plan.
    pub fn entering(&mut self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg("enter").arg0("logkeeper").env_clear().current_dir("/");
        // Without a socket it gets no plan and says so.
        if let Ok((mine, its)) = UnixStream::pair() {
            command.stdin(Stdio::from(OwnedFd::from(its)));
            self.socket = Some(mine);
        }
        command
    }

    /// Gives the plan to the process that waits for it, and waits until it has become the command.
    ///
    /// # Errors
    /// Why it could not.
    pub fn hand_over(&mut self) -> Result<(), String> {
        let Some(mut socket) = self.socket.take() else { return Ok(()) };
        // A plan is made of texts and numbers, which always can be written as JSON.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let mut reason = String::new();
        let talked = socket
            .write_all(&json)
            .and_then(|()| socket.shutdown(std::net::Shutdown::Write))
            .and_then(|()| socket.read_to_string(&mut reason));
        match talked {
            Ok(_) if reason.is_empty() => Ok(()),
            Ok(_) => Err(reason),
            Err(error) => Err(format!("can't start {}: {error}", self.argv[0])),
        }
    }

    /// Becomes the command; returns only where that fails.
    fn enter(&self) -> String {
        if let Err(reason) = self.prepare() {
            return reason;
        }
        match self.command() {
            Ok(mut command) => format!("can't start {}: {}", self.argv[0], command.exec()),
            Err(error) => format!("can't start {}: {error}", self.argv[0]),
        }
    }

    fn prepare(&self) -> Result<(), String> {
        if let Some(folder) = &self.group_folder {
            cgroup::join(folder).map_err(|error| format!("can't enter {}: {error}", folder.display()))?;
        }
        // Address space that is never used would count, so the group's limit is the better one.
        let memory = self.limits.memory.filter(|_| self.group_folder.is_none());
        let limits = [
            (Resource::RLIMIT_AS, memory, "memory"),
            (Resource::RLIMIT_CPU, self.limits.cpu_seconds, "processor time"),
            (Resource::RLIMIT_NOFILE, self.limits.open_files, "open files"),
            (Resource::RLIMIT_FSIZE, self.limits.file_size, "file size"),
        ];
        for (resource, limit, what) in limits {
            let Some(limit) = limit else { continue };
            setrlimit(resource, limit, limit).map_err(|error| format!("can't limit its {what}: {error}"))?;
        }
        if let Some(nice) = self.nice {
            let set = rustix::process::setpriority_process(None, nice);
            set.map_err(|error| format!("can't be nice {nice}: {error}"))?;
        }
        if let Some(mask) = self.umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
        }
        match &self.user {
            Some(name) => become_user(name, self.group.as_deref()),
            None => Ok(()),
        }
    }
}

/// The program behind `logkeeper enter`.
///
/// # Errors
/// Fails where nobody waits for the reason why it could not become the command.
pub fn main() -> io::Result<std::process::ExitCode> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut json = String::new();
    socket.read_to_string(&mut json)?;
    let plan: Plan = serde_json::from_str(&json)?;
    let reason = plan.enter();
    socket.write_all(reason.as_bytes())?;
    Ok(std::process::ExitCode::from(NOT_ENTERED as u8))
}

/// Takes on an account with its groups for good, and makes sure that there is no way back.
fn become_user(name: &str, group: Option<&str>) -> Result<(), String> {
    let user = user_named(name)?;
    let gid = match group {
        Some(name) => group_named(name)?,
        None => user.gid,
    };
    let uid = user.uid;
    let failed = |error: nix::Error| {
        let me = nix::unistd::geteuid();
        format!("can't run as {name}: {error}{}", if me.is_root() { "" } else { " (only root can change the account)" })
    };
    let account = std::ffi::CString::new(name).map_err(|_| format!("{name:?} is not an account"))?;
    if nix::unistd::getresuid().is_ok_and(|ids| ids.real == uid && ids.effective == uid && ids.saved == uid)
        && nix::unistd::getgid() == gid
        && !uid.is_root()
    {
        return Ok(());
    }
    nix::unistd::initgroups(&account, gid).map_err(failed)?;
    nix::unistd::setresgid(gid, gid, gid).map_err(failed)?;
    nix::unistd::setresuid(uid, uid, uid).map_err(failed)?;
    verify(uid, gid).then_some(()).ok_or_else(|| format!("can't run as {name}: the change did not last"))
}

/// Whether this process is of that account and can't become root again.
fn verify(uid: Uid, gid: Gid) -> bool {
    let users = nix::unistd::getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3]);
    let groups = nix::unistd::getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3]);
    users && groups && (uid.is_root() || nix::unistd::setuid(Uid::from_raw(0)).is_err())
}

/// Name and home of the account a command runs as.
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its home.
    pub home: String,
}

/// The account a command runs as.
///
/// # Errors
/// Says that there is no such account.
pub fn account(spec: &CommandSpec) -> Result<Account, String> {
    let user = match &spec.user {
        Some(name) => Some(user_named(name)?),
        // An account without an entry is nameless.
        None => User::from_uid(nix::unistd::geteuid()).ok().flatten(),
    };
    Ok(match user {
        Some(user) => Account { name: user.name, home: user.dir.to_string_lossy().into_owned() },
        None => Account { name: nix::unistd::geteuid().to_string(), home: "/".to_owned() },
    })
}

fn user_named(name: &str) -> Result<User, String> {
    let found = User::from_name(name).map_err(|error| format!("can't look up the account {name:?}: {error}"))?;
    found.ok_or_else(|| format!("there is no account {name:?} on this machine"))
}

fn group_named(name: &str) -> Result<Gid, String> {
    let found = Group::from_name(name).map_err(|error| format!("can't look up the group {name:?}: {error}"))?;
    found.map(|group| group.gid).ok_or_else(|| format!("there is no group {name:?} on this machine"))
}

/// The values of a command's secrets: the first line of each file.
///
/// # Errors
/// Says which file can't be used.
pub fn read_secrets(spec: &CommandSpec) -> Result<Vec<(String, String)>, String> {
    let read = |(name, path): (&String, &PathBuf)| {
        let failed = |error: io::Error| format!("can't read the secret {name} from {}: {error}", path.display());
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(format!("the secret {name} in {0} can be read by others: chmod 600 {0}", path.display()));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Ok((name.clone(), text.lines().next().unwrap_or_default().to_owned()))
    };
    spec.secrets.iter().map(read).collect()
}

/// The variables in a file: `NAME=value` a line, empty lines and those that begin with `#` left out, quotes around a value
/// taken off.
///
/// # Errors
/// Says which line is wrong.
pub fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let failed = |error: io::Error| format!("can't read {}: {error}", path.display());
    if std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o002 != 0 {
        return Err(format!("{0} can be changed by every user of this machine: chmod o-w {0}", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .filter(|(name, _)| !name.trim().is_empty())
            .ok_or_else(|| format!("{}:{}: this is no NAME=value", path.display(), number + 1))?;
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        let name = name.trim().strip_prefix("export ").unwrap_or(name.trim());
        variables.insert(name.to_owned(), quoted.unwrap_or(value).to_owned());
    }
    Ok(variables)
}
