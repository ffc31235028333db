//! Commands that newcomers typed, and what they should see: each with its exit code and what it says.
//!
//! `commands.rs` is the table. A command whose answer is left to another part of the project stands in `LEFT` with the
//! reason. `answers.rs` has what a line of text cannot show: signs, orders, bytes of files.

mod answers;
mod commands;
mod files;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{cached, root};
use commands::{COMMANDS, Expected, LEFT, WAITING};
use files::Files;

/// Exit code and output of a command.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// The words of a command line; double quotes keep spaces.
fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![];
    let (mut word, mut quoted, mut any) = (String::new(), false, false);
    for c in command.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Replaces the names of files by the files; `None` when a real model is not there.
fn placed(command: &str, files: &Files) -> Option<String> {
    let mut placed = command.replace("$T", &files.path().display().to_string());
    for (name, model) in
        [("$CAT", "efficientnet_lite0"), ("$FACE", "nudenet"), ("$LINE", "captcha"), ("$NSFW", "opennsfw")]
    {
        if placed.contains(name) {
            placed = placed.replace(name, &cached(model)?.display().to_string());
        }
    }
    Some(placed)
}

/// Runs a command line of the program, with `input` on standard input.
pub fn run(command: &str, input: &str, files: &Files) -> Option<Done> {
    let words = words(&placed(command, files)?);
    let mut child = Command::new(program())
        .args(&words)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may be gone already.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    let done = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some(Done { code: done.status.code().unwrap_or(-1), out: text(&done.stdout), err: text(&done.stderr) })
}

/// The program under test; another by `DLBC_PROGRAM`, for comparisons with an older one.
fn program() -> PathBuf {
    std::env::var_os("DLBC_PROGRAM").map_or(env!("CARGO_BIN_EXE_dlbc").into(), PathBuf::from)
}

/// Returns the faults of a command's answer, in words.
fn faults(expected: &Expected, done: &Done) -> Vec<String> {
    let all = done.all();
    let mut faults = vec![];
    if done.code != expected.code {
        faults.push(format!("code {} expected, found {}", expected.code, done.code));
    }
    faults.extend(expected.says.iter().filter(|s| !all.contains(**s)).map(|s| format!("{s:?} is missing")));
    faults.extend(expected.never.iter().filter(|s| all.contains(**s)).map(|s| format!("{s:?} is there")));
    for leak in ["panicked", "internal error", "invalid digit", "EOCD", "float literal", "no CUDA device"] {
        if all.contains(leak) && !expected.says.contains(&leak) {
            faults.push(format!("{leak:?} is there"));
        }
    }
    faults
}

#[test]
fn every_command_says_what_it_should() {
    let files = Files::new();
    let (mut run_count, mut failed) = (0, vec![]);
    // `DLBC_ITEM=A3` tries one item alone.
    let only = std::env::var("DLBC_ITEM").unwrap_or_default();
    for expected in COMMANDS.iter().filter(|c| c.item.starts_with(&only)) {
        let Some(done) = run(expected.command, expected.input, &files) else { continue };
        run_count += 1;
        let faults = faults(expected, &done);
        let waiting = WAITING.iter().find(|(item, _)| *item == expected.item);
        match (faults.is_empty(), waiting) {
            (false, None) => failed.push(format!(
                "{}: dlbc {}\n  {}\n{}",
                expected.item,
                expected.command,
                faults.join("; "),
                done.all().lines().map(|l| format!("    {l}\n")).collect::<String>()
            )),
            (false, Some((_, reason))) => eprintln!("waiting: {}: {reason}", expected.item),
            (true, Some(_)) => failed.push(format!("{}: waits no longer", expected.item)),
            (true, None) => {}
        }
    }
    assert!(failed.is_empty(), "{} of {run_count}:\n{}", failed.len(), failed.join("\n"));
    assert!(run_count >= 60 || !only.is_empty(), "{run_count} commands");
}

/// Every item of the four reports is in the table, among the answers, or left with a reason.
#[test]
fn every_item_is_answered_or_left_with_a_reason() {
    let numbered = |letter: char, last: usize| (1..=last).map(move |i| format!("{letter}{i}"));
    let items: Vec<String> = numbered('W', 8)
        .chain(numbered('A', 11))
        .chain(numbered('B', 15))
        .chain(numbered('C', 12))
        .chain(numbered('D', 8))
        .collect();
    let answered = |item: &str| {
        let is_of_item = |number: &str| {
            number == item || number.strip_prefix(item).is_some_and(|rest| rest.starts_with('.'))
        };
        COMMANDS.iter().any(|c| is_of_item(c.item))
            || answers::ITEMS.iter().any(|i| is_of_item(i))
            || LEFT.iter().any(|(i, _)| is_of_item(i))
    };
    let missing: Vec<&String> = items.iter().filter(|item| !answered(item)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(LEFT.iter().chain(WAITING).all(|(_, reason)| reason.len() > 10));
}

/// Writes command and answer of ten telling commands, for a comparison of two programs; `DLBC_TELL` names the file.
#[test]
fn ten_commands_are_recorded() {
    let Some(file) = std::env::var_os("DLBC_TELL") else { return };
    let files = Files::new();
    let mut text = String::new();
    for command in commands::TEN {
        let Some(done) = run(command, "", &files) else { continue };
        let all = done.all().replace(&files.path().display().to_string(), "$T");
        text += &format!("$ dlbc {command}\n{}\n(exit code {})\n\n", all.trim_end(), done.code);
    }
    std::fs::write(Path::new(&file), text).unwrap();
}
