//! Records that take several lines, or stand on one with others, one a line: Windows events in XML, as Event Viewer saves them and
//! people copy them, and objects of JSON, as `journalctl -o json-pretty` and PowerShell print them. What else such a text holds stays as
//! it is, but for what only holds its records together. Text of any other kind is read as it is.

use std::io::{self, Read};

use memchr::memmem;

use super::lines::{MAX_LINE, read_fully};

/// How much is read at a time, in bytes.
const BLOCK: usize = 64 << 10;

/// How many bytes tell what a text holds.
const MARK: usize = 6;

/// The mark that some programs of Windows put before text in UTF-8.
const BYTE_ORDER: &[u8] = b"\xef\xbb\xbf";

/// How an event ends.
const END: &[u8] = b"</Event>";

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
    let is_xml =
        [&b"<?xml "[..], b"<Event"].iter().any(|name| text.len() >= 3 && name.starts_with(&text[..text.len().min(6)]));
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
    object: Object,
    is_over: bool,
    /// Why what follows can't be read.
    failure: Option<io::Error>,
}

impl<R: Read> OneALine<R> {
    /// Reads from this, from its beginning on.
    pub fn new(input: R) -> Self {
        let (rest, text, object) = Default::default();
        Self { input, kind: None, rest, text, object, is_over: false, failure: None }
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
        let done = match kind {
            Kind::Events => events(&self.rest, self.is_over, &mut out),
            Kind::Objects => self.object.add(&self.rest, self.is_over, &mut out),
        };
        self.rest.drain(..done);
        self.text = io::Cursor::new(out);
        Ok(true)
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

/// Writes the events of a text and what stands between them; returns how much was dealt with. The rest needs what follows it, if
/// anything does.
fn events(text: &[u8], is_all: bool, out: &mut Vec<u8>) -> usize {
    let mut done = 0;
    loop {
        let rest = &text[done..];
        let start = memmem::find_iter(rest, b"<Event")
            .find(|at| rest.get(at + 6).is_none_or(|next| b" >\t\r\n".contains(next)))
            .unwrap_or(rest.len());
        // What may yet become the beginning of an event is left.
        let is_known = start + 6 < rest.len();
        let before = if is_known { start } else { memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1) };
        between(&rest[..before], is_known, out);
        done += before;
        if !is_known {
            let left = &text[done..];
            // Nothing longer is the beginning of an event.
            let is_none = is_all || left.len() > MAX_LINE;
            between(if is_none { left } else { &[] }, false, out);
            return if is_none { text.len() } else { done };
        }
        let event = &text[done..];
        let flat = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        match memmem::find(event, END) {
            Some(end) if end <= MAX_LINE && is_markup(&event[..end]) => {
                let end = end + END.len();
                out.extend(event[..end].iter().map(flat));
                done += end;
                done += text[done..].iter().take_while(|byte| b" \t\r".contains(byte)).count();
                done += usize::from(text.get(done) == Some(&b'\n'));
                out.push(b'\n');
            }
            None if event.len() <= MAX_LINE && is_markup(event) => {
                // Its end may yet be written.
                out.extend(event.iter().map(flat).filter(|_| is_all));
                return if is_all { text.len() } else { done };
            }
            // One without an end costs its first line only.
            _ => {
                let end = memchr::memchr(b'\n', event).map_or(event.len(), |at| at + 1);
                out.extend_from_slice(&event[..end]);
                done += end;
            }
        }
    }
}

/// Whether all lines begin as they do in XML: what a name in one line begins, and one in another ends, hides no line in between.
fn is_markup(event: &[u8]) -> bool {
    event.split(|byte| *byte == b'\n').all(|line| {
        let line = line.trim_ascii_start();
        let line = line.strip_prefix(b"-").unwrap_or(line).trim_ascii_start();
        line.is_empty() || line.starts_with(b"<")
    })
}

/// Writes the lines before an event, or at the end, but for those that only hold events together.
fn between(text: &[u8], is_before_event: bool, out: &mut Vec<u8>) {
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let mut rest = line.trim_ascii();
        let frames = [(&b"<?"[..], &b"?>"[..]), (b"<Events", b">"), (b"</Events", b">")];
        while let Some((_, end)) = frames.iter().find(|(start, _)| rest.starts_with(start))
            && let Some(at) = memmem::find(rest, end)
        {
            rest = rest[at + end.len()..].trim_ascii_start();
        }
        if !rest.is_empty() && rest != b"-" {
            out.extend_from_slice(rest);
            // A last line that is yet being written has none.
            out.extend((line.ends_with(b"\n") || is_before_event).then_some(b'\n'));
        }
    }
}

/// How far into an object of JSON one is.
#[derive(Default)]
struct Object {
    depth: usize,
    is_text: bool,
    is_escaped: bool,
    /// How long it is so far, in bytes.
    length: usize,
}

impl Object {
    /// Writes the objects of a text, without what stands between them; returns how much was dealt with.
    fn add(&mut self, text: &[u8], is_all: bool, out: &mut Vec<u8>) -> usize {
        // A line that goes on is left, unless it is longer than any.
        let whole = if is_all || text.len() > MAX_LINE {
            text.len()
        } else {
            memchr::memrchr(b'\n', text).map_or(0, |at| at + 1)
        };
        for line in text[..whole].split_inclusive(|byte| *byte == b'\n') {
            // In the middle of another one it can only be that this one was not written to its end.
            if self.depth > 0 && (line == b"{\n" || line == b"{\r\n" || self.length > MAX_LINE) {
                out.push(b'\n');
                *self = Self::default();
            }
            line.iter().for_each(|byte| self.take(*byte, out));
        }
        whole
    }

