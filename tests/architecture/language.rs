//! The countable part of `docs/style.md`: habits of speech that readers had to translate. None may come back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::root;

/// First words of a doc comment that names nothing.
const FRAGMENTS: [&str; 5] = ["What", "Of", "Where", "How", "Whether"];
/// Participles and pronouns that say how a value came to be, not what it is.
const PARTICIPLES: [&str; 8] = ["made", "own", "given", "found", "of", "told", "kept", "one"];

/// The number of each habit in a line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Habits {
    fragments: usize,
    participles: usize,
    phrases: usize,
}

/// Returns whether a line is a doc comment that begins with one of [`FRAGMENTS`].
fn begins_with_a_fragment(line: &str) -> bool {
    let Some(text) = line.trim_start().strip_prefix("///").or_else(|| line.trim_start().strip_prefix("//!"))
    else {
        return false;
    };
    let first = text.trim_start().split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
    FRAGMENTS.contains(&first)
}

/// A line without its comment and without what stands in its string literals.
fn code_of(line: &str) -> String {
    let (mut code, mut string, mut escaped) = (String::new(), false, false);
    for (i, c) in line.char_indices() {
        if !string && line[i..].starts_with("//") {
            break;
        }
        let quote = c == '"' && !escaped && !line[..i].ends_with('\'');
        escaped = string && c == '\\' && !escaped;
        string ^= quote;
        if !string || quote {
            code.push(c);
        }
    }
    code
}

/// The parts of a line of code in which names are bound: after `let`, between `for` and `in`, before `=>`, between the
/// bars of a closure.
fn patterns(code: &str) -> Vec<&str> {
    let mut patterns = vec![];
    for (start, _) in code.match_indices("let ") {
        let rest = &code[start + 4..];
        patterns.push(&rest[..rest.find(" = ").unwrap_or(rest.len())]);
    }
    for (start, _) in code.match_indices("for ") {
        let rest = &code[start + 4..];
        if let Some(end) = rest.find(" in ") {
            patterns.push(&rest[..end]);
        }
    }
    if let Some(end) = code.find(" =>") {
        let before = &code[..end];
        patterns.push(&before[..before.find(" if ").unwrap_or(before.len())]);
    }
    let bars: Vec<&str> = code.split('|').collect();
    if bars.len() >= 3 && !code.contains(" => ") && !code.contains("matches!") {
        patterns.extend(bars.into_iter().skip(1).step_by(2));
    }
    patterns
}

/// The [`PARTICIPLES`] in a part of `code`, by the offset in `code` at which each ends, and with their lengths.
fn ends(part: &str, code: &str) -> impl Iterator<Item = (usize, usize)> {
    let words =
        part.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| PARTICIPLES.contains(word));
    words.map(|word| (word.as_ptr() as usize + word.len() - code.as_ptr() as usize, word.len()))
}

/// The number of [`PARTICIPLES`] that a line of code binds: in a pattern, as a parameter or as a field.
fn participles(line: &str) -> usize {
    let code = code_of(line);
    let mut bound = BTreeSet::new();
    for pattern in patterns(&code) {
        let names = ends(pattern, &code);
        bound.extend(
            names.filter(|&(end, _)| !code[end..].starts_with(['(', '.']) && !code[end..].starts_with("::")),
        );
    }
    let typed = ends(&code, &code)
        .filter(|&(end, len)| code[end..].starts_with(": ") && !code[..end - len].ends_with(['.', ':']));
    bound.extend(typed);
    bound.len()
}

/// The number of phrases in a line that the field says otherwise: "is no", "are no", "greatest", "least". Standard terms
/// (least relevant first, least recently used, least angle regression) and the quoted values of composite files are right.
fn phrases(line: &str) -> usize {
    let mut line = line.to_lowercase();
    for term in
        ["least relevant", "least recently", "least angle", "\"least", "\"greatest", "`least", "`greatest"]
    {
        line = line.replace(term, "");
    }
    let words: Vec<&str> =
        line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let pairs = words.windows(2).filter(|pair| matches!(pair, ["is" | "are", "no"])).count();
    let single = words.iter().enumerate().filter(|&(i, &word)| match word {
        "greatest" => true,
        "least" => i == 0 || words[i - 1] != "at",
        _ => false,
    });
    pairs + single.count()
}

fn files(folder: &Path, files_of: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "snapshots", "kernels"].contains(&name.as_str()) && !name.starts_with('.') {
                files(&path, files_of);
            }
        } else if name.ends_with(".rs")
            || name.ends_with(".md")
            || name.ends_with(".toml")
            || name.ends_with(".py")
        {
            files_of.push(path);
        }
    }
}

#[test]
fn habits_of_speech_do_not_come_back() {
    let (mut all, mut places) = (vec![], vec![]);
    files(&root(), &mut all);
    for path in all {
        let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        // The page of style and this file name what they forbid.
        if ["docs/style.md", "tests/architecture/language.rs", "Cargo.toml"].contains(&relative.as_str()) {
            continue;
        }
        let rust = relative.ends_with(".rs");
        for (i, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let habits = Habits {
                fragments: usize::from(rust && begins_with_a_fragment(line)),
                participles: if rust { participles(line) } else { 0 },
                phrases: phrases(line),
            };
            if habits != Habits::default() {
                places.push(format!("{relative}:{}: {habits:?} {}", i + 1, line.trim()));
            }
        }
    }
    assert!(places.is_empty(), "habits that `docs/style.md` forbids:\n{}", places.join("\n"));
}

/// Lines of a source at which the doc comment of a function begins otherwise than "Returns whether" although the function
/// answers a question.
fn answers_that_read_otherwise(source: &str) -> Vec<usize> {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let begins = |i: &usize| {
        let answer =
            ["/// True if", "/// True for", "/// Returns true"].iter().any(|a| lines[*i].starts_with(a));
        let item = lines[*i..].iter().find(|line| !line.starts_with("///") && !line.starts_with("#["));
        answer && item.is_some_and(|line| line.contains("fn "))
    };
    (0..lines.len()).filter(begins).map(|i| i + 1).collect()
}

#[test]
fn questions_are_documented_alike() {
    assert_eq!(answers_that_read_otherwise("/// True if x.\n#[must_use]\npub fn x() -> bool {"), [1]);
    assert!(
        answers_that_read_otherwise("/// True if x.\npub x: bool,\n/// Returns whether y.\nfn y()")
            .is_empty()
    );
    let mut all = vec![];
    files(&root(), &mut all);
    for path in all.iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let lines = answers_that_read_otherwise(&std::fs::read_to_string(path).unwrap());
        assert!(lines.is_empty(), "{} {lines:?}: begin with \"Returns whether\"", path.display());
    }
}

#[test]
fn the_counters_count() {
    assert!(begins_with_a_fragment("    /// What only a main graph has."));
    assert!(!begins_with_a_fragment("    /// Whatever the caller passes."));
    assert_eq!(participles("let made = found(own);"), 1);
    assert_eq!(participles("    own: Vec<u8>,"), 1);
    assert_eq!(participles("fn f(of: Kind, kept: &[u8]) {"), 2);
    assert_eq!(participles("for one in all.iter().map(|given| given) {"), 2);
    assert_eq!(participles("Thing::of(x); all.kept::<u8>(); let x = f(made);"), 0);
    assert_eq!(participles("        Some(found) if found.own => found,"), 1);
    assert_eq!(phrases("it is no target; at least one, not the least"), 2);
    assert_eq!(phrases("the least relevant first, with `least` and \"greatest\""), 0);
}
