//! Windows event logs (`.evtx`) as lines of text, one for each record:
//!
//! `2026-11-19T10:00:00.5Z WIN-1 windows[4625]: Security level=0 TargetUserName="eve" IpAddress="192.0.2.7"`
//!
//! That is a syslog line whose process number is the event's id. Values hold no quotation marks, so nobody can forge a
//! field with a clever account name. The format of the file is described at
//! <https://github.com/libyal/libevtx/blob/main/documentation/Windows%20XML%20Event%20Log%20(EVTX).asciidoc>.

use std::any::Any;
use std::io::{self, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ::evtx::{EvtxChunkData, EvtxParser, IntoIterChunks, ParserSettings};
use serde_json::Value;

/// How a file begins.
pub const MAGIC: &[u8] = b"ElfFil";

/// The longest value that is shown, in bytes, and the most of one record. (sshd's messages have 1023 at most.)
const MAX_VALUE: usize = 1100;
const MAX_RECORD: usize = 32 * 1024;

/// How long the header is, and a chunk of records.
const HEADER: u64 = 4096;
const CHUNK: u64 = 65_536;

/// Reads the records as text, a chunk at a time.
pub struct Records<R: Read + Seek> {
    chunks: IntoIterChunks<R>,
    settings: Arc<ParserSettings>,
    text: io::Cursor<Vec<u8>>,
    /// Whether the last chunk is not whole, which is told at the end; nothing of it is read.
    is_cut: bool,
}

impl<R: Read + Seek> Records<R> {
    /// The records of this file, oldest first.
    ///
    /// # Errors
    /// Fails where the file's header can't be read.
    pub fn new(mut file: R) -> io::Result<Self> {
        let size = file.seek(io::SeekFrom::End(0))?;
        file.seek(io::SeekFrom::Start(0))?;
        // What there is of it may end within a name or an address, and will be read with the rest.
        let is_cut = size > HEADER && !(size - HEADER).is_multiple_of(CHUNK);
        let parser = guarded(|| EvtxParser::from_read_seek(file))?.map_err(io::Error::other)?;
        Ok(Self {
            is_cut,
            chunks: parser.into_chunks(),
            settings: Arc::new(ParserSettings::new()),
            text: io::Cursor::default(),
        })
    }
}

impl<R: Read + Seek> Read for Records<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.text.read(buffer)?;
            if got > 0 || buffer.is_empty() {
                return Ok(got);
            }
            let (chunks, settings) = (&mut self.chunks, &self.settings);
            let Some(text) = guarded(|| chunks.next().map(|chunk| text_of(chunk, settings)))? else {
                let cut = "it ends within a chunk of records, as what was not copied to its end";
                return if std::mem::take(&mut self.is_cut) { Err(io::Error::other(cut)) } else { Ok(0) };
            };
            self.text = io::Cursor::new(text);
        }
    }
}

/// Does what others' code does with hostile bytes; a panic in it is an error of the file.
fn guarded<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let damaged = |_: Box<dyn Any + Send>| io::Error::other("this is not an event log as Windows writes it");
    catch_unwind(AssertUnwindSafe(work)).map_err(damaged)
}

/// The lines of a chunk. What can't be read is a line of its own, which no parser understands, so it is counted.
fn text_of(chunk: ::evtx::err::Result<EvtxChunkData>, settings: &Arc<ParserSettings>) -> Vec<u8> {
    let mut text = Vec::new();
    let unreadable = |error: &dyn std::fmt::Display, text: &mut Vec<u8>| {
        text.extend(b"unreadable: ");
        push_printable(&error.to_string(), text);
        text.push(b'\n');
    };
    let mut chunk = match chunk {
        Ok(chunk) => chunk,
        Err(error) => {
            unreadable(&error, &mut text);
            return text;
        }
    };
    match chunk.parse(settings.clone()) {
        Err(error) => unreadable(&error, &mut text),
        Ok(mut chunk) => {
            for record in chunk.iter() {
                match record.and_then(|record| record.into_json_value()) {
                    Ok(record) => push_record(&record.data, &record.timestamp.to_string(), &mut text),
                    Err(error) => unreadable(&error, &mut text),
                }
            }
        }
    }
    text
}

