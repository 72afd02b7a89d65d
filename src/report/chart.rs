//! The charts: drawn once as SVG, inline on a page and as PNG in a mail, each with its words and its numbers beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{Datelike, NaiveDate, Weekday};

use super::words::{compact, grouped, noun, percent};
use super::{Day, Figures, Hour};
use crate::model::untrusted::printable;
use crate::model::{Audience, ReportKind, Tally};

/// A chart.
pub struct Chart {
    /// Its content id in a mail.
    pub name: &'static str,
    /// Its heading.
    pub title: String,
    /// What it shows, in words.
    pub words: String,
    /// Its numbers.
    pub rows: Vec<(String, String)>,
    /// The drawing.
    pub svg: String,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 42.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 26.0;
const NOW: &str = "#0b5cad";
const BEFORE: &str = "#b8c4d0";
const INK: &str = "#1f2328";
const FAINT: &str = "#57606a";
const EMPTY: &str = "#eaeef2";

/// From few to many.
const HEAT: [&str; 6] = ["#f3f8fd", "#d3e5f6", "#a5c9ea", "#6aa3d8", "#2f77bd", "#0b4a8f"];

/// The charts of a report.
pub fn all(figures: &Figures) -> Vec<Chart> {
    let failed = Bars::new(figures, |tally| tally.failed_logins, |hour| hour.failed_logins);
    let mut charts = vec![failed.chart("failed-logins", "Wrong passwords", "wrong passwords were given", figures)];
    let admins = figures.audience == Audience::Admins;
    if admins {
        let errors = Bars::new(figures, |tally| tally.status_4xx + tally.status_5xx, |hour| hour.errors);
        charts.push(errors.chart(
            "errors",
            "Answers with an error",
            "answers with an error (4xx or 5xx) were given",
            figures,
        ));
    }
    if figures.kind != ReportKind::Daily {
        charts.extend(heat_map(figures));
    }
    if admins {
        charts.extend(status_mix(&figures.total()));
        charts.extend(top(&figures.attackers, figures.total().failed_logins));
    }
    charts
}

/// The drawing as PNG at twice its size; none in a build without the `charts` feature.
#[cfg(feature = "charts")]
pub fn png(svg: &str) -> Option<Vec<u8>> {
    use std::sync::{Arc, OnceLock};

    use resvg::tiny_skia::{Pixmap, Transform};
    use resvg::usvg::{Options, Tree, fontdb};

    const SCALE: f32 = 2.0;
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(include_bytes!("font/Roboto-subset.ttf").to_vec());
        Arc::new(fonts)
    });
    let options = Options { font_family: "Roboto".to_owned(), fontdb: fonts.clone(), ..Options::default() };
    let svg = svg.replacen(r#"width="100%" "#, "", 1);
    let tree = Tree::from_str(&svg, &options).ok()?;
    let size = tree.size();
    let mut pixels = Pixmap::new((size.width() * SCALE) as u32, (size.height() * SCALE) as u32)?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().ok()
}

/// The drawing as PNG at twice its size; none in a build without the `charts` feature.
#[cfg(not(feature = "charts"))]
pub fn png(_: &str) -> Option<Vec<u8>> {
    None
}

/// An empty drawing.
fn canvas(height: f64) -> String {
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" font-family="Roboto, sans-serif" font-size="13"><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##
    )
}

