//! Records that take several lines, or stand on one with others, one a line: Windows events in XML, as Event Viewer saves them and
//! people copy them, and objects of JSON, as `journalctl -o json-pretty` and PowerShell print them. All else in such a text stays as it
//! is, but for what only holds records together.
//!
//! What a visitor can write into one line of a log makes no line of its own and hides none: a line is taken apart only where it holds
//! nothing but events, and lines are joined only where each begins as it does in a record, and no line of a log does.

use std::io::{self, Read};

use memchr::{memchr, memmem};

use super::lines::{MAX_LINE, read_fully};

/// How much is read at a time, in bytes.
const BLOCK: usize = 64 << 10;

/// The longest tag that holds events together, in bytes.
const MAX_FRAME: usize = 1024;

/// How many bytes tell what a text holds.
const MARK: usize = 6;

/// The mark that some programs of Windows put before text in UTF-8.
const BYTE_ORDER: &[u8] = b"\xef\xbb\xbf";

/// How an event begins and ends, and what is in the tag in which it begins.
const START: &[u8] = b"<Event ";
const END: &[u8] = b"</Event>";
const NAMESPACE: &[u8] = b"http://schemas.microsoft.com/win/2004/08/events/event";

/// How begins and ends what an event says in words.
const MESSAGE: &[u8] = b"<Message>";
const MESSAGE_END: &[u8] = b"</Message>";

/// What holds events together.
const FRAMES: [(&[u8], &[u8]); 3] = [(b"<?xml ", b"?>"), (b"<Events", b">"), (b"</Events", b">")];

/// What stands before the number of an event.
const RECORD: &[u8] = b"Record ";

/// What is read of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Windows events in XML.
    Events,
    /// Objects of JSON over several lines, or in a list.
    Objects,
}

/// What a text of several lines a record begins as.
pub fn kind(start: &[u8]) -> Option<Kind> {
    let text = start.strip_prefix(BYTE_ORDER).unwrap_or(start);
    // A mark leaves room for three letters only.
    let is_xml = [&b"<?xml "[..], b"<Event", &RECORD[..MARK]]
        .iter()
        .any(|name| text.len() >= 3 && name.starts_with(&text[..text.len().min(MARK)]));
    match text {
        _ if is_xml => Some(Kind::Events),
        // A line break is what no visitor puts there by a name that he chose.
        [b'{' | b'[', b'\r' | b'\n', ..] => Some(Kind::Objects),
        _ => None,
    }
}

/// Reads a text so that each record is a line.
pub struct OneALine<R> {
    input: R,
    /// None before anything was read; then what is read, if it is of such a kind.
    kind: Option<Option<Kind>>,
    /// What was read and not looked at.
    rest: Vec<u8>,
    text: io::Cursor<Vec<u8>>,
    /// Whether the line goes on that is passed on as it is.
    is_within: bool,
    is_over: bool,
    /// Why what follows can't be read.
    failure: Option<io::Error>,
}

impl<R: Read> OneALine<R> {
    /// Reads from this, from its beginning on.
    pub fn new(input: R) -> Self {
        let (rest, text) = Default::default();
        Self { input, kind: None, rest, text, is_within: false, is_over: false, failure: None }
    }

    fn begin(&mut self) -> Option<Kind> {
        let mut start = vec![0; MARK];
        let (got, failure) = read_fully(&mut self.input, &mut start);
        start.truncate(got);
        self.failure = failure;
        let kind = kind(&start);
        match kind {
            Some(_) => self.rest = start.strip_prefix(BYTE_ORDER).unwrap_or(&start).to_vec(),
            None => self.text = io::Cursor::new(start),
        }
        self.kind = Some(kind);
        kind
    }

    /// Looks at what follows; false at the end.
    fn go_on(&mut self, kind: Kind) -> io::Result<bool> {
        if self.is_over {
            self.failure.take().map_or(Ok(()), Err)?;
            return Ok(false);
        }
        let kept = self.rest.len();
        if self.failure.is_none() {
            self.rest.resize(kept + BLOCK, 0);
            let (got, failure) = read_fully(&mut self.input, &mut self.rest[kept..]);
            self.rest.truncate(kept + got);
            self.failure = failure;
        }
        self.is_over = self.rest.len() < kept + BLOCK;
        let mut out = Vec::new();
        let done = self.records(kind, &mut out);
        self.rest.drain(..done);
        self.text = io::Cursor::new(out);
        Ok(true)
    }
}

