//! What the stories share: a configuration of its own in a temporary folder, the real program, and real servers.

pub mod chromium;
pub mod http;
pub mod python;
pub mod smtp;
pub mod strace;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use logkeeper::clock::FixedClock;
use logkeeper::config::Config;
use logkeeper::jobs::{self, Cancel, Context, Live};
use logkeeper::store::{Ended, Store};
use logkeeper::supervise::Pool;

/// The folder `../shared` when it lies beside the project.
pub fn shared() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    folder.join("DESIGN.md").is_file().then_some(folder)
}

/// Says on the real standard error, which the test runner does not capture, what a test could not do.
///
/// With `LOGKEEPER_TESTS=strict` (as in CI) only what needs `../shared` may be skipped.
pub fn skip(test: &str, needs: &str) {
    let strict = std::env::var("LOGKEEPER_TESTS").is_ok_and(|v| v == "strict");
    assert!(!strict || needs == "../shared", "{test} needs {needs}, and no skip is allowed here");
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs {needs}");
}

/// Whether a program is installed.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// How many random sequences to play: as many as `LOGKEEPER_SEQUENCES` says, else so many.
pub fn sequences(default: u64) -> u64 {
    std::env::var("LOGKEEPER_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// A configuration in a temporary folder.
pub struct TestBed {
    folder: tempfile::TempDir,
}

impl TestBed {
    /// With a main file that knows no sources, mails to a folder, and the shipped rules.
    pub fn new() -> Self {
        let bed = Self { folder: tempfile::tempdir().unwrap() };
        bed.main("");
        for (path, text) in logkeeper::config::SHIPPED.iter().filter(|(path, _)| path.starts_with("config/rules")) {
            bed.file(path, text);
        }
        std::fs::create_dir_all(bed.path("jobs")).unwrap();
        bed
    }

    /// A path in the folder.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes the main file; `more` comes after zone, host, state and recipients. `DIR` stands for the folder.
    pub fn main(&self, more: &str) -> &Self {
        let text = format!(
            "zone = \"UTC\"\nhost = \"web1\"\nstate = \"DIR/state\"\n\n[recipients]\nadmins = [\"admin@example.org\"]\nmanagement = [\"boss@example.org\"]\n\n{more}"
        );
        self.file("config/logkeeper.toml", &text)
    }

    /// Writes a file; `DIR` in it stands for the folder.
    pub fn file(&self, relative: &str, text: &str) -> &Self {
        self.bytes(relative, text.replace("DIR", &self.folder.path().to_string_lossy()).as_bytes())
    }

    /// Writes a file as it is.
    pub fn bytes(&self, relative: &str, bytes: &[u8]) -> &Self {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    /// The program, told where the configuration is.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logkeeper"));
        command.args(args).env("LOGKEEPER_CONFIG", self.folder.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// The program as another account sees it: everything here belongs to that account, the program itself included, which
    /// may lie in a folder that only root may enter.
    pub fn as_account(&self, uid: u32, args: &[&str]) -> Command {
        let program = self.path("logkeeper");
        if !program.exists() {
            std::fs::copy(env!("CARGO_BIN_EXE_logkeeper"), &program).unwrap();
        }
        let owner = format!("{uid}:{uid}");
        assert!(Command::new("chown").args(["-R", &owner]).arg(self.folder.path()).status().unwrap().success());
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={uid}"))
            .arg(format!("--regid={uid}"))
            .arg("--clear-groups")
            .arg(program)
            .args(args);
        command.env("LOGKEEPER_CONFIG", self.folder.path()).env_remove("RUST_LOG").stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// Runs the program, which must succeed, and reads its JSON.
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let ran = self.run(&[args, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Starts the daemon and waits until it listens.
    pub fn daemon(&self) -> Daemon {
        self.daemon_by(self.command(&["daemon"]))
    }

    /// Starts the daemon by a command and waits until it listens.
    pub fn daemon_by(&self, mut command: Command) -> Daemon {
        let log = std::fs::File::options().create(true).append(true).open(self.path("daemon.log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let daemon = Daemon { child, log: self.path("daemon.log") };
        let socket = self.path("state/logkeeper.sock");
        wait_until("the daemon listens", Duration::from_secs(20), || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        daemon
    }

    /// The configuration, read.
    pub fn config(&self) -> Config {
        Config::load(self.folder.path()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Runs a job in this process at an instant.
    pub fn run_job(&self, id: &str, at: &str) -> Ended {
        self.run_job_late(id, at, at)
    }

    /// Runs a job in this process that was due at one instant, at another.
    pub fn run_job_late(&self, id: &str, due: &str, at: &str) -> Ended {
        let config = self.config();
        let store = Store::open(&config.state).unwrap();
        let job = config.jobs.values().find(|job| job.id.as_str() == id).unwrap();
        let clock = FixedClock(at.parse().unwrap());
        let run = store.request_run(job, None, clock.0).unwrap().id;
        assert!(store.start_run(run, clock.0).unwrap());
        let cancel = Cancel::default();
        let (live, supervisors) = (Live::default(), Pool::default());
        let context = Context {
            job,
            run,
            at: due.parse().unwrap(),
            config: &config,
            store: &store,
            clock: &clock,
            cancel: &cancel,
            live: &live,
            supervisors: &supervisors,
        };
        let ended = jobs::kind(&job.work).run(&context).unwrap_or_else(|error| panic!("{id}: {error}"));
        store.finish_run(run, &ended, clock.0).unwrap();
        ended
    }

    /// The store, for reading.
    pub fn store(&self) -> Store {
        Store::open_for_reading(&self.path("state")).unwrap()
    }

    /// The mails in the default folder, decoded roughly enough to search in.
    pub fn mails(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path("state/mail")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        // One that is being written has another name in a moment.
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().map(|path| unquoted(&std::fs::read_to_string(path).unwrap())).collect()
    }
}

/// What a run's command printed, from the run's JSON.
pub fn printed(run: &serde_json::Value) -> String {
    let lines = run["output"].as_array().unwrap().iter();
    lines.map(|line| format!("{}\n", line["text"].as_str().unwrap())).collect()
}

/// Takes quoted-printable's soft line breaks and escapes of ASCII away.
pub fn unquoted(text: &str) -> String {
    text.replace("=\r\n", "").replace("=3D", "=").replace("=20", " ")
}

/// What a finished program left.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end and returns its exit code.
    pub fn end(mut self) -> i32 {
        self.signal("TERM");
        let mut code = None;
        wait_until("the daemon ends", Duration::from_secs(30), || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|status| status.code()).unwrap_or(-1)
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something that happens elsewhere.
pub fn wait_until(what: &str, limit: Duration, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !happened() {
        assert!(Instant::now() < end, "waited {limit:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
