//! Reading the systemd journal through `journalctl -o json`.
//!
//! Each entry becomes one syslog line with an RFC 3339 stamp, so that everything after this point knows
//! one shape of line only. (Field names: systemd.journal-fields(7).)

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use chrono::DateTime;
use serde::Deserialize;

use super::lines::MAX_LINE;
use crate::model::Source;
use crate::model::writer::{BY_ANYBODY, PRINTED, is_by_anybody, web_server, without_path};

/// How many entries are taken at most in one go.
const BATCH: usize = 50_000;

/// How long their lines may be together, in bytes, before the last one.
const BATCH_BYTES: usize = 16 << 20;

/// The longest entry that is looked at, in bytes; a longer one is counted as unreadable.
const MAX_ENTRY: u64 = 1 << 20;

/// What the journal had.
#[derive(Debug, Default)]
pub struct JournalEntries {
    /// The entries as syslog lines.
    pub text: Vec<u8>,
    /// Entries that could not be understood.
    pub unreadable: u64,
    /// Where to go on next time.
    pub cursor: Option<String>,
    /// Whether there may be more after the cursor.
    pub more: bool,
    /// What journalctl complained of that failed behind them.
    pub complaint: Option<String>,
}

/// Where an entry stands.
#[derive(Deserialize)]
struct EntryPlace {
    #[serde(rename = "__CURSOR")]
    cursor: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    micros: String,
    #[serde(rename = "_HOSTNAME", default)]
    host: String,
    #[serde(rename = "SYSLOG_IDENTIFIER", default)]
    identifier: String,
    #[serde(rename = "_PID")]
    pid: Option<String>,
    #[serde(rename = "SYSLOG_PID")]
    syslog_pid: Option<String>,
    /// A process may have given several.
    #[serde(rename = "PRIORITY", default)]
    severity: serde_json::Value,
    /// How it came into the journal.
    #[serde(rename = "_TRANSPORT", default)]
    transport: serde_json::Value,
    /// Whose process wrote it, and the program's file.
    #[serde(rename = "_UID", default)]
    uid: serde_json::Value,
    #[serde(rename = "_EXE", default)]
    executable: serde_json::Value,
    #[serde(rename = "MESSAGE", default)]
    message: Message,
}

/// journalctl writes a message that is no UTF-8 text as a list of bytes.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
    #[default]
    None,
}

/// The entries of a source's identifiers after `after`, at most a batch.
///
/// # Errors
/// Says why journalctl could not be run or failed.
pub fn read_journal(source: &Source, after: Option<&str>) -> Result<JournalEntries, String> {
    let mut command = Command::new("journalctl");
    command.args(["--output=json", "--no-pager", "--quiet", "--all"]);
    command.args(source.journal.iter().map(|identifier| format!("--identifier={identifier}")));
    command.args(after.map(|cursor| format!("--after-cursor={cursor}")));
    command.args(source.journal_folder.as_ref().map(|folder| format!("--directory={}", folder.display())));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("can't run journalctl: {error}"))?;
    let mut entries = JournalEntries::default();
    // Beside its entries, because it waits where nobody reads what it complains of.
    let listen = |stderr| std::thread::Builder::new().name("journalctl".to_owned()).spawn(|| first_words(stderr));
    let complaint = child.stderr.take().and_then(|stderr| listen(stderr).ok());
    let read = child.stdout.take().map_or(Ok(()), |output| collect(BufReader::new(output), &mut entries));
    let complaint = complaint.and_then(|complaint| complaint.join().ok()).unwrap_or_default();
    let status = child.wait().map_err(|error| format!("can't wait for journalctl: {error}"))?;
    read.map_err(|error| format!("can't read from journalctl: {error}"))?;
    // One that has more to say than is taken ends by SIGPIPE.
    let failed = !status.success() && !entries.more;
    let complaint = failed.then(|| format!("journalctl failed ({status}): {}", complaint.trim()));
    match complaint {
        Some(complaint) if entries.text.is_empty() && entries.unreadable == 0 => Err(complaint),
        complaint => Ok(JournalEntries { complaint, ..entries }),
    }
}

/// What a program says first; all that it says is read.
fn first_words(mut said: impl Read) -> String {
    let mut first = Vec::new();
    // What can't be read of a complaint is not missed: the exit status decides.
    let _ = (&mut said).take(4096).read_to_end(&mut first);
    let _ = std::io::copy(&mut said, &mut std::io::sink());
    String::from_utf8_lossy(&first).into_owned()
}

