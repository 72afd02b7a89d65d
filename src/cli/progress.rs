//! A bar on standard error for who waits at a terminal; nothing in a pipe.

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::Progress;

/// What is shown of the way: `[=====>    ] 52 %`.
const TEMPLATE: &str = "[{bar:40}] {percent} % of {total_bytes}, {eta} left";

/// A bar that is gone once it is dropped.
pub struct Bar(ProgressBar);

impl Bar {
    /// For so many bytes; not shown before something is done.
    pub fn new(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        // One that can't be read would be a mistake in the constant above; the crate's own style does as well.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// So many bytes more are done.
    pub fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// So many bytes more are to be done.
    pub fn extend(&self, bytes: u64) {
        self.0.inc_length(bytes);
    }

    /// So far it is.
    pub fn set(&self, progress: Progress) {
        self.0.set_length(progress.total);
        self.0.set_position(progress.done);
    }

    /// Prints while the bar is out of the way.
    pub fn print(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
