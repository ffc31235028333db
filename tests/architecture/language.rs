//! The countable part of `docs/style.md`: habits of speech that readers had to translate. Their numbers may only fall.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::root;

/// First words of a doc comment that names nothing.
const FRAGMENTS: [&str; 5] = ["What", "Of", "Where", "How", "Whether"];
/// Participles and pronouns that say how a value came to be, not what it is.
const PARTICIPLES: [&str; 8] = ["made", "own", "given", "found", "of", "told", "kept", "one"];

/// The number of each habit in a folder.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Habits {
    fragments: usize,
    participles: usize,
    phrases: usize,
}

/// Whether a line of a comment or a page begins a doc comment with one of [`FRAGMENTS`].
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

/// The number of [`PARTICIPLES`] that a line of code binds: in a pattern, as a parameter or as a field.
fn participles(line: &str) -> usize {
    let code = code_of(line);
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut bound = std::collections::BTreeSet::new();
    for pattern in patterns(&code) {
        for word in pattern.split(|c| !is_word(c)).filter(|word| PARTICIPLES.contains(word)) {
            let end = word.as_ptr() as usize + word.len() - code.as_ptr() as usize;
            if !code[end..].starts_with(['(', '.']) && !code[end..].starts_with("::") {
                bound.insert(end);
            }
        }
    }
    for word in code.split(|c| !is_word(c)).filter(|word| PARTICIPLES.contains(word)) {
        let end = word.as_ptr() as usize + word.len() - code.as_ptr() as usize;
        let before = &code[..end - word.len()];
        if code[end..].starts_with(": ") && !before.ends_with(['.', ':']) {
            bound.insert(end);
        }
    }
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

/// The habits of each folder, and where they stand.
fn count() -> (BTreeMap<String, Habits>, Vec<String>) {
    let (mut habits, mut places) = (BTreeMap::<String, Habits>::new(), vec![]);
    let mut all = vec![];
    files(&root(), &mut all);
    for path in all {
        let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        // The page of style and this file name what they forbid.
        if ["docs/style.md", "tests/architecture/language.rs", "Cargo.toml"].contains(&relative.as_str()) {
            continue;
        }
        let folder = match relative.split('/').collect::<Vec<_>>()[..] {
            ["cuda", second @ ("ptx" | "ptxsim"), ..] => format!("cuda/{second}"),
            [_] => ".".to_string(),
            [first, ..] => first.to_string(),
            [] => unreachable!("a file has a name"),
        };
        let text = std::fs::read_to_string(&path).unwrap();
        let sum = habits.entry(folder).or_default();
        for (i, line) in text.lines().enumerate() {
            let counts = Habits {
                fragments: usize::from(relative.ends_with(".rs") && begins_with_a_fragment(line)),
                participles: if relative.ends_with(".rs") { participles(line) } else { 0 },
                phrases: phrases(line),
            };
            if counts != Habits::default() {
                places.push(format!("{relative}:{}: {counts:?} {}", i + 1, line.trim()));
            }
            sum.fragments += counts.fragments;
            sum.participles += counts.participles;
            sum.phrases += counts.phrases;
        }
    }
    (habits, places)
}

#[test]
fn habits_of_speech_only_fall() {
    let (habits, places) = count();
    if std::env::var_os("DLBC_LANGUAGE").is_some() {
        places.iter().for_each(|place| println!("{place}"));
        habits.iter().for_each(|(folder, habits)| println!("{folder}: {habits:?}"));
    }
    let total = habits
        .values()
        .fold((0, 0, 0), |sum, h| (sum.0 + h.fragments, sum.1 + h.participles, sum.2 + h.phrases));
    let most = (0, 0, 0);
    assert!(
        total.0 <= most.0 && total.1 <= most.1 && total.2 <= most.2,
        "(fragments, participles, phrases) are {total:?}, at most {most:?}: `DLBC_LANGUAGE=1 cargo test --test architecture \
         habits -- --nocapture` lists them"
    );
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
