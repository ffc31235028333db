//! Reader of texts: single texts, and lines of files and standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use super::sources::TextSource;
use crate::error::{Error, Result};
use crate::notes::Notes;
use crate::wording::{plural, size, visible};

/// Largest size of a file of texts or of standard input, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Largest number of characters of a text.
const MAX_CHARS: usize = 1 << 20;

/// A text with its position in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceText {
    /// Content of the text.
    pub text: String,
    /// Name of the file and number of the line, from 1; `None` for a text that is not from a file.
    pub line: Option<(String, usize)>,
}

impl SourceText {
    /// Returns the name of the text in messages; `index` is its index in the batch.
    pub fn name(&self, index: usize) -> String {
        match &self.line {
            Some((file, line)) => format!("text {index} (line {line} of {file})"),
            None => format!("text {index}"),
        }
    }
}

/// Reads the first `limit` texts.
///
/// # Errors
/// When a file cannot be read, is not UTF-8 or is too large, or all lines are empty.
pub fn read(sources: &[TextSource], limit: usize, notes: &dyn Notes) -> Result<Vec<SourceText>> {
    let mut reader = Reader { texts: vec![], used_stdin: false, notes };
    for source in sources {
        match source {
            TextSource::Text(text) => reader.add(text),
            TextSource::Lines(path, help) => reader.file(path, help)?,
            TextSource::StandardInput => reader.stdin()?,
        }
    }
    let mut texts = reader.texts;
    texts.truncate(limit);
    if texts.is_empty() {
        return Err(Error::invalid("expected a text, found empty lines only"));
    }
    let long = texts.iter().enumerate().find(|(_, t)| t.text.chars().nth(MAX_CHARS).is_some());
    match long {
        Some((i, text)) => Err(Error::limit(format!(
            "{} is too long: expected at most {MAX_CHARS} characters, found {}",
            text.name(i),
            text.text.chars().count()
        ))),
        None => Ok(texts),
    }
}

/// Reader of texts from several sources.
struct Reader<'a> {
    texts: Vec<SourceText>,
    used_stdin: bool,
    notes: &'a dyn Notes,
}

impl Reader<'_> {
    fn add(&mut self, text: &str) {
        self.texts.push(SourceText { text: text.into(), line: None });
    }

    fn file(&mut self, path: &Path, help: &str) -> Result<()> {
        let name = format!("`{}`", visible(&path.to_string_lossy()));
        let file = File::open(path).map_err(|e| Error::usage(format!("{name}: {e}{help}")))?;
        self.lines(file, &name)
    }

    fn stdin(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.used_stdin, true) {
            return Err(Error::usage("standard input is given twice: expected `-` once"));
        }
        let stdin = io::stdin();
        if stdin.is_terminal() {
            self.notes.note("texts are read from standard input, one a line; Ctrl-D ends them");
        }
        self.lines(stdin.lock(), "standard input")
    }

    /// Adds every line that is not empty.
    fn lines(&mut self, file: impl Read, name: &str) -> Result<()> {
        let mut bytes = vec![];
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| Error::invalid(format!("{name}: {e}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::limit(format!("{name} is larger than the limit of {}", size(MAX_BYTES))));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Error::invalid(format!("{name}: expected UTF-8, found an invalid byte at {at}"))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let before = self.texts.len();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() {
                self.texts.push(SourceText { text: line.into(), line: Some((name.into(), i + 1)) });
            }
        }
        let count = self.texts.len() - before;
        if count > 1 {
            self.notes.note(format!("{name}: {}, one a line", plural(count, "text")));
        }
        Ok(())
    }
}
