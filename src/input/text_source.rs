//! Texts of the command line: as they stand there, or a text a line from files and standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use crate::cli::args::TextArgs;
use crate::cli::exit::{invalid, limit, usage};
use crate::cli::terminal::Console;
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

/// Reads the texts of the command line, the first `most` of them.
///
/// # Errors
/// For files that cannot be read, are no UTF-8 or too large, and when there is no text at all.
pub fn read(args: &TextArgs, most: usize, console: Console) -> anyhow::Result<Vec<SourceText>> {
    let mut reader = Reader { texts: vec![], used_stdin: false, console };
    for text in &args.text {
        match text.as_str() {
            "-" => reader.stdin()?,
            "\\-" => reader.add("-"),
            _ => match (text.strip_prefix('@'), text.strip_prefix("\\@")) {
                (Some(path), _) => {
                    reader.file(Path::new(path), "; a text that begins with `@` is written `\\@...`")?
                }
                (_, Some(rest)) => reader.add(&format!("@{rest}")),
                _ => reader.add(text),
            },
        }
    }
    for path in &args.text_file {
        if path.as_os_str() == "-" { reader.stdin()? } else { reader.file(path, "")? }
    }
    let mut texts = reader.texts;
    texts.truncate(most);
    if texts.is_empty() {
        return Err(invalid("there is no text: every line is empty"));
    }
    let long = texts.iter().enumerate().find(|(_, t)| t.text.chars().nth(MAX_CHARS).is_some());
    match long {
        Some((i, text)) => Err(limit(format!(
            "{} has {} characters: {MAX_CHARS} at most",
            text.name(i),
            text.text.chars().count()
        ))),
        None => Ok(texts),
    }
}

struct Reader {
    texts: Vec<SourceText>,
    used_stdin: bool,
    console: Console,
}

impl Reader {
    fn add(&mut self, text: &str) {
        self.texts.push(SourceText { text: text.into(), line: None });
    }

    fn file(&mut self, path: &Path, help: &str) -> anyhow::Result<()> {
        let name = format!("`{}`", visible(&path.to_string_lossy()));
        let file = File::open(path).map_err(|e| usage(format!("{name}: {e}{help}")))?;
        self.lines(file, &name)
    }

    fn stdin(&mut self) -> anyhow::Result<()> {
        if std::mem::replace(&mut self.used_stdin, true) {
            return Err(usage("standard input is given twice: `-` may stand for texts once"));
        }
        let stdin = io::stdin();
        if stdin.is_terminal() {
            self.console.note("texts are read from standard input, one a line; Ctrl-D ends them");
        }
        self.lines(stdin.lock(), "standard input")
    }

    /// Adds each line that is not empty.
    fn lines(&mut self, file: impl Read, name: &str) -> anyhow::Result<()> {
        let mut bytes = vec![];
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|e| invalid(format!("{name}: {e}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(limit(format!("{name} is larger than {}", size(MAX_BYTES))));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            invalid(format!("{name} is not UTF-8: byte {at} begins no character"))
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
            self.console.note(format!("{name}: {}, one a line", plural(count, "text")));
        }
        Ok(())
    }
}
