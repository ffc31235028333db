//! The book is true: its commands run and print what it shows, its links lead somewhere, its table of operators is the
//! program's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::root;
use dlbc_ops::op::readers;
use dlbc_ops::program::{SeedInfo, SeedSign};

fn book() -> PathBuf {
    root().join("docs/src")
}

fn pages() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = fs::read_dir(book())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .map(|p| (p.file_name().unwrap().to_str().unwrap().to_string(), fs::read_to_string(p).unwrap()))
        .collect();
    found.sort();
    assert!(found.len() > 8);
    found
}

/// Whether `found` is `shown`, where `...` stands for anything: within a line, or as a line for any lines.
fn matches(shown: &str, found: &str) -> bool {
    let pieces: Vec<&str> = shown.split("...").map(|p| p.trim_matches('\n')).collect();
    let (last, first) = (pieces[pieces.len() - 1], pieces[0]);
    if pieces.len() == 1 {
        return first == found;
    }
    let Some(mut rest) = found.strip_prefix(first).and_then(|r| r.strip_suffix(last)) else { return false };
    pieces[1..pieces.len() - 1].iter().all(|piece| {
        let at = rest.find(piece);
        rest = at.map_or("", |at| &rest[at + piece.len()..]);
        at.is_some()
    })
}

/// Commands of a page's console blocks, with the output shown after each.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = vec![];
    for block in text.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => found.push((command.to_string(), String::new())),
                None => {
                    let (_, shown) = found.last_mut().expect("a command before its output");
                    shown.push_str(line);
                    shown.push('\n');
                }
            }
        }
    }
    found
}

/// The words of a command; double quotes keep spaces.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (i, part) in command.split('"').enumerate() {
        if i % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        for (j, word) in part.split(' ').enumerate() {
            if j > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(word);
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

#[test]
fn commands_print_what_the_book_shows() {
    let mut run = 0;
    for (page, text) in pages() {
        let folder = tempfile::tempdir().unwrap();
        copy(&root().join("fixtures"), &folder.path().join("fixtures"));
        for (command, shown) in commands(&text) {
            let words = words(&command);
            assert_eq!(words[0], "dlbc", "{page}: {command}");
            let done = Command::new(env!("CARGO_BIN_EXE_dlbc"))
                .args(&words[1..])
                .current_dir(folder.path())
                .output()
                .unwrap();
            let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success(), "{page}: {command}\n{err}");
            assert!(
                matches(shown.trim_end(), out.trim_end()),
                "{page}: {command}\nshown:\n{shown}\nfound:\n{out}"
            );
            run += 1;
        }
    }
    assert!(run >= 8, "{run} commands in the book");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_summary_has_every_page_and_links_lead_somewhere() {
    let summary = fs::read_to_string(book().join("SUMMARY.md")).unwrap();
    let files = pages().into_iter().chain(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "REFERENCES.md"]
            .map(|f| (format!("../../{f}"), fs::read_to_string(root().join(f)).unwrap())),
    );
    for (page, text) in files {
        let listed = page == "SUMMARY.md" || page.starts_with("..") || summary.contains(&format!("({page})"));
        assert!(listed, "{page} is not in SUMMARY.md");
        let folder = book().join(&page);
        for link in text.split("](").skip(1).filter_map(|t| t.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let inside = !link.starts_with("http") && !target.is_empty();
            assert!(
                !inside || folder.parent().unwrap().join(target).exists(),
                "{page}: {link} leads nowhere"
            );
        }
    }
}

/// The page of operators, from the program's own table.
fn operators() -> String {
    let mut by_name: BTreeMap<(&str, &str), Vec<(i64, i64)>> = BTreeMap::new();
    for r in readers() {
        by_name.entry((r.domain, r.op)).or_default().push((r.since, r.until));
    }
    let mut page = String::from(
        "# Operators\n\nONNX operators that are read, and the opsets whose definitions are known. A model with any other \
         operator is\nrefused, and all that is not supported is listed at once (exit code 4).\n\n\
         | operator | opsets |\n| --- | --- |\n",
    );
    for ((domain, op), mut ranges) in by_name {
        ranges.sort_unstable();
        let name = if domain.is_empty() { op.to_string() } else { format!("{domain}.{op}") };
        let ranges: Vec<String> = ranges.iter().map(|(a, b)| format!("{a} to {b}")).collect();
        page.push_str(&format!("| {name} | {} |\n", ranges.join(", ")));
    }
    page
}

