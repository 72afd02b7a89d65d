//! What an alert looks like, as text and as HTML.

use std::fmt::Write as _;

use maud::html;

use super::mail_page;

/// An alert as shown.
pub struct AlertText {
    /// What happened, in a sentence or two.
    pub intro: String,
    /// The findings that are spelled out.
    pub entries: Vec<AlertEntry>,
    /// How many more there are; none where these are all.
    pub rest: Option<String>,
    /// Where it comes from.
    pub footer: String,
}

/// One finding as shown; all of it is printable.
pub struct AlertEntry {
    /// How much it matters, its rule and its subject.
    pub title: String,
    /// What was found.
    pub sentence: String,
    /// What that means.
    pub meaning: String,
    /// What to do.
    pub advice: String,
    /// Lines it rests on, with their places.
    pub evidence: Vec<String>,
}

impl AlertText {
    /// As plain text.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n\n", self.intro);
        for AlertEntry { title, sentence, meaning, advice, evidence } in &self.entries {
            // Writing to a String can't fail.
            let _ = writeln!(out, "{title}\n  {sentence}\n  {meaning}\n  What to do: {advice}");
            for line in evidence {
                let _ = writeln!(out, "    {line}");
            }
            out.push('\n');
        }
        if let Some(rest) = &self.rest {
            let _ = writeln!(out, "{rest}\n");
        }
        out + &self.footer + "\n"
    }

    /// As HTML.
    pub fn page(&self) -> String {
        let small = "font-size:13px;color:#57606a;margin:2px 0";
        let line_style =
            "font-family:monospace;font-size:12px;word-break:break-all;background:#f6f8fa;padding:4px 6px;margin:2px 0";
        let content = html! {
            p style="font-size:15px;margin:0" { (self.intro) }
            @for entry in &self.entries {
                h2 style="font-size:16px;margin:20px 0 4px 0" { (entry.title) }
                p style="font-size:15px;margin:2px 0" { (entry.sentence) }
                p style=(small) { (entry.meaning) }
                p style="font-size:14px;margin:4px 0" { b { "What to do: " } (entry.advice) }
                @for line in &entry.evidence { div style=(line_style) { (line) } }
            }
            @if let Some(rest) = &self.rest { p style="font-size:15px" { (rest) } }
            p style=(small) { (self.footer) }
        };
        mail_page(&self.intro, &content)
    }
}
