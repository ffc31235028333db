//! Reader of NumPy's .npy format, which holds one array.
//!
//! Reads versions 1 to 3, every number type that a tensor can have, both byte orders and both memory orders. The header
//! is checked against the limit before anything of its size is allocated. Pickled objects are not read.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use dlbc_ops::tensor::{DType, Tensor};

use super::npy_header::{Header, parse};
use crate::content::{Content, content};
use crate::error::{Error, Result};
use crate::remedy::Remedy;
use crate::wording::size;

/// Largest size of a header, in bytes; NumPy writes 128 bytes for most arrays.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Elements that a reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// Numbers and booleans.
    Numbers,
    /// Strings, too, as arrays of characters with a further axis.
    Strings,
}

/// Reads the array of a file.
///
/// # Errors
/// Those of [`read`]; when the file cannot be opened or has another kind of content, which the error names.
pub fn open(path: &Path, max_bytes: u64) -> Result<Tensor> {
    open_as(path, Elements::Numbers, max_bytes)
}

/// Reads the array of a file, which may be of strings if `elements` says so.
///
/// # Errors
/// Those of [`open`].
pub fn open_as(path: &Path, elements: Elements, max_bytes: u64) -> Result<Tensor> {
    let kind = content(path).filter(|c| *c != Content::Npy);
    if let Some(kind) = kind {
        return Err(wrong_content("a .npy array", kind));
    }
    let file = File::open(path).map_err(|e| Error::invalid(e.to_string()))?;
    read(&mut BufReader::new(file), elements, max_bytes)
}

/// Returns the error for a file with another kind of content.
pub fn wrong_content(expected: &str, kind: Content) -> Error {
    let message = format!("expected {expected}, found {}", kind.noun());
    Error::invalid(message).with_remedy(Remedy::NotInput(kind))
}

