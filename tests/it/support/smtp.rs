//! An SMTP server that does what a test says: answers, refuses, falls silent or hangs up, in any phase.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the server does in a phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// What a server does that has nothing against it.
    Accept,
    /// Answers with this line.
    Say(&'static str),
    /// Says nothing for a minute.
    Stall,
    /// Hangs up.
    Drop,
}

/// A message that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its recipient.
    pub to: String,
    /// Its bytes as they came over the wire, dots stuffed, without the final one.
    pub wire: Vec<u8>,
}

impl Taken {
    /// Its Message-ID.
    pub fn id(&self) -> String {
        let text = String::from_utf8_lossy(&self.wire).into_owned();
        text.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned()
    }
}

type Script = dyn FnMut(&str, &str) -> Act + Send;

/// The server; ends when dropped.
pub struct ScriptedSmtp {
    /// Its port.
    pub port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    phases: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl ScriptedSmtp {
    /// A server that asks `script` in each phase (`connect`, `EHLO`, `MAIL`, `RCPT`, `DATA`, `message`, `RSET`, `QUIT`) what to do; the second
    /// argument is the line that came.
    pub fn start(script: impl FnMut(&str, &str) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, script)
    }

    /// The same on a listener that is there already.
    pub fn on(listener: TcpListener, script: impl FnMut(&str, &str) -> Act + Send + 'static) -> Self {
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let server = Self { port, taken: Arc::default(), phases: Arc::default(), over: Arc::default() };
        let (taken, phases, over) = (server.taken.clone(), server.phases.clone(), server.over.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        let session = Session {
                            script: script.clone(),
                            taken: taken.clone(),
                            phases: phases.clone(),
                            over: over.clone(),
                        };
                        std::thread::spawn(move || session.serve(&stream));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        server
    }

    /// The messages taken so far, in order.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// The phases gone through so far, in order.
    pub fn phases(&self) -> Vec<String> {
        self.phases.lock().unwrap().clone()
    }
}

impl Drop for ScriptedSmtp {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

struct Session {
    script: Arc<Mutex<Box<Script>>>,
    taken: Arc<Mutex<Vec<Taken>>>,
    phases: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Session {
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut lines = BufReader::new(Prompt(stream));
        self.answer(stream, "connect", "", "220 localhost ready")?;
        let mut to = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            match word.as_str() {
                "EHLO" => self.answer(stream, "EHLO", line, "250-localhost\r\n250 8BITMIME")?,
                "DATA" => {
                    if self.answer(stream, "DATA", line, "354 go on")? {
                        let wire = read_message(&mut lines)?;
                        if self.answer(stream, "message", "", "250 taken")? {
                            self.taken.lock().unwrap().push(Taken { to: to.clone(), wire });
                        }
                    }
                    true
                }
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    self.answer(stream, "RCPT", line, "250 fine")?
                }
                "QUIT" => {
                    self.answer(stream, "QUIT", line, "221 bye")?;
                    return None;
                }
                word => self.answer(stream, word, line, "250 fine")?,
            };
        }
    }

    /// Does what the script says; whether that was to accept, or nothing where the connection is over.
    fn answer(&self, mut stream: &TcpStream, phase: &str, line: &str, usual: &str) -> Option<bool> {
        self.phases.lock().unwrap().push(phase.to_owned());
        let act = (self.script.lock().unwrap())(phase, line);
        let text = match &act {
            Act::Accept => usual,
            Act::Say(text) => text,
            Act::Stall => {
                let end = Instant::now() + Duration::from_secs(60);
                while Instant::now() < end && !self.over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return None;
            }
            Act::Drop => return None,
        };
        // A message counts as taken before the answer is on its way: that is what makes duplicates.
        stream.write_all(format!("{text}\r\n").as_bytes()).ok()?;
        Some(act == Act::Accept || text.starts_with('2'))
    }
}

/// Acknowledges at once what comes, as a server under load would; else each message takes forty milliseconds.
struct Prompt<'a>(&'a TcpStream);

impl Read for Prompt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        rustix::net::sockopt::set_tcp_quickack(self.0, true)?;
        (&*self.0).read(buffer)
    }
}

fn read_message(lines: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    loop {
        let begin = wire.len();
        if lines.read_until(b'\n', &mut wire).ok()? == 0 {
            return None;
        }
        if &wire[begin..] == b".\r\n" {
            wire.truncate(begin);
            return Some(wire);
        }
    }
}