/// A text; the only place where texts get into a drawing.
fn write_text(svg: &mut String, (x, y): (f64, f64), anchor: &str, fill: &str, text: &str) {
    let text = printable(text.as_bytes()).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // Writing to a String can't fail.
    let _ = write!(svg, r##"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{fill}">{text}</text>"##);
}

fn write_rect(svg: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
    let _ = write!(svg, r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{fill}"/>"#);
}

/// Numbers of a period beside those of the period before: per day, or per hour of a day.
struct Bars {
    bars: Vec<Bar>,
    /// Every how many of them is labelled.
    step: usize,
    hourly: bool,
}

struct Bar {
    label: String,
    short: String,
    name: String,
    now: Option<u64>,
    before: Option<u64>,
}

impl Bars {
    fn new(figures: &Figures, of_day: fn(&Tally) -> u64, of_hour: fn(&Hour) -> u64) -> Self {
        if figures.kind == ReportKind::Daily {
            let at = |hours: &[Hour], hour| hours.iter().find(|h| h.hour == hour).map(of_hour);
            let bar = |hour: u32| Bar {
                label: hour.to_string(),
                short: format!("{hour:02}:00"),
                name: format!("{hour:02}:00"),
                now: at(&figures.hours, hour),
                before: at(&figures.hours_before, hour),
            };
            return Self { bars: (0..24).map(bar).collect(), step: 3, hourly: true };
        }
        let value = |day: &Day| day.tally.as_ref().map(of_day);
        let few = figures.days.len() <= 7;
        let bar = |(index, day): (usize, &Day)| Bar {
            label: day.date.format(if few { "%a %-d" } else { "%-d" }).to_string(),
            short: day.date.format("%a %-d %b").to_string(),
            name: day.date.format("%A %-d %B").to_string(),
            now: value(day),
            before: figures.days_before.get(index).and_then(value),
        };
        Self { bars: figures.days.iter().enumerate().map(bar).collect(), step: if few { 1 } else { 3 }, hourly: false }
    }

    fn chart(&self, name: &'static str, what: &str, happened: &str, figures: &Figures) -> Chart {
        let unit = if self.hourly { "hour" } else { "day" };
        Chart {
            name,
            title: format!("{what} per {unit}"),
            words: self.words(what, happened, figures.kind),
            rows: self.rows(),
            svg: self.svg(noun(figures.kind)),
        }
    }

    fn words(&self, what: &str, happened: &str, kind: ReportKind) -> String {
        let known = self.bars.iter().filter_map(|bar| Some((&bar.name, bar.now?)));
        let on = if self.hourly { "from" } else { "on" };
        match known.max_by_key(|(_, n)| *n) {
            None => format!("No data in this {}.", noun(kind)),
            Some((_, 0)) => format!("{what}: none in this {}.", noun(kind)),
            Some((name, most)) => format!("Most {happened} {on} {name}: {}.", grouped(most)),
        }
    }

    /// Per day; of a long period per seven days, of a day per six hours.
    fn rows(&self) -> Vec<(String, String)> {
        let size = match (self.hourly, self.bars.len()) {
            (true, _) => 6,
            (false, 0..=7) => 1,
            _ => 7,
        };
        let sum = |bars: &[Bar], pick: fn(&Bar) -> Option<u64>| bars.iter().filter_map(pick).reduce(|a, b| a + b);
        let row = |(chunk, bars): (usize, &[Bar])| {
            let name = match (self.hourly, bars) {
                (true, _) => format!("{:02}:00 to {:02}:00", chunk * size, (chunk + 1) * size),
                (false, [first, .., last]) => format!("{} to {}", first.short, last.short),
                (false, [only]) => only.short.clone(),
                (false, []) => String::new(),
            };
            let known = bars.iter().filter(|bar| bar.now.is_some()).count();
            let part = if known < bars.len() && known > 0 && !self.hourly {
                format!(" ({known} of {} days)", bars.len())
            } else {
                String::new()
            };
            let now = sum(bars, |bar| bar.now).map_or("no data".to_owned(), grouped) + &part;
            let before = sum(bars, |bar| bar.before).filter(|_| size == 1);
            let before = before.map(|n| format!(" (before: {})", grouped(n)));
            (name, format!("{now}{}", before.unwrap_or_default()))
        };
        self.bars.chunks(size).enumerate().map(row).collect()
    }

    fn svg(&self, period: &str) -> String {
        let top = nice_top(self.bars.iter().flat_map(|bar| [bar.now, bar.before]).flatten().max().unwrap_or(0));
        let compares = self.bars.iter().any(|bar| bar.before.is_some());
        let mut svg = canvas(HEIGHT);
        legend(&mut svg, period, compares);
        axis(&mut svg, top);
        let slot = (WIDTH - LEFT) / self.bars.len().max(1) as f64;
        let width = slot * 0.36;
        let few = self.bars.len() <= 7;
        for (index, bar) in self.bars.iter().enumerate() {
            let x = LEFT + slot * index as f64 + slot / 2.0;
            if let Some(n) = bar.before {
                column(&mut svg, x - width, width - 0.5, n, top, BEFORE);
            }
            match bar.now {
                Some(n) => {
                    column(&mut svg, x, width, n, top, NOW);
                    if few && n > 0 {
                        write_text(&mut svg, (x + width / 2.0, height_of(n, top) - 4.0), "middle", INK, &compact(n));
                    }
                }
                None if few => write_text(&mut svg, (x, HEIGHT - BOTTOM - 6.0), "middle", FAINT, "no data"),
                None => write_rect(&mut svg, (x - width, TOP), (width * 2.0, HEIGHT - BOTTOM - TOP), EMPTY),
            }
            if index % self.step == 0 {
                write_text(&mut svg, (x, HEIGHT - 8.0), "middle", INK, &bar.label);
            }
        }
        svg + "</svg>"
    }
}

fn legend(svg: &mut String, period: &str, compares: bool) {
    let mut entry = |x: f64, color: &str, text: &str| {
        write_rect(svg, (x, 6.0), (12.0, 12.0), color);
        write_text(svg, (x + 17.0, 17.0), "start", INK, text);
    };
    entry(LEFT, NOW, &format!("this {period}"));
    if compares {
        entry(LEFT + 105.0, BEFORE, &format!("the {period} before"));
    }
}

fn axis(svg: &mut String, top: u64) {
    for step in 0..=2 {
        let n = top * step / 2;
        let y = height_of(n, top);
        let _ = write!(svg, r##"<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1}" y2="{y:.1}" stroke="#d0d7de"/>"##);
        write_text(svg, (LEFT - 6.0, y + 4.0), "end", FAINT, &compact(n));
    }
}

fn column(svg: &mut String, x: f64, width: f64, n: u64, top: u64, color: &str) {
    let y = height_of(n, top);
    write_rect(svg, (x, y), (width, HEIGHT - BOTTOM - y), color);
}

fn height_of(n: u64, top: u64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP - 14.0) * n as f64 / top as f64
}

/// The end of the axis: 2, 4 or 10 times a power of ten, so that its middle is whole.
fn nice_top(most: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        if let Some(factor) = [2, 4, 10].into_iter().find(|factor| power.saturating_mul(*factor) >= most) {
            return power.saturating_mul(factor);
        }
        power = power.saturating_mul(10);
    }
}

const WEEKDAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// The requests of a usual hour of a weekday: the mean of those of the period; none where nothing is known.
type Heat = [[Option<u64>; 24]; 7];

fn heat(hours: &[Hour]) -> Heat {
    let mut sums: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
    for hour in hours {
        let day = hour.date.weekday().num_days_from_monday() as usize;
        let (sum, n) = sums.entry((day, hour.hour.min(23) as usize)).or_default();
        *sum += hour.requests;
        *n += 1;
    }
    let mut heat = [[None; 24]; 7];
    for ((day, hour), (sum, n)) in sums {
        heat[day][hour] = Some(sum / n);
    }
    heat
}

/// When the web server was busy: hours by weekdays.
fn heat_map(figures: &Figures) -> Option<Chart> {
    let heat = heat(&figures.hours);
    let cells = || {
        WEEKDAYS.iter().zip(&heat).flat_map(|(day, row)| row.iter().enumerate().map(move |(hour, n)| (*day, hour, *n)))
    };
    let (day, hour, most) = cells().filter_map(|(day, hour, n)| Some((day, hour, n?))).max_by_key(|(_, _, n)| *n)?;
    if most == 0 {
        return None;
    }
    let name = |day: Weekday| {
        NaiveDate::from_isoywd_opt(2026, 1, day).map_or(String::new(), |date| date.format("%A").to_string())
    };
    let total = |row: &[Option<u64>; 24]| row.iter().flatten().sum::<u64>();
    let known = WEEKDAYS.iter().zip(&heat).filter(|(_, row)| row.iter().any(Option::is_some));
    let busiest = known.clone().max_by_key(|(_, row)| total(row))?;
    let words = format!(
        "{}s were busiest, with {} requests a day; the busiest hour was {} at {hour:02}:00, with {}.",
        name(*busiest.0),
        grouped(total(busiest.1)),
        name(day),
        grouped(most)
    );
    let rows = WEEKDAYS.iter().zip(&heat).map(|(day, row)| {
        let value = if row.iter().any(Option::is_some) { grouped(total(row)) } else { "no data".to_owned() };
        (name(*day), value)
    });
    Some(Chart {
        name: "hours",
        title: "When the web site was used".to_owned(),
        words,
        rows: rows.collect(),
        svg: heat_svg(&heat, most),
    })
}

fn heat_svg(heat: &Heat, most: u64) -> String {
    const ROW: f64 = 20.0;
    let height = TOP + ROW * 7.0 + 26.0;
    let mut svg = canvas(height);
    let cell = (WIDTH - LEFT) / 24.0;
    write_text(&mut svg, (LEFT, 17.0), "start", INK, "few");
    for (index, color) in HEAT.iter().enumerate() {
        write_rect(&mut svg, (LEFT + 34.0 + 14.0 * index as f64, 6.0), (14.0, 12.0), color);
    }
    write_text(&mut svg, (LEFT + 125.0, 17.0), "start", INK, &format!("many: {} requests an hour", compact(most)));
    for (index, (day, row)) in WEEKDAYS.iter().zip(heat).enumerate() {
        let y = TOP + ROW * index as f64;
        write_text(&mut svg, (LEFT - 6.0, y + 14.5), "end", INK, &day.to_string());
        for (hour, n) in row.iter().enumerate() {
            let at = (LEFT + cell * hour as f64, y);
            match n {
                Some(n) => write_rect(&mut svg, at, (cell - 1.0, ROW - 1.0), warmth(*n, most)),
                None => write_text(&mut svg, (at.0 + cell / 2.0, y + 14.5), "middle", FAINT, "-"),
            }
        }
    }
    for hour in (0..24).step_by(3) {
        let x = LEFT + cell * (f64::from(hour) + 0.5);
        write_text(&mut svg, (x, height - 8.0), "middle", INK, &hour.to_string());
    }
    svg + "</svg>"
}

/// The colour of a number: in steps of its square root, so that quiet hours differ, too.
fn warmth(n: u64, most: u64) -> &'static str {
    let share = (n as f64 / most.max(1) as f64).sqrt();
    let step = (share * HEAT.len() as f64).floor() as usize;
    HEAT[step.min(HEAT.len() - 1)]
}