impl<R> OneALine<R> {
    /// Writes what is known of the text; returns how much was dealt with. The rest needs what follows it, if anything does.
    fn records(&mut self, kind: Kind, out: &mut Vec<u8>) -> usize {
        let text = &self.rest[..];
        let mut done = 0;
        loop {
            let rest = &text[done..];
            let found = match kind {
                _ if self.is_within || rest.is_empty() => Found::Line,
                // Of evtx_dump, behind its number.
                Kind::Events if rest.starts_with(b"{") => object(rest, out),
                Kind::Events => events(rest, self.is_over, out),
                Kind::Objects => object(rest, out),
            };
            let is_final = self.is_over || rest.len() > 2 * MAX_LINE;
            match (found, memchr(b'\n', rest)) {
                (Found::Record(length), _) => done += length,
                (Found::Unfinished, _) if !is_final => return done,
                // Of what is not over nobody knows what it becomes; a last event waits for its line break only.
                (Found::Unfinished, _) if self.is_over => {
                    let last = rest.trim_ascii_start();
                    if let Found::Record(end) = event(last) {
                        out.extend(last[..end].iter().map(flat));
                    } else if is_cut(last) {
                        out.extend_from_slice(rest);
                    }
                    return text.len();
                }
                (_, Some(end)) => {
                    out.extend_from_slice(&rest[..=end]);
                    (self.is_within, done) = (false, done + end + 1);
                }
                (_, None) if is_final || self.is_within => {
                    out.extend_from_slice(rest);
                    self.is_within = !rest.is_empty() || self.is_within;
                    return text.len();
                }
                (_, None) => return done,
            }
        }
    }
}

impl<R: Read> Read for OneALine<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let kind = match self.kind {
            Some(kind) => kind,
            None => self.begin(),
        };
        loop {
            let got = self.text.read(buffer)?;
            if got > 0 || buffer.is_empty() {
                return Ok(got);
            }
            match kind {
                None => return self.failure.take().map_or_else(|| self.input.read(buffer), Err),
                Some(kind) if self.go_on(kind)? => {}
                Some(_) => return Ok(0),
            }
        }
    }
}

/// What a text begins with at the start of a line.
enum Found {
    /// Records of this length, which were written.
    Record(usize),
    /// Perhaps a record, of which only what follows tells.
    Unfinished,
    /// A line that is no record, nor begins one.
    Line,
}

fn flat(byte: &u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }
}

/// Writes the events of a line, or of lines: up to the first end of a line behind an event. Of a line longer than any other one, which
/// only a program that saves events writes, they are written as they come, and so they are at the end of all text, but for the last one.
fn events(text: &[u8], is_all: bool, out: &mut Vec<u8>) -> Found {
    let number = match record_number(text) {
        Some(None) => return Found::Unfinished,
        number => number.flatten().unwrap_or(0),
    };
    let (mut at, mut events, mut is_framed, mut is_closed) = (number, Vec::new(), number > 0, false);
    let next = loop {
        at += blanks(&text[at..]);
        match frame(&text[at..]) {
            Some(Some(length)) => {
                is_closed = text[at..].starts_with(b"</");
                (at, is_framed) = (at + length, true);
            }
            Some(None) => break None,
            None if text[at..].starts_with(b"\n") => break Some(at + 1),
            None if text.len() == at || at > MAX_LINE && !events.is_empty() => break None,
            None => {
                let start = at + 2 * usize::from(text[at..].starts_with(b"- "));
                match event(&text[start..]) {
                    Found::Record(length) => at = start + length,
                    Found::Unfinished => break None,
                    Found::Line => return Found::Line,
                }
                events.push((start, at));
                is_closed = false;
            }
        }
    };
    // A line that is one event as it is stays so.
    let is_plain = next.is_some_and(|end| memchr(b'\n', text) == Some(end - 1)) && events.len() < 2 && !is_framed;
    if is_plain {
        return Found::Line;
    }
    // Behind the last one there may yet come what makes the line another one.
    let is_over = is_closed && text.len() == at;
    let is_last_known = next.is_some() || is_over || text[at..].starts_with(START);
    let known = events.len() - usize::from(!is_last_known && !events.is_empty());
    if next.is_none() && (known == 0 || !is_all && at <= MAX_LINE) {
        return Found::Unfinished;
    }
    write(text, &events[..known], out);
    Found::Record(next.unwrap_or_else(|| if is_over { at } else { events[known - 1].1 }))
}

