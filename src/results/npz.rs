//! NumPy arrays in a zip file. The same contents are the same bytes.

use std::collections::BTreeMap;
use std::io::Write;

use dlbc_ops::tensor::{Array, DType, Tensor};
use dlbc_proto::Name;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{Contents, Out};

use crate::error::{Error, Result};

/// Above this size an entry needs the 64-bit form of the format.
const LARGE_BYTES: usize = 1 << 31;

/// Largest length of an array's name, in bytes: the length of an entry's name, with `.npy`, has 16 bits.
const MAX_NAME_BYTES: usize = u16::MAX as usize - ".npy".len();

/// Largest length of an archive's comment, in bytes.
const MAX_COMMENT_BYTES: usize = u16::MAX as usize;

/// Writes the tensors. Metadata, for which NumPy has no place, are the comment of the archive, as JSON.
pub fn write(out: Out, contents: &Contents) -> Result<()> {
    let mut zip = ZipWriter::new(out);
    for (name, tensor) in &contents.tensors {
        // The zip library panics on such a name.
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(format!(
                "the array name {} is longer than the {MAX_NAME_BYTES} bytes that an .npz file can hold",
                Name::new(name)
            )));
        }
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .last_modified_time(DateTime::default())
            .large_file(tensor.bytes().len() >= LARGE_BYTES);
        zip.start_file(format!("{name}.npy"), options)?;
        array(&mut zip, tensor)?;
    }
    zip.set_comment(comment(&contents.metadata)?);
    zip.finish()?;
    Ok(())
}

/// Formats metadata as JSON; the longest values are dropped until the rest fits.
fn comment(metadata: &BTreeMap<String, String>) -> serde_json::Result<String> {
    let mut entries: BTreeMap<&String, &String> = metadata.iter().collect();
    loop {
        let text = serde_json::to_string(&entries)?;
        if text.len() <= MAX_COMMENT_BYTES {
            return Ok(text);
        }
        let longest = entries.iter().max_by_key(|(_, value)| value.len()).map(|(key, _)| (*key).clone());
        entries.retain(|key, _| Some(*key) != longest.as_ref());
    }
}

fn array(out: &mut impl Write, tensor: &Tensor) -> Result<()> {
    let Some(kind) = descr(tensor.dtype()) else {
        return array(out, &Array::from_tensor(tensor).to_tensor(DType::F32));
    };
    let dims: String = tensor.dims().iter().map(|d| format!("{d}, ")).collect();
    // A tuple of one keeps its comma, others lose it.
    let dims = if tensor.dims().len() == 1 { dims.trim_end() } else { dims.trim_end_matches(", ") };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({dims}), }}");
    // The data starts at a multiple of 64 bytes, after 10 bytes, the header and its line break.
    let padded = (10 + header.len() + 1).next_multiple_of(64);
    header.push_str(&" ".repeat(padded - 10 - header.len() - 1));
    header.push('\n');
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&u16::try_from(header.len()).map_err(|e| Error::internal(e.to_string()))?.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    Ok(out.write_all(tensor.bytes())?)
}

/// NumPy's name of a type; `None` for what it does not have.
fn descr(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::F16 => "<f2",
        DType::Bf16 => return None,
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U8 => "|u1",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::Bool => "|b1",
    })
}

#[cfg(test)]
mod tests {
    use crate::results::Format;
    use crate::results::tests::contents;

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.npz");
        let contents = contents();
        Format::Npz.save(&path, &contents).unwrap();
        let read = crate::input::read_npz(&path, |_| true, 1 << 20).unwrap();
        assert_eq!(read.selected, contents.tensors);
        assert_eq!(read.metadata, contents.metadata);
    }

    #[test]
    fn a_comment_has_what_fits() {
        let metadata = std::collections::BTreeMap::from([
            ("labels".to_string(), "x".repeat(super::MAX_COMMENT_BYTES)),
            ("rules".to_string(), "dlb".to_string()),
        ]);
        assert_eq!(super::comment(&metadata).unwrap(), r#"{"rules":"dlb"}"#);
    }
}