/// How the web server answered.
fn status_mix(total: &Tally) -> Option<Chart> {
    if total.requests == 0 {
        return None;
    }
    let other = total.status_4xx.saturating_sub(total.status_401 + total.status_403 + total.status_404);
    let well = total.requests.saturating_sub(total.status_4xx + total.status_5xx);
    let parts = [
        ("answered well (2xx, 3xx)", well, "#1b6e3c"),
        ("not logged in (401)", total.status_401, "#c99700"),
        ("forbidden (403)", total.status_403, "#8a5a00"),
        ("not found (404)", total.status_404, "#6aa3d8"),
        ("other mistakes of visitors (4xx)", other, "#8c959f"),
        ("server errors (5xx)", total.status_5xx, "#b3261e"),
    ];
    let share =
        |n: u64| format!("{} ({} %)", grouped(n), if n == 0 { "0".to_owned() } else { percent(n, total.requests) });
    let rows: Vec<(String, String)> = parts.iter().map(|(name, n, _)| ((*name).to_owned(), share(*n))).collect();
    let words = format!(
        "{} of all requests were answered well; {} failed on the server.",
        share(well),
        share(total.status_5xx)
    );
    let mut svg = canvas(44.0 + 18.0 * parts.len() as f64);
    let mut x = 0.0;
    for (index, (name, n, color)) in parts.iter().enumerate() {
        let width = WIDTH * *n as f64 / total.requests as f64;
        write_rect(&mut svg, (x, 6.0), (width, 22.0), color);
        x += width;
        let y = 40.0 + 18.0 * index as f64;
        write_rect(&mut svg, (0.0, y), (12.0, 12.0), color);
        write_text(&mut svg, (18.0, y + 11.0), "start", INK, &format!("{name}: {}", share(*n)));
    }
    Some(Chart { name: "answers", title: "How the web server answered".to_owned(), words, rows, svg: svg + "</svg>" })
}

