//! This machine's sendmail program, as postfix, exim and others install it; started directly, never through a shell.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lettre::message::Mailbox;

use super::{Notifier, NotifyError, Parcel, Sending};
use crate::model::SendmailSpec;
use crate::model::untrusted::printable;

/// How long it may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long what it said is waited for after its end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Temporary failure; the caller may try again (sysexits.h).
const EX_TEMPFAIL: i32 = 75;
/// Wrong data, no such user and no such host (sysexits.h): this recipient's.
const EX_OF_RECIPIENT: [i32; 3] = [65, 67, 68];

/// The notifier.
pub struct Sendmail {
    program: PathBuf,
    from: String,
}

impl Sendmail {
    /// For this program.
    ///
    /// # Errors
    /// Says why the sender can't be used.
    pub fn new(spec: &SendmailSpec, from: &str) -> Result<Self, NotifyError> {
        let from: Mailbox = from.parse().map_err(|error| NotifyError::Refused(format!("sender {from:?}: {error}")))?;
        Ok(Self { program: spec.program.clone(), from: from.email.to_string() })
    }

    /// Hands over a message and waits until the program has taken it.
    fn hand_over(&self, to: &str, mime: &[u8]) -> Result<(), NotifyError> {
        let shown = self.program.display();
        let mut command = Command::new(&self.program);
        // -i: a line with a single dot doesn't end the message. What follows -- is an address, whatever it looks like.
        command.args(["-i", "-f", &self.from, "--", to]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| NotifyError::Refused(format!("can't start {shown}: {error}")))?;
        // lettre's MIME has CR LF at the ends of its lines; a program of this machine reads lines as this machine does.
        let lines: Vec<u8> = mime.iter().copied().filter(|byte| *byte != b'\r').collect();
        // In threads of their own, for which nobody waits longer than for the program: what it left behind may hold its pipes open.
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let (written, was_written) = std::sync::mpsc::channel();
        let (said, was_said) = std::sync::mpsc::channel();
        let spawned = std::thread::Builder::new().spawn(move || {
            let result = stdin.map_or(Ok(()), |mut stdin| stdin.write_all(&lines));
            // Nobody waits any more where that took too long.
            let _ = written.send(result.is_ok());
        });
        let reading = std::thread::Builder::new().spawn(move || said.send(stderr.map_or_else(String::new, read_some)));
        let end = Instant::now() + DEADLINE;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end && spawned.is_ok() && reading.is_ok() => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => {
                    // It may have ended just now.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(NotifyError::Broken(format!("{shown} did not end within {} s", DEADLINE.as_secs())));
                }
            }
        };
        let was_written = was_written.recv_timeout(LAST_WORDS).unwrap_or(false);
        let said = was_said.recv_timeout(LAST_WORDS).unwrap_or_default();
        let text = format!("{shown} ended with {status} {}", printable(said.trim().as_bytes()));
        match status.code() {
            Some(0) if was_written => Ok(()),
            Some(0) => Err(NotifyError::Broken(format!("{shown} did not read the whole message"))),
            Some(EX_TEMPFAIL) => Err(NotifyError::Later(text)),
            Some(code) if EX_OF_RECIPIENT.contains(&code) => Err(NotifyError::Never(text)),
            // Some programs tell of a refused recipient so, others of a server that is down.
            _ => Err(NotifyError::Broken(text)),
        }
    }
}

/// The beginning of what a program says; the rest is read and forgotten, so that it doesn't wait.
fn read_some(stderr: std::process::ChildStderr) -> String {
    let (mut said, mut stderr) = (Vec::new(), stderr);
    // What it says only explains the exit code.
    let _ = std::io::Read::read_to_end(&mut std::io::Read::take(&mut stderr, 2000), &mut said);
    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    String::from_utf8_lossy(&said).into_owned()
}

impl Notifier for Sendmail {
    fn send<'a>(&'a self, parcel: &'a Parcel) -> Sending<'a> {
        Box::pin(async move {
            let to: Mailbox = (parcel.recipient.parse())
                .map_err(|error| NotifyError::Never(format!("{:?}: {error}", parcel.recipient)))?;
            let own = Self { program: self.program.clone(), from: self.from.clone() };
            let (to, mime) = (to.email.to_string(), parcel.body.clone());
            let handed = crate::threads::blocking(move || own.hand_over(&to, &mime)).await;
            handed.unwrap_or_else(|error| Err(NotifyError::Down(error.to_string())))
        })
    }
}
