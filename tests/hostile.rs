//! Hostile files: models and inputs that try to crash, stall or exhaust the program, or to leave something behind.
//!
//! Each ends with a code that its kind allows, a message that names what is wrong, no panic, no file half written,
//! within ten seconds and 4 GiB of address space. The broken models are made by `scripts/make_broken.py`, which needs
//! the project's Python; damaged inputs are made here.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const DIGITS: &str = "fixtures/digits_cnn/model.onnx";
const TABLE: &str = "fixtures/tabular_mlp/model.onnx";

/// Wall time that any command may take; a development build is an order of magnitude slower than a release.
const MAX_SECONDS: f64 = 10.0;
/// When a command is stopped.
const KILL_SECONDS: f64 = 20.0;
/// Address space in KiB; a small model maps 0.5 GiB of it, mostly for stacks.
const MAX_KIB: u64 = 4 << 20;

/// Cases that only a release build handles in time: a million nodes.
const SLOW: &[&str] = &["long_million_identity"];

/// What a command did.
struct Done {
    /// `None` when a signal ended it.
    code: Option<i32>,
    seconds: f64,
    out: String,
    err: String,
    /// Files in the folder of its outputs.
    left: Vec<String>,
}

/// Runs `dlbc` with `--{flag} FOLDER/result` in an empty folder, with little memory and time.
fn dlbc(words: &[&str], flag: &str) -> Done {
    let (texts, results) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let text = |name: &str| texts.path().join(name);
    let mut command = if cfg!(unix) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -v {MAX_KIB}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_dlbc")]);
        shell
    } else {
        Command::new(env!("CARGO_BIN_EXE_dlbc"))
    };
    let start = Instant::now();
    let mut child = command
        .args(words)
        .arg(flag)
        .arg(results.path().join("result.npz"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(File::create(text("out")).unwrap())
        .stderr(File::create(text("err")).unwrap())
        .spawn()
        .unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed().as_secs_f64() > KILL_SECONDS {
            child.kill().unwrap();
            break child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let read = |name: &str| String::from_utf8_lossy(&fs::read(text(name)).unwrap()).into_owned();
    let left = fs::read_dir(results.path()).unwrap();
    Done {
        code: status.code(),
        seconds: start.elapsed().as_secs_f64(),
        out: read("out"),
        err: read("err"),
        left: left.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect(),
    }
}

/// What is wrong with the end of a command.
fn faults(done: &Done, codes: &[i64], names: &[&str], forbidden: &[&str]) -> Vec<String> {
    let mut faults = vec![];
    let mut check = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    check(
        done.code.is_some_and(|c| codes.contains(&i64::from(c))),
        format!("code {:?}, allowed {codes:?}", done.code),
    );
    check(done.seconds < MAX_SECONDS, format!("{:.1} s", done.seconds));
    let panicked = ["panicked", "internal error", "RUST_BACKTRACE"].iter().any(|p| done.err.contains(p));
    check(!panicked, "a panic".into());
    if done.code == Some(0) {
        check(done.left == ["result.npz"], format!("left {:?}", done.left));
    } else {
        check(done.left.is_empty(), format!("left {:?}", done.left));
        for name in names {
            check(done.err.contains(name), format!("the message does not name `{name}`"));
        }
    }
    for text in forbidden {
        check(
            !done.out.contains(text) && !done.err.contains(text),
            format!("prints {:?} as it is", text),
        );
    }
    if !faults.is_empty() {
        faults.push(done.err.trim().chars().take(300).collect());
    }
    faults
}

/// The corpus of broken models in a new folder; says so when there is no Python to make it.
fn corpus() -> Option<TempDir> {
    let python = common::python()?;
    let folder = TempDir::new().unwrap();
    let made = Command::new(python)
        .arg(common::root().join("scripts/make_broken.py"))
        .arg(folder.path())
        .arg(common::root().join(DIGITS))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(folder)
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn codes(list: &Value) -> Vec<i64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

/// Compiles and, when that succeeds, runs a model of the corpus; returns what deviates.
fn check_model(folder: &Path, case: &Value) -> Vec<String> {
    let path = |key: &str| case[key].as_str().map(|f| folder.join(f).to_string_lossy().into_owned());
    let model = path("file").unwrap();
    let (names, forbidden) = (texts(&case["names"]), texts(&case["forbid"]));
    let expected = codes(&case["expect"]);
    let compiling = case.get("compile").map_or_else(|| expected.clone(), codes);
    let compiled = dlbc(&["compile", &model], "-o");
    let mut found = faults(&compiled, &compiling, &names, &forbidden);
    if compiled.code == Some(0) {
        let inputs = path("inputs").unwrap_or_else(|| "fixtures/digits_cnn/input.npz".into());
        let ran = dlbc(&["run", &model, "--inputs", &inputs], "--out");
        found.extend(faults(&ran, &expected, &names, &forbidden).into_iter().map(|f| format!("run: {f}")));
    }
    found
}

#[test]
fn broken_models_end_as_the_manifest_allows() {
    let Some(folder) = corpus() else { return };
    let manifest = fs::read_to_string(folder.path().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let cases: Vec<(&String, &Value)> =
        manifest.as_object().unwrap().iter().filter(|(name, _)| !SLOW.contains(&name.as_str())).collect();
    assert!(cases.len() > 500, "{} cases", cases.len());
    let (next, deviations) = (AtomicUsize::new(0), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let faults = check_model(folder.path(), case);
                    if !faults.is_empty() {
                        deviations.lock().unwrap().push(format!("{name}: {}", faults.join("; ")));
                    }
                }
            });
        }
    });
    let mut deviations = deviations.into_inner().unwrap();
    deviations.sort();
    assert!(deviations.is_empty(), "{} of {}:\n{}", deviations.len(), cases.len(), deviations.join("\n"));
}