/// Who gave the most wrong passwords.
fn top(attackers: &[(String, u64)], total: u64) -> Option<Chart> {
    const ROW: f64 = 20.0;
    const NAMES: f64 = 150.0;
    let (first, most) = attackers.first()?;
    let mut svg = canvas(ROW * attackers.len() as f64 + 4.0);
    for (index, (name, n)) in attackers.iter().enumerate() {
        let y = ROW * index as f64;
        let short: String =
            if name.chars().count() > 20 { name.chars().take(19).chain(['.', '.']).collect() } else { name.clone() };
        write_text(&mut svg, (NAMES - 6.0, y + 14.5), "end", INK, &short);
        let width = (WIDTH - NAMES - 60.0) * *n as f64 / *most as f64;
        write_rect(&mut svg, (NAMES, y + 3.0), (width, ROW - 5.0), NOW);
        write_text(&mut svg, (NAMES + width + 5.0, y + 14.5), "start", INK, &compact(*n));
    }
    let first = printable(first.as_bytes());
    let words = format!("{first} gave the most wrong passwords: {} of {}.", grouped(*most), grouped(total));
    // The numbers stand in the table of addresses.
    Some(Chart {
        name: "addresses",
        title: "Who gave wrong passwords".to_owned(),
        words,
        rows: Vec::new(),
        svg: svg + "</svg>",
    })
}
