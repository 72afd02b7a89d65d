//! Lines of syslog that stand for several equal ones.

use memchr::memmem;

/// More is not believed: syslogds count for minutes at most.
pub const MAX_REPEATED: u32 = 10_000;

/// Unwraps `message repeated N times: [ … ]` (rsyslog), which stands for N more of the same: the message, and how many it is.
pub fn repeated(message: &[u8]) -> (&[u8], u32) {
    let unwrapped = message.strip_prefix(b"message repeated ").and_then(|rest| {
        let (count, rest) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_digit())?);
        let inner = rest.strip_prefix(b" times: [ ")?.trim_ascii_end().strip_suffix(b"]")?;
        let count: u32 = std::str::from_utf8(count).ok()?.parse().ok()?;
        (count > 0).then_some((inner, count.min(MAX_REPEATED)))
    });
    unwrapped.unwrap_or((message, 1))
}

/// How many equal lines a line of syslog stands for: what its program says begins behind the first colon.
pub fn times(line: &[u8]) -> u32 {
    memmem::find(line, b": ").map_or(1, |at| repeated(&line[at + 2..]).1)
}
