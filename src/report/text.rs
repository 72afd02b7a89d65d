//! The report as plain text: everything the page says, for those who read mail that way.

use super::Figures;
use super::advice::{advice, nothing_asked};
use super::chart::Chart;
use super::details::{compliance, tables};
use super::sentence::finding_sentence;
use super::words::{self, Light, rest_words};
use crate::model::Audience;
use crate::model::untrusted::printable;

/// The text.
pub fn render(figures: &Figures, light: &Light, charts: &[Chart]) -> String {
    let period = words::noun(figures.kind).to_uppercase();
    let mut lines = vec![
        format!("{} of {}", words::heading(figures), figures.host),
        words::period_words(figures),
        String::new(),
        format!("{}: {}", light.word.to_uppercase(), light.sentence),
        String::new(),
        format!("THE {period} IN FIVE NUMBERS"),
    ];
    lines.extend(words::numbers(figures).iter().map(|number| {
        let changes = number.changes.join("; ");
        format!("{:<17} {:>12}   {changes}\n                  ({})", number.name, number.value, number.definition)
    }));
    for chart in charts {
        lines.extend([String::new(), chart.title.to_uppercase(), chart.words.clone()]);
        lines.extend(chart.rows.iter().map(|(name, value)| format!("{name:<24} {value:>14}")));
    }
    lines.extend([String::new(), "WHAT STOOD OUT".to_owned()]);
    if figures.findings.is_empty() {
        lines.push(format!("Nothing. {}", rest_words(figures, 0)));
    } else {
        let shown = shown(figures);
        let top = figures.findings.iter().take(shown).enumerate();
        lines.extend(top.map(|(n, finding)| {
            format!(
                "{}. {}",
                n + 1,
                printable(finding_sentence(finding, &figures.made.with_timezone(&figures.zone)).as_bytes())
            )
        }));
        lines.push(rest_words(figures, shown));
    }
    lines.extend([String::new(), "WHAT WE ASK OF YOU".to_owned()]);
    if light.asks.is_empty() {
        lines.push(nothing_asked(figures).to_owned());
    }
    lines.extend(light.asks.iter().map(|ask| format!("* {}", printable(ask.as_bytes()))));
    lines.extend([String::new(), "WAS EVERYTHING WATCHED?".to_owned()]);
    lines.extend(compliance(figures).into_iter().map(|(name, value)| format!("{name:<28} {value}")));
    if figures.audience == Audience::Admins {
        lines.extend([String::new(), "RECOMMENDATIONS".to_owned()]);
        let advice = advice(figures);
        if advice.is_empty() {
            lines.push("None.".to_owned());
        }
        lines.extend(advice.iter().map(|advice| format!("* {}\n  ({})", advice.what, advice.evidence)));
        for table in tables(figures) {
            lines.extend([String::new(), table.title.to_uppercase(), format!("({})", table.definition)]);
            lines.extend(table.rows.iter().map(|(name, value)| format!("{name:<40} {value}")));
        }
    }
    lines.extend([
        String::new(),
        format!("Times are those of {}. Written by logkeeper on {}.", figures.zone.name(), figures.host),
    ]);
    lines.join("\n") + "\n"
}

/// How many findings are spelled out.
pub fn shown(figures: &Figures) -> usize {
    match figures.audience {
        Audience::Management => 3,
        Audience::Admins => 10,
    }
}
