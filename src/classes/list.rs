//! Class names as text: a JSON or Python list, a dictionary from index to name or from name to index, or lines.

use std::collections::BTreeMap;

/// Bound of class indices; a text with a larger index is not a list of classes.
const MOST: i64 = 1 << 24;

/// Parses the names in a text; `None` if it has none.
pub fn parse(text: &str) -> Option<BTreeMap<i64, String>> {
    let text = text.trim();
    if !text.starts_with(['{', '[', '(']) {
        let names = lines(text);
        return (!names.is_empty()).then_some(names);
    }
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    if !reader.rest.trim_start().is_empty() {
        return None;
    }
    names(&value).filter(|n| !n.is_empty())
}

/// Parses one name per line; an empty line is a class without a name.
pub fn lines(text: &str) -> BTreeMap<i64, String> {
    let numbered = text.lines().map(str::trim).enumerate();
    numbered.filter(|(_, name)| !name.is_empty()).map(|(i, name)| (i as i64, name.to_string())).collect()
}

/// Literal of JSON or Python, as far as class names need it.
enum Literal {
    Text(String),
    Number(i64),
    List(Vec<Literal>),
    Dictionary(Vec<(Literal, Literal)>),
    Other,
}

fn names(value: &Literal) -> Option<BTreeMap<i64, String>> {
    let text = |l: &Literal| match l {
        Literal::Text(t) => Some(t.clone()),
        Literal::Number(n) => Some(n.to_string()),
        _ => None,
    };
    match value {
        Literal::List(items) => {
            items.iter().enumerate().map(|(i, item)| Some((i as i64, text(item)?))).collect()
        }
        Literal::Dictionary(pairs) => {
            // A configuration of the transformers library contains the dictionary.
            let inner = |key: &str| {
                pairs.iter().find_map(|(k, v)| matches!(k, Literal::Text(t) if t == key).then_some(v))
            };
            if let Some(inner) = inner("id2label").or_else(|| inner("names")) {
                return names(inner);
            }
            let pair = |(key, value): &(Literal, Literal)| match (key, value) {
                (Literal::Text(name), Literal::Number(n)) if name.parse::<i64>().is_err() => {
                    Some((*n, name.clone()))
                }
                (Literal::Number(n), value) => Some((*n, text(value)?)),
                (Literal::Text(n), value) => Some((n.parse().ok()?, text(value)?)),
                _ => None,
            };
            let by_index: BTreeMap<i64, String> = pairs.iter().map(pair).collect::<Option<_>>()?;
            by_index.keys().all(|n| (0..MOST).contains(n)).then_some(by_index)
        }
        _ => None,
    }
}

/// Largest depth of nested lists and dictionaries.
const DEPTH: usize = 32;

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn eat(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Literal> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            _ if depth > DEPTH => None,
            quote @ ('\'' | '"') => self.text(quote).map(Literal::Text),
            '{' => self.dictionary(depth),
            '[' => self.list(depth, ']'),
            '(' => self.list(depth, ')'),
            _ => {
                let end = self.rest.find([',', ':', ']', '}', ')']).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                let word = word.trim();
                (!word.is_empty()).then(|| word.parse().map_or(Literal::Other, Literal::Number))
            }
        }
    }

    fn list(&mut self, depth: usize, close: char) -> Option<Literal> {
        let mut items = vec![];
        self.rest = &self.rest[1..];
        while !self.eat(close) {
            items.push(self.value(depth + 1)?);
            if !self.eat(',') {
                return self.eat(close).then_some(Literal::List(items));
            }
        }
        Some(Literal::List(items))
    }

    fn dictionary(&mut self, depth: usize) -> Option<Literal> {
        let mut pairs = vec![];
        self.rest = &self.rest[1..];
        while !self.eat('}') {
            let key = self.value(depth + 1)?;
            if !self.eat(':') {
                return None;
            }
            pairs.push((key, self.value(depth + 1)?));
            if !self.eat(',') {
                return self.eat('}').then_some(Literal::Dictionary(pairs));
            }
        }
        Some(Literal::Dictionary(pairs))
    }

    fn text(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            match c {
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'u' => text.push(code_point(&mut chars)?),
                    other => text.push(other),
                },
                c if c == quote => {
                    self.rest = &self.rest[i + c.len_utf8()..];
                    return Some(text);
                }
                c => text.push(c),
            }
        }
        None
    }
}

/// Reads the character of four hexadecimal digits, or of a surrogate pair.
fn code_point(chars: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let mut unit = || {
        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
        u16::from_str_radix(&digits, 16).ok()
    };
    let first = unit()?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(u32::from(first));
    }
    let escape = [chars.next()?.1, chars.next()?.1] == ['\\', 'u'];
    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
    let second = u16::from_str_radix(&digits, 16).ok().filter(|_| escape)?;
    char::decode_utf16([first, second]).next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(i64, String)>> {
        parse(text).map(|names| names.into_iter().collect())
    }

    fn pairs(pairs: &[(i64, &str)]) -> Option<Vec<(i64, String)>> {
        Some(pairs.iter().map(|(i, n)| (*i, n.to_string())).collect())
    }

    #[test]
    fn dictionaries_of_python() {
        assert_eq!(
            read("{0: 'person', 1: 'hot dog', 7: \"it's\"}"),
            pairs(&[(0, "person"), (1, "hot dog"), (7, "it's")])
        );
        assert_eq!(read(r"{0: 'it\'s', 1: 'a, b: {c}',}"), pairs(&[(0, "it's"), (1, "a, b: {c}")]));
        assert_eq!(read("['a', 'b']"), pairs(&[(0, "a"), (1, "b")]));
        assert_eq!(read("('a',)"), pairs(&[(0, "a")]));
    }

    #[test]
    fn dictionaries_of_json() {
        assert_eq!(read(r#"{"0": "caf\u00e9", "1": "\ud83d\ude08"}"#), pairs(&[(0, "café"), (1, "😈")]));
        assert_eq!(read(r#"{"a": 1, "b": 0}"#), pairs(&[(0, "b"), (1, "a")]));
        assert_eq!(read(r#"{"x": null, "id2label": {"0": "a"}}"#), pairs(&[(0, "a")]));
        assert_eq!(read("[3, 7]"), pairs(&[(0, "3"), (1, "7")]));
    }

    #[test]
    fn other_texts_have_no_names() {
        for text in [
            "",
            "{",
            "{0}",
            "{0: 'a'",
            "['a' 'b']",
            "{'a': [1]}",
            "{-1: 'a'}",
            "[[1]]",
            "{0: 'a'} x",
            "{99999999999: 'a'}",
            "['\\u12']",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), None);
    }
}
