//! Parser of the header of a .npy array, a Python dictionary with three entries.

use dlbc_ops::tensor::DType;

use crate::error::{Error, Result};

/// The header of a .npy array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Element type.
    pub dtype: DType,
    /// True if the most significant byte comes first.
    pub big_endian: bool,
    /// True if the first axis varies fastest (column-major order).
    pub fortran: bool,
    /// Dimensions; an array of strings has a further axis of their characters.
    pub dims: Vec<usize>,
    /// True for an array of strings.
    pub is_text: bool,
}

/// Parses a header.
///
/// # Errors
/// When the entries are not exactly `descr`, `fortran_order` and `shape`, or a tensor cannot have their values.
pub fn parse(text: &str) -> Result<Header> {
    let mut parser = Parser { rest: text };
    let (mut descr, mut fortran, mut dims) = (None, None, None);
    // Number of characters of a string; an array of strings reads as one of characters with a further axis.
    let mut characters = None;
    parser.expect("{")?;
    while !parser.eat("}") {
        let key = parser.string()?;
        parser.expect(":")?;
        match key {
            "descr" => descr = Some(parser.descr(&mut characters)?),
            "fortran_order" => fortran = Some(parser.boolean()?),
            "shape" => dims = Some(parser.shape()?),
            other => {
                return Err(Error::invalid(format!("invalid array header: unknown entry `{other}`")));
            }
        }
        if !parser.eat(",") {
            parser.expect("}")?;
            break;
        }
    }
    match (descr, fortran, dims) {
        (Some(_), Some(true), Some(_)) if characters.is_some() => {
            Err(Error::invalid("expected an array of strings in row-major order, found column-major order"))
        }
        (Some((dtype, big_endian)), Some(fortran), Some(dims)) => {
            let dims = dims.into_iter().chain(characters).collect();
            Ok(Header { dtype, big_endian, fortran, dims, is_text: characters.is_some() })
        }
        _ => Err(Error::invalid("invalid array header: expected `descr`, `fortran_order` and `shape`")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(Error::invalid(format!("invalid array header: expected `{token}`")))
        }
    }

    fn string(&mut self) -> Result<&'a str> {
        let quote = ["'", "\""].into_iter().find(|q| self.eat(q));
        let quote = quote.ok_or_else(|| Error::invalid("invalid array header: expected a string"))?;
        let (text, rest) = self
            .rest
            .split_once(quote)
            .ok_or_else(|| Error::invalid("invalid array header: expected the end of a string"))?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool> {
        if self.eat("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn descr(&mut self, characters: &mut Option<usize>) -> Result<(DType, bool)> {
        if self.eat("[") {
            return Err(Error::invalid("expected an array of numbers, found records"));
        }
        let text = self.string()?;
        let (order, kind) = match text.as_bytes().first() {
            Some(b'<' | b'>' | b'|' | b'=') => text.split_at(1),
            _ => ("|", text),
        };
        if let Some(count) = kind.strip_prefix('U').and_then(|count| count.parse().ok()) {
            *characters = Some(count);
            return Ok((DType::U32, order == ">"));
        }
        let dtype = match kind {
            "f2" => DType::F16,
            "f4" => DType::F32,
            "f8" => DType::F64,
            "i1" => DType::I8,
            "i2" => DType::I16,
            "i4" => DType::I32,
            "i8" => DType::I64,
            "u1" => DType::U8,
            "u2" => DType::U16,
            "u4" => DType::U32,
            "u8" => DType::U64,
            "b1" | "?" => DType::Bool,
            "O" => {
                return Err(Error::invalid(
                    "expected an array of numbers, found pickled Python objects, which are never read",
                ));
            }
            _ => {
                let message = format!("expected an array of numbers or booleans, found type `{text}`");
                return Err(Error::unsupported(message));
            }
        };
        Ok((dtype, order == ">"))
    }

    fn shape(&mut self) -> Result<Vec<usize>> {
        self.expect("(")?;
        let mut dims = vec![];
        while !self.eat(")") {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            let dim = digits
                .parse()
                .map_err(|_| Error::invalid("invalid array header: expected whole numbers in the shape"))?;
            dims.push(dim);
            self.rest = rest;
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let header = parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n").unwrap();
        assert_eq!(
            header,
            Header { dtype: DType::F32, big_endian: false, fortran: false, dims: vec![3, 4], is_text: false }
        );
        let header = parse("{\"shape\":(2,),\"fortran_order\":True,\"descr\":\">i8\"}").unwrap();
        assert_eq!(
            header,
            Header { dtype: DType::I64, big_endian: true, fortran: true, dims: vec![2], is_text: false }
        );
        assert_eq!(
            parse("{'descr': '|b1', 'fortran_order': False, 'shape': ()}").unwrap().dims,
            Vec::<usize>::new()
        );
        for text in ["", "{", "{}", "{'descr': '<f4'}", "{'shape': (1 2)}", "{'descr': 'é'}", "{'x': 1}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