    fn take(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            _ if std::mem::take(&mut self.is_escaped) => {}
            b'\\' if self.is_text => self.is_escaped = true,
            b'"' if self.depth > 0 => self.is_text = !self.is_text,
            b'{' if !self.is_text => self.depth += 1,
            b'}' if !self.is_text && self.depth > 0 => self.depth -= 1,
            b',' | b'[' | b']' if self.depth == 0 => return,
            _ if self.depth == 0 && byte.is_ascii_whitespace() => return,
            _ => {}
        }
        self.length += 1;
        out.push(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
        if self.depth == 0 && byte == b'}' {
            out.push(b'\n');
            *self = Self::default();
        }
    }
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

    #[test]
    fn events_are_one_a_line_however_they_stand() {
        let [one, two] = ["<Event xmlns='x'><A>1</A></Event>", "<Event><B/></Event>"];
        let want = format!("{one}\n{two}\n");
        for text in [
            format!("{one}\n{two}\n"),
            format!("{one}{two}"),
            format!("{one}\r\n{two}\r\n"),
            format!("<?xml version=\"1.0\"?>\r\n<Events>{one}{two}</Events>"),
            format!("\u{feff}<?xml version=\"1.0\" standalone=\"yes\"?><Events>{one}{two}\n</Events>\n"),
            format!("<Events>\n  {one}\n- {two}\n</Events>\n"),
        ] {
            assert_eq!(read(&text), want, "{text}");
        }
        assert_eq!(read("<Event>\r\n- <System>\r\n  <A/>\r\n</Event>\r\n"), "<Event>  - <System>    <A/>  </Event>\n");
        let many = want.repeat(BLOCK / 20);
        assert_eq!(read(&many), many);
        assert_eq!(read(&many.replace('\n', "")), many);
    }

    #[test]
    fn an_event_without_an_end_costs_itself_and_what_is_no_event_stays() {
        assert_eq!(read("<Event>\n<A/>\n<Event><B/></Event>\n"), "<Event> <A/> <Event><B/></Event>\n");
        let endless = format!("<Event>\n{}<Event><B/></Event>\nx\n", "<A/>\n".repeat(MAX_LINE / 4));
        let read_back = read(&endless);
        assert!(read_back.starts_with("<Event>\n<A/>\n") && read_back.ends_with("<Event><B/></Event>\nx\n"));
        assert_eq!(
            read("<Event><A/></Event>\nNov 20 a line\nand a be"),
            "<Event><A/></Event>\nNov 20 a line\nand a be"
        );
        assert_eq!(read("<Event><A/></Event>\n<Event><B>eve"), "<Event><A/></Event>\n<Event><B>eve");
    }

    #[test]
    fn objects_are_one_a_line_however_they_stand() {
        let want = "{\"a\": \"}\\\"{[,\",\"b\":{\"c\":[1, {}]}}\n{\"d\":1}\n";
        let pretty = "{\n\"a\": \"}\\\"{[,\",\n\"b\":{\n\"c\":[1, {}]}}\n";
        for text in [
            format!("[\r\n{}]\n", want.trim_end().replace('\n', ",")),
            format!("[\n{},\n  {{\"d\":1}}\n]", want.lines().next().unwrap()),
        ] {
            assert_eq!(read(&text), want, "{text}");
        }
        assert_eq!(
            read(&format!("{pretty}{{\r\n\"d\":1\r\n}}\r\n")),
            "{ \"a\": \"}\\\"{[,\", \"b\":{ \"c\":[1, {}]}}\n{  \"d\":1  }\n"
        );
        assert_eq!(
            read("{\n\"a\": 1,\n{\n\"b\": 2\n}\n"),
            "{ \"a\": 1, \n{ \"b\": 2 }\n",
            "one that was not written to its end"
        );
        assert_eq!(read("{\n\"a\": \"an endless text\n}\n{\n}\n"), "{ \"a\": \"an endless text } \n{ }\n");
    }

    /// What a log was when it was shorter has to be how it begins, or what was read of it would be read again, or never.
    #[test]
    fn whole_lines_of_the_beginning_are_those_of_the_whole_however_it_is_cut_and_comes() {
        let events = [
            "<Event>",
            "<Event><A/></Event>",
            "</Event>",
            "<Events>",
            "</Events>",
            "<?xml x?>",
            "- <A>",
            "x<y",
            "\r\n",
            "\n",
            " ",
            "<Ev",
        ];
        let objects = ["{\n", "{", "}", "\"a\"", "\"", "\\\"", ":1", ",", "[", "]", "\r\n", "\n", " ", "}\n"];
        let mut random = crate::demo::random::Random::new(1);
        for round in 0..500 {
            let (start, pieces) = if round % 2 == 0 { ("<Event>", &events[..]) } else { ("{\n", &objects[..]) };
            let count = 3 + random.below(40);
            let text: String =
                [start].into_iter().chain((0..count).map(|_| pieces[random.below(pieces.len())])).collect();
            let whole = read(&text);
            for end in (MARK..text.len()).filter(|end| text.is_char_boundary(*end)) {
                let begun = read(&text[..end]);
                let lines = begun.rfind('\n').map_or(0, |at| at + 1);
                assert!(whole.starts_with(&begun[..lines]), "{text:?}\nup to {end}: {begun:?}\nwhole: {whole:?}");
            }
        }
    }

    #[test]
    fn other_text_is_read_as_it_is() {
        for text in
            ["", "x", "{\"a\":1}\n{\"b\":2}\n", "[Thu Nov 20] x\n", "<34>Oct 11 x\n", "<Evil>\n", "\u{feff}<a>\n"]
        {
            assert_eq!(read(text), text);
        }
    }
}
