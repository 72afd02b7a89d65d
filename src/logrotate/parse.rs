//! Reading logrotate's files (logrotate.conf(5)): which logs, and what is said of them.

use std::io;
use std::path::{Path, PathBuf};

/// What names in an included folder end with that logrotate leaves alone (its default `tabooext`).
const TABOO: [&str; 17] = [
    ",v",
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
    ".ucf-new",
    ".ucf-old",
    "~",
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
        for file in files {
            if let Err(error) = read_file(&file, depth, parsed) {
                parsed.refused.push((file, 1, format!("can't be read: {error}")));
            }
        }
        return Ok(());
    }
    let bytes = std::fs::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut reading = Reading { path, depth, parsed, open: None, patterns: None };
    let mut lines = (1..).zip(text.lines());
    while let Some((line, text)) = lines.next() {
        let parts = parts(text);
        for (place, part) in parts.iter().enumerate() {
            let opens = parts.get(place + 1) == Some(&"{");
            let script = is_script(part.split_whitespace().next().unwrap_or_default()).then(|| {
                let script: Vec<&str> =
                    lines.by_ref().map(|(_, text)| text).take_while(|text| text.trim() != "endscript").collect();
                script.join("\n")
            });
            reading.part(line, part, opens, script);
        }
    }
    reading.end();
    Ok(())
}

/// A file being read.
struct Reading<'a> {
    path: &'a Path,
    depth: usize,
    parsed: &'a mut Parsed,
    /// The entry whose brace is open.
    open: Option<Entry>,
    /// Patterns whose brace is yet to come, and the line of the first.
    patterns: Option<(usize, Vec<String>)>,
}

impl Reading<'_> {
    /// `opens` says that a brace follows.
    fn part(&mut self, line: usize, part: &str, opens: bool, script: Option<String>) {
        match part {
            "{" => match self.patterns.take().filter(|_| self.open.is_none()) {
                Some((line, patterns)) => {
                    let directives = self.parsed.global.clone();
                    self.open = Some(Entry { file: self.path.to_owned(), line, patterns, directives });
                }
                None => self.refuse(line, "there is no log to this {"),
            },
            "}" => match self.open.take() {
                Some(entry) => self.parsed.entries.push(entry),
                None => self.refuse(line, "there is no { to this }"),
            },
            part if self.open.is_none() && (opens || self.patterns.is_some() || part.starts_with(['/', '"', '\''])) => {
                self.patterns.get_or_insert((line, Vec::new())).1.extend(words(part, &[' ', '\t']));
            }
            part => self.directive(line, part, script),
        }
    }

    fn directive(&mut self, line: usize, part: &str, script: Option<String>) {
        let mut words = words(part, &[' ', '\t', '=']).into_iter();
        let Some(name) = words.next() else { return };
        let directive = Directive { file: self.path.to_owned(), line, name, words: words.collect(), script };
        match &mut self.open {
            Some(entry) => entry.directives.push(directive),
            None if directive.name == "include" => {
                let included = directive.words.first().map(PathBuf::from).unwrap_or_default();
                let read = if self.depth < DEEPEST {
                    read_file(&included, self.depth + 1, self.parsed)
                } else {
                    Err(io::Error::other("files include one another without end"))
                };
                if let Err(error) = read {
                    self.refuse(line, &format!("can't read {}: {error}", included.display()));
                }
            }
            None => self.parsed.global.push(directive),
        }
    }

    fn refuse(&mut self, line: usize, why: &str) {
        self.parsed.refused.push((self.path.to_owned(), line, why.to_owned()));
    }

    fn end(mut self) {
        let unfinished = self.open.take().map(|entry| entry.line).or(self.patterns.take().map(|(line, _)| line));
        if let Some(line) = unfinished {
            self.refuse(line, "its { … } is not complete");
        }
    }
}

/// The parts of a line: braces by themselves, and what stands between them; without its comment.
fn parts(line: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut quote, mut start, mut before) = (None, 0, ' ');
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') if before.is_whitespace() => {
                end = at;
                break;
            }
            (None, '{' | '}') => {
                parts.extend([&line[start..at], &line[at..=at]]);
                start = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    parts.push(&line[start.min(end)..end]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn is_taboo(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.contains(".rhn-cfg-tmp-") || TABOO.iter().any(|end| name.ends_with(end))
}

fn is_script(name: &str) -> bool {
    matches!(name, "prerotate" | "postrotate" | "firstaction" | "lastaction" | "preremove")
}

/// The words of a part; in quotes they may hold blanks.
fn words(text: &str, between: &[char]) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            quote @ ('"' | '\'') => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
            _ => rest.split_at(rest.find(between).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start_matches(between);
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
        let lines: Vec<usize> =
            read(std::slice::from_ref(&path)).unwrap().refused.iter().map(|(_, line, _)| *line).collect();
        assert_eq!(lines, [1, 3]);
        // As logrotate reads them, too.
        std::fs::write(&path, "/a { daily\n} # end\n/b {}\n/c\n{ size=1 }\nrelative {\n}\n").unwrap();
        let parsed = read(&[path]).unwrap();
        let found: Vec<(&str, usize)> =
            parsed.entries.iter().map(|entry| (&*entry.patterns[0], entry.directives.len())).collect();
        assert_eq!(found, [("/a", 1), ("/b", 0), ("/c", 1), ("relative", 0)]);
        assert_eq!(parsed.refused, vec![]);
    }
}
