//! Pictures: formats, several at once, how they become inputs.

use std::fs;

use image::{Rgba, RgbaImage};
use ndarray_npy::NpzReader;

use super::program::{DIGIT, DIGITS, TABLE};
use crate::common::command::*;

const SEGMENTER: &str = "fixtures/scenes/segmenter.onnx";
const SCENE: &str = "fixtures/scenes/picture.png";

#[test]
fn the_extension_says_how_a_heat_map_is_written() {
    let folder = folder();
    for (name, start) in [("m.png", &b"\x89PNG"[..]), ("m.jpg", b"\xff\xd8"), ("m.svg", b"<svg ")] {
        let file = path(&folder, name);
        ok(&[&["run", DIGITS, "--heatmap", &file], &DIGIT]);
        assert!(fs::read(&file).unwrap().starts_with(start), "{name}");
    }
    let bars = path(&folder, "bars.svg");
    ok(&[&["run", TABLE, "--csv", "fixtures/tabular_mlp/rows.csv", "--heatmap", &bars]]);
    let bars = fs::read_to_string(&bars).unwrap();
    assert!(bars.contains("<text ") && bars.contains("<rect ") && !bars.contains("<image "), "{bars}");
}

#[test]
fn other_extensions_are_refused_before_anything_runs() {
    let folder = folder();
    for name in ["m.html", "m.pdf", "m"] {
        let file = path(&folder, name);
        for flag in ["--heatmap", "--expert-map"] {
            let error = fails(2, &[&["run", "no model", flag, &file], &DIGIT]);
            assert!(error.contains(flag) && error.contains(".png, .jpg, .jpeg or .svg"), "{error}");
        }
        let error = fails(2, &[&["eval", "no model", "--plot", &file], &DIGIT]);
        assert!(error.contains("--plot") && error.contains(".svg"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn several_pictures_have_a_result_each() {
    let folder = folder();
    for name in ["a.png", "b.png"] {
        fs::copy(DIGIT[1], folder.path().join(name)).unwrap();
    }
    let turned = image::open(DIGIT[1]).unwrap().rotate180();
    turned.save(folder.path().join("b.png")).unwrap();
    let (pictures, maps, npz) = (path(&folder, ""), path(&folder, "maps/"), path(&folder, "r.npz"));
    let words = ["run", DIGITS, "--image", &pictures, "--heatmap", &maps, "--out", &npz, "--audit"];
    let both = json(&[&words]);
    let all = both["pictures"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[0]["picture"].as_str().unwrap().ends_with("a.png"), "{both}");
    assert_eq!(all[0]["crop"]["width"], all[1]["crop"]["width"]);
    assert!(both["model"].is_string() && all[0].get("model").is_none());
    assert!(folder.path().join("maps/a.png").is_file() && folder.path().join("maps/b.png").is_file());
    // Each is what it is alone.
    let (b, single) = (path(&folder, "b.png"), path(&folder, "single.npz"));
    let alone = json(&[&["run", DIGITS, "--image", &b, "--out", &single]]);
    assert_eq!((&alone["targets"], &alone["inputs"]), (&all[1]["targets"], &all[1]["inputs"]));
    let relevance = |file: &str| -> ndarray::ArrayD<f32> {
        NpzReader::new(fs::File::open(file).unwrap()).unwrap().by_name("relevance/input").unwrap()
    };
    let (both, alone) = (relevance(&npz), relevance(&single));
    assert_eq!((both.shape()[0], alone.shape()[0]), (2, 1));
    assert_eq!(both.index_axis(ndarray::Axis(0), 1), alone.index_axis(ndarray::Axis(0), 0));
    // The table names each, and a file name is extended.
    let out = path(&folder, "out.svg");
    let text = ok(&[&["run", DIGITS, "--image", &b, "--image", DIGIT[1], "--heatmap", &out]]);
    assert!(text.contains("b.png") && text.contains("digit.png") && text.contains("score"), "{text}");
    assert!(folder.path().join("out-b.svg").is_file() && folder.path().join("out-digit.svg").is_file());
}

#[test]
fn what_is_done_to_a_picture_is_said() {
    let folder = folder();
    let alpha = path(&folder, "alpha.png");
    RgbaImage::from_pixel(128, 96, Rgba([200, 10, 10, 60])).save(&alpha).unwrap();
    let done = dlbc(&[&["run", SEGMENTER, "--task", "segmentation", "--image", &alpha, "--preset", "yolo"]]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.err.contains("laid over white") && done.err.contains("mean 0,0,0, std 1,1,1"),
        "{}",
        done.err
    );
    let gif = path(&folder, "one.gif");
    image::open(SCENE).unwrap().save(&gif).unwrap();
    let done = dlbc(&[&["run", SEGMENTER, "--task", "segmentation", "--image", &gif, "--preset", "yolo"]]);
    assert!(done.code == Some(0) && done.err.contains("first frame of the GIF"), "{}", done.err);
}

#[test]
fn a_mean_in_bytes_needs_a_range_in_bytes() {
    let words = ["run", SEGMENTER, "--task", "segmentation", "--image", SCENE, "--mean", "123.7,116.8,103.9"];
    let done = dlbc(&[&words]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("help: add `--pixel-range 255`"), "{}", done.err);
    ok(&[&words, &["--pixel-range", "255"]]);
}

#[test]
fn an_overlay_has_the_size_of_the_picture() {
    let folder = folder();
    let (png, jpg) = (path(&folder, "o.png"), path(&folder, "o.jpg"));
    let words = ["run", SEGMENTER, "--task", "segmentation", "--image", SCENE, "--preset", "yolo"];
    // 160 by 96 pixels in an input of 64 by 48: padded, then cropped.
    let padded = json(&[&words, &["--overlay", &png]]);
    assert_eq!(image::open(&png).unwrap().to_rgb8().dimensions(), (160, 96));
    let crop = |summary: &serde_json::Value| {
        ["x", "y", "width", "height"].map(|key| summary["crop"][key].as_f64().unwrap())
    };
    let [x, y, width, height] = crop(&padded);
    assert!(x == 0.0 && y < 0.0 && width == 160.0 && height > 96.0, "{:?}", crop(&padded));
    let cropped = json(&[&words, &["--resize", "crop", "--overlay", &jpg]]);
    assert_eq!(image::open(&jpg).unwrap().to_rgb8().dimensions(), (160, 96));
    assert_eq!(crop(&cropped), [16.0, 0.0, 128.0, 96.0]);
    // The part that was cut off has no colour.
    let drawn = image::open(&jpg).unwrap().to_rgb8();
    let [r, _, b] = drawn.get_pixel(4, 40).0.map(i32::from);
    assert!((r - b).abs() < 8, "{r} {b}");
    let svg = path(&folder, "o.svg");
    assert!(fails(2, &[&words, &["--overlay", &svg]]).contains(".png, .jpg or .jpeg"));
    fails(2, &[&["run", DIGITS, "--inputs", "fixtures/digits_cnn/input.npz", "--overlay", &png]]);
}

#[test]
fn outputs_that_look_like_something_else_are_named() {
    let detector = "fixtures/scenes/detector.onnx";
    let done = dlbc(&[&["run", detector, "--image", SCENE, "--preset", "yolo"]]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("looks like 192 boxes\nhelp: `--box best` explains one\n"), "{}", done.err);
    assert!(done.out.contains("position 5 of 6 (the last), value "), "{}", done.out);
    let boxes = dlbc(&[&["run", detector, "--image", SCENE, "--box", "best"]]);
    assert!(!boxes.err.contains("looks like") && boxes.err.contains("`--preset yolo`"), "{}", boxes.err);
}

#[test]
fn the_largest_value_is_that_of_the_position() {
    let detector = "fixtures/scenes/detector.onnx";
    let at = |position: &str| {
        let words = ["run", detector, "--image", SCENE, "--preset", "yolo", "--position", position];
        let summary = json(&[&words]);
        let output = &summary["outputs"]["boxes"];
        assert_eq!(summary["positions"][0].to_string(), position);
        assert_eq!(
            (&output["argmax"], &output["max"]),
            (&summary["targets"], &summary["values"]),
            "{summary}"
        );
    };
    ["0", "5"].iter().for_each(|position| at(position));
}

#[test]
fn the_ledger_has_two_names() {
    let ledger = ok(&[&["run", DIGITS, "--ledger"], &DIGIT]);
    assert!(ledger.contains("closes to"), "{ledger}");
    assert_eq!(json(&[&["run", DIGITS, "--ledger"], &DIGIT])["audit"]["closed"], true);
}
