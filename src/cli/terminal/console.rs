//! Standard output and standard error; neither can make the program panic.

use std::any::Any;
use std::io::{self, Write};

use super::Progress;
use crate::cli::advice::advice;
use dlbc::notes::{Level, Note, Notes};
use dlbc::wording::visible_lines;

/// Notes and warnings on standard error.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// Whether notes and progress are left out. Warnings stay.
    pub quiet: bool,
}

impl Console {
    /// Says what was done beyond the letter of the arguments.
    pub fn note(self, message: impl Into<String>) {
        (&self as &dyn Notes).note(message);
    }

    /// Says what the user should look at.
    pub fn warn(self, message: impl Into<String>) {
        (&self as &dyn Notes).warn(message);
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

/// Writes `word: message` to standard error; names in it are made visible.
pub fn report(word: &str, message: &str) {
    let _ = writeln!(io::stderr().lock(), "{word}: {}", visible_lines(message));
}

/// Writes to standard output. A reader that left early (`| head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other.map_err(|e| anyhow::Error::new(e).context("cannot write to standard output"))?),
    }
}