/// Reads an array of at most `max_bytes`.
///
/// # Errors
/// When the bytes are not an array, a tensor cannot have the element type, or the size is above the limit.
pub fn read(from: &mut impl Read, elements: Elements, max_bytes: u64) -> Result<Tensor> {
    let header = read_header(from)?;
    if header.is_text && elements == Elements::Numbers {
        return Err(Error::unsupported("expected an array of numbers or booleans, found strings"));
    }
    let bytes =
        header.dims.iter().try_fold(header.dtype.size_bytes() as u64, |n, d| n.checked_mul(*d as u64));
    let bytes = bytes.filter(|b| *b <= max_bytes).ok_or_else(|| {
        let message = format!(
            "the array {}{:?} is larger than the limit of {}",
            header.dtype,
            header.dims,
            size(max_bytes)
        );
        Error::limit(message).with_remedy(Remedy::MaxTensorBytes)
    })?;
    let mut data = Vec::new();
    // The buffer grows with the data, so that a header alone cannot allocate memory.
    from.take(bytes).read_to_end(&mut data).map_err(unreadable)?;
    if data.len() as u64 != bytes {
        return Err(Error::invalid(format!(
            "the array ends early: expected {bytes} bytes, found {}",
            data.len()
        )));
    }
    if from.read(&mut [0]).map_err(unreadable)? != 0 {
        return Err(Error::invalid("expected the end of the array, found more data"));
    }
    let width = header.dtype.size_bytes();
    if header.big_endian {
        data.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    if header.fortran && header.dims.len() > 1 {
        data = row_major(&data, &header.dims, width);
    }
    if header.dtype == DType::Bool {
        data.iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    let dims = header.dims;
    Tensor::from_bytes(header.dtype, dims, Arc::new(data))
        .ok_or_else(|| Error::invalid("the array's shape does not fit its size"))
}

/// Returns the error for data that cannot be read, as in a damaged archive.
fn unreadable(error: std::io::Error) -> Error {
    Error::invalid(format!("cannot read the array: {error}"))
}

/// Reads the magic bytes, the version and the header.
fn read_header(from: &mut impl Read) -> Result<Header> {
    let mut start = [0; 8];
    from.read_exact(&mut start).map_err(|_| Error::invalid("expected a .npy array, found too few bytes"))?;
    if &start[..6] != b"\x93NUMPY" {
        return Err(Error::invalid("expected a .npy array, which starts with \\x93NUMPY"));
    }
    let len = match start[6] {
        1 => {
            let mut len = [0; 2];
            from.read_exact(&mut len).map_err(|_| Error::invalid("invalid array header: it ends early"))?;
            usize::from(u16::from_le_bytes(len))
        }
        2 | 3 => {
            let mut len = [0; 4];
            from.read_exact(&mut len).map_err(|_| Error::invalid("invalid array header: it ends early"))?;
            u32::from_le_bytes(len) as usize
        }
        version => return Err(Error::invalid(format!("expected .npy version 1, 2 or 3, found {version}"))),
    };
    if len > MAX_HEADER_BYTES {
        return Err(Error::invalid(format!(
            "the array's header takes {len} bytes: the limit is {MAX_HEADER_BYTES}"
        )));
    }
    let mut text = vec![0; len];
    from.read_exact(&mut text).map_err(|_| Error::invalid("invalid array header: it ends early"))?;
    parse(&String::from_utf8_lossy(&text))
}

/// Reorders column-major data to row-major. `width` is the size of an element in bytes.
fn row_major(data: &[u8], dims: &[usize], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut strides = vec![width; dims.len()];
    for axis in 1..dims.len() {
        strides[axis] = strides[axis - 1] * dims[axis - 1];
    }
    let mut index = vec![0; dims.len()];
    let mut at = 0;
    while out.len() < data.len() {
        out.extend_from_slice(&data[at..at + width]);
        // The next index, last axis fastest.
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            at -= strides[axis] * dims[axis];
            index[axis] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn every_type_and_both_byte_orders() {
        let two = |bytes: [&[u8]; 2]| bytes.concat();
        for (descr, data, values) in [
            ("'<f4'", two([&1.5f32.to_le_bytes(), &(-2f32).to_le_bytes()]), [1.5, -2.0]),
            ("'>f8'", two([&1.5f64.to_be_bytes(), &(-2f64).to_be_bytes()]), [1.5, -2.0]),
            ("'<f2'", vec![0x00, 0x3e, 0x00, 0xc0], [1.5, -2.0]),
            ("'|i1'", vec![1, 0xff], [1.0, -1.0]),
            ("'>i2'", vec![1, 0, 0xff, 0xff], [256.0, -1.0]),
            ("'<i4'", two([&7i32.to_le_bytes(), &(-7i32).to_le_bytes()]), [7.0, -7.0]),
            ("'<i8'", two([&7i64.to_le_bytes(), &(-7i64).to_le_bytes()]), [7.0, -7.0]),
            ("'|u1'", vec![1, 0xff], [1.0, 255.0]),
            ("'<u2'", vec![1, 0, 0xff, 0xff], [1.0, 65535.0]),
            ("'<u4'", two([&7u32.to_le_bytes(), &u32::MAX.to_le_bytes()]), [7.0, f64::from(u32::MAX)]),
            ("'<u8'", two([&7u64.to_le_bytes(), &9u64.to_le_bytes()]), [7.0, 9.0]),
            ("'|b1'", vec![0, 2], [0.0, 1.0]),
        ] {
            let tensor =
                read(&mut &npy(descr, "False", "(2,)", &data)[..], Elements::Numbers, 1 << 20).unwrap();
            assert_eq!(tensor.to_f64(), values, "{descr}");
        }
    }

    #[test]
    fn column_major_becomes_row_major() {
        let tensor =
            read(&mut &npy("'|u1'", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6])[..], Elements::Numbers, 100)
                .unwrap();
        assert_eq!((tensor.dims(), tensor.bytes()), (&[2, 3][..], &[1, 2, 3, 4, 5, 6][..]));
        let empty = read(&mut &npy("'|u1'", "True", "(0, 3)", &[])[..], Elements::Numbers, 100).unwrap();
        assert_eq!(empty.dims(), [0, 3]);
        let scalar = read(&mut &npy("'|u1'", "True", "()", &[9])[..], Elements::Numbers, 100).unwrap();
        assert_eq!(scalar.to_i64(), [9]);
    }

    #[test]
    fn bad_files_are_refused_with_their_code() {
        let code = |bytes: &[u8]| read(&mut &bytes[..], Elements::Numbers, 1 << 20).unwrap_err().kind();
        assert_eq!(code(b"PK"), ErrorKind::InvalidInput);
        assert_eq!(code(&npy("'|O'", "False", "(1,)", &[0; 8])), ErrorKind::InvalidInput);
        assert_eq!(code(&npy("[('a', '<f4')]", "False", "(1,)", &[0; 8])), ErrorKind::InvalidInput);
        assert_eq!(code(&npy("'<f4'", "False", "(3,)", &[0; 8])), ErrorKind::InvalidInput);
        assert_eq!(code(&npy("'<f4'", "False", "(1,)", &[0; 8])), ErrorKind::InvalidInput);
        assert_eq!(code(&npy("'<f4'", "False", "(-1,)", &[0; 8])), ErrorKind::InvalidInput);
        assert_eq!(code(&npy("'<f4'", "False", "(1000000000000,)", &[])), ErrorKind::Limit);
        assert_eq!(
            code(&npy("'<f4'", "False", "(9223372036854775807, 9223372036854775807)", &[])),
            ErrorKind::Limit
        );
        assert_eq!(code(b"\x93NUMPY\x02\x00\xff\xff\xff\xff"), ErrorKind::InvalidInput);
    }
}
