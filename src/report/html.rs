//! The report as HTML: tables and inline styles only, because mail programs know nothing else.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::words::{self, Light};
use super::{Figures, chart};

/// The picture: inline on a page, attached in a mail, or none.
pub enum Picture {
    /// No picture was drawn.
    None,
    /// The attachment of this content id.
    Cid(&'static str),
    /// The drawing itself.
    Svg(String),
}

const FONT: &str = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const CARD: &str = "background:#ffffff;border-radius:8px;padding:16px 20px";
const HEADING: &str = "margin:24px 0 8px 0;font-size:17px;color:#1f2328";
const SMALL: &str = "font-size:13px;line-height:1.45;color:#57606a";

/// The page.
pub fn render(figures: &Figures, light: &Light, picture: &Picture) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light";
                title { (figures.host) ": " (words::period_words(figures)) }
            }
            body style={ "margin:0;padding:0;background:#f0f2f5;" (FONT) } {
                table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#f0f2f5" {
                    tr { td align="center" style="padding:16px 8px" {
                        table role="presentation" width="100%" cellpadding="0" cellspacing="0" style={ "max-width:600px;text-align:left;" (CARD) } {
                            tr { td { (content(figures, light, picture)) } }
                        }
                    } }
                }
            }
        }
    };
    page.into_string()
}

fn content(figures: &Figures, light: &Light, picture: &Picture) -> Markup {
    html! {
        p style={ "margin:0;" (SMALL) } { "Weekly summary of " b { (figures.host) } }
        p style="margin:2px 0 16px 0;font-size:15px;color:#1f2328" { (words::period_words(figures)) }
        table role="presentation" width="100%" cellpadding="0" cellspacing="0" style={ "border-radius:8px;background:" (light.color) } {
            tr { td style="padding:14px 18px;color:#ffffff" {
                div style="font-size:20px;font-weight:bold" { (light.word) }
                div style="font-size:15px;line-height:1.4" { (light.sentence) }
            } }
        }
        h2 style=(HEADING) { "What we ask of you" }
        (asks(light))
        h2 style=(HEADING) { "The week in five numbers" }
        (numbers(figures))
        h2 style=(HEADING) { "Wrong passwords per day" }
        (drawing(figures, picture))
        h2 style=(HEADING) { "What stood out" }
        (threats(figures))
        h2 style=(HEADING) { "Was everything watched?" }
        (coverage(figures))
        p style={ "margin:24px 0 0 0;border-top:1px solid #d0d7de;padding-top:12px;" (SMALL) } {
            "Times are those of " (figures.zone.name()) ". Written by logkeeper on " (figures.host) "; your administrator has the details."
        }
    }
}

fn asks(light: &Light) -> Markup {
    html! {
        @if light.asks.is_empty() {
            p style="margin:0;font-size:15px;color:#1f2328" { "Nothing. No action is needed." }
        } @else {
            ul style="margin:0;padding-left:20px;font-size:15px;line-height:1.5;color:#1f2328" {
                @for ask in &light.asks { li { (ask) } }
            }
        }
    }
}

fn numbers(figures: &Figures) -> Markup {
    let cell = "padding:8px 0;border-bottom:1px solid #eaeef2;vertical-align:top";
    html! {
        table role="presentation" width="100%" cellpadding="0" cellspacing="0" {
            @for number in words::numbers(figures) {
                tr {
                    td style=(cell) {
                        div style="font-size:15px;color:#1f2328" { (number.name) }
                        div style=(SMALL) { (number.definition) }
                    }
                    td align="right" style={ (cell) ";padding-left:12px;white-space:nowrap" } {
                        div style="font-size:20px;font-weight:bold;color:#1f2328" { (number.value) }
                        div style=(SMALL) { (number.change) }
                    }
                }
            }
        }
    }
}

fn drawing(figures: &Figures, picture: &Picture) -> Markup {
    let alt = chart::words(figures);
    html! {
        @match picture {
            Picture::Cid(name) => {
                img src={ "cid:" (name) } alt=(alt) width="460" style="display:block;width:100%;max-width:460px;height:auto;background:#ffffff";
            }
            Picture::Svg(svg) => div role="img" aria-label=(alt) style="max-width:460px" { (PreEscaped(svg)) },
            Picture::None => {}
        }
        p style={ "margin:4px 0 0 0;" (SMALL) } { (alt) }
    }
}

fn threats(figures: &Figures) -> Markup {
    let shown = 3;
    html! {
        @if figures.findings.is_empty() {
            p style="margin:0;font-size:15px;color:#1f2328" { "Nothing." }
        } @else {
            ol style="margin:0;padding-left:20px;font-size:15px;line-height:1.5;color:#1f2328" {
                @for finding in figures.findings.iter().take(shown) {
                    li style="margin-bottom:6px" { (words::finding_sentence(finding, figures.zone)) }
                }
            }
            p style={ "margin:4px 0 0 0;" (SMALL) } { (rest_words(figures, shown)) }
        }
    }
}

/// How many findings there are beyond those shown, and how many there were before.
pub fn rest_words(figures: &Figures, shown: usize) -> String {
    let more = figures.findings.len().saturating_sub(shown);
    let rest = match more {
        0 => String::new(),
        n => format!("{n} more of less weight. "),
    };
    let before = match figures.findings_before {
        None => "First week, no comparison yet.".to_owned(),
        Some(n) => format!("{} in all, {n} the week before.", figures.findings.len()),
    };
    format!("{rest}{before}")
}

fn coverage(figures: &Figures) -> Markup {
    let cell = "padding:6px 0;border-bottom:1px solid #eaeef2;font-size:14px;color:#1f2328";
    html! {
        table role="presentation" width="100%" cellpadding="0" cellspacing="0" {
            @for (name, value) in coverage_rows(figures) {
                tr { td style=(cell) { (name) } td align="right" style={ (cell) ";padding-left:12px" } { (value) } }
            }
        }
    }
}

/// What was watched, row by row.
pub fn coverage_rows(figures: &Figures) -> Vec<(String, String)> {
    let total = figures.total();
    let gaps = figures.gaps();
    let known = figures.days.iter().filter(|day| day.tally.is_some()).count();
    let mut rows = vec![
        ("Days with data".to_owned(), format!("{known} of {}", figures.days.len())),
        ("Log lines read".to_owned(), words::grouped(total.lines)),
        ("Lines not understood".to_owned(), words::grouped(total.unparsed)),
        ("Archives made and verified".to_owned(), archive_words(figures.archives)),
    ];
    if !gaps.is_empty() {
        rows.insert(1, ("No data".to_owned(), words::span_words(&gaps)));
    }
    for job in &figures.jobs {
        let mut value =
            format!("ran {}", if job.done == 1 { "once".to_owned() } else { format!("{} times", job.done) });
        for (n, what) in [(job.failed, "failed"), (job.partial, "done in part"), (job.missed, "missed")] {
            if n > 0 {
                value.push_str(&format!(", {n} {what}"));
            }
        }
        rows.push((format!("Job {}", job.id), value));
    }
    rows
}

fn archive_words((archives, logs): (usize, usize)) -> String {
    match archives {
        0 => "none".to_owned(),
        _ => format!("{archives}, holding {}", words::counted(logs, "log")),
    }
}
