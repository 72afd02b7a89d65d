//! The report as plain text: everything the page says, for those who read mail that way.

use super::Figures;
use super::chart;
use super::html::{coverage_rows, rest_words};
use super::words::{self, Light};

/// The text.
pub fn render(figures: &Figures, light: &Light) -> String {
    let mut lines = vec![
        format!("Weekly summary of {}", figures.host),
        words::period_words(figures),
        String::new(),
        format!("{}: {}", light.word.to_uppercase(), light.sentence),
        String::new(),
        "WHAT WE ASK OF YOU".to_owned(),
    ];
    if light.asks.is_empty() {
        lines.push("Nothing. No action is needed.".to_owned());
    }
    lines.extend(light.asks.iter().map(|ask| format!("* {ask}")));
    lines.extend([String::new(), "THE WEEK IN FIVE NUMBERS".to_owned()]);
    lines.extend(words::numbers(figures).iter().map(|number| {
        format!(
            "{:<16} {:>12}   {}\n                 ({})",
            number.name, number.value, number.change, number.definition
        )
    }));
    lines.extend([String::new(), "WRONG PASSWORDS PER DAY".to_owned(), chart::words(figures)]);
    lines.extend(figures.days.iter().map(|day| {
        let count = day.tally.map_or("no data".to_owned(), |tally| words::grouped(tally.failed_logins));
        format!("{} {count:>12}", day.date.format("%a %d %b"))
    }));
    lines.extend([String::new(), "WHAT STOOD OUT".to_owned()]);
    if figures.findings.is_empty() {
        lines.push("Nothing.".to_owned());
    } else {
        let top = figures.findings.iter().take(3).enumerate();
        lines.extend(top.map(|(n, finding)| format!("{}. {}", n + 1, words::finding_sentence(finding, figures.zone))));
        lines.push(rest_words(figures, 3));
    }
    lines.extend([String::new(), "WAS EVERYTHING WATCHED?".to_owned()]);
    lines.extend(coverage_rows(figures).into_iter().map(|(name, value)| format!("{name:<28} {value}")));
    lines.extend([
        String::new(),
        format!("Times are those of {}. Written by logkeeper on {}.", figures.zone.name(), figures.host),
    ]);
    lines.join("\n") + "\n"
}