fn write(text: &[u8], events: &[(usize, usize)], out: &mut Vec<u8>) {
    for (start, end) in events {
        out.extend(text[*start..*end].iter().map(flat));
        out.push(b'\n');
    }
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| b" \t\r".contains(byte)).count()
}

/// How long a frame is with which this begins; nothing where it is none, no length where it may yet become one. It holds nothing but
/// attributes, and no log's stamp or name of a process.
fn frame(text: &[u8]) -> Option<Option<usize>> {
    let (start, end) = FRAMES.iter().find(|(start, _)| begins(text, start))?;
    let Some(rest) = text.get(start.len()..) else { return (!text.is_empty()).then_some(None) };
    let is_attribute = |byte: &u8| byte.is_ascii_alphanumeric() || b" =\"'.:/-_".contains(byte);
    let length = rest.iter().take(MAX_FRAME).take_while(|byte| is_attribute(byte)).count();
    let is_name = start.ends_with(b" ") || rest.first().is_none_or(|next| b" >".contains(next));
    if !is_name || length == MAX_FRAME {
        return None;
    }
    begins(&rest[length..], end).then(|| (rest.len() >= length + end.len()).then(|| start.len() + length + end.len()))
}

/// The same of the line `Record 7`, as evtx_dump writes before each event, and of that one only: what follows it is one.
fn record_number(text: &[u8]) -> Option<Option<usize>> {
    if text.is_empty() || !begins(text, RECORD) {
        return None;
    }
    let rest = &text[text.len().min(RECORD.len())..];
    let digits = rest.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let behind = &rest[digits..];
    let line_break = behind.strip_prefix(b"\r").unwrap_or(behind);
    let next = line_break.strip_prefix(b"\n");
    match next {
        _ if digits == 0 && !rest.is_empty() => None,
        None => line_break.is_empty().then_some(None),
        Some([]) => Some(None),
        Some(next) if next.starts_with(b"<") || next.starts_with(b"{") => Some(Some(RECORD.len() + digits)),
        Some(_) => None,
    }
}

/// Whether a text begins so, or may yet do.
fn begins(text: &[u8], start: &[u8]) -> bool {
    let length = text.len().min(start.len());
    text[..length] == start[..length]
}

/// How long the event is with which this begins. The tag in which it begins holds attributes only, on its line.
fn event(text: &[u8]) -> Found {
    if !begins(text, START) {
        return Found::Line;
    }
    let limit = &text[..text.len().min(MAX_LINE)];
    let limit = &limit[..markup(limit)];
    let unfinished = if limit.len() == text.len() { Found::Unfinished } else { Found::Line };
    let tag = match limit.iter().skip(1).position(|byte| b"<>\r\n".contains(byte)) {
        Some(at) if limit[at + 1] == b'>' => &limit[..at + 1],
        Some(_) => return Found::Line,
        None => return unfinished,
    };
    if memmem::find(tag, NAMESPACE).is_none() {
        return Found::Line;
    }
    memmem::find(limit, END).map_or(unfinished, |at| Found::Record(at + END.len()))
}