fn push_record(record: &Value, recorded: &str, text: &mut Vec<u8>) {
    let event = &record["Event"];
    let system = &event["System"];
    let word = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => text.replace(char::is_whitespace, "_"),
        Value::Number(number) => number.to_string(),
        _ => "-".to_owned(),
    };
    let id = if system["EventID"].is_object() { &system["EventID"]["#text"] } else { &system["EventID"] };
    let time = system["TimeCreated"]["#attributes"]["SystemTime"].as_str().unwrap_or(recorded);
    let (host, channel, level) = (word(&system["Computer"]), word(&system["Channel"]), word(&system["Level"]));
    let start = text.len();
    push_printable(&format!("{time} {host} windows[{}]: {channel} level={level}", word(id)), text);
    if channel.starts_with("OpenSSH/") {
        // One process is one session, until Windows gives its number again.
        push_values("ProcessID", &system["Execution"]["#attributes"]["ProcessID"], start + MAX_RECORD, text);
    }
    for part in ["EventData", "UserData"] {
        push_values(part, &event[part], start + MAX_RECORD, text);
    }
    text.push(b'\n');
}

/// Writes all values below this one, each with the name of the element it stands in.
fn push_values(name: &str, value: &Value, limit: usize, text: &mut Vec<u8>) {
    match value {
        _ if text.len() >= limit => {}
        Value::Null => {}
        Value::Array(values) => values.iter().for_each(|value| push_values(name, value, limit, text)),
        Value::Object(members) => {
            for (inner, value) in members.iter().filter(|(inner, _)| *inner != "#attributes") {
                push_values(if inner == "#text" { name } else { inner }, value, limit, text);
            }
        }
        Value::String(value) => push_value(name, value, text),
        Value::Bool(_) | Value::Number(_) => push_value(name, &value.to_string(), text),
    }
}

fn push_value(name: &str, value: &str, text: &mut Vec<u8>) {
    text.push(b' ');
    push_printable(&name.replace(|c: char| c.is_whitespace() || c == '=', "_"), text);
    text.extend(b"=\"");
    push_printable(&value[..value.floor_char_boundary(MAX_VALUE)], text);
    text.push(b'"');
}

/// Writes a text that can neither end the line nor the value it stands in.
fn push_printable(value: &str, text: &mut Vec<u8>) {
    text.extend(value.bytes().map(|byte| match byte {
        b'"' => b'\'',
        0..=31 | 127 => b' ',
        byte => byte,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sshd_says_has_its_process() {
        let payload = "Failed password for invalid user \"eve\" from 192.0.2.7 port 4711 ssh2\n";
        let record = |channel: &str| {
            serde_json::json!({"Event": {
                "System": {
                    "EventID": 4, "Level": 4, "Channel": channel, "Computer": "WIN-1",
                    "TimeCreated": {"#attributes": {"SystemTime": "2026-11-20T10:00:05.1Z"}},
                    "Execution": {"#attributes": {"ProcessID": 712, "ThreadID": 3}}
                },
                "EventData": {"process": "sshd", "payload": payload}
            }})
        };
        let text = |channel: &str| {
            let mut text = Vec::new();
            push_record(&record(channel), "", &mut text);
            String::from_utf8(text).unwrap()
        };
        let said =
            "process=\"sshd\" payload=\"Failed password for invalid user 'eve' from 192.0.2.7 port 4711 ssh2 \"\n";
        let head = |channel: &str| format!("2026-11-20T10:00:05.1Z WIN-1 windows[4]: {channel} level=4 ");
        let openssh = "OpenSSH/Operational";
        assert_eq!(text(openssh), format!("{}ProcessID=\"712\" {said}", head(openssh)));
        assert_eq!(text("Application"), format!("{}{said}", head("Application")));
    }
}
