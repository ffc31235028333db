//! Standard output and standard error; neither can make the program panic.

use std::io::{self, Write};

use crate::wording::visible_lines;

/// Notes and warnings on standard error.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// Whether notes and progress are left out. Warnings stay.
    pub quiet: bool,
}

impl Console {
    /// Says what was done beyond the letter of the arguments.
    pub fn note(self, message: impl AsRef<str>) {
        if !self.quiet {
            report("note", message.as_ref());
        }
    }

    /// Says what the user should look at.
    pub fn warn(self, message: impl AsRef<str>) {
        report("warning", message.as_ref());
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
