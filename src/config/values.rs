//! Kinds of values that stand in more than one file.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;

use crate::model::Problem;
use crate::model::problem::nearest;

/// A length of time as `90s`, `30m`, `1h 30m`, `7d`, in whole seconds.
pub struct Period(pub Duration);

/// The longest of them, in seconds: a thousand years. Added to any time, it is still one.
const LONGEST: u64 = 1000 * 366 * 24 * 60 * 60;

impl FromStr for Period {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let Ok(parsed) = humantime::parse_duration(text) else {
            let message = format!("{text:?} is not a length of time");
            let help = "write a number with its unit: \"90s\", \"30m\", \"1h 30m\", \"7d\"";
            return Err(Problem::new(message, "at least 1s", help));
        };
        let problem = |what: &str, label: &str, help: &str| Problem::new(format!("{text:?} is {what}"), label, help);
        if parsed.as_secs() == 0 {
            return Err(problem("too short", "at least 1s", "write \"1s\", or more"));
        }
        if parsed.subsec_nanos() != 0 {
            return Err(problem("no whole number of seconds", "seconds count", "write it in seconds: \"2s\""));
        }
        if parsed.as_secs() > LONGEST {
            return Err(problem("longer than anything lasts", "at most 1000y", "write for example \"10y\""));
        }
        Ok(Self(parsed))
    }
}

/// A length of time, or `none`.
pub struct Limit(pub Option<Duration>);

impl FromStr for Limit {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        if text == "none" { Ok(Self(None)) } else { text.parse::<Period>().map(|period| Self(Some(period.0))) }
    }
}

/// A number of bytes as `512K`, `64M`, `2G`, in powers of 1024.
pub struct Bytes(pub u64);

/// A share such as `50%`, also of more than one.
pub struct Percent(pub u32);

impl FromStr for Percent {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let percent = text.strip_suffix('%').and_then(|number| number.parse().ok());
        percent.filter(|percent| (1..=100_000).contains(percent)).map(Self).ok_or_else(|| {
            let message = format!("{text:?} is not a share of a processor");
            Problem::new(message, "a whole number with %", "write for example \"50%\", or \"200%\" for two processors")
        })
    }
}

/// A part such as `10%`, of one whole.
pub struct Share(pub u32);

impl FromStr for Share {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let share = text.strip_suffix('%').and_then(|number| number.parse().ok());
        share.filter(|share| (1..=100).contains(share)).map(Self).ok_or_else(|| {
            let message = format!("{text:?} is not a part of the whole");
            Problem::new(message, "a whole number from 1 to 100 with %", "write for example \"10%\"")
        })
    }
}

impl FromStr for Bytes {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = match unit {
            "" => Some(1),
            "K" => Some(1 << 10),
            "M" => Some(1 << 20),
            "G" => Some(1 << 30),
            "T" => Some(1 << 40),
            _ => None,
        };
        let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        bytes.filter(|bytes| *bytes > 0).map(Self).ok_or_else(|| {
            let message = format!("{text:?} is not a number of bytes");
            Problem::new(message, "a number with K, M, G or T", "write for example \"512M\" or \"2G\"")
        })
    }
}

/// A file mode creation mask in octal, as `027`.
pub struct Umask(pub u32);

impl FromStr for Umask {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let mask = u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777 && text.len() >= 3);
        mask.map(Self).ok_or_else(|| {
            let message = format!("{text:?} is not a umask");
            Problem::new(message, "three octal digits", "write for example \"027\": nothing for others")
        })
    }
}

/// A time zone by its name in the tz database.
pub struct Zone(pub Tz);

impl FromStr for Zone {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        text.parse().map(Self).map_err(|_| {
            let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            let help = match nearest(text, known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "names are those of the tz database, as \"Europe/Berlin\" or \"UTC\"".to_owned(),
            };
            Problem::new(format!("{text:?} is not a time zone"), "a name from the tz database", help)
        })
    }
}

/// An absolute path.
pub struct AbsolutePath(pub PathBuf);

impl FromStr for AbsolutePath {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        if !text.starts_with('/') {
            let message = format!("{text:?} is not a full path");
            return Err(Problem::new(
                message,
                "starts with /",
                "write the path from the root, as \"/var/log/app.log\"",
            ));
        }
        Ok(Self(PathBuf::from(text)))
    }
}

/// An address of the web.
pub struct Url(pub String);

impl FromStr for Url {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let parsed = reqwest::Url::parse(text).ok();
        let fits = parsed.is_some_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
        if fits {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("{text:?} is no address of the web");
        Err(Problem::new(message, "https://…", "write for example \"https://hc.example.org/ping/5d1c\""))
    }
}

/// A glob pattern of absolute paths.
pub struct Pattern(pub String);

impl FromStr for Pattern {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        text.parse::<AbsolutePath>()?;
        match globset::Glob::new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => {
                let message = format!("{text:?} is not a file pattern: {}", error.kind());
                Err(Problem::new(message, "a path with * ? [a-z] {a,b}", "write for example \"/var/log/nginx/*.log\""))
            }
        }
    }
}

/// A mail address.
pub struct Address(pub String);

impl FromStr for Address {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let parsed = text.parse::<lettre::message::Mailbox>();
        parsed.map(|_| Self(text.to_owned())).map_err(|_| {
            let message = format!("{text:?} is not a mail address");
            Problem::new(message, "name@domain", "write \"admin@example.org\" or \"Web team <admin@example.org>\"")
        })
    }
}
