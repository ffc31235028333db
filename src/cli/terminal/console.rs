//! Standard output and standard error, written without panics.

use std::any::Any;
use std::io::{self, Write};

use super::Progress;
use crate::cli::advice::advice;
use dlbc::notes::{Level, Note, Notes};
use dlbc::wording::visible_lines;

/// Notes and warnings on standard error.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// True if notes and progress are left out. Warnings stay.
    pub quiet: bool,
}

impl Console {
    /// Writes a note: a decision that the arguments left open, or advice.
    pub fn note(self, message: impl Into<String>) {
        (&self as &dyn Notes).note(message);
    }

    /// Writes a warning: a result that the user should check.
    pub fn warn(self, message: impl Into<String>) {
        (&self as &dyn Notes).warn(message);
    }

    /// Writes a note and a line of help, which names a flag.
    pub fn note_with_help(self, message: &str, help: &str) {
        if !self.quiet {
            report("note", message);
            report("help", help);
        }
    }

    /// Writes a warning and a line of help, which names a flag.
    pub fn warn_with_help(self, message: &str, help: &str) {
        report("warning", message);
        report("help", help);
    }
}

impl Notes for Console {
    fn receive(&self, note: Note) {
        match note.level {
            Level::Note if self.quiet => return,
            Level::Note => report("note", &note.text),
            Level::Warning => report("warning", &note.text),
        }
        if let Some(help) = note.remedy.as_ref().and_then(advice) {
            report("help", &help);
        }
    }

    fn start(&self, activity: &str) -> Box<dyn Any> {
        if self.quiet { Box::new(()) } else { Box::new(Progress::start(activity.to_string())) }
    }
}

/// Writes `word: message` to standard error, with control characters escaped.
pub fn report(word: &str, message: &str) {
    let _ = writeln!(io::stderr().lock(), "{word}: {}", visible_lines(message));
}

/// Writes to standard output. A closed pipe (`| head`) does not count as an error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other.map_err(|e| anyhow::Error::new(e).context("cannot write to standard output"))?),
    }
}
