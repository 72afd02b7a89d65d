//! Log text is hostile. It leaves logkeeper only through the function made for its destination.
//!
//! HTML goes through maud's escaping and JSON through serde; the others are here.

use std::fmt::Write as _;

/// The longest piece of log text shown or kept as evidence, in bytes.
pub const EVIDENCE_BYTES: usize = 400;

/// Bytes as printable text: control characters (terminal escapes too), line breaks, bidirectional
/// overrides and invalid UTF-8 are written as `\xNN` or `\u{N}`.
///
/// ```
/// use logkeeper::model::untrusted::printable;
/// assert_eq!(printable(b"a\x1b[31mb\r\n"), "a\\x1b[31mb\\x0d\\x0a");
/// ```
pub fn printable(bytes: &[u8]) -> String {
    // Nearly all are, and a loop that looks at all of them looks at many at once.
    let is_plain = bytes.iter().fold(true, |is_plain, byte| is_plain & (b' '..=b'~').contains(byte));
    if let (true, Ok(text)) = (is_plain, std::str::from_utf8(bytes)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => out.push(' '),
                c if c.is_control() && (c as u32) < 256 => push_hex(&mut out, c as u32 as u8),
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                    // Writing to a String can't fail.
                    let _ = write!(out, "\\u{{{:x}}}", c as u32);
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            push_hex(&mut out, *byte);
        }
    }
    out
}

/// Evidence for people: printable and at most [`EVIDENCE_BYTES`] of the line.
pub fn evidence(line: &[u8]) -> String {
    let (line, cut_off) = cut(line);
    shown_cut(line, cut_off)
}

/// At most [`EVIDENCE_BYTES`] of a line, without its line break, and how many bytes more it has.
pub fn cut(line: &[u8]) -> (&[u8], usize) {
    let line = without_line_break(line);
    let (head, rest) = line.split_at(line.len().min(EVIDENCE_BYTES));
    (head, rest.len())
}

/// Such a part of a line for people.
pub fn shown_cut(head: &[u8], cut_off: usize) -> String {
    let text = printable(head);
    if cut_off > 0 { format!("{text} … ({cut_off} more bytes)") } else { text }
}

/// The line without CR and LF at its end.
pub fn without_line_break(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
    &line[..end]
}

/// What follows the zeros that a program leaves which goes on behind what was cut off (copytruncate), or a file system that lost its
/// power, and the mark that some programs put before a file's first line.
pub fn without_filling(line: &[u8]) -> &[u8] {
    if !matches!(line.first(), Some(0 | 0xef)) {
        return line;
    }
    let start = line.iter().position(|byte| *byte != 0).unwrap_or(line.len());
    line[start..].strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line[start..])
}

/// Text for a mail header: printable ASCII in one line, at most 150 characters.
pub fn header(text: &str) -> String {
    let ascii = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    printable(text.as_bytes()).chars().map(ascii).take(150).collect()
}

/// One CSV field (RFC 4180), quoted where needed, with a quote before what a spreadsheet would run as a formula.
pub fn csv(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guarded = if formula { format!("'{text}") } else { text.to_owned() };
    if guarded.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

fn push_hex(out: &mut String, byte: u8) {
    // Writing to a String can't fail.
    let _ = write!(out, "\\x{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_survives() {
        let hostile: Vec<u8> = (0..=255).collect();
        let shown = printable(&hostile);
        assert!(shown.chars().all(|c| !c.is_control()), "{shown:?}");
        assert!(header(&shown).is_ascii());
    }

    #[test]
    fn a_spreadsheet_formula_is_disarmed() {
        assert_eq!(csv("=1+1"), "'=1+1");
        assert_eq!(csv("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    #[test]
    fn a_header_cannot_be_split() {
        assert_eq!(header("x\r\nBcc: a@b"), "x\\x0d\\x0aBcc: a@b");
    }
}
