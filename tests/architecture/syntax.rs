//! A reader of Rust source that knows as much of the language as the search for import circles needs: the modules of a file,
//! what each defines at its top level, what it imports, and which paths stand in its code.
//!
//! Comments, literals and whatever is compiled for tests alone are left out.

use std::collections::{BTreeMap, BTreeSet};

/// A module, in its own file or within one.
#[derive(Debug, Default)]
pub struct Module {
    /// Modules below it that a file of their own holds.
    pub children: Vec<String>,
    /// Modules below it that stand in the same file.
    pub inline: BTreeMap<String, Module>,
    /// Items defined at its top level.
    pub items: BTreeSet<String>,
    /// Names that `use` brings into it.
    pub imports: Vec<Import>,
    /// Modules and enums of which `use` brings in everything.
    pub globs: Vec<Vec<String>>,
    /// Paths of at least two segments in its code.
    pub paths: BTreeSet<Vec<String>>,
    /// Single words of its code, `use` declarations aside.
    pub words: BTreeSet<String>,
}

/// A name that `use` brings into a module.
#[derive(Debug)]
pub struct Import {
    /// Name in the module; `_` for a trait whose methods alone are wanted.
    pub name: String,
    /// Path that it stands for.
    pub path: Vec<String>,
    /// True if other modules may import it from here.
    pub public: bool,
}

/// Reads the text of a source file.
pub fn parse(text: &str) -> Module {
    let tokens = without_tests(&tokens(text));
    Reader { tokens: &tokens, at: 0 }.module()
}

/// Words and punctuation of a text; `::` is one token, other punctuation is a token a character.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let get = |i: usize| chars.get(i).copied().unwrap_or('\n');
    let (mut tokens, mut i) = (vec![], 0);
    while i < chars.len() {
        let c = chars[i];
        if c == '/' && get(i + 1) == '/' {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && get(i + 1) == '*' {
            let mut depth = 1;
            i += 2;
            while i < chars.len() && depth > 0 {
                let pair = (chars[i], get(i + 1));
                depth += i32::from(pair == ('/', '*')) - i32::from(pair == ('*', '/'));
                i += if pair == ('/', '*') || pair == ('*', '/') { 2 } else { 1 };
            }
        } else if c == '"' {
            i = end_of_string(&chars, i);
        } else if c == '\'' {
            // A character has its closing quote behind one, perhaps escaped, character; a lifetime has none.
            i = match get(i + 1) {
                '\\' => (i + 3..chars.len()).find(|j| chars[*j] == '\'').map_or(chars.len(), |j| j + 1),
                _ if get(i + 2) == '\'' => i + 3,
                _ => (i + 1..chars.len()).find(|j| !word(chars[*j])).unwrap_or(chars.len()),
            };
        } else if word(c) {
            let end = (i..chars.len()).find(|j| !word(chars[*j])).unwrap_or(chars.len());
            let text: String = chars[i..end].iter().collect();
            let raw = ["r", "br", "cr"].contains(&text.as_str());
            let hashes = (end..chars.len()).take_while(|j| chars[*j] == '#').count();
            if raw && get(end + hashes) == '"' {
                let close: String = format!("\"{}", "#".repeat(hashes));
                let close: Vec<char> = close.chars().collect();
                let from = end + hashes + 1;
                let end = (from..chars.len()).find(|j| chars[*j..].starts_with(&close));
                i = end.map_or(chars.len(), |j| j + close.len());
            } else {
                i = end;
                if !c.is_ascii_digit() {
                    tokens.push(text);
                }
            }
        } else if c == ':' && get(i + 1) == ':' {
            tokens.push("::".into());
            i += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            i += 1;
        }
    }
    tokens
}

