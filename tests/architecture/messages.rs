//! Words that stand in one place only: flags and commands in the program, names of outputs beside their type.

use std::path::{Path, PathBuf};

use super::{members, root, texts};

/// A string literal of a source file.
struct Literal {
    file: PathBuf,
    line: usize,
    text: String,
}

/// A source up to its first module of tests that has a body; `mod tests;` ends nothing.
fn without_tests(source: &str) -> &str {
    let ends_code = |&(at, mark): &(usize, &str)| {
        source[at + mark.len()..].lines().next().is_some_and(|line| line.contains('{'))
    };
    let end = source.match_indices("#[cfg(test)]\nmod ").find(ends_code);
    // Attributes may stand between both lines.
    let allowed = source.find("#[cfg(test)]\n#[allow");
    let end = [end.map(|(at, _)| at), allowed].into_iter().flatten().min();
    &source[..end.unwrap_or(source.len())]
}

/// The string literals of a source, up to its first module of tests; comments and character literals are left out.
fn literals(file: &Path, source: &str) -> Vec<Literal> {
    let source = without_tests(source);
    let (bytes, mut literals, mut at, mut line) = (source.as_bytes(), vec![], 0, 1);
    let newlines = |text: &str| text.matches('\n').count();
    while at < bytes.len() {
        let rest = &source[at..];
        let raw = rest.strip_prefix('r').map(|r| r.len() - r.trim_start_matches('#').len());
        let raw = raw.filter(|hashes| bytes.get(at + 1 + hashes) == Some(&b'"'));
        let word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let (Some(hashes), false) = (raw, word) {
            let close = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            let length = rest[start..].find(&close).unwrap_or(rest.len() - start);
            literals.push(Literal { file: file.into(), line, text: rest[start..start + length].into() });
            (start + length + close.len()).min(rest.len())
        } else if rest.starts_with('"') {
            let mut end = 1;
            while end < rest.len() && rest.as_bytes()[end] != b'"' {
                end += if rest.as_bytes()[end] == b'\\' { 2 } else { 1 };
            }
            literals.push(Literal { file: file.into(), line, text: rest[1..end.min(rest.len())].into() });
            (end + 1).min(rest.len())
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            rest[2..].find('\'').map_or(rest.len(), |length| length + 3)
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        line += newlines(&rest[..end]);
        at += end;
    }
    literals
}

/// The literals of every library of the workspace; the program has those of `src/cli` and `src/main.rs`.
fn of_libraries() -> Vec<Literal> {
    let program = [root().join("src/cli"), root().join("src/main.rs")];
    let library = |literal: &Literal| !program.iter().any(|path| literal.file.starts_with(path));
    in_code().into_iter().filter(library).collect()
}

/// Returns whether a file holds tests only.
fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests") || path.iter().any(|p| p == "tests")
}

/// The literals of the whole workspace outside of tests.
fn in_code() -> Vec<Literal> {
    let sources =
        members().into_iter().flat_map(|member| texts(Path::new(&member).join("src").to_str().unwrap()));
    let code = sources.filter(|(path, _)| !is_test(path));
    code.flat_map(|(path, text)| literals(&path, &text)).collect()
}

/// Returns whether a text names a flag, such as `--target`, or a command of the program.
fn names_a_flag(text: &str) -> bool {
    let flag = |(at, _): (usize, &str)| {
        let before = text[..at].chars().next_back();
        let after = text[at + 2..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '-')
            && after.is_some_and(|c| c.is_ascii_lowercase())
    };
    text.match_indices("--").any(flag) || text.contains("`dlbc ")
}

#[test]
fn the_reader_of_literals_knows_rust() {
    let source = r####"
        // "comment"
        let a = "one \" --two"; let b = '"'; let c = '\''; let d = r#"raw "--x" "#;
        #[cfg(test)]
        mod elsewhere;
        let var = "three";
        #[cfg(test)]
        mod tests { const X: &str = "four"; }
    "####;
    let source = source.replace("        ", "");
    let texts: Vec<(usize, String)> =
        literals(Path::new("x.rs"), &source).into_iter().map(|l| (l.line, l.text)).collect();
    let expected = [(3, "one \\\" --two"), (3, "raw \"--x\" "), (6, "three")];
    assert_eq!(texts, expected.map(|(line, text)| (line, text.to_string())));
    assert!(names_a_flag("give `--text`") && names_a_flag("call `dlbc run`"));
    assert!(!names_a_flag("a -- b") && !names_a_flag("----x") && !names_a_flag("dlbc"));
}

/// Beginnings of the names of a program's outputs.
const OUTPUTS: [&str; 10] = [
    "output/",
    "relevance/",
    "relevance_pos/",
    "relevance_neg/",
    "audit/",
    "audit_neg/",
    "experts/",
    "dim/",
    "baseline/",
    "start/",
];

/// Names of outputs stand beside [`Output`](dlbc_ops::program::Output); keys of result files are a format of their own.
#[test]
fn names_of_outputs_stand_in_one_file() {
    let allowed = ["ops/src/program/output.rs", "src/results/keys.rs"].map(|path| root().join(path));
    let names = |literal: &Literal| {
        let text = literal.text.trim_start_matches(['\\', '"', '{', '}']);
        OUTPUTS.iter().any(|output| text.starts_with(output))
    };
    let (allowed, other): (Vec<Literal>, Vec<Literal>) =
        in_code().into_iter().filter(names).partition(|literal| allowed.contains(&literal.file));
    let other: Vec<String> =
        other.iter().map(|l| format!("{}:{}: {}", l.file.display(), l.line, l.text)).collect();
    assert!(other.is_empty(), "{}", other.join("\n"));
    for output in OUTPUTS {
        assert!(allowed.iter().any(|literal| literal.text.starts_with(output)), "{output} stands nowhere");
    }
}

/// A library does not know the words of the program that calls it: `src/cli/advice.rs` does.
#[test]
fn library_messages_name_no_flag_and_no_command() {
    let faults: Vec<String> = of_libraries()
        .into_iter()
        .filter(|literal| names_a_flag(&literal.text))
        .map(|l| format!("{}:{}: {}", l.file.display(), l.line, l.text))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Returns whether a text refuses something without saying what is expected instead.
fn refuses_only(text: &str) -> bool {
    text.contains("not supported") && !text.contains("expected")
}

#[test]
fn refusals_say_what_is_expected() {
    assert!(refuses_only("strings are not supported") && refuses_only("mode {mode} is not supported yet"));
    assert!(!refuses_only("strings are not supported: expected numbers"));
    let faults: Vec<String> = of_libraries()
        .into_iter()
        .filter(|literal| refuses_only(&literal.text))
        .map(|l| format!("{}:{}: {}", l.file.display(), l.line, l.text))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Errors of operators and primitives are built by the constructors of `OpError`, which ask for what is expected.
#[test]
fn errors_of_operators_say_what_is_expected() {
    let constructors = root().join("ops/src/error.rs");
    let code = ["ops/src", "compiler/src"].into_iter().flat_map(texts);
    for (path, text) in code.filter(|(path, _)| !is_test(path) && *path != constructors) {
        let text: String = without_tests(&text).split_whitespace().collect();
        for variant in ["Invalid", "Unsupported", "Symbolic"] {
            for literal in ["\"", "format!("] {
                let built = format!("OpError::{variant}({literal}");
                assert!(!text.contains(&built), "{}: {built}: use a constructor", path.display());
            }
        }
    }
}
