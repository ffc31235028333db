//! Texts as they stand, or a text a line from files and standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use super::sources::TextSource;
use crate::error::{Error, Result};
use crate::notes::Notes;
use crate::wording::{plural, size, visible};

/// Bytes of a file of texts, or of standard input, at most.
const MAX_BYTES: u64 = 64 << 20;

/// Characters of a text at most.
const MAX_CHARS: usize = 1 << 20;

/// A text and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceText {
    /// The text.
    pub text: String,
    /// File and line of a text that comes from a file.
    pub line: Option<(String, usize)>,
}

impl SourceText {
    /// The name of the text in messages, by its place in the batch.
    pub fn name(&self, index: usize) -> String {
        match &self.line {
            Some((file, line)) => format!("text {index} (line {line} of {file})"),
            None => format!("text {index}"),
        }
    }
}

/// Reads the texts, the first `most` of them.
///
/// # Errors
/// For files that cannot be read, are no UTF-8 or too large, and when there is no text at all.
pub fn read(sources: &[TextSource], most: usize, notes: &dyn Notes) -> Result<Vec<SourceText>> {
    let mut reader = Reader { texts: vec![], used_stdin: false, notes };
    for source in sources {
        match source {
            TextSource::Text(text) => reader.add(text),
            TextSource::Lines(path, help) => reader.file(path, help)?,
            TextSource::StandardInput => reader.stdin()?,
        }
    }
    let mut texts = reader.texts;
    texts.truncate(most);
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

    /// Adds each line that is not empty.
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