/// The index behind the string literal that opens at `open`.
fn end_of_string(chars: &[char], open: usize) -> usize {
    let mut i = open + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The index behind the bracket that closes the one at `open`.
fn end_of_bracket(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// Tokens without the items that stand under `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut remaining, mut i) = (vec![], 0);
    while i < tokens.len() {
        let here = tokens[i..].iter().take(TEST.len());
        if !here.eq(TEST) {
            remaining.push(tokens[i].clone());
            i += 1;
            continue;
        }
        i += TEST.len();
        // The item ends with a semicolon or with its braces.
        while i < tokens.len() {
            match tokens[i].as_str() {
                ";" => {
                    i += 1;
                    break;
                }
                "{" => {
                    i = end_of_bracket(tokens, i);
                    break;
                }
                "(" | "[" => i = end_of_bracket(tokens, i),
                _ => i += 1,
            }
        }
    }
    remaining
}

struct Reader<'a> {
    tokens: &'a [String],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    /// Reads a module up to its closing brace, or to the end of the file.
    fn module(&mut self) -> Module {
        let mut module = Module::default();
        let (mut depth, mut public) = (0, false);
        while self.at < self.tokens.len() {
            let (token, next) = (self.peek(0), self.peek(1));
            match token {
                "{" => depth += 1,
                "}" if depth == 0 => break,
                "}" => depth -= 1,
                "pub" => {
                    public = true;
                    self.at += 1;
                    if self.peek(0) == "(" {
                        self.at = end_of_bracket(self.tokens, self.at);
                    }
                    continue;
                }
                "use" if is_word(next) || next == "::" || next == "{" => {
                    self.at += 1;
                    self.uses(&mut module, &[], public);
                }
                "mod" if is_word(next) && self.peek(2) == ";" => {
                    module.children.push(next.into());
                    self.at += 2;
                }
                "mod" if is_word(next) && self.peek(2) == "{" => {
                    self.at += 3;
                    let inner = self.module();
                    module.inline.insert(next.into(), inner);
                }
                "struct" | "enum" | "trait" | "fn" | "type" | "const" | "static" | "union"
                    if depth == 0 && is_word(next) =>
                {
                    module.items.insert(next.into());
                    self.at += 1;
                }
                "macro_rules" if depth == 0 => {
                    module.items.insert(self.peek(2).into());
                }
                _ if is_word(token) => {
                    self.path(&mut module);
                    public = false;
                    continue;
                }
                _ => {}
            }
            public = false;
            self.at += 1;
        }
        module
    }

    /// Reads a path of the code; a single word is one.
    fn path(&mut self, module: &mut Module) {
        let mut path = vec![self.peek(0).to_string()];
        self.at += 1;
        while self.peek(0) == "::" && is_word(self.peek(1)) {
            path.push(self.peek(1).into());
            self.at += 2;
        }
        module.words.insert(path[0].clone());
        if path.len() > 1 {
            module.paths.insert(path);
        }
    }

    /// Reads a tree of imports; ends at the token behind which the caller goes on.
    fn uses(&mut self, module: &mut Module, before: &[String], public: bool) {
        let mut path = before.to_vec();
        loop {
            match self.peek(0) {
                "::" => self.at += 1,
                "{" => {
                    self.at += 1;
                    while self.peek(0) != "}" && self.at < self.tokens.len() {
                        self.uses(module, &path, public);
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "*" => {
                    module.globs.push(path);
                    self.at += 1;
                    return;
                }
                word if is_word(word) => {
                    path.push(word.into());
                    self.at += 1;
                    if self.peek(0) != "::" {
                        break;
                    }
                }
                _ => break,
            }
        }
        if path.last().is_some_and(|last| last == "self") && !before.is_empty() {
            path.pop();
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if self.peek(0) == "as" {
            name = self.peek(1).into();
            self.at += 2;
        }
        module.imports.push(Import { name, path, public });
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[test]
fn names_come_from_code_alone() {
    let module = parse(
        r##"
        // use a::Comment;
        pub(crate) use crate::a::{self, b::{C, D as E}, f::*};
        mod child;
        struct Item<'a> { text: &'a str, quote: char }
        impl Item<'_> {
            fn method(&self) -> String { format!("x::y {{", '"', r#"z::w"#, other::call::<u8>(1.0)) }
        }
        #[cfg(test)]
        mod tests { use super::Unseen; }
        mod inner { pub use super::Item as Renamed; }
        "##,
    );
    let imports = |m: &Module| -> Vec<String> {
        m.imports.iter().map(|i| format!("{} {} {}", i.name, i.path.join("::"), i.public)).collect()
    };
    assert_eq!(imports(&module), ["a crate::a true", "C crate::a::b::C true", "E crate::a::b::D true"]);
    assert_eq!(module.globs, [["crate", "a", "f"]]);
    assert_eq!(module.children, ["child"]);
    assert_eq!(module.items.iter().collect::<Vec<_>>(), ["Item"]);
    assert_eq!(module.paths.iter().map(|p| p.join("::")).collect::<Vec<_>>(), ["other::call"]);
    assert_eq!(imports(&module.inline["inner"]), ["Renamed super::Item true"]);
    assert_eq!(module.inline.len(), 1);
}
