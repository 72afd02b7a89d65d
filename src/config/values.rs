//! Kinds of values that stand in more than one file.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;

use crate::model::Problem;
use crate::model::problem::nearest;

/// A length of time as `90s`, `30m`, `1h 30m`, `7d`.
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        let parsed = humantime::parse_duration(text).ok().filter(|duration| *duration >= Duration::from_secs(1));
        parsed.map(Self).ok_or_else(|| {
            let message = format!("{text:?} is not a length of time");
            Problem::new(message, "at least 1s", "write a number with its unit: \"90s\", \"30m\", \"1h 30m\", \"7d\"")
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
