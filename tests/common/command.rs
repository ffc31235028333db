//! Runs of the program `dlbc`.

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Result of a command.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dlbc"));
    command.args(words).current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

pub fn dlbc(words: &[&[&str]]) -> Done {
    let Output { status, stdout, stderr } = command(&words.concat()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let done = Done { code: status.code(), out: text(stdout), err: text(stderr) };
    assert!(!done.err.contains("panicked") && !done.err.contains("internal error"), "{}", done.err);
    done
}

/// Runs a command that must succeed, and returns standard output.
pub fn ok(words: &[&[&str]]) -> String {
    let done = dlbc(words);
    assert_eq!(done.code, Some(0), "{}", done.err);
    done.out
}

/// Runs a command that must fail with `code`, and returns the line `error: …`.
pub fn fails(code: i32, words: &[&[&str]]) -> String {
    let done = dlbc(words);
    assert_eq!(done.code, Some(code), "{words:?}\n{}", done.err);
    assert_eq!(done.out, "", "{words:?}");
    let error = done.err.lines().find(|l| l.starts_with("error: "));
    error.unwrap_or_else(|| panic!("{words:?}: no error line in {}", done.err)).to_string()
}

/// Runs a command that must fail with `code`, and returns the line `help: …`.
pub fn help_after(code: i32, words: &[&[&str]]) -> String {
    let done = dlbc(words);
    assert_eq!(done.code, Some(code), "{words:?}\n{}", done.err);
    let help = done.err.lines().find(|l| l.starts_with("help: "));
    help.unwrap_or_else(|| panic!("{words:?}: no help line in {}", done.err)).to_string()
}

pub fn json(words: &[&[&str]]) -> Value {
    serde_json::from_str(&ok(&[words.concat().as_slice(), &["--json"]])).unwrap()
}

pub fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_string_lossy().into_owned()
}
