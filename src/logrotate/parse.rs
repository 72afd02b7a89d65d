//! Reading logrotate's files (logrotate.conf(5)): which logs, and what is said of them.

use std::io;
use std::path::{Path, PathBuf};

/// Names in an included folder that logrotate leaves alone.
const TABOO: [&str; 16] = [
    "~",
    ",v",
    ".bak",
    ".cfsaved",
    ".disabled",
    ".dpkg-bak",
    ".dpkg-del",
    ".dpkg-dist",
    ".dpkg-new",
    ".dpkg-old",
    ".dpkg-tmp",
    ".rpmnew",
    ".rpmorig",
    ".rpmsave",
    ".swp",
    ".ucf-dist",
];

/// How deep files include one another, at most.
const DEEPEST: usize = 10;

/// What a directive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The file it stands in.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// Its first word.
    pub name: String,
    /// The other words.
    pub words: Vec<String>,
    /// The lines up to `endscript`.
    pub script: Option<String>,
}

/// Logs and what is said of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file it stands in.
    pub file: PathBuf,
    /// The line of its first pattern, from 1.
    pub line: usize,
    /// Patterns of live logs.
    pub patterns: Vec<String>,
    /// What holds for all, and then what holds for these: the later wins.
    pub directives: Vec<Directive>,
}

/// What stands in files.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Each with braces.
    pub entries: Vec<Entry>,
    /// What can't be understood: file, line, and why.
    pub refused: Vec<(PathBuf, usize, String)>,
    global: Vec<Directive>,
}

/// Reads files one after the other, with what they include.
///
/// # Errors
/// Fails where one of the files named here can't be read.
pub fn read(paths: &[PathBuf]) -> Result<Parsed, (PathBuf, io::Error)> {
    let mut parsed = Parsed::default();
    for path in paths {
        read_file(path, 0, &mut parsed).map_err(|error| (path.clone(), error))?;
    }
    Ok(parsed)
}

fn read_file(path: &Path, depth: usize, parsed: &mut Parsed) -> io::Result<()> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path)?.filter_map(Result::ok).map(|entry| entry.path());
        let mut files: Vec<PathBuf> = entries.filter(|file| file.is_file() && !is_taboo(file)).collect();
        files.sort();
        return files.iter().try_for_each(|file| read_file(file, depth, parsed));
    }
    let bytes = std::fs::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = (1..).zip(text.lines());
    let mut open: Option<Entry> = None;
    let mut patterns: Option<(usize, Vec<String>)> = None;
    while let Some((line, text)) = lines.next() {
        let refuse = |parsed: &mut Parsed, why: &str| parsed.refused.push((path.to_owned(), line, why.to_owned()));
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if text == "}" {
            match open.take() {
                Some(entry) => parsed.entries.push(entry),
                None => refuse(parsed, "there is no { to this }"),
            }
            continue;
        }
        let is_pattern = text.starts_with(['/', '"', '\'']) || text.ends_with('{') || patterns.is_some();
        if open.is_none() && is_pattern {
            let (names, opens) = text.strip_suffix('{').map_or((text, false), |names| (names, true));
            let (_, known) = patterns.get_or_insert((line, Vec::new()));
            known.extend(words(names));
            if opens && let Some((line, patterns)) = patterns.take() {
                let directives = parsed.global.clone();
                open = Some(Entry { file: path.to_owned(), line, patterns, directives });
            }
            continue;
        }
        let mut split = words(text).into_iter();
        let Some(name) = split.next() else { continue };
        let words = split.collect();
        let mut directive = Directive { file: path.to_owned(), line, name, words, script: None };
        if is_script(&directive.name) {
            let script: Vec<&str> =
                lines.by_ref().map(|(_, text)| text).take_while(|text| text.trim() != "endscript").collect();
            directive.script = Some(script.join("\n"));
        }
        match &mut open {
            Some(entry) => entry.directives.push(directive),
            None if directive.name == "include" => {
                let included = directive.words.first().map(PathBuf::from).unwrap_or_default();
                let read = if depth < DEEPEST {
                    read_file(&included, depth + 1, parsed)
                } else {
                    Err(io::Error::other("files include one another without end"))
                };
                if let Err(error) = read {
                    refuse(parsed, &format!("can't read {}: {error}", included.display()));
                }
            }
            None => parsed.global.push(directive),
        }
    }
    let unfinished = open.map(|entry| entry.line).or(patterns.map(|(line, _)| line));
    parsed.refused.extend(unfinished.map(|line| (path.to_owned(), line, "its { … } is not complete".to_owned())));
    Ok(())
}

fn is_taboo(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || TABOO.iter().any(|end| name.ends_with(end))
}

fn is_script(name: &str) -> bool {
    matches!(name, "prerotate" | "postrotate" | "firstaction" | "lastaction" | "preremove")
}

/// The words of a line; in quotes they may hold blanks. What follows a `#` after a blank is a comment.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '#' => break,
            quote @ ('"' | '\'') => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
            _ => rest.split_at(rest.find([' ', '\t', '=']).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start_matches([' ', '\t', '=']);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_for_all_comes_before_what_holds_for_some() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        let include = folder.path().join("d");
        write(
            "conf",
            &format!(
                "weekly\n# no\nrotate 4 # four\ninclude {}\ncompress\n/b { } { }\n",
                include.display(),
                "{\n",
                "daily\n}"
            ),
        );
        write(
            "d/a",
            "\"/var/log/a b\"\n/var/log/c*\n{\n  size=10k\n  postrotate\n    kill -USR1 `cat /run/x`\n  endscript\n}\n",
        );
        write("d/a.dpkg-old", "nonsense {");
        let parsed = read(&[folder.path().join("conf")]).unwrap();
        assert_eq!(parsed.refused, vec![]);
        let names = |entry: &Entry| entry.directives.iter().map(|d| d.name.clone()).collect::<Vec<_>>();
        assert_eq!(parsed.entries[0].patterns, ["/var/log/a b", "/var/log/c*"]);
        assert_eq!(names(&parsed.entries[0]), ["weekly", "rotate", "size", "postrotate"]);
        assert_eq!(parsed.entries[0].directives[1].words, ["4"]);
        assert_eq!(parsed.entries[0].directives[2].words, ["10k"]);
        assert_eq!(parsed.entries[0].directives[3].script.as_deref(), Some("    kill -USR1 `cat /run/x`"));
        assert_eq!(parsed.entries[1].patterns, ["/b"]);
        assert_eq!(names(&parsed.entries[1]), ["weekly", "rotate", "compress", "daily"]);
    }

    #[test]
    fn what_is_not_complete_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "}\n\n/var/log/x {\n daily\n").unwrap();
        let lines: Vec<usize> = read(&[path]).unwrap().refused.iter().map(|(_, line, _)| *line).collect();
        assert_eq!(lines, [1, 3]);
    }
}
