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

/// The pages of the book, by their path below `docs/src`.
fn pages() -> Vec<(String, String)> {
    let mut pages = vec![];
    let mut folders = vec![book()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(book()).unwrap().to_str().unwrap().to_string();
                pages.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    pages.sort();
    assert!(pages.len() > 30);
    pages
}

/// The README and the other pages at the root, by their path below `docs/src`.
fn root_pages() -> impl Iterator<Item = (String, String)> {
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "REFERENCES.md"]
        .into_iter()
        .map(|file| (format!("../../{file}"), fs::read_to_string(root().join(file)).unwrap()))
}

/// A fenced block of a page.
struct Block {
    /// The word after the opening fence.
    language: String,
    text: String,
    /// The HTML comment in the line above the fence.
    comment: String,
}

impl Block {
    /// Why the block is not run, as the comment above it says.
    fn reason(&self) -> Option<&str> {
        self.comment.strip_prefix("not run: ")
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut comment) = (vec![], String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let indent = &line[..line.len() - line.trim_start().len()];
            let text: String = lines
                .by_ref()
                .take_while(|line| !line.trim_start().starts_with("```"))
                .map(|line| format!("{}\n", line.strip_prefix(indent).unwrap_or(line)))
                .collect();
            blocks.push(Block {
                language: language.to_string(),
                text,
                comment: std::mem::take(&mut comment),
            });
        } else {
            let inner = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
            comment = inner.unwrap_or_default().to_string();
        }
    }
    blocks
}

/// Returns whether `printed` is what a page shows, where `...` stands for anything: within a line, or as a line for any
/// lines.
fn matches(shown: &str, printed: &str) -> bool {
    let pieces: Vec<&str> = shown.split("...").map(|p| p.trim_matches('\n')).collect();
    let (last, first) = (pieces[pieces.len() - 1], pieces[0]);
    if pieces.len() == 1 {
        return first == printed;
    }
    let Some(mut rest) = printed.strip_prefix(first).and_then(|r| r.strip_suffix(last)) else { return false };
    pieces[1..pieces.len() - 1].iter().all(|piece| {
        let at = rest.find(piece);
        rest = at.map_or("", |at| &rest[at + piece.len()..]);
        at.is_some()
    })
}

/// The commands of a console block, with the output shown after each. A command goes on in the next line after ` \`.
fn commands(block: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = vec![];
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_string(), String::new())),
            (None, Some((command, shown))) if shown.is_empty() && command.ends_with(" \\") => {
                command.truncate(command.len() - 1);
                command.push_str(line.trim_start());
            }
            (None, Some((_, shown))) => {
                shown.push_str(line);
                shown.push('\n');
            }
            (None, None) => panic!("a console block begins with a command: {line}"),
        }
    }
    commands
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

/// The names of the fetched models that a command or a program reads.
fn fetched_models(text: &str) -> Vec<&str> {
    text.split(".cache/models/").skip(1).map(|rest| rest.split('/').next().unwrap()).collect()
}

/// Lays the fetched models beside the fixtures; `false` where one of them is not in the cache.
fn lay_models(names: &[&str], folder: &Path) -> bool {
    names.iter().all(|name| {
        let Some(model) = crate::common::cached(name) else { return false };
        let place = folder.join(".cache/models").join(name);
        if !place.exists() {
            copy(&model, &place);
        }
        true
    })
}

/// Runs a command and compares what it prints with what the page shows: standard output, or, where the last line shown is
/// `[exit code N]`, standard error and the code.
fn run_command(page: &str, command: &str, shown: &str, folder: &Path) {
    let words = words(command);
    assert_eq!(words[0], "dlbc", "{page}: {command}");
    let done =
        Command::new(env!("CARGO_BIN_EXE_dlbc")).args(&words[1..]).current_dir(folder).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let (shown, code) = match shown.trim_end().rsplit_once("[exit code ") {
        Some((shown, code)) => (shown, code.trim_end_matches(']').parse().unwrap()),
        None => (shown, 0),
    };
    assert_eq!(done.status.code(), Some(code), "{page}: {command}\n{err}");
    let printed = if code == 0 { out } else { err };
    assert!(
        matches(shown.trim_end(), printed.trim_end()),
        "{page}: {command}\nshown:\n{shown}\nprinted:\n{printed}"
    );
}

/// Runs the commands and programs of a page one after the other in a folder of its own; returns how many it ran. Programs
/// read files that commands wrote, so they are left out where a command's model is missing.
fn run_page(page: &str, text: &str, programs: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("fixtures"), &folder.path().join("fixtures"));
    let (mut runs, mut complete) = (0, true);
    for block in blocks(text) {
        match block.language.as_str() {
            "console" => {
                for (command, shown) in commands(&block.text) {
                    if lay_models(&fetched_models(&command), folder.path()) {
                        run_command(page, &command, &shown, folder.path());
                        runs += 1;
                    } else {
                        complete = false;
                    }
                }
            }
            "python" if block.reason().is_none() => {
                if let Some(python) = complete.then(crate::common::python).flatten() {
                    let done =
                        Command::new(python).args(["-c", &block.text]).current_dir(folder.path()).output();
                    let done = done.unwrap();
                    assert!(done.status.success(), "{page}: {}", String::from_utf8_lossy(&done.stderr));
                    runs += 1;
                }
            }
            // Doctests of the library run the programs of the pages that `src/lib.rs` includes.
            "rust" => {
                assert!(programs.contains(page.trim_start_matches("../")), "{page} is not in src/lib.rs")
            }
            // A file that a later command reads.
            "toml" if block.comment.starts_with("file: ") => {
                fs::write(folder.path().join(&block.comment[6..]), &block.text).unwrap();
            }
            "toml" | "text" | "json" => {}
            _ => assert!(
                block.reason().is_some_and(|reason| reason.len() > 8),
                "{page}: a block of `{}` is neither run nor has a line `<!-- not run: REASON -->` above it:\n{}",
                block.language,
                block.text
            ),
        }
    }
    runs
}

