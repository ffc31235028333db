//! External data: what is read, and every way out of the folder that is refused.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, os::unix::fs::symlink, path::Path};

use common::{assert_refused, external, model_of, resolve_in};
use dlbc_proto::{
    DataType, ErrorKind, Limits, ProtoError, TensorData, encode,
    onnx::{SparseTensorProto, TensorProto},
    read_model, write,
};

/// A folder `inner` with a file `w.bin` of the bytes 0 to 9, beside a file `secret`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("w.bin"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
    fs::write(folder.path().join("secret"), b"secret").unwrap();
    folder
}

fn resolve(folder: &Path, dims: &[i64], entries: &[(&str, &str)]) -> Result<TensorData, ProtoError> {
    resolve_in(&folder.join("inner"), external(dims, entries), &Limits::default())
}

fn with_links() -> Limits {
    Limits { allow_links: true, ..Limits::default() }
}

#[test]
fn ranges_are_read() {
    let folder = folder();
    let read = |dims: &[i64], entries: &[(&str, &str)]| resolve(folder.path(), dims, entries).unwrap().bytes;
    assert_eq!(read(&[10], &[("location", "w.bin")]), (0..10).collect::<Vec<u8>>());
    assert_eq!(read(&[3], &[("location", "w.bin"), ("offset", "7")]), [7, 8, 9].as_slice());
    assert_eq!(read(&[2], &[("location", "./w.bin"), ("offset", "1"), ("length", "2")]), [1, 2].as_slice());
    assert_eq!(read(&[0], &[("location", "w.bin"), ("offset", "10"), ("length", "0")]).len(), 0);
    fs::create_dir(folder.path().join("inner/deep")).unwrap();
    fs::write(folder.path().join("inner/deep/v.bin"), [42]).unwrap();
    assert_eq!(read(&[1], &[("location", "deep/v.bin")]), [42].as_slice());
}

#[test]
fn one_map_serves_overlapping_tensors_and_outlives_the_model() {
    let folder = folder();
    let path = folder.path().join("inner/model.onnx");
    let tensor = |offset| external(&[4], &[("location", "w.bin"), ("offset", offset), ("length", "4")]);
    fs::write(&path, encode(&model_of(vec![tensor("0"), tensor("2")]))).unwrap();
    let model = read_model(&path, &Limits::default()).unwrap();
    let [a, b] = [0, 1].map(|index| model.tensor(&model.graph().initializer[index]).unwrap());
    assert_eq!(a.bytes.as_ptr().wrapping_add(2), b.bytes.as_ptr());
    drop(model);
    fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!((a.bytes, b.bytes), (vec![0, 1, 2, 3].into(), vec![2, 3, 4, 5].into()));
}

#[test]
fn locations_outside_of_the_folder_are_refused() {
    let folder = folder();
    let absolute = folder.path().join("secret");
    for (location, problem) in [
        ("../secret", "`..`"),
        ("a/../../secret", "`..`"),
        ("w.bin/..", "`..`"),
        ("..", "`..`"),
        (absolute.to_str().unwrap(), "an absolute path"),
        ("//secret", "an absolute path"),
        ("", "an empty path"),
        (".", "a folder"),
        ("./", "a folder"),
        ("w.bin/", "a folder"),
        ("..\\secret", "a backslash"),
        ("C:secret", "a drive letter"),
        ("c:/secret", "a drive letter"),
        ("w.bin\0", "a NUL character"),
    ] {
        let message = format!("expected a path beneath the model's folder, found {problem}");
        let refused = resolve(folder.path(), &[6], &[("location", location)]);
        assert_refused(refused, ErrorKind::Invalid, &message);
    }
    // Already when the model is read, not only when the tensor is used.
    let model = model_of(vec![external(&[6], &[("location", "../secret")])]);
    let path = folder.path().join("inner/model.onnx");
    fs::write(&path, encode(&model)).unwrap();
    let refused = read_model(&path, &Limits::default());
    assert_refused(refused, ErrorKind::Invalid, "inner/model.onnx`: tensor `w`, external data `../secret`: ");
}

