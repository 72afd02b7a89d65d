//! `config/formats/NAME.toml`.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime};

use super::fields::Fields;
use super::layout;
use crate::model::format::{Format, Layout, LineFormat, Part};
use crate::model::rule::network_or_address;
use crate::model::{Category, Problem};

const LAYOUTS: [&str; 4] = ["apache", "nginx", "regex", "json"];

pub(super) fn read(fields: &mut Fields<'_, '_>, name: &str) -> Option<Format> {
    let category: Option<Category> = fields.parsed("category");
    let category = fields.required("category", category, "write category = \"access\" (or error, auth, unknown)");
    let time = fields.parsed::<TimeFormat>("time").map(|time| time.0);
    let trusted_proxies = fields.one_or_more::<Network>("trusted_proxies").unwrap_or_default();
    let mut tables = fields.tables("lines");
    // As they stand in the file, because the first that fits counts.
    tables.sort_by_key(|(_, table)| table.start());
    let lines: Vec<Option<LineFormat>> = tables.into_iter().map(|(_, table)| read_line(table)).collect();
    if lines.is_empty() {
        let help =
            "describe the lines: [lines.all] and below it nginx = '…', apache = '…', regex = '…' or json = { … }";
        fields.required("lines", None::<()>, help);
    }
    let lines = lines.into_iter().collect::<Option<Vec<_>>>().filter(|lines| !lines.is_empty())?;
    let trusted_proxies: Vec<_> = trusted_proxies.into_iter().map(|network| network.0).collect();
    if !trusted_proxies.is_empty() && !lines.iter().any(|line| line.layout.holds(Part::ForwardedFor)) {
        let help = "log it: \\\"%{X-Forwarded-For}i\\\" or \"$http_x_forwarded_for\", in quotation marks";
        let problem = Problem::new("no line says for whom a proxy asked", "holds no forwarded.for", help);
        fields.refuse_key("trusted_proxies", problem);
    }
    Some(Format { name: name.to_owned(), category: category?, time, trusted_proxies, lines })
}

fn read_line(mut table: Fields<'_, '_>) -> Option<LineFormat> {
    let (tells, category) = (table.parsed("tells"), table.parsed("category"));
    let mut time = None;
    let mut pasted = |pasted: layout::Pasted| {
        time = pasted.time;
        Layout::Regex(pasted.regex)
    };
    let layout = match table.present(&LAYOUTS).as_slice() {
        ["apache"] => table.made("apache", layout::apache).map(&mut pasted),
        ["nginx"] => table.made("nginx", layout::nginx).map(&mut pasted),
        ["regex"] => table.made("regex", named_groups).map(Layout::Regex),
        ["json"] => table.table("json").and_then(read_json).map(Layout::Json),
        [] => table.required("regex", None, "write nginx = '…', apache = '…', regex = '…' or json = { … }"),
        [.., second] => {
            let problem = Problem::new("a line is described once", "a second description", "make two tables of it");
            table.refuse_key(second, problem);
            None
        }
    };
    if let Some(problem) = time.as_ref().and_then(|time: &String| time.parse::<TimeFormat>().err()) {
        let layout = table.present(&LAYOUTS).first().copied().unwrap_or(LAYOUTS[0]);
        table.refuse_key(layout, problem);
    }
    let conditions = read_conditions(&mut table, layout.as_ref());
    table.finish();
    Some(LineFormat { layout: layout?, time, conditions, category, tells })
}

fn read_json(mut table: Fields<'_, '_>) -> Option<BTreeMap<Part, Vec<String>>> {
    let mut places = BTreeMap::new();
    for (name, place) in table.entries::<Texts>() {
        match name.parse::<Part>() {
            Ok(part) => drop(places.insert(part, place.value.into_list())),
            Err(problem) => table.refuse(place.span, problem),
        }
    }
    if !places.contains_key(&Part::Time) {
        let help = "say where the time stands: json = { \"time\" = \"ts\", \"source.ip\" = \"request.remote_ip\" }";
        table.required("time", None::<()>, help)?;
    }
    Some(places)
}

fn read_conditions(table: &mut Fields<'_, '_>, layout: Option<&Layout>) -> BTreeMap<String, Vec<String>> {
    let Some(mut conditions) = table.table("where") else { return BTreeMap::new() };
    let problem = match layout {
        Some(Layout::Regex(_)) => Some(("only json has fields that hold something", "leave it out")),
        _ if conditions.is_empty() => {
            Some(("this holds for every line", "name a field and its value: where = { \"event\" = \"login_failed\" }"))
        }
        _ => None,
    };
    let mut read = BTreeMap::new();
    for (place, values) in conditions.entries::<Texts>() {
        let texts = values.value.into_list();
        let has_star = |text: &String| text.strip_suffix('*').unwrap_or(text).contains('*');
        let problem = match () {
            () if texts.is_empty() => Some(("no value is named", "name one: [\"login_failed\", \"otp_*\"]")),
            () if texts.iter().any(has_star) => {
                Some(("* means whatever follows, and stands at the end only", "write \"http.log.*\""))
            }
            () => None,
        };
        if let Some((message, help)) = problem {
            conditions.refuse(values.span, Problem::new(message, "never holds", help));
        }
        read.insert(place, texts);
    }
    if let Some((message, help)) = problem {
        table.refuse_key("where", Problem::new(message, "no condition", help));
    }
    read
}

/// Names of fields where a part may stand, or values that one may hold.
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "expected a text in quotation marks, or a list of such texts")]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Several(texts) => texts,
        }
    }
}

/// A regular expression whose groups are parts of a line.
fn named_groups(text: &str) -> Result<String, Problem> {
    let compiled = text.parse::<super::rule_file::Regex>()?;
    // It compiled as it is, so it does so again.
    let names = regex::bytes::Regex::new(&compiled.0)
        .map(|regex| regex.capture_names().flatten().map(str::to_owned).collect::<Vec<String>>());
    let names = names.unwrap_or_default();
    for name in &names {
        name.parse::<Part>()?;
    }
    if !names.iter().any(|name| name == Part::Time.as_str()) {
        let help = "name the part that is the time: (?<time>\\S+)";
        return Err(Problem::new("nothing in this regular expression is the time", "without (?<time>…)", help));
    }
    Ok(compiled.0)
}

/// A format of chrono by which an instant can be written and read again.
struct TimeFormat(String);

impl std::str::FromStr for TimeFormat {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let instant = DateTime::from_timestamp(1_795_168_805, 0).unwrap_or_default();
        let mut written = String::new();
        let is_written = std::fmt::Write::write_fmt(&mut written, format_args!("{}", instant.format(text))).is_ok();
        let with_zone = DateTime::parse_from_str(&written, text).is_ok_and(|read| read == instant);
        let without = NaiveDateTime::parse_from_str(&written, text).is_ok_and(|read| read == instant.naive_utc());
        if is_written && (with_zone || without) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("{text:?} does not say which day and which time of day it is");
        let help = "write for example time = \"%Y-%m-%d %H:%M:%S\"; the letters are those of strftime";
        Err(Problem::new(message, "needs year, month, day, hour, minute and second", help))
    }
}

/// A network, or one address.
struct Network(ipnet::IpNet);

impl std::str::FromStr for Network {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        network_or_address(text).map(Self).ok_or_else(|| {
            let help = "write for example trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.1\"]";
            Problem::new(format!("{text:?} is neither an address nor a network"), "as 10.0.0.0/8", help)
        })
    }
}
