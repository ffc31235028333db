//! Descriptions of external data in tensors.

use std::path::{Component, Path, PathBuf};

use crate::{ExternalFault, LocationFault, Name, TensorFault, onnx::TensorProto};

/// Checked description of the external data of a tensor.
#[derive(Debug, PartialEq)]
pub(crate) struct External<'a> {
    /// Location of the file, as in the model.
    pub(crate) location: &'a str,
    /// Location as a path of plain components, relative to the model's folder.
    pub(crate) path: PathBuf,
    /// Position of the first element in the file, in bytes.
    pub(crate) offset: u64,
    /// Size of the elements in bytes; `None` if they extend to the end of the file.
    pub(crate) length: Option<u64>,
    /// SHA-1 sum of the whole file, as lower-case hexadecimal digits.
    pub(crate) checksum: Option<String>,
}

/// Parses the description of a tensor's external data. Opens no file.
pub(crate) fn parse(tensor: &TensorProto) -> Result<External<'_>, TensorFault> {
    let (mut location, mut offset, mut length, mut checksum) = (None, None, None, None);
    for entry in &tensor.external_data {
        let slot = match entry.key() {
            "location" => &mut location,
            "offset" => &mut offset,
            "length" => &mut length,
            "checksum" => &mut checksum,
            key => return Err(TensorFault::External(ExternalFault::UnknownKey { key: Name::new(key) })),
        };
        if slot.replace(entry.value()).is_some() {
            return Err(TensorFault::External(ExternalFault::TwiceKey { key: Name::new(entry.key()) }));
        }
    }
    let location = location.ok_or(TensorFault::External(ExternalFault::NoLocation))?;
    let path = plain_path(location)
        .map_err(|fault| TensorFault::Location { location: Name::new(location), fault })?;
    let offset = offset.map(|text| number("offset", text)).transpose()?.unwrap_or(0);
    let length = length.map(|text| number("length", text)).transpose()?;
    let checksum = checksum.map(sha1).transpose()?;
    Ok(External { location, path, offset, length, checksum })
}

/// Parses a decimal number without sign, space or separator.
fn number(key: &str, text: &str) -> Result<u64, TensorFault> {
    let fault = || ExternalFault::NotANumber { key: Name::new(key), actual: Name::new(text) };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TensorFault::External(fault()));
    }
    text.parse().map_err(|_| TensorFault::External(fault()))
}

/// Parses a SHA-1 sum.
fn sha1(text: &str) -> Result<String, TensorFault> {
    if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(TensorFault::External(ExternalFault::NotAChecksum { actual: Name::new(text) }))
}

/// Parses a relative path whose components are plain names on every operating system.
fn plain_path(location: &str) -> Result<PathBuf, LocationFault> {
    let refuse = |problem| Err(LocationFault::Path { problem });
    let bytes = location.as_bytes();
    if location.is_empty() {
        return refuse("an empty path");
    }
    if bytes.contains(&0) {
        return refuse("a NUL character");
    }
    if bytes.contains(&b'\\') {
        return refuse("a backslash");
    }
    if bytes[0] == b'/' {
        return refuse("an absolute path");
    }
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return refuse("a drive letter");
    }
    if location.ends_with('/') {
        return refuse("a folder");
    }
    let mut path = PathBuf::new();
    for component in Path::new(location).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => return refuse("`..`"),
            Component::RootDir | Component::Prefix(_) => return refuse("an absolute path"),
        }
    }
    if path.as_os_str().is_empty() {
        return refuse("a folder");
    }
    Ok(path)
}
