//! The times in a log, for archives: joins parsers and packing.

use chrono_tz::Tz;

use crate::archive::TextTimes;
use crate::logs::split;
use crate::model::{Formats, Source};
use crate::parse::{AutoParser, Context, YearRule};

/// Finds the times in a log of that zone and these formats that was last changed then, seconds since 1970 UTC.
pub fn log_times(zone: Tz, formats: &Formats, modified: i64) -> TextTimes {
    let context = Context { zone, year: YearRule::Before(modified) };
    // Only times are asked, and nobody is accused: sshd's file is read whatever it is called.
    let mut parser = AutoParser::new(context, formats).named("sshd".as_ref());
    let mut carried = None;
    Box::new(move |text| {
        let mut span: Option<(i64, i64)> = None;
        for line in split(text) {
            carried = parser.time(line).or(carried);
            if let Some(time) = carried {
                span = Some(span.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
            }
        }
        span
    })
}

/// The same for the logs of a source.
pub(super) fn times_in(source: &Source) -> impl Fn(i64) -> TextTimes {
    let (zone, formats) = (source.zone, source.formats.clone());
    move |modified| log_times(zone, &formats, modified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_sshds_file_on_windows_are_found() {
        let mut times = log_times(chrono_tz::UTC, &Formats::default(), 1_795_200_000);
        let text = b"7 2026-11-20 10:00:05.070 Server listening\r\n8 2026-11-20 10:00:09.070 x\r\n";
        assert_eq!(times(text), Some((1_795_168_805, 1_795_168_809)));
    }
}
