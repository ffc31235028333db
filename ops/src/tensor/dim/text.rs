//! Text form of dimensions: printing, parsing and JSON.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Atom, Dim};

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        // The constant term is printed last.
        let ordered =
            self.terms.iter().filter(|t| !t.0.is_empty()).chain(self.terms.iter().filter(|t| t.0.is_empty()));
        for (i, (product, c)) in ordered.enumerate() {
            match (i, *c < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str("-")?,
                (_, false) => f.write_str("+")?,
            }
            let magnitude = c.unsigned_abs();
            let mut first = true;
            if magnitude != 1 || product.is_empty() {
                write!(f, "{magnitude}")?;
                first = false;
            }
            for atom in product {
                if !first {
                    f.write_str("*")?;
                }
                first = false;
                match atom {
                    Atom::Symbol(s) => f.write_str(s)?,
                    Atom::FloorDiv(a, b) => write!(f, "floor({a}/({b}))")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Dim {
    type Err = String;
    fn from_str(text: &str) -> Result<Dim, String> {
        let mut parser = Parser { text: text.as_bytes(), at: 0, depth: 0 };
        let dim = parser.sum()?;
        if parser.at == text.len() {
            return Ok(dim);
        }
        let rest = text.get(parser.at..).unwrap_or_default();
        Err(format!("invalid dimension `{text}`: expected its end, found `{rest}`"))
    }
}

/// Largest [`Dim::complexity`] that is parsed: products of sums would otherwise grow without bound.
const MAX_COMPLEXITY: usize = 2048;

/// Largest depth of brackets that is parsed.
const MAX_DEPTH: usize = 32;

/// Parser of the text form that `Display` prints.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let matches = self.peek() == Some(byte);
        self.at += usize::from(matches);
        matches
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.eat(byte) { Ok(()) } else { Err(format!("invalid dimension: expected `{}`", byte as char)) }
    }

    fn sum(&mut self) -> Result<Dim, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("dimension is nested too deep: the limit is {MAX_DEPTH}"));
        }
        let negative = self.eat(b'-');
        let mut sum = self.product()?;
        if negative {
            sum = &sum * &Dim::known(-1);
        }
        loop {
            if self.eat(b'+') {
                sum = bounded(&sum + &self.product()?)?;
            } else if self.eat(b'-') {
                sum = bounded(&sum - &self.product()?)?;
            } else {
                self.depth -= 1;
                return Ok(sum);
            }
        }
    }

    fn product(&mut self) -> Result<Dim, String> {
        let mut product = self.atom()?;
        while self.eat(b'*') {
            product = bounded(&product * &self.atom()?)?;
        }
        Ok(product)
    }

    fn atom(&mut self) -> Result<Dim, String> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.') {
            self.at += 1;
        }
        let word = std::str::from_utf8(&self.text[start..self.at]).map_err(|e| e.to_string())?;
        if word == "floor" && self.eat(b'(') {
            // The dividend is a sum; the divisor has brackets of its own.
            let dividend = self.sum()?;
            self.expect(b'/')?;
            self.expect(b'(')?;
            let divisor = self.sum()?;
            self.expect(b')')?;
            self.expect(b')')?;
            return Ok(dividend.floor_div(&divisor));
        }
        if word.is_empty() {
            return Err("invalid dimension: expected a name, a number or `floor(`".into());
        }
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return word.parse().map(Dim::known).map_err(|e| e.to_string());
        }
        Ok(Dim::symbol(word))
    }
}

fn bounded(dim: Dim) -> Result<Dim, String> {
    if dim.complexity() > MAX_COMPLEXITY {
        Err(format!("dimension has too many terms: the limit is {MAX_COMPLEXITY}"))
    } else {
        Ok(dim)
    }
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.as_known() {
            Some(v) => s.serialize_i64(v),
            None => s.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Dim, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Known(i64),
            Text(String),
        }
        match Either::deserialize(d)? {
            Either::Known(v) => Ok(Dim::known(v)),
            Either::Text(t) => t.parse().map_err(serde::de::Error::custom),
        }
    }
}