#[test]
fn links_are_refused_unless_allowed() {
    let folder = folder();
    let inner = folder.path().join("inner");
    symlink("../secret", inner.join("link")).unwrap();
    symlink("w.bin", inner.join("link_inside")).unwrap();
    symlink("..", inner.join("up")).unwrap();
    symlink("/", inner.join("root")).unwrap();
    symlink("/proc/self/root", inner.join("magic")).unwrap();
    let secret = folder.path().join("secret");
    let from_root = format!("root{}", secret.to_str().unwrap());
    let from_magic = format!("magic{}", secret.to_str().unwrap());
    for location in ["link", "link_inside", "up/secret", "up/inner/w.bin", &from_root, &from_magic] {
        let refused = resolve(folder.path(), &[6], &[("location", location)]);
        assert_refused(refused, ErrorKind::Invalid, "beneath the model's folder without symbolic links");
    }
    for location in ["link", "up/secret"] {
        let tensor = external(&[6], &[("location", location)]);
        assert_eq!(resolve_in(&inner, tensor, &with_links()).unwrap().bytes, b"secret".as_slice());
    }
}

#[test]
fn hard_links_are_refused_unless_allowed() {
    let folder = folder();
    let inner = folder.path().join("inner");
    fs::hard_link(folder.path().join("secret"), inner.join("hard")).unwrap();
    let tensor = external(&[6], &[("location", "hard")]);
    let refused = resolve_in(&inner, tensor.clone(), &Limits::default());
    assert_refused(refused, ErrorKind::Invalid, "external data `hard`: expected 1 hard link, found 2");
    assert_eq!(resolve_in(&inner, tensor, &with_links()).unwrap().bytes, b"secret".as_slice());
}

#[test]
fn other_things_than_files_are_refused() {
    let folder = folder();
    let inner = folder.path().join("inner");
    fs::create_dir(inner.join("dir")).unwrap();
    let pipe = inner.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    for location in ["dir", "pipe"] {
        let refused = resolve(folder.path(), &[1], &[("location", location)]);
        assert_refused(refused, ErrorKind::Invalid, "expected a regular file");
    }
    let missing = resolve(folder.path(), &[1], &[("location", "missing")]);
    assert_refused(missing, ErrorKind::Io, "tensor `w`: cannot read external data `missing`: No such file");
    assert_refused(read_model(&pipe, &Limits::default()), ErrorKind::Invalid, "expected a regular file");
}

#[test]
fn descriptions_are_checked() {
    let folder = folder();
    let invalid = |entries: &[(&str, &str)], message: &str| {
        let entries = [&[("location", "w.bin")], entries].concat();
        assert_refused(resolve(folder.path(), &[4], &entries), ErrorKind::Invalid, message);
    };
    invalid(&[("basepath", "/")], "unknown key `basepath`");
    invalid(&[("__class__", "x")], "unknown key `__class__`");
    invalid(&[("", "x")], "unknown key ``");
    invalid(&[("location", "w.bin")], "expected each key once, found `location` twice");
    for number in ["-1", "+1", " 1", "1 ", "0x1", "1_0", "1.0", "1e3", "", "18446744073709551616", "٣"] {
        invalid(&[("offset", number)], "expected a number of bytes");
        invalid(&[("length", number)], "expected a number of bytes");
    }
    invalid(&[("offset", "18446744073709551615"), ("length", "4")], "found a file of 10 bytes");
    invalid(&[("offset", "18446744073709551615")], "found a file of 10 bytes");
    invalid(&[("offset", "7"), ("length", "4")], "expected 4 bytes from byte 7 on, found a file of 10 bytes");
    invalid(&[("length", "18446744073709551615")], "found a file of 10 bytes");
    invalid(&[("offset", "11")], "expected 0 bytes from byte 11 on, found a file of 10 bytes");
    invalid(&[("length", "5")], "invalid external_data of u8[4]: expected 4 bytes, found 5");
    invalid(&[], "invalid external_data of u8[4]: expected 4 bytes, found 10");
    let refused = resolve(folder.path(), &[4], &[("offset", "0")]);
    assert_refused(refused, ErrorKind::Invalid, "tensor `w`, external_data: expected a location, found none");
    let string = TensorProto {
        data_type: Some(DataType::String.to_onnx()),
        ..external(&[10], &[("location", "w.bin")])
    };
    let refused = resolve_in(&folder.path().join("inner"), string, &Limits::default());
    assert_refused(
        refused,
        ErrorKind::Invalid,
        "expected elements of another type in external_data, found string",
    );
}