/// How far each line begins as none of a log does: with a tag that begins no other event, or with blanks; or it goes on with what the event says
/// in words, as Event Viewer saves it.
fn markup(event: &[u8]) -> usize {
    let (mut looked_at, mut is_message) = (0, false);
    let is_none = |end: &usize| {
        let line = &event[looked_at..*end];
        is_message = match (memmem::rfind(line, MESSAGE), memmem::rfind(line, MESSAGE_END)) {
            (None, None) => is_message,
            (begins, ends) => begins > ends,
        };
        looked_at = *end;
        let rest = &event[end + 1..];
        let line = &rest[..memchr(b'\n', rest).unwrap_or(rest.len())];
        let tag = line.trim_ascii_start();
        if is_message {
            // There another one would be written otherwise: this one was cut.
            return tag.starts_with(START);
        }
        let tag = tag.strip_prefix(b"-").map_or(tag, <[u8]>::trim_ascii_start);
        let is_tag = match tag {
            [] | [b'<'] => true,
            [b'<', next, ..] => (next.is_ascii_alphabetic() || *next == b'/') && !tag.starts_with(START),
            _ => line.starts_with(b" ") || line.starts_with(b"\t"),
        };
        !is_tag
    };
    memchr::memchr_iter(b'\n', event).find(is_none).map_or(event.len(), |end| end + 1)
}

/// Whether an event was cut within what it says in words, and lines of another log follow.
fn is_cut(event: &[u8]) -> bool {
    let said = memmem::rfind(event, MESSAGE).map(|start| &event[start..]);
    let said = said.filter(|said| memmem::find(said, MESSAGE_END).is_none());
    said.is_some_and(|said| said.split(|byte| *byte == b'\n').skip(1).any(begins_with_stamp))
}

/// Whether it begins with a date, or a priority and one, as lines of logs do.
fn begins_with_stamp(line: &[u8]) -> bool {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let is_month = |name: &[u8]| MONTHS.chunks(3).any(|month| month == name);
    let is_year = |start: &[u8]| start[..4].iter().all(u8::is_ascii_digit) && start[4] == b'-';
    line.split_at_checked(3).is_some_and(|(name, rest)| is_month(name) && rest.starts_with(b" "))
        || line.get(..5).is_some_and(is_year)
        || matches!(line, [b'<', digit, ..] if digit.is_ascii_digit())
}