/// Number of pages that run at once.
const WORKERS: usize = 2;

#[test]
fn commands_print_what_the_book_shows() {
    let programs = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let pages: Vec<(String, String)> = pages().into_iter().chain(root_pages()).collect();
    let runs: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (pages, programs) = (&pages, &programs);
                scope.spawn(move || {
                    pages[worker..]
                        .iter()
                        .step_by(WORKERS)
                        .map(|(page, text)| run_page(page, text, programs))
                        .sum::<usize>()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(runs >= 60, "{runs} commands and programs in the book");
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
fn a_page_begins_with_what_its_reader_can_do() {
    for (page, text) in pages() {
        if page == "SUMMARY.md" || text.starts_with("{{#include") {
            continue;
        }
        let mut lines = text.lines().filter(|line| !line.is_empty());
        assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "{page} has no title");
        assert!(
            lines.next().is_some_and(|line| line.starts_with("After this page ")),
            "{page} does not begin with what its reader can do"
        );
        let example = blocks(&text).iter().any(|block| ["console", "sh", "rust"].contains(&&*block.language));
        assert!(example, "{page} has no command and no program");
    }
}

#[test]
fn the_summary_has_every_page_and_links_lead_somewhere() {
    let summary = fs::read_to_string(book().join("SUMMARY.md")).unwrap();
    let files = pages().into_iter().chain(root_pages());
    for (page, text) in files {
        let listed = page == "SUMMARY.md" || page.starts_with("..") || summary.contains(&format!("({page})"));
        assert!(listed, "{page} is not in SUMMARY.md");
        let folder = book().join(&page).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { book().join(&page) } else { folder.join(target) };
            assert!(target.exists(), "{page}: {link} leads nowhere");
            let there = || anchors(&fs::read_to_string(&target).unwrap()).contains(&anchor.to_string());
            assert!(anchor.is_empty() || there(), "{page}: {link} names a heading that does not exist");
        }
    }
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> Vec<String> {
    let mut anchors = vec![];
    let mut fenced = false;
    for line in page.lines() {
        fenced ^= line.starts_with("```");
        if !fenced && line.starts_with('#') {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let letters = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            anchors.push(letters.collect::<String>().replace(' ', "-"));
        }
    }
    anchors
}

/// The page of operators, from the program's own table.
fn operators() -> String {
    let mut by_name: BTreeMap<(&str, &str), Vec<(i64, i64)>> = BTreeMap::new();
    for r in readers() {
        by_name.entry((r.domain, r.op)).or_default().push((r.since, r.until));
    }
    let mut page = String::from(
        "# Operators\n\nAfter this page you know which ONNX operators are read, and the opsets whose definitions are \
         known. Whether a model\nhas others, one command says:\n\n```console\n\
         $ dlbc inspect fixtures/operators/refused_Einsum.onnx\n...\n```\n\n\
         A model with any other operator is refused, and all that is not supported is listed at once (exit code 4).\n\n\
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
    let path = book().join("reference/operators.md");
    let expected = operators();
    if std::env::var_os("DLBC_UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == expected,
        "docs/src/reference/operators.md is out of date: DLBC_UPDATE_DOCS=1 cargo test --test cli docs"
    );
}

/// Both backends reproduce the relevance that the reference backend recorded for models that ship.
#[test]
fn recorded_relevance_is_reproduced() {
    for name in ["digits_cnn", "tabular_mlp"] {
        let folder = root().join("fixtures").join(name);
        let expected = crate::common::npz(&folder.join("relevance.npz"));
        let program = crate::common::program(&folder.join("model.onnx"), "dlb");
        let inputs = crate::common::inputs_of(&program, &crate::common::npz(&folder.join("input.npz")));
        for (session, bar) in
            [(crate::common::reference(program.clone()), 1e-6), (crate::common::cpu(program, 2), 1e-4)]
        {
            let explanation = crate::common::explain(&session, &inputs, &dlbc_runtime::Request::default());
            for (input, r) in &explanation.supporting.relevance {
                let gap = crate::common::relative_l1(r, &expected[&format!("relevance/{input}")]);
                assert!(gap <= bar, "{name}: {input} differs by {gap:e}");
            }
            assert!(!explanation.supporting.relevance.is_empty());
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
    let path = book().join("reference/targets.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(SIGNS[0]).unwrap();
    let (_, after) = rest.split_once(SIGNS[1]).unwrap();
    let expected = [before, SIGNS[0], &table, SIGNS[1], after].concat();
    if std::env::var_os("DLBC_UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        text == expected || fs::read_to_string(&path).unwrap() == expected,
        "docs/src/reference/targets.md is out of date: DLBC_UPDATE_DOCS=1 cargo test --test cli docs"
    );
}