#[test]
fn checksums_are_honoured() {
    let folder = folder();
    fn entries(sum: &str) -> [(&str, &str); 2] {
        [("location", "w.bin"), ("checksum", sum)]
    }
    // printf '\0\1\2\3\4\5\6\7\10\11' | sha1sum
    let right = "494179714a6cd627239dfededf2de9ef994caf03";
    assert!(resolve(folder.path(), &[10], &entries(right)).is_ok());
    assert!(resolve(folder.path(), &[10], &entries(&right.to_uppercase())).is_ok());
    let refused = resolve(folder.path(), &[10], &entries("da39a3ee5e6b4b0d3255bfef95601890afd80709"));
    assert_refused(refused, ErrorKind::Invalid, "invalid SHA-1 sum: expected da39a3ee");
    let refused = resolve(folder.path(), &[10], &entries("xyz"));
    assert_refused(refused, ErrorKind::Invalid, "invalid checksum: expected a SHA-1 sum, found `xyz`");
}

#[test]
fn files_count_against_the_limit_of_the_model() {
    let folder = folder();
    let inner = folder.path().join("inner");
    fs::File::create(inner.join("big")).unwrap().set_len(17 << 30).unwrap();
    let tensor = external(&[4], &[("location", "big"), ("length", "4")]);
    let refused = resolve_in(&inner, tensor, &Limits::default());
    assert_refused(refused, ErrorKind::Limit, "the model and its files take");
}

#[test]
fn digests_cover_every_file_in_every_place() {
    let folder = folder();
    let inner = folder.path().join("inner");
    fs::write(inner.join("a.bin"), b"a").unwrap();
    fs::write(inner.join("v.bin"), b"v").unwrap();
    let mut model = model_of(vec![external(&[10], &[("location", "w.bin")])]);
    let graph = model.graph.as_mut().unwrap();
    let attribute = write::attr_tensor("value", external(&[1], &[("location", "a.bin")]));
    graph.node.push(write::node("Constant", "/c", &[], &["c"], vec![attribute]));
    let values = Some(external(&[1], &[("location", "./v.bin")]));
    graph.sparse_initializer.push(SparseTensorProto { values, ..Default::default() });
    let path = inner.join("model.onnx");
    fs::write(&path, encode(&model)).unwrap();
    let model = read_model(&path, &Limits::default()).unwrap();
    assert_eq!(model.external_files(), ["a.bin", "v.bin", "w.bin"].map(std::path::PathBuf::from));
    let digests = model.digests().unwrap();
    let names: Vec<_> = digests.iter().map(|digest| digest.location.as_deref()).collect();
    assert_eq!(names, [None, Some("a.bin"), Some("v.bin"), Some("w.bin")]);
    // printf a | sha256sum
    let sum = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    assert_eq!((digests[1].hex().as_str(), digests[1].bytes), (sum, 1));
    assert_eq!(digests[0].bytes, fs::metadata(&path).unwrap().len());
    fs::remove_file(inner.join("a.bin")).unwrap();
    let again = read_model(&path, &Limits::default()).unwrap();
    assert_refused(again.digests(), ErrorKind::Io, "cannot read external data `a.bin`");
}
