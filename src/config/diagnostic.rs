//! A mistake with its place, shown as a compiler would.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::model::Problem;
use crate::model::untrusted::printable;

/// A configuration file's path and text.
#[derive(Debug, Clone)]
pub struct SourceText {
    path: PathBuf,
    text: Arc<str>,
}

impl SourceText {
    /// A text and the path to show for it.
    pub fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text: text.into() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A problem with a part of the text; a problem that knows its place within a plain quoted string is
    /// narrowed to that place.
    pub fn diagnostic(&self, span: Range<usize>, problem: Problem) -> Diagnostic {
        let quoted = matches!(self.text.as_bytes().get(span.start), Some(b'"' | b'\''))
            && !self.text[span.clone()].contains('\\');
        let span = match &problem.place {
            Some(place) if quoted => span.start + 1 + place.start..(span.start + 1 + place.end).min(span.end - 1),
            _ => span,
        };
        Diagnostic { file: self.path.clone(), place: Some((self.text.clone(), span)), problem }
    }
}

/// One mistake.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// The file, relative to the configuration's root.
    pub file: PathBuf,
    place: Option<(Arc<str>, Range<usize>)>,
    /// What is wrong and what to do.
    pub problem: Problem,
}

impl Diagnostic {
    /// A mistake of a file as a whole.
    pub fn of_file(file: &Path, problem: Problem) -> Self {
        Self { file: file.to_owned(), place: None, problem }
    }

    /// The mistake as text, with colours if `color`.
    pub fn render(&self, color: bool) -> String {
        let path = printable(self.file.as_os_str().as_encoded_bytes());
        let empty: Arc<str> = Arc::from("");
        let (text, span) = self.place.clone().unwrap_or((empty, 0..0));
        let label = printable(self.problem.label.as_bytes());
        let annotation = AnnotationKind::Primary.span(widened(&text, span)).label(label);
        let snippet = Snippet::source(&*text).line_start(1).path(path).annotation(annotation);
        let title = Level::ERROR.primary_title(printable(self.problem.message.as_bytes()));
        let help = Level::HELP.message(printable(self.problem.help.as_bytes()));
        let report: [Group<'_>; 1] = [title.element(snippet).element(help)];
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&report)
    }
}

/// An empty span (a missing key, the end of the file) is shown as one character.
fn widened(text: &str, span: Range<usize>) -> Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    boundary(span.start)..boundary(span.end.max(span.start))
}
