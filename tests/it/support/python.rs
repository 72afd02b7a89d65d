//! A Python environment with a real SMTP server and a real S3 service, made when it is first needed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The packages of the environment.
const PACKAGES: [&str; 3] = ["aiosmtpd==1.4.6", "trustme==1.2.1", "moto[s3,server]==5.2.5"];

/// The interpreter of an environment that has the packages; `None` where it can't be made.
pub fn interpreter() -> Option<&'static Path> {
    static INTERPRETER: OnceLock<Option<PathBuf>> = OnceLock::new();
    INTERPRETER.get_or_init(make).as_deref()
}

fn make() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = folder.join("bin/python");
    let works = || succeeds(Command::new(&python).args(["-c", "import aiosmtpd, trustme, moto.server"]));
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

/// A running S3 service with one bucket, `logs`, that keeps what it gets in memory.
pub struct S3Server {
    child: Child,
    /// Its port.
    pub port: u16,
    python: PathBuf,
    log: PathBuf,
}

impl S3Server {
    /// Starts a service that logs its requests into a file of this folder; `mode` is `plain` or `tls`, which puts `ca.pem` there.
    pub fn start(python: &Path, folder: &Path, mode: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/s3_server.py");
        let log = folder.join("s3.log");
        let out = std::fs::File::create(&log).unwrap();
        let mut child =
            Command::new(python).arg(script).arg(folder).arg(mode).stdout(Stdio::piped()).stderr(out).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = { lines }.find_map(|line| line.parse().ok()).unwrap();
        Self { child, port, python: python.to_owned(), log }
    }

    /// Its requests: how often each method came for a path that holds this text.
    pub fn requests(&self, method: &str, text: &str) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines().filter(|line| line.contains(&format!("\"{method} ")) && line.contains(text)).count()
    }

    /// What it has under a name.
    pub fn object(&self, key: &str) -> Vec<u8> {
        self.client("sys.stdout.buffer.write(s3.get_object(Bucket='logs', Key=sys.argv[2])['Body'].read())", &[key])
    }

    /// Puts something under a name.
    pub fn put(&self, key: &str, text: &str) {
        self.client("s3.put_object(Bucket='logs', Key=sys.argv[2], Body=sys.argv[3])", &[key, text]);
    }

    /// Gives up all uploads that are not finished.
    pub fn forget_uploads(&self) {
        self.client(
            "for u in s3.list_multipart_uploads(Bucket='logs').get('Uploads', []): \
             s3.abort_multipart_upload(Bucket='logs', Key=u['Key'], UploadId=u['UploadId'])",
            &[],
        );
    }

    fn client(&self, action: &str, args: &[&str]) -> Vec<u8> {
        let script = format!(
            "import boto3, sys\ns3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1', \
             aws_access_key_id='key', aws_secret_access_key='secret')\n{action}"
        );
        let endpoint = format!("http://localhost:{}", self.port);
        let out = Command::new(&self.python).args(["-c", &script, &endpoint]).args(args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