/// Writes an object that begins with a brace alone on its line and ends with one at the same place; between them each line stands
/// further in.
fn object(text: &[u8], out: &mut Vec<u8>) -> Found {
    let Some(first) = memchr(b'\n', text) else {
        let may_become_one = matches!(text.trim_ascii(), b"" | b"{" | b"[" | b"]" | b"," | b"[]");
        return if may_become_one { Found::Unfinished } else { Found::Line };
    };
    let indent = text.iter().take_while(|byte| b" \t".contains(byte)).count();
    match text[indent..first].trim_ascii_end() {
        b"[" | b"]" | b"," | b"[]" => return Found::Record(first + 1),
        b"{" => {}
        _ => return Found::Line,
    }
    let mut at = first + 1;
    while let Some(length) = memchr(b'\n', &text[at..]) {
        let line = &text[at..at + length];
        let within = line.iter().take_while(|byte| b" \t".contains(byte)).count();
        let end = at + length + 1;
        match line[within..].trim_ascii_end() {
            b"}" | b"}," if within == indent => {
                out.extend(text[indent..at + within].iter().map(flat));
                out.extend_from_slice(b"}\n");
                return Found::Record(end);
            }
            _ if within <= indent || end > MAX_LINE => return Found::Line,
            _ => at = end,
        }
    }
    if text.len() > MAX_LINE { Found::Line } else { Found::Unfinished }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, also where it comes in small pieces.
    fn read(text: &str) -> String {
        let mut whole = String::new();
        OneALine::new(text.as_bytes()).read_to_string(&mut whole).unwrap();
        whole
    }

    const OPEN: &str = "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'>";

    #[test]
    fn events_are_one_a_line_however_they_stand() {
        let [one, two] = ["<A>1</A>", "<B/>"].map(|text| format!("{OPEN}{text}</Event>"));
        let want = format!("{one}\n{two}\n");
        for text in [
            format!("{one}\n{two}\n"),
            format!("{one}{two}\n"),
            format!("<?xml version=\"1.0\"?>\r\n<Events>{one}{two}</Events>"),
            format!("\u{feff}<?xml version=\"1.0\" standalone=\"yes\"?><Events>{one}{two}\n</Events>\n"),
            format!("<Events>\n  {one} {two}\r\n</Events>\n"),
            format!("Record 1\n<?xml version=\"1.0\"?>\n{one}\nRecord 22\n<?xml version=\"1.0\"?>\n{two}\n"),
        ] {
            assert_eq!(read(&text), want, "{text}");
        }
        assert_eq!(read(&format!("{one}{two}")), want.trim_end(), "the last one may go on");
        assert_eq!(read(&format!("{one}\r\n - {two}\r\n")), format!("{one}\r\n - {two}\r\n"));
        let pretty =
            format!("{OPEN}\r\n- <System>\r\n  <A/>\r\n<Data Name='x'>SeBackup\r\n\t\tSeRestore</Data></Event>\r\n");
        let joined = format!("{OPEN}  - <System>    <A/>  <Data Name='x'>SeBackup  \t\tSeRestore</Data></Event>\n");
        assert_eq!(read(&pretty), joined);
        assert_eq!(read(&format!("<Events>{}</Events>", pretty.trim_end().repeat(3))), joined.repeat(3));
        let many = want.repeat(BLOCK / 50);
        assert_eq!(read(&many), many);
        assert_eq!(read(&format!("<Events>{}</Events>", many.replace('\n', ""))), many);
    }

    #[test]
    fn what_is_no_event_stays_as_it_is() {
        let log = "Nov 20 10:00:01 web1 sshd[1]: x\n".repeat(3);
        for text in [
            format!("{OPEN}<Data\n{log}"),
            format!("{OPEN}<Data Name='x'>\n{log}{OPEN}</Event>\n"),
            format!("<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><Data\n{log}"),
            format!("{OPEN}\n<34>{log}"),
            format!("<Event x\n{log}<Events 192.0.2.7 - - [20/Nov/2026:10:05:03 +0100] x>\n<?xml {log}x?>\n"),
            // Begun by one visitor's name and ended by another's.
            format!("{OPEN} x - - [20/Nov/2026:10:05:03 +0100]\n192.0.2.7 a\n{OPEN}</Event> b\n"),
            format!("{OPEN}</Event>Nov 20 10:00:01 web1 sshd[1]: Failed password for root from 192.0.2.7 port 1\n"),
            format!("192.0.2.7 GET /{OPEN}</Event>Nov 20 x\n"),
            format!("{OPEN}</Event>{OPEN}</Event> x\n"),
            format!("{OPEN}\n<A/>\n  {OPEN}\n<B/>\n192.0.2.7 x\n"),
            "<Event>\n<A/>\n</Event>\n".to_owned(),
            "<Eventual>\n   a  b\n\n-\n  c \n".to_owned(),
            format!("{OPEN}{}\n{OPEN}</Event>\n", "<A/>\n".repeat(MAX_LINE / 4)),
            format!("{OPEN}{}</Event>\n", "x".repeat(4 * MAX_LINE)),
            format!("Record of all\nRecord \nRecord 7 of all\nRecorded 7\nRecord 7\n{log}"),
        ] {
            assert!(read(&text) == text, "{text}");
        }
        let cut = format!("{OPEN}<Data Name='IpAddress'>203.0.113.9\n{OPEN}<B/></Event>\n");
        assert_eq!(read(&cut), cut);
        let next = format!("{OPEN}<B/></Event>\n");
        assert_eq!(read(&format!("{OPEN}\n<A>eve\n{next}")), format!("{OPEN}\n<A>eve\n{next}"), "one that was cut");
        assert_eq!(read(&format!("{next}{OPEN}\n<B>eve")), next, "one that goes on");
    }

    #[test]
    fn what_an_event_says_in_words_may_go_over_lines_and_numbered_objects_are_read() {
        let words = "<Message>An account failed.\r\n\r\nSubject:\r\n\tx\r\nLogon Type:\t3</Message>";
        let event = format!("{OPEN}<A/>{words}<Level>Info</Level></Event>");
        let text = format!("<?xml version=\"1.0\"?>\r\n<Events>{event}{event}</Events>\r\n");
        let flat = event.replace(['\r', '\n'], " ");
        assert_eq!(read(&text), format!("{flat}\n{flat}\n"));
        // What it says may look like a log's line.
        let quoting = event.replace("Subject:", "Nov 20 10:00:00 web1 sshd[7]: x");
        assert_eq!(read(&format!("<Events>{quoting}</Events>\n")).lines().count(), 1);
        // Lines of a log behind what was cut are not lost.
        let cut = format!("{OPEN}<A/><Message>An account\nNov 20 10:00:00 x\nNov  2 10:00:00 y\n");
        assert!(read(&cut).contains("\nNov 20 10:00:00 x\nNov  2 10:00:00 y\n"), "{}", read(&cut));
        // Behind it lines are what they are.
        let cut = format!("{OPEN}<A/>{words}\nNov 20 10:00:00 x\n</Event>\n");
        assert!(read(&cut).contains("\nNov 20 10:00:00 x\n"), "{}", read(&cut));
        assert_eq!(
            read("Record 1\n{\n  \"a\": 1\n}\nRecord 2\n{\n  \"a\": 2\n}\n"),
            "{   \"a\": 1 }\n{   \"a\": 2 }\n"
        );
    }

    #[test]
    fn objects_are_one_a_line_however_they_stand() {
        let object = "{\n\t\"a\" : \"}\\\"{[,\",\n\t\"b\" : [\n\t\t1,\n\t\t{}\n\t]\n}\n";
        let want = "{ \t\"a\" : \"}\\\"{[,\", \t\"b\" : [ \t\t1, \t\t{} \t] }\n";
        assert_eq!(read(&object.repeat(2000)), want.repeat(2000));
        let list = format!(
            "[\r\n  {}  ]\r\n",
            object.trim_end().replace('\n', "\r\n  ") + ",\r\n  {\r\n    \"d\": 1\r\n  }\r\n"
        );
        let read_list = read(&list);
        assert!(read_list.lines().count() == 2 && read_list.ends_with("{      \"d\": 1    }\n"), "{read_list:?}");
        assert_eq!(read("{\n \"a\": 1,\n{\n \"b\": 2\n}\n"), "{\n \"a\": 1,\n{  \"b\": 2 }\n", "one that was cut");
        for text in ["{\n  \"port\": 3000\nNov 20 x, [y]\n", "{\n2026-11-20 x\n", "[\n[Thu] x\n"] {
            assert_eq!(read(text), text.trim_start_matches("[\n"), "{text}");
        }
    }

    /// What a log was when it was shorter has to be how it begins, or what was read of it would be read again, or never.
    #[test]
    fn the_beginning_reads_as_the_whole_begins_however_it_is_cut() {
        let whole_event = format!("{OPEN}<A/></Event>");
        // Behind an event that is not over nothing else may come on its line, or what was told of it would be another line.
        let begun = format!("\n{OPEN}<A/>\n");
        let events = [
            &begun,
            &whole_event,
            &whole_event,
            "\n</Event>\n",
            "<Events>\n",
            "</Events>\n",
            "\n<?xml x?>",
            "\n- <A>",
            "\nx<y\n",
            "\r\n",
            "\n",
            "\n<Ev\n",
            "\nRecord 7\n",
            "\n<Message>x\n",
            "\nx</Message>\n",
            "\n{\n",
            "\n}\n",
            "\nRecord ",
        ];
        let objects = ["{\n", "{\n", "}\n", "},\n", "  \"a\"\n", " ", "\t", "[\n", "]\n", "x\n", "\r\n"];
        let mut random = crate::demo::random::Random::new(1);
        for round in 0..300 {
            let (start, pieces) = if round % 2 == 0 { (OPEN, &events[..]) } else { ("{\n", &objects[..]) };
            let count = 3 + random.below(20);
            let text: String =
                [start].into_iter().chain((0..count).map(|_| pieces[random.below(pieces.len())])).collect();
            let whole = read(&text);
            for end in MARK..text.len() {
                let begun = read(&text[..end]);
                assert!(whole.starts_with(&begun), "{text:?}\nup to {end}: {begun:?}\nwhole: {whole:?}");
            }
        }
    }

    #[test]
    fn other_text_is_read_as_it_is() {
        for text in ["", "x", "[{}]", "{\"a\":1}\n{\"b\":2}\n", "[Thu Nov 20] x\n", "<34>Oct 11 x\n", "<Evil>\n"] {
            assert_eq!(read(text), text);
        }
    }
}
