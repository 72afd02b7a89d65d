//! Reading a TOML table field by field, so that one wrong value doesn't hide the next.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::diagnostic::{Diagnostic, SourceText};
use crate::model::Problem;
use crate::model::problem::nearest;

/// Reads one file and collects its mistakes.
pub struct Reader<'a> {
    source: &'a SourceText,
    errors: &'a RefCell<Vec<Diagnostic>>,
}

impl<'a> Reader<'a> {
    /// A reader for this file.
    pub fn new(source: &'a SourceText, errors: &'a RefCell<Vec<Diagnostic>>) -> Self {
        Self { source, errors }
    }

    /// Parses the file and hands its top table to `make`; keys that `make` did not ask for are mistakes.
    pub fn document<T>(&self, make: impl FnOnce(&mut Fields<'_, '_>) -> Option<T>) -> Option<T> {
        let (document, syntax_errors) = DeTable::parse_recoverable(self.source.text());
        if !syntax_errors.is_empty() {
            for error in syntax_errors {
                let help = "see https://toml.io for the rules; text stands in quotes, tables in [brackets]";
                self.refuse(error.span().unwrap_or(0..0), Problem::new(error.message(), "here", help));
            }
            return None;
        }
        let mut fields = Fields { reader: self, table: document.get_ref(), span: 0..0, asked: Vec::new() };
        let made = make(&mut fields);
        fields.finish();
        made
    }

    fn refuse(&self, span: Range<usize>, problem: Problem) {
        self.errors.borrow_mut().push(self.source.diagnostic(span, problem));
    }
}

/// One table of a file.
pub struct Fields<'a, 'i> {
    reader: &'a Reader<'a>,
    table: &'a DeTable<'i>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

/// A value and where it stands.
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file.
    pub span: Range<usize>,
}