fn collect(mut output: impl BufRead, entries: &mut JournalEntries) -> std::io::Result<()> {
    let mut line = Vec::new();
    for _ in 0..BATCH {
        if entries.text.len() >= BATCH_BYTES {
            break;
        }
        line.clear();
        if (&mut output).take(MAX_ENTRY).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Ok(entry) = serde_json::from_slice::<Entry>(&line) {
            entries.unreadable += u64::from(!write_line(&entry, &mut entries.text));
            entries.cursor = Some(entry.cursor);
            continue;
        }
        entries.unreadable += 1;
        // Reading must go on after it, whatever is wrong with the rest, and however long that is.
        let is_cut = !line.ends_with(b"\n");
        let rest = (&mut output).take(if is_cut { u64::MAX } else { 0 });
        let whole = serde_json::Deserializer::from_reader(line.chain(rest));
        if let Some(Ok(place)) = whole.into_iter::<EntryPlace>().next() {
            entries.cursor = Some(place.cursor);
        }
        if is_cut {
            output.skip_until(b'\n')?;
        }
    }
    // journalctl gets SIGPIPE; the rest is for the next batch.
    entries.more = true;
    Ok(())
}

/// Appends an entry as one line; control characters in the message become blanks, so that no entry can
/// pretend to be two.
fn write_line(entry: &Entry, text: &mut Vec<u8>) -> bool {
    let Some(time) = entry.micros.parse().ok().and_then(DateTime::from_timestamp_micros) else { return false };
    let message = match &entry.message {
        Message::Text(text) => text.as_bytes(),
        Message::Bytes(bytes) => bytes,
        Message::None => b"",
    };
    let word = |name: &str| name.replace(|c: char| c.is_whitespace() || c.is_control(), "_");
    let pid =
        entry.syslog_pid.as_ref().or(entry.pid.as_ref()).map(|pid| format!("[{}]", word(pid))).unwrap_or_default();
    let stamp = time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00");
    // As syslog sends it; nothing is to be made of what is no error.
    let severity = entry.severity.as_str().filter(|severity| matches!(*severity, "0" | "1" | "2" | "3"));
    let severity = severity.map(|severity| format!("<{severity}>")).unwrap_or_default();
    let is_printed = entry.transport.as_str().is_some_and(|transport| transport != "syslog");
    // What stands in it may look like the end of a name, or a blank like another letter: it is judged as it is written.
    let program = word(&entry.identifier).replace(['[', ']', ':'], "_");
    let is_of_web_server = web_server(without_path(program.as_bytes())).is_some();
    let [uid, executable] = [&entry.uid, &entry.executable].map(|field| field.as_str().unwrap_or_default().as_bytes());
    let mark = if is_by_anybody(uid, executable, program.as_bytes(), message) {
        BY_ANYBODY
    } else if is_printed && is_of_web_server {
        PRINTED
    } else {
        ""
    };
    let host = word(&entry.host);
    text.extend(format!("{severity}{stamp} {host} {program}{mark}{pid}: ").into_bytes());
    text.extend(message.iter().take(MAX_LINE / 2).map(|b| if b.is_ascii_control() { b' ' } else { *b }));
    text.push(b'\n');
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_complaint_the_beginning_is_told_and_all_is_read() {
        let mut said = std::io::Cursor::new(b"x".repeat(1 << 20));
        assert_eq!(first_words(&mut said), "x".repeat(4096));
        assert_eq!(said.position(), 1 << 20);
    }

    #[test]
    fn what_any_user_may_have_written_is_marked() {
        let json = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"sshd","_UID":"1000","_EXE":"/usr/bin/logger","MESSAGE":"x"}
{"__CURSOR":"s=3","__REALTIME_TIMESTAMP":"1","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"nginx access","_UID":"1000","_EXE":"/usr/bin/logger","_TRANSPORT":"stdout","MESSAGE":"x"}
{"__CURSOR":"s=4","__REALTIME_TIMESTAMP":"1","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"nginx(printed)","_UID":"1000","_EXE":"/usr/bin/logger","_TRANSPORT":"syslog","MESSAGE":"x"}
{"__CURSOR":"s=2","__REALTIME_TIMESTAMP":"1","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"sshd","_UID":"0","_EXE":"/usr/sbin/sshd","MESSAGE":"x"}
"#;
        let mut entries = JournalEntries::default();
        collect(json.as_bytes(), &mut entries).unwrap();
        let want = ["sshd(by-anybody)", "nginx_access(by-anybody)", "nginx(printed)(by-anybody)", "sshd"]
            .map(|program| format!("1970-01-01T00:00:00.000001+00:00 web1 {program}: x\n"));
        assert_eq!(String::from_utf8(entries.text).unwrap(), want.concat());
    }

    #[test]
    fn an_entry_becomes_one_line_whatever_its_message_holds() {
        let json = r#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1763632800123456","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"sshd","_PID":"42","PRIORITY":["3","6"],"MESSAGE":"a\nb"}
{"__CURSOR":"s=2","__REALTIME_TIMESTAMP":"1763632801000000","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"sshd","SYSLOG_PID":"43","PRIORITY":"3","MESSAGE":[99,10,255]}
not json
"#;
        let mut entries = JournalEntries::default();
        collect(json.as_bytes(), &mut entries).unwrap();
        let want = b"2025-11-20T10:00:00.123456+00:00 web1 sshd[42]: a b\n<3>2025-11-20T10:00:01.000000+00:00 web1 sshd[43]: c \xff\n";
        assert_eq!(entries.text, want);
        assert_eq!((entries.unreadable, entries.cursor.as_deref()), (1, Some("s=2")));
        assert!(!entries.more);
    }

    #[test]
    fn what_a_web_server_printed_is_told_from_what_it_sent_to_syslog() {
        let entry = |transport: &str| {
            let json = format!(
                r#"{{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1763632800123456","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"nginx","_PID":"42","_TRANSPORT":"{transport}","MESSAGE":"a"}}"#
            );
            let mut entries = JournalEntries::default();
            collect(json.as_bytes(), &mut entries).unwrap();
            String::from_utf8(entries.text).unwrap()
        };
        assert!(entry("syslog").ends_with(" web1 nginx[42]: a\n"), "{}", entry("syslog"));
        assert!(entry("stdout").ends_with(" web1 nginx(printed)[42]: a\n"), "{}", entry("stdout"));
    }

    #[test]
    fn an_entry_that_is_too_long_is_one_that_reading_goes_on_behind() {
        let entry = |n: usize, before: &str, message: &str| {
            format!(
                "{{{before}\"__CURSOR\":\"s={n}\",\"__REALTIME_TIMESTAMP\":\"1763632800123456\",\"MESSAGE\":\"{message}\"}}\n"
            )
        };
        let long = "x".repeat(3 << 20);
        let field = format!("\"FIELD\":\"{long}\",");
        for too_long in
            [entry(2, "", &long), entry(2, &field, "m"), entry(2, "\"BROKEN\":\n", "m"), format!("{long}\n")]
        {
            let mut entries = JournalEntries::default();
            let json = [entry(1, "", "a"), too_long, entry(3, "", "b")].concat();
            collect(json.as_bytes(), &mut entries).unwrap();
            assert_eq!(entries.text.iter().filter(|byte| **byte == b'\n').count(), 2);
            assert_eq!(entries.cursor.as_deref(), Some("s=3"));
            let mut entries = JournalEntries::default();
            collect(&json.as_bytes()[..json.len() - entry(3, "", "b").len()], &mut entries).unwrap();
            let cursor = if json.contains("s=2") && !json.contains("BROKEN") { "s=2" } else { "s=1" };
            assert_eq!(entries.cursor.as_deref(), Some(cursor));
        }
    }

    #[test]
    fn a_batch_ends_where_its_lines_are_long() {
        let pid = "1".repeat(MAX_ENTRY as usize - 200);
        let entry = |n: usize| {
            format!(
                "{{\"__CURSOR\":\"s={n}\",\"__REALTIME_TIMESTAMP\":\"1763632800123456\",\"SYSLOG_PID\":\"{pid}\"}}\n"
            )
        };
        let mut entries = JournalEntries::default();
        collect((1..=70).map(entry).collect::<String>().as_bytes(), &mut entries).unwrap();
        assert!(entries.more && entries.text.len() < BATCH_BYTES + MAX_ENTRY as usize);
        assert_eq!(entries.cursor.as_deref(), Some("s=17"));
    }
}
