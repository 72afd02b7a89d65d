//! A Python environment with a real SMTP server, made when it is first needed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The packages of the environment.
const PACKAGES: [&str; 2] = ["aiosmtpd==1.4.6", "trustme==1.2.1"];

/// The interpreter of an environment that has the packages; `None` where it can't be made.
pub fn interpreter() -> Option<&'static Path> {
    static INTERPRETER: OnceLock<Option<PathBuf>> = OnceLock::new();
    INTERPRETER.get_or_init(make).as_deref()
}

fn make() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = folder.join("bin/python");
    let works = || succeeds(Command::new(&python).args(["-c", "import aiosmtpd, trustme"]));
    if works() {
        return Some(python);
    }
    let made = succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        && succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))
        && works();
    made.then_some(python)
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A running SMTP server that stores what it gets.
pub struct SmtpServer {
    child: Child,
    /// Its port.
    pub port: u16,
    /// The folder with `ca.pem` and the mails it got, `1.eml`, `2.eml` and so on.
    pub folder: PathBuf,
}

impl SmtpServer {
    /// Starts a server in a folder; `mode` is `starttls` or `implicit`. Its login is `logkeeper` / `s3cret pass`.
    pub fn start(python: &Path, folder: &Path, mode: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/smtp_server.py");
        let mut child = Command::new(python).arg(script).arg(folder).arg(mode).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("the SMTP server said {line:?}"));
        Self { child, port, folder: folder.to_owned() }
    }

    /// The mails it got.
    pub fn mails(&self) -> Vec<String> {
        let path = |n: usize| self.folder.join(format!("{n}.eml"));
        (1..).map(path).take_while(|path| path.exists()).map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