impl<'a, 'i> Fields<'a, 'i> {
    /// The value of `key`, read by serde; `None` when it is absent or wrong (which is then on record).
    pub fn value<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        let found = self.find(key)?;
        self.deserialize(found, key)
    }

    /// The text of `key`, made into a value by its `FromStr`.
    pub fn parsed<T: FromStr<Err = Problem>>(&mut self, key: &'static str) -> Option<T> {
        let found = self.find(key)?;
        self.parse_text(found, key)
    }

    /// The text of `key`, made into a value by `make`.
    pub fn made<T>(&mut self, key: &'static str, make: impl FnOnce(&str) -> Result<T, Problem>) -> Option<T> {
        let found = self.find(key)?;
        let text = self.text(found, key)?;
        make(text).map_err(|problem| self.refuse(found.span(), problem)).ok()
    }

    /// The whole number of `key`, which must lie in a range.
    pub fn number(&mut self, key: &'static str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let number: i64 = self.value(key)?;
        if range.contains(&number) {
            return Some(number);
        }
        let (low, high) = (range.start(), range.end());
        let label = format!("from {low} to {high}");
        self.refuse_key(
            key,
            Problem::new(format!("{key} = {number} is out of range"), label, "choose a number in that range"),
        );
        None
    }

    /// The list of texts of `key`, each made into a value.
    pub fn parsed_list<T: FromStr<Err = Problem>>(&mut self, key: &'static str) -> Option<Vec<Placed<T>>> {
        let found = self.find(key)?;
        let Some(list) = found.get_ref().as_array() else {
            let help = format!("write {key} = [\"first\", \"second\"]");
            self.refuse(found.span(), Problem::new(format!("{key} is not a list"), "a list of texts", help));
            return None;
        };
        let parsed: Vec<_> =
            list.iter().map(|item| Some(Placed { value: self.parse_text(item, key)?, span: item.span() })).collect();
        parsed.into_iter().collect()
    }

    /// The text of `key`, or a list of texts, each made into a value; at least one.
    pub fn one_or_more<T: FromStr<Err = Problem>>(&mut self, key: &'static str) -> Option<Vec<T>> {
        let found = self.find(key)?;
        let Some(list) = found.get_ref().as_array() else { return Some(vec![self.parse_text(found, key)?]) };
        if list.is_empty() {
            let help = format!("write {key} = \"one\" or {key} = [\"one\", \"another\"]");
            self.refuse(found.span(), Problem::new(format!("{key} is an empty list"), "names nothing", help));
        }
        let values: Vec<Option<T>> = list.iter().map(|item| self.parse_text(item, key)).collect();
        values.into_iter().collect::<Option<Vec<T>>>().filter(|values| !values.is_empty())
    }

    /// Like [`Fields::parsed_list`] for plain texts, without their places.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        Some(self.parsed_list::<Text>(key)?.into_iter().map(|placed| placed.value.0).collect())
    }

    /// The table of `key`.
    pub fn table(&mut self, key: &'static str) -> Option<Fields<'a, 'i>> {
        let found = self.find(key)?;
        self.as_table(found, key)
    }

    /// All tables under the table of `key`, by name.
    pub fn tables(&mut self, key: &'static str) -> Vec<(String, Fields<'a, 'i>)> {
        let Some(outer) = self.table(key) else { return Vec::new() };
        let named = outer
            .table
            .iter()
            .filter_map(|(name, value)| Some((name.get_ref().to_string(), self.as_table(value, name.get_ref())?)));
        named.collect()
    }

    /// All keys of this table with their values as lists of texts.
    pub fn lists(&mut self) -> Vec<(String, Vec<Placed<String>>)> {
        let entries: Vec<_> = self.table.iter().collect();
        let read = entries.into_iter().filter_map(|(name, value)| {
            let list: Vec<Spanned<String>> = self.deserialize(value, name.get_ref())?;
            let placed = list.into_iter().map(|item| Placed { span: item.span(), value: item.into_inner() }).collect();
            Some((name.get_ref().to_string(), placed))
        });
        read.collect()
    }

    /// Where it begins in the file, in bytes.
    pub fn start(&self) -> usize {
        self.span.start
    }

    /// Whether this table has no keys.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// All keys of this table with their values.
    pub fn entries<T: DeserializeOwned>(&mut self) -> Vec<(String, Placed<T>)> {
        let entries = self.table.iter().filter_map(|(name, value)| {
            Some((
                name.get_ref().to_string(),
                Placed { value: self.deserialize(value, name.get_ref())?, span: value.span() },
            ))
        });
        entries.collect()
    }

    /// `value`, or on record that `key` is missing. A key that is there but wrong is not missing.
    pub fn required<T>(&mut self, key: &'static str, value: Option<T>, help: &str) -> Option<T> {
        if value.is_none() && self.table.get(key).is_none() {
            let problem = Problem::new(format!("{key:?} is missing"), format!("needs {key}"), help);
            self.refuse(self.span.clone(), problem);
        }
        value
    }

    /// Puts a problem with a value on record.
    pub fn refuse(&self, span: Range<usize>, problem: Problem) {
        self.reader.refuse(span, problem);
    }

    /// Puts a problem with the value of `key` on record.
    pub fn refuse_key(&self, key: &str, problem: Problem) {
        let span = self.table.get(key).map_or(self.span.clone(), Spanned::span);
        self.refuse(span, problem);
    }

    /// Which of these keys are there; all of them are known from now on.
    pub fn present(&mut self, keys: &[&'static str]) -> Vec<&'static str> {
        self.asked.extend(keys);
        keys.iter().copied().filter(|key| self.table.get(*key).is_some()).collect()
    }

    /// Refuses every key that was not asked for.
    pub fn finish(mut self) {
        // Some are asked for twice.
        let mut known = BTreeSet::new();
        self.asked.retain(|key| known.insert(*key));
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let help = match nearest(name, self.asked.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.refuse(key.span(), Problem::new(format!("unknown key {name:?}"), "not known here", help));
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn as_table(&self, found: &'a Spanned<DeValue<'i>>, key: &str) -> Option<Fields<'a, 'i>> {
        let Some(table) = found.get_ref().as_table() else {
            self.refuse(
                found.span(),
                Problem::new(
                    format!("{key} is not a table"),
                    "a table",
                    format!("write {key} = {{ … }}, or its table's name in [brackets] on a line of its own"),
                ),
            );
            return None;
        };
        Some(Fields { reader: self.reader, table, span: found.span(), asked: Vec::new() })
    }

    fn parse_text<T: FromStr<Err = Problem>>(&self, found: &Spanned<DeValue<'i>>, key: &str) -> Option<T> {
        self.text(found, key)?.parse().map_err(|problem| self.refuse(found.span(), problem)).ok()
    }

    fn text<'v>(&self, found: &'v Spanned<DeValue<'i>>, key: &str) -> Option<&'v str> {
        let text = found.get_ref().as_str();
        if text.is_none() {
            let message = format!("{key} is {}, not text", article(found.get_ref().type_str()));
            self.refuse(found.span(), Problem::new(message, "text in quotes", format!("write {key} = \"…\"")));
        }
        text
    }

    fn deserialize<T: DeserializeOwned>(&self, found: &Spanned<DeValue<'i>>, key: &str) -> Option<T> {
        let read = T::deserialize(ValueDeserializer::from(found.clone()));
        read.map_err(|error| {
            let message = error.message().lines().next().unwrap_or("wrong value").to_owned();
            let span = error.span().unwrap_or(found.span());
            self.refuse(
                span,
                Problem::new(
                    format!("{key}: {message}"),
                    "wrong kind of value",
                    "lists stand in [brackets], texts in \"quotes\"; the shipped files show how it looks",
                ),
            );
        })
        .ok()
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

/// A text that may be anything but empty.
pub struct Text(pub String);

impl FromStr for Text {
    type Err = Problem;
    fn from_str(text: &str) -> Result<Self, Problem> {
        if text.trim().is_empty() {
            return Err(Problem::new("this text is empty", "write something here", "fill it in or remove the line"));
        }
        Ok(Self(text.to_owned()))
    }
}