#[test]
fn the_table_of_operators_is_up_to_date() {
    let path = book().join("operators.md");
    let wanted = operators();
    if std::env::var_os("DLBC_UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/src/operators.md is out of date: DLBC_UPDATE_DOCS=1 cargo test --test cli docs"
    );
}

/// What the reference backend recorded for the models that ship, by both backends.
#[test]
fn recorded_relevance_is_reproduced() {
    for name in ["digits_cnn", "tabular_mlp"] {
        let folder = root().join("fixtures").join(name);
        let wanted = crate::common::npz(&folder.join("relevance.npz"));
        let program = crate::common::program(&folder.join("model.onnx"), "dlb");
        let inputs = crate::common::inputs_of(&program, &crate::common::npz(&folder.join("input.npz")));
        for (session, bar) in
            [(crate::common::reference(program.clone()), 1e-6), (crate::common::cpu(program, 2), 1e-4)]
        {
            let made = crate::common::explain(&session, &inputs, &dlbc_runtime::Request::default());
            for (input, r) in &made.supporting.relevance {
                let gap = crate::common::relative_l1(r, &wanted[&format!("relevance/{input}")]);
                assert!(gap <= bar, "{name}: {input} differs by {gap:e}");
            }
            assert!(!made.supporting.relevance.is_empty());
        }
    }
}

const SIGNS: [&str; 2] = ["<!-- signs: written by the tests -->\n", "<!-- /signs -->"];

/// The sign of the start under a composite, of the output of a model or of one of its tensors.
fn sign(model: &str, rules: &str, output: Option<&str>) -> SeedInfo {
    let read = dlbc_proto::read_model(&root().join("fixtures").join(model), &Default::default()).unwrap();
    let output = output.map(|op| {
        let last = read.graph().node.iter().rfind(|n| n.op_type() == op).unwrap();
        last.output[0].clone()
    });
    let options = dlbc_compiler::Options { rules: rules.into(), output, ..Default::default() };
    dlbc_compiler::compile(&read, &options).unwrap().program.info.seed
}

#[test]
fn the_table_of_signs_is_up_to_date() {
    let mut table = "| composite | after a dense layer | after a convolution | final Softmax | `A-B` |\n\
                     | --- | --- | --- | --- | --- |\n"
        .to_string();
    for rules in dlbc_compiler::built_in_names() {
        let shown = |start: &SeedInfo| if start.sign == SeedSign::Value { "of the value" } else { "+" };
        let dense = sign("digits_cnn/model.onnx", rules, None);
        let conv = sign("digits_cnn/model.onnx", rules, Some("Conv"));
        let softmax = sign("tiny/mlp_bn_softmax.onnx", rules, None);
        let passed = match (&softmax.activation, softmax.sign) {
            (Some(_), SeedSign::Value) => "passed: of the logit",
            (Some(_), _) => "passed: +",
            (None, _) => "its derivative: +",
        };
        let difference = if dense.sign == SeedSign::Unit { "derivative" } else { "both values" };
        let row = [&format!("`{rules}`"), shown(&dense), shown(&conv), passed, difference];
        table += &format!("| {} |\n", row.join(" | "));
    }
    let path = book().join("targets.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(SIGNS[0]).unwrap();
    let (_, after) = rest.split_once(SIGNS[1]).unwrap();
    let wanted = [before, SIGNS[0], &table, SIGNS[1], after].concat();
    if std::env::var_os("DLBC_UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert!(
        text == wanted || fs::read_to_string(&path).unwrap() == wanted,
        "docs/src/targets.md is out of date: DLBC_UPDATE_DOCS=1 cargo test --test cli docs"
    );
}
