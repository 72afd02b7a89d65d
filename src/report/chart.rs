//! The chart: drawn once as SVG, inline on a page and as PNG in a mail.

use std::fmt::Write as _;

use super::words::{compact, grouped};
use super::{Day, Figures};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 26.0;
const NOW: &str = "#0b5cad";
const BEFORE: &str = "#b8c4d0";

/// Failed logins per day beside those of the period before.
pub fn failed_logins(figures: &Figures) -> String {
    let value = |day: &Day| day.tally.map(|tally| tally.failed_logins);
    let days = figures.days.iter().map(value);
    let before = figures.days_before.iter().map(value);
    let top = nice_top(days.clone().chain(before.clone()).flatten().max().unwrap_or(0));
    let mut svg = String::new();
    // Writing to a String can't fail.
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" font-family="Roboto, sans-serif" font-size="13"><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##
    );
    legend(&mut svg, figures.total_before().is_some() || before.clone().any(|n| n.is_some()));
    axis(&mut svg, top);
    let slot = (WIDTH - LEFT) / figures.days.len().max(1) as f64;
    let bar = slot * 0.32;
    for (index, day) in figures.days.iter().enumerate() {
        let x = LEFT + slot * index as f64 + slot / 2.0;
        if let Some(n) = figures.days_before.get(index).and_then(value) {
            column(&mut svg, x - bar, bar - 1.0, n, top, BEFORE);
        }
        match value(day) {
            Some(n) => column(&mut svg, x, bar, n, top, NOW),
            None => label(&mut svg, x, HEIGHT - BOTTOM - 6.0, "no data"),
        }
        label(&mut svg, x, HEIGHT - 8.0, &day.date.format("%a %-d").to_string());
    }
    svg.push_str("</svg>");
    svg
}

/// What the chart shows, in words.
pub fn words(figures: &Figures) -> String {
    let known = figures.days.iter().filter_map(|day| Some((day.date, day.tally?.failed_logins)));
    let Some((date, most)) = known.max_by_key(|(_, n)| *n) else { return "No data in this week.".to_owned() };
    if most == 0 {
        return "No wrong password was given in this week.".to_owned();
    }
    format!("Most wrong passwords were given on {}: {}.", date.format("%A %-d %B"), grouped(most))
}

/// The drawing as PNG at twice its size; none in a build without the `charts` feature.
#[cfg(feature = "charts")]
pub fn png(svg: &str) -> Option<Vec<u8>> {
    use resvg::tiny_skia::{Pixmap, Transform};
    use resvg::usvg::{Options, Tree};

    const SCALE: f32 = 2.0;
    let mut options = Options { font_family: "Roboto".to_owned(), ..Options::default() };
    options.fontdb_mut().load_font_data(include_bytes!("font/Roboto-subset.ttf").to_vec());
    let svg = svg.replacen(r#"width="100%""#, &format!(r#"width="{WIDTH}" height="{HEIGHT}""#), 1);
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

fn legend(svg: &mut String, compares: bool) {
    let mut entry = |x: f64, color: &str, text: &str| {
        let _ = write!(
            svg,
            r##"<rect x="{x}" y="6" width="12" height="12" fill="{color}"/><text x="{}" y="17" fill="#1f2328">{text}</text>"##,
            x + 17.0
        );
    };
    entry(LEFT, NOW, "this week");
    if compares {
        entry(LEFT + 105.0, BEFORE, "the week before");
    }
}

fn axis(svg: &mut String, top: u64) {
    for step in 0..=2 {
        let n = top * step / 2;
        let y = height_of(n, top);
        let _ = write!(
            svg,
            r##"<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1}" y2="{y:.1}" stroke="#d0d7de"/><text x="{}" y="{:.1}" text-anchor="end" fill="#57606a">{}</text>"##,
            LEFT - 6.0,
            y + 4.0,
            compact(n)
        );
    }
}

fn column(svg: &mut String, x: f64, width: f64, n: u64, top: u64, color: &str) {
    let y = height_of(n, top);
    let _ = write!(
        svg,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{color}"/>"#,
        HEIGHT - BOTTOM - y
    );
    if color == NOW && n > 0 {
        label(svg, x + width / 2.0, y - 4.0, &compact(n));
    }
}

fn label(svg: &mut String, x: f64, y: f64, text: &str) {
    let _ = write!(svg, r##"<text x="{x:.1}" y="{y:.1}" text-anchor="middle" fill="#1f2328">{text}</text>"##);
}

fn height_of(n: u64, top: u64) -> f64 {
    HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP - 14.0) * n as f64 / top as f64
}

/// The end of the axis: 1, 2 or 5 times a power of ten, at least 2 so that its middle is whole.
fn nice_top(most: u64) -> u64 {
    let mut power = 1;
    loop {
        if let Some(factor) = [2, 4, 10].into_iter().find(|factor| factor * power >= most) {
            return factor * power;
        }
        power *= 10;
    }
}
