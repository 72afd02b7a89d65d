//! Reports: the figures of a period as a mail for people who don't read logs.
//!
//! `jobs` gathers the [`Figures`] from the store; this module only words and draws them, so equal figures give
//! equal bytes.

pub mod chart;
mod html;
mod text;
mod words;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::model::{Image, Mail, ReportKind, StoredFinding, Tally};

pub use words::{Light, compact, finding_sentence, grouped, light, span_words};

/// Everything a report shows.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The kind of report.
    pub kind: ReportKind,
    /// The server's name.
    pub host: String,
    /// The zone of all dates.
    #[serde(serialize_with = "zone_name")]
    pub zone: chrono_tz::Tz,
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// The days of the period, in order.
    pub days: Vec<Day>,
    /// The days of the period before, in order.
    pub days_before: Vec<Day>,
    /// The first day of which anything is known at all.
    pub watched_since: Option<NaiveDate>,
    /// The findings of the period, most serious first.
    pub findings: Vec<StoredFinding>,
    /// How many findings the period before had; none where nothing is known of it.
    pub findings_before: Option<usize>,
    /// The jobs.
    pub jobs: Vec<JobRecord>,
    /// Archives made in the period: how many, and how many logs they hold.
    pub archives: (usize, usize),
}

/// One day's counts; none where nothing was read of that day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The day.
    pub date: NaiveDate,
    /// Its counts.
    pub tally: Option<Tally>,
}

/// How a job did in the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobRecord {
    /// The job.
    pub id: String,
    /// How often it ran to its end.
    pub done: usize,
    /// How often it failed, timed out, could not start or was interrupted.
    pub failed: usize,
    /// How often it was done in part only.
    pub partial: usize,
    /// How often it was missed or skipped.
    pub missed: usize,
}

fn zone_name<S: serde::Serializer>(zone: &chrono_tz::Tz, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(zone.name())
}

impl Figures {
    /// The sums of the period.
    pub fn total(&self) -> Tally {
        sum(&self.days)
    }

    /// The sums of the period before; none where it has a day of which nothing is known.
    pub fn total_before(&self) -> Option<Tally> {
        let complete = !self.days_before.is_empty() && self.days_before.iter().all(|day| day.tally.is_some());
        complete.then(|| sum(&self.days_before))
    }

    /// The days of which nothing was read although logkeeper watched already.
    pub fn gaps(&self) -> Vec<NaiveDate> {
        let watched = |date: NaiveDate| self.watched_since.is_none_or(|since| date >= since);
        self.days.iter().filter(|day| day.tally.is_none() && watched(day.date)).map(|day| day.date).collect()
    }
}

fn sum(days: &[Day]) -> Tally {
    let mut total = Tally::default();
    days.iter().filter_map(|day| day.tally.as_ref()).for_each(|tally| total.add(tally));
    total
}

/// The report as a mail. `made` only tells one sending from another.
pub fn mail(figures: &Figures, made: DateTime<Utc>) -> Mail {
    let light = light(figures);
    let things = match light.things {
        0 => "nothing to do".to_owned(),
        1 => "1 thing to look at".to_owned(),
        n => format!("{n} things to look at"),
    };
    use chrono::Datelike;
    let week = figures.to.iso_week().week();
    let subject = format!("[{}] {}: {things} - week {week}", figures.host, light.word.to_uppercase());
    let svg = chart::failed_logins(figures);
    let images: Vec<Image> = chart::png(&svg).map(|png| Image { name: "chart".to_owned(), png }).into_iter().collect();
    let picture = if images.is_empty() { html::Picture::None } else { html::Picture::Cid("chart") };
    let key = format!("report {} {} {} {}", figures.kind.name(), figures.host, figures.to, made.timestamp());
    Mail { subject, text: text::render(figures, &light), html: html::render(figures, &light, &picture), images, key }
}

/// The report as a page that stands alone, its chart inline.
pub fn page(figures: &Figures) -> String {
    html::render(figures, &light(figures), &html::Picture::Svg(chart::failed_logins(figures)))
}
