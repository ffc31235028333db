//! Files that newcomers had at hand: tables with other columns, pictures of every kind, models of other formats.

use std::fs;
use std::path::Path;

use dlbc_proto::{DataType, write};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, RgbaImage};
use tempfile::TempDir;

use crate::common::root;

/// A folder with all of them.
pub struct Files {
    folder: TempDir,
}

impl Files {
    pub fn new() -> Files {
        let files = Files { folder: tempfile::tempdir().unwrap() };
        files.tables();
        files.texts();
        files.pictures();
        files.models();
        files
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    fn tables(&self) {
        let table = fs::read_to_string(root().join("fixtures/tables/breast_cancer.csv")).unwrap();
        let reversed = |line: &str| line.split(',').rev().collect::<Vec<_>>().join(",") + "\n";
        self.write("reversed.csv", table.lines().map(reversed).collect::<String>());
        let indexed = |(i, line): (usize, &str)| {
            format!("{},{line}\n", if i == 0 { "id".into() } else { i.to_string() })
        };
        self.write("indexed.csv", table.lines().enumerate().map(indexed).collect::<String>());
        self.write("semicolons.csv", table.replace(',', ";"));
        self.write("people.csv", "income,age,debt\n3,0.5,1\n1,2,-1\n");
        // An array under another name than the input's, and one alone.
        let rows = ndarray::Array2::from_shape_fn((2, 30), |(i, j)| (1 + i + j) as f32);
        ndarray_npy::write_npy(self.path().join("x.npy"), &rows).unwrap();
        let file = fs::File::create(self.path().join("bad.npz")).unwrap();
        let mut npz = ndarray_npy::NpzWriter::new(file);
        npz.add_array("x", &rows).unwrap();
        npz.finish().unwrap();
    }

    fn texts(&self) {
        self.write("s.txt", "A waste of two hours.\nWonderful, funny and moving.\n");
    }

    fn pictures(&self) {
        let scene = image::open(root().join("fixtures/scenes/picture.png")).unwrap();
        scene.save(self.path().join("scene.png")).unwrap();
        fs::create_dir(self.path().join("folder")).unwrap();
        let (width, height) = (24, 16);
        let ramp = RgbImage::from_fn(width, height, |x, y| Rgb([(10 * x) as u8, (15 * y) as u8, 128]));
        for name in ["a.png", "b.png"] {
            ramp.save(self.path().join("folder").join(name)).unwrap();
        }
        let clear = RgbaImage::from_fn(width, height, |x, y| {
            image::Rgba([(10 * x) as u8, (15 * y) as u8, 128, (9 * x) as u8])
        });
        DynamicImage::ImageRgba8(clear)
            .save_with_format(self.path().join("clear.png"), ImageFormat::Png)
            .unwrap();
        // One pixel, as a GIF.
        self.write(
            "dot.gif",
            b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
        );
    }

    fn models(&self) {
        self.write("p.joblib", b"\x80\x04\x95\xe5\x00\x00\x00\x00\x00\x00\x00\x8c\x17sklearn.neural_network\x94\x8c\rMLPClassifier");
        self.write("m.pt", zipped(&["archive/data.pkl", "archive/version"]));
        self.write("m.safetensors", b"\x40\x00\x00\x00\x00\x00\x00\x00{\"w\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}");
        self.write("m.h5", b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00");
        self.write("m.tflite", b"\x1c\x00\x00\x00TFL3\x00\x00\x00\x00");
        self.write("m.gguf", b"GGUF\x03\x00\x00\x00");
        self.write("pointer.onnx", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
        self.write("page.onnx", "<!DOCTYPE html>\n<html><body>Not found</body></html>\n");
        self.write("strings.onnx", one_node("Identity", DataType::String));
        self.write("people.onnx", people());
    }
}

/// A zip file of empty entries, as PyTorch writes one.
fn zipped(names: &[&str]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for name in names {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn one_node(op: &str, dtype: DataType) -> Vec<u8> {
    let dims = [write::Dim::Value(1), write::Dim::Value(1)];
    let node = write::node(op, "only", &["sex"], &["y"], vec![]);
    let (x, y) = (write::value_info("sex", dtype, &dims), write::value_info("y", dtype, &dims));
    let graph = write::graph("g", vec![node], vec![], vec![x], vec![y]);
    dlbc_proto::encode(&write::model(graph, vec![write::opset("", 17)]))
}

/// A model of one input a column: `age`, `income`, `debt`, summed.
fn people() -> Vec<u8> {
    let dims = [write::Dim::Symbol("rows".into()), write::Dim::Value(1)];
    let value = |name: &str| write::value_info(name, DataType::F32, &dims);
    let nodes = vec![
        write::node(
            "Concat",
            "columns",
            &["age", "income", "debt"],
            &["all"],
            vec![write::attr_int("axis", 1)],
        ),
        write::node("ReduceSum", "sum", &["all", "axes"], &["score"], vec![]),
    ];
    let axes = write::tensor("axes", DataType::I64, &[1], 1i64.to_le_bytes().to_vec());
    let inputs = ["age", "income", "debt"].map(value).to_vec();
    let graph = write::graph("g", nodes, vec![axes], inputs, vec![value("score")]);
    dlbc_proto::encode(&write::model(graph, vec![write::opset("", 17)]))
}
