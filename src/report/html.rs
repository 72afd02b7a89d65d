//! The report as HTML, and the frame of all mails: tables and inline styles only, because mail programs know nothing else.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Figures;
use super::advice::{advice, nothing_asked};
use super::chart::Chart;
use super::details::{Table, compliance, tables};
use super::sentence::finding_sentence;
use super::text::shown;
use super::words::{self, Light, rest_words};
use crate::model::Audience;
use crate::model::untrusted::printable;

/// A chart and where its drawing is.
pub struct Picture<'a> {
    /// The chart.
    pub chart: &'a Chart,
    /// Where.
    pub drawn: Drawn,
}

/// Where a chart's drawing is.
pub enum Drawn {
    /// Nowhere.
    Not,
    /// Attached to the mail under the chart's name.
    Cid,
    /// In the page.
    Inline,
}

const FONT: &str = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const CARD: &str = "background:#ffffff;border-radius:8px;padding:16px 20px";
const HEADING: &str = "margin:24px 0 8px 0;font-size:17px;color:#1f2328";
const PLAIN: &str = "margin:0;font-size:15px;line-height:1.5;color:#1f2328";
const SMALL: &str = "font-size:13px;line-height:1.45;color:#57606a";

/// A whole page or mail around its content.
pub fn mail_page(title: &str, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light";
                title { (title) }
            }
            body style={ "margin:0;padding:0;background:#f0f2f5;" (FONT) } {
                table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#f0f2f5" {
                    tr { td align="center" style="padding:16px 8px" {
                        table role="presentation" width="100%" cellpadding="0" cellspacing="0" style={ "max-width:600px;text-align:left;color:#1f2328;" (CARD) } {
                            tr { td style="overflow-wrap:anywhere" { (content) } }
                        }
                    } }
                }
            }
        }
    };
    page.into_string()
}

/// A page of nothing but text, as a terminal would show it.
pub fn text_page(title: &str, text: &str) -> String {
    let style = "font-family:monospace;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere;margin:0";
    mail_page(title, &html! { pre style=(style) { (text) } })
}

/// The page of a report.
pub fn render(figures: &Figures, light: &Light, pictures: &[Picture<'_>]) -> String {
    let title = format!("{}: {}", figures.host, words::period_words(figures));
    let period = words::noun(figures.kind);
    let content = html! {
        p style={ "margin:0;" (SMALL) } { (words::heading(figures)) " of " b { (figures.host) } }
        p style="margin:2px 0 16px 0;font-size:15px;color:#1f2328" { (words::period_words(figures)) }
        table role="presentation" width="100%" cellpadding="0" cellspacing="0" style={ "border-radius:8px;background:" (light.color) } {
            tr { td style="padding:14px 18px;color:#ffffff" {
                div style="font-size:20px;font-weight:bold" { (light.word) }
                div style="font-size:15px;line-height:1.4" { (light.sentence) }
            } }
        }
        h2 style=(HEADING) { "The " (period) " in five numbers" }
        (numbers(figures))
        @for picture in pictures { (drawing(picture)) }
        h2 style=(HEADING) { "What stood out" }
        (threats(figures))
        h2 style=(HEADING) { "What we ask of you" }
        (asks(figures, light))
        h2 style=(HEADING) { "Was everything watched?" }
        (rows(&compliance(figures)))
        @if figures.audience == Audience::Admins { (for_admins(figures)) }
        p style={ "margin:24px 0 0 0;border-top:1px solid #d0d7de;padding-top:12px;" (SMALL) } {
            "Times are those of " (figures.zone.name()) ". Written by logkeeper on " (figures.host) "."
            @if figures.audience == Audience::Management { " Your administrator has the details." }
        }
    };
    mail_page(&title, &content)
}

fn asks(figures: &Figures, light: &Light) -> Markup {
    html! {
        @if light.asks.is_empty() {
            p style=(PLAIN) { (nothing_asked(figures)) }
        } @else {
            ul style={ (PLAIN) ";padding-left:20px" } {
                @for ask in &light.asks { li { (printable(ask.as_bytes())) } }
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
                    td align="right" style={ (cell) ";padding-left:12px;min-width:45%" } {
                        div style="font-size:20px;font-weight:bold;color:#1f2328;white-space:nowrap" { (number.value) }
                        @for change in &number.changes { div style=(SMALL) { (change) } }
                    }
                }
            }
        }
    }
}

fn drawing(Picture { chart, drawn }: &Picture<'_>) -> Markup {
    html! {
        h2 style=(HEADING) { (chart.title) }
        @match drawn {
            Drawn::Cid => {
                img src={ "cid:" (chart.name) } alt=(chart.words) width="460" style="display:block;width:100%;max-width:460px;height:auto;background:#ffffff";
            }
            Drawn::Inline => div role="img" aria-label=(chart.words) style="max-width:460px" { (PreEscaped(&chart.svg)) },
            Drawn::Not => {}
        }
        p style={ "margin:4px 0 4px 0;" (SMALL) } { (chart.words) }
        @if !chart.rows.is_empty() { (small_rows(&chart.rows)) }
    }
}

fn threats(figures: &Figures) -> Markup {
    let shown = shown(figures);
    html! {
        @if figures.findings.is_empty() {
            p style=(PLAIN) { "Nothing." }
            p style={ "margin:4px 0 0 0;" (SMALL) } { (rest_words(figures, 0)) }
        } @else {
            ol style={ (PLAIN) ";padding-left:20px" } {
                @for finding in figures.findings.iter().take(shown) {
                    li style="margin-bottom:6px" { (printable(finding_sentence(finding, &figures.made.with_timezone(&figures.zone)).as_bytes())) }
                }
            }
            p style={ "margin:4px 0 0 0;" (SMALL) } { (rest_words(figures, shown)) }
        }
    }
}

fn for_admins(figures: &Figures) -> Markup {
    let advice = advice(figures);
    html! {
        h2 style=(HEADING) { "Recommendations" }
        @if advice.is_empty() {
            p style=(PLAIN) { "None." }
        } @else {
            ul style={ (PLAIN) ";padding-left:20px" } {
                @for advice in &advice {
                    li style="margin-bottom:6px" { (advice.what) div style=(SMALL) { (advice.evidence) } }
                }
            }
        }
        @for Table { title, definition, rows: content } in &tables(figures) {
            h2 style=(HEADING) { (title) }
            p style={ "margin:0 0 4px 0;" (SMALL) } { (definition) }
            (rows(content))
        }
    }
}

/// A table of two columns.
fn rows(rows: &[(String, String)]) -> Markup {
    two_columns(rows, "padding:6px 0;border-bottom:1px solid #eaeef2;font-size:14px;color:#1f2328;vertical-align:top")
}

/// The numbers of a chart.
fn small_rows(rows: &[(String, String)]) -> Markup {
    two_columns(rows, "padding:1px 0;font-size:13px;color:#57606a;vertical-align:top")
}

fn two_columns(rows: &[(String, String)], cell: &str) -> Markup {
    html! {
        table role="presentation" width="100%" cellpadding="0" cellspacing="0" {
            @for (name, value) in rows {
                tr { td style=(cell) { (name) } td align="right" style={ (cell) ";padding-left:12px" } { (value) } }
            }
        }
    }
}
