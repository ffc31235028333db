//! Segmentation and detection on the command line: what is found, what is refused and how it says so.

use std::fmt::Write;
use std::fs;

use crate::common::command::*;
use crate::common::{VISION_TASKS, npz, root, zoo, zoo_models};
use dlbc_proto::{DataType, write};
use serde_json::json as value;
use tempfile::TempDir;

const DETECTOR: &str = "fixtures/scenes/detector.onnx";
const SEGMENTER: &str = "fixtures/scenes/segmenter.onnx";
const PICTURE: [&str; 6] = ["--image", "fixtures/scenes/picture.png", "--mean", "0", "--std", "1"];

/// Writes a model whose outputs are its inputs, and arrays for it: name, type, dimensions, values.
fn identities(folder: &TempDir, outputs: &[(&str, DataType, &[usize], &[f32])]) -> [String; 2] {
    let mut nodes = vec![];
    let (mut inputs, mut declared) = (vec![], vec![]);
    let file = path(folder, "in.npz");
    let mut arrays = ndarray_npy::NpzWriter::new(fs::File::create(&file).unwrap());
    for (name, dtype, dims, values) in outputs {
        let input = format!("{name}_in");
        let sizes: Vec<write::Dim> = dims.iter().map(|d| write::Dim::Value(*d as u64)).collect();
        nodes.push(write::node("Identity", name, &[&input], &[name], vec![]));
        inputs.push(write::value_info(&input, *dtype, &sizes));
        declared.push(write::value_info(name, *dtype, &sizes));
        let array = ndarray::ArrayD::from_shape_vec(ndarray::IxDyn(dims), values.to_vec()).unwrap();
        match dtype {
            DataType::I64 => arrays.add_array(input, &array.mapv(|v| v as i64)).unwrap(),
            _ => arrays.add_array(input, &array).unwrap(),
        }
    }
    arrays.finish().unwrap();
    let graph = write::graph("g", nodes, vec![], inputs, declared);
    let model = path(folder, "model.onnx");
    fs::write(&model, dlbc_proto::encode(&write::model(graph, vec![write::opset("", 17)]))).unwrap();
    [model, file]
}

#[test]
fn the_summary_says_which_box() {
    let report =
        json(&[&["run", DETECTOR, "--box", "best,best"][..3], &["top2", "--class", "0,1"], &PICTURE]);
    let all = report["by_target"].as_array().unwrap();
    let names: Vec<&str> = all.iter().map(|t| t["target"].as_str().unwrap()).collect();
    assert_eq!(names, ["box best class 0", "box best class 1", "box top2 class 0", "box top2 class 1"]);
    let (red, blue) = (&all[0]["boxes"][0], &all[1]["boxes"][0]);
    assert_eq!((&red["class"], &blue["class"]), (&value!(0), &value!(1)));
    assert!(red["score"].as_f64() > all[2]["boxes"][0]["score"].as_f64());
    // The disc and the larger square, in pixels of the picture as it was given.
    for (report, expected) in [(red, [38.0, 20.0, 60.0, 42.0]), (blue, [96.0, 50.0, 116.0, 70.0])] {
        let edges = report["edges"].as_array().unwrap();
        for (edge, expected) in edges.iter().zip(expected) {
            assert!((edge.as_f64().unwrap() - expected).abs() < 3.0, "{report}");
        }
    }
    let text = ok(&[&["run", DETECTOR, "--box", "best"], &PICTURE]);
    assert!(text.contains("target   box best = box 123, class 1, score 0.91"), "{text}");
    let note = dlbc(&[&["run", DETECTOR, "--task", "detection"], &PICTURE]);
    assert!(
        note.err.contains("output `boxes` is read as 192 boxes of 2 classes, centre and size in pixels"),
        "{}",
        note.err
    );
    let explicit = dlbc(&[&["run", DETECTOR, "--box", "0", "--box-layout", "yolo"], &PICTURE]);
    assert!(explicit.code == Some(0) && !explicit.err.contains("192 boxes"), "{}", explicit.err);
}

#[test]
fn a_region_is_of_the_picture_as_it_was_given() {
    let segment = |flags: &[&str]| json(&[&["run", SEGMENTER, "--task", "segmentation"], flags, &PICTURE]);
    let all = segment(&["--class", "1,2"]);
    let pixels = |report: &serde_json::Value| report["pixels"].as_u64().unwrap();
    let by = all["by_target"].as_array().unwrap();
    // A pixel of the mask is four of the input, and 16 of the picture.
    assert!((20..30).contains(&pixels(&by[0])) && (30..50).contains(&pixels(&by[1])), "{all}");
    let square = segment(&["--region", "90,44,122,76"]);
    assert_eq!((&square["target"], &square["targets"]), (&value!("mask in 90,44,122,76"), &value!([2])));
    let rest = segment(&["--region", "60,60,86,84", "--class", "2"]);
    assert_eq!(pixels(&square) + pixels(&rest), pixels(&by[1]));
    let padded = json(&[&["run", SEGMENTER, "--region", "90,44,122,76", "--resize", "pad"], &PICTURE]);
    // 160 by 96 in 64 by 48 is two fifths of its size, not half.
    let shrunk = (pixels(&square) as f64 * 0.64).round() as u64;
    assert!(padded["targets"] == value!([2]) && pixels(&padded).abs_diff(shrunk) < 6, "{padded}");
    let object = segment(&["--region", "90,44,122,76", "--output", "object"]);
    assert_eq!((pixels(&object), &object["targets"]), (pixels(&square), &value!([])));
    // The same region of an array is in its own pixels: half as many, and 8 columns further left.
    let folder = folder();
    let file = path(&folder, "r.npz");
    ok(&[&["run", SEGMENTER, "--region", "90,44,122,76", "--out", &file], &PICTURE]);
    let array = path(&folder, "in.npz");
    let mut writer = ndarray_npy::NpzWriter::new(fs::File::create(&array).unwrap());
    let picture = image::open(root().join("fixtures/scenes/picture.png")).unwrap().to_rgb8();
    let small = image::imageops::resize(&picture, 80, 48, image::imageops::FilterType::Triangle);
    let values = ndarray::Array4::from_shape_fn((1, 3, 48, 64), |(_, c, y, x)| {
        f32::from(small.get_pixel(x as u32 + 8, y as u32).0[c]) / 255.0
    });
    writer.add_array("picture", &values).unwrap();
    writer.finish().unwrap();
    let again = path(&folder, "again.npz");
    ok(&[&["run", SEGMENTER, "--region", "37,22,53,38", "--inputs", &array, "--out", &again]]);
    assert_eq!(npz(file.as_ref())["relevance/picture"], npz(again.as_ref())["relevance/picture"]);
}

#[test]
fn an_artifact_explains_what_it_was_compiled_for() {
    let folder = folder();
    let (boxes, scores) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0, 9.0], [0.25, 0.75]);
    let [model, arrays] = identities(
        &folder,
        &[
            ("boxes", DataType::F32, &[2, 4], &boxes),
            ("scores", DataType::F32, &[2], &scores),
            ("labels", DataType::I64, &[2], &[3.0, 1.0]),
        ],
    );
    let inputs = ["--inputs", arrays.as_str()];
    let report = json(&[&["run", &model, "--box", "best"], &inputs]);
    assert_eq!((&report["explained"], &report["boxes"][0]["box"]), (&value!("scores"), &value!(1)));
    assert_eq!(report["boxes"][0]["class"], 1);
    let report = json(&[&["run", &model, "--box", "best", "--class", "3", "--coordinate", "y1"], &inputs]);
    assert_eq!((&report["explained"], &report["inputs"]["boxes_in"]), (&value!("boxes"), &value!(100.0)));
    assert_eq!(report["boxes"][0]["coordinates"], value!([1.0, 2.0, 3.0, 4.0]));
    let value = json(&[&["run", &model, "--box", "0", "--coordinate", "2", "--start", "value"], &inputs]);
    assert_eq!(value["start"], 3.0);
    let artifact = path(&folder, "model.dlbc.onnx");
    ok(&[&["compile", &model, "--output", "scores", "-o", &artifact]]);
    let again = json(&[&["run", &artifact, "--box", "best"], &inputs]);
    assert_eq!((&again["boxes"][0]["box"], &again["start"]), (&value!(1), &value!(100.0)));
    let refused = fails(2, &[&["run", &artifact, "--box", "best", "--coordinate", "x0"], &inputs]);
    assert!(refused.contains("explains output `scores`, not `boxes`"), "{refused}");
}

#[test]
fn an_artifact_of_two_tracks_explains_classes() {
    let folder = folder();
    let artifact = path(&folder, "segmenter.dlbc.onnx");
    ok(&[&["compile", SEGMENTER, "--mode", "contrastive", "-o", &artifact]]);
    let (first, second) = (path(&folder, "1.npz"), path(&folder, "2.npz"));
    let flags = ["--task", "segmentation", "--class", "1,2", "--start", "value", "--audit", "--out"];
    ok(&[&["run", SEGMENTER, "--mode", "contrastive"], &flags, &[&first], &PICTURE]);
    ok(&[&["run", &artifact], &flags, &[&second], &PICTURE]);
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
    let results = npz(first.as_ref());
    for key in ["relevance_pos", "relevance_neg"] {
        for class in ["class 1", "class 2"] {
            let relevance = &results[&format!("target/{class}/{key}/picture")];
            assert!(relevance.to_f32().iter().any(|v| *v != 0.0), "{class} {key}");
        }
    }
}

#[test]
fn queries_have_a_class_for_no_object() {
    let folder = folder();
    let logits = [2.0, 1.0, 9.0, 0.5, 1.5, 0.0];
    let boxes = [0.5, 0.5, 0.2, 0.2, 0.25, 0.5, 0.5, 0.5];
    let [model, arrays] = identities(
        &folder,
        &[("logits", DataType::F32, &[1, 2, 3], &logits), ("pred_boxes", DataType::F32, &[1, 2, 4], &boxes)],
    );
    let inputs = ["--inputs", arrays.as_str()];
    let best =
        |flags: &[&str]| json(&[&["run", &model, "--box", "best"], flags, &inputs])["boxes"][0].clone();
    assert_eq!((&best(&[])["box"], &best(&[])["class"]), (&value!(1), &value!(1)));
    let none = best(&["--no-object", "none"]);
    assert_eq!((&none["box"], &none["class"], &none["score"]), (&value!(0), &value!(2), &value!(9.0)));
    // Named the other way round they do not fit.
    let named = |flags: &str| fails(2, &[&["run", &model, "--box", "0", "--box-outputs", flags], &inputs]);
    assert!(
        named("logits,pred_boxes")
            .contains("invalid output `logits`: expected [batch, box, 4], found [1, 2, 3]")
    );
    assert_eq!(best(&["--box-outputs", "pred_boxes,logits"])["box"], 1);
    // Scores without labels.
    let [model, arrays] = identities(
        &folder,
        &[("s", DataType::F32, &[2], &[0.5, 0.25]), ("b", DataType::F32, &[2, 4], &boxes)],
    );
    let list = ["--box-layout", "list", "--box-outputs", "b,s"];
    let report = json(&[&["run", &model, "--box", "best", "--inputs", &arrays], &list]);
    assert_eq!(report["boxes"][0]["box"], 0);
}

#[test]
fn rows_of_six_are_read_as_the_flag_says() {
    let folder = folder();
    let values: Vec<f32> = vec![
        10., 10., 20., 20., 0.5, 2., //
        1., 2., 3., 4., 0.75, 0., //
        1., 2., 3., 4., 0.25, 1., //
        1., 2., 3., 4., 0.125, 1., //
        1., 2., 3., 4., 0.0, 1., //
        1., 2., 3., 4., 0.0, 1.,
    ];
    let [model, arrays] = identities(&folder, &[("dets", DataType::F32, &[1, 6, 6], &values)]);
    let words = ["run", &model, "--inputs", &arrays, "--box", "best"];
    let best = |layout: &str| json(&[&words, &["--box-layout", layout]])["boxes"][0].clone();
    assert_eq!((&best("end-to-end")["box"], &best("end-to-end")["class"]), (&value!(1), &value!(0)));
    assert_eq!((&best("yolo-rows")["box"], &best("yolo-rows")["class"]), (&value!(0), &value!(1)));
    assert_eq!((&best("yolo-v5")["box"], &best("yolo-v5")["score"]), (&value!(0), &value!(1.0)));
    assert_eq!(best("yolo")["class"], 0);
    assert!(fails(2, &[&words]).contains("6 boxes of 2 classes (yolo)"));
}

/// The pixels of a heat map's first panel, ten canvas pixels to one of the input 64 by 48: whether one is the green of what
/// is explained.
fn green(file: &str) -> impl Fn(u32, u32) -> bool {
    let picture = image::open(file).unwrap().to_rgb8();
    // Five canvas pixels are one of the input; margin, title and caption lie before it.
    move |x, y| picture.get_pixel(16 + x, 60 + y).0 == [0, 132, 61]
}

#[test]
fn boxes_and_masks_are_drawn() {
    let folder = folder();
    let file = path(&folder, "box.png");
    let report = json(&[&["run", DETECTOR, "--box", "best", "--heatmap", &file], &PICTURE]);
    let edge = |i: usize| report["boxes"][0]["edges"][i].as_f64().unwrap();
    // From the picture to the input, half the size and eight columns cut off, to the canvas.
    let (left, right) = ((edge(0) / 2.0 - 8.0) * 5.0, (edge(2) / 2.0 - 8.0) * 5.0);
    let middle = ((edge(1) + edge(3)) / 4.0 * 5.0) as u32;
    let is_green = green(&file);
    assert!(is_green(left.round() as u32 - 2, middle) && is_green(right.round() as u32 + 1, middle));
    assert!(!is_green(left.round() as u32 + 5, middle) && !is_green(left.round() as u32 - 6, middle));
    let others = |score: &str| {
        let file = path(&folder, "others.png");
        ok(&[&["run", DETECTOR, "--box", "best", "--heatmap", &file, "--box-score", score], &PICTURE]);
        let picture = image::open(&file).unwrap().to_rgb8();
        // The disc's box is drawn where it has the score.
        (90..150).any(|y| picture.get_pixel(16 + 60, 60 + y - 60).0 == [32, 32, 32])
    };
    assert!(others("0.1") && !others("0.9"));
    ok(&[&["run", SEGMENTER, "--region", "90,44,122,76", "--heatmap", &file], &PICTURE]);
    let is_green = green(&file);
    // The region's left edge is dashed; the mask is outlined within it, and nowhere else.
    let edge = ((90.0 / 2.0 - 8.0) * 5.0) as u32 - 1;
    let column: Vec<bool> = (110..190).map(|y| is_green(edge, y)).collect();
    assert!(column.iter().any(|g| *g) && column.iter().any(|g| !g));
    assert!((0..240).all(|y| !(0..edge - 1).any(|x| is_green(x, y))));
    assert!((edge + 8..edge + 70).any(|x| is_green(x, 145)));
}

#[test]
fn a_picture_without_a_batch_is_drawn_as_one() {
    // A torchvision detector in small: the mean of each column of a picture [3, 8, 4] is the score of a box.
    let folder = folder();
    let info = |name, dtype, dims: &[u64]| {
        write::value_info(name, dtype, &dims.iter().map(|d| write::Dim::Value(*d)).collect::<Vec<_>>())
    };
    let mean = vec![write::attr_ints("axes", vec![0, 1]), write::attr_int("keepdims", 0)];
    let nodes = vec![
        write::node("ReduceMean", "score", &["image"], &["scores"], mean),
        write::node("Identity", "box", &["boxes_in"], &["boxes"], vec![]),
        write::node("Identity", "label", &["labels_in"], &["labels"], vec![]),
    ];
    let inputs = vec![
        info("image", DataType::F32, &[3, 8, 4]),
        info("boxes_in", DataType::F32, &[4, 4]),
        info("labels_in", DataType::I64, &[4]),
    ];
    let outputs = vec![
        info("boxes", DataType::F32, &[4, 4]),
        info("scores", DataType::F32, &[4]),
        info("labels", DataType::I64, &[4]),
    ];
    let graph = write::graph("g", nodes, vec![], inputs, outputs);
    let (model, arrays, file) = (path(&folder, "m.onnx"), path(&folder, "in.npz"), path(&folder, "box.png"));
    fs::write(&model, dlbc_proto::encode(&write::model(graph, vec![write::opset("", 17)]))).unwrap();
    let mut writer = ndarray_npy::NpzWriter::new(fs::File::create(&arrays).unwrap());
    let image = ndarray::Array3::from_shape_fn((3, 8, 4), |(_, y, x)| (x + y) as f32);
    let boxes = ndarray::Array2::from_shape_fn((4, 4), |(n, c)| [n, 1, n + 1, 7][c] as f32);
    writer.add_array("image", &image).unwrap();
    writer.add_array("boxes_in", &boxes).unwrap();
    writer.add_array("labels_in", &ndarray::arr1(&[1i64, 1, 1, 2])).unwrap();
    writer.finish().unwrap();
    ok(&[&["run", &model, "--inputs", &arrays, "--box", "best", "--class", "1", "--heatmap", &file]]);
    // Pixels of 56: the third column, rows 1 to 7, and only there relevance.
    let picture = image::open(&file).unwrap().to_rgb8();
    assert!(picture.width() > 3 * 224 && picture.height() > 448, "{:?}", picture.dimensions());
    let is_green = green(&file);
    assert!(is_green(2 * 56 - 2, 200) && is_green(3 * 56 + 1, 200) && !is_green(2 * 56 + 10, 200));
    let map = |column: u32| *picture.get_pixel(16 + 2 * (224 + 12) + column * 56 + 28, 60 + 200);
    assert_eq!([map(0), map(1), map(3)], [image::Rgb([255; 3]); 3]);
    assert_ne!(map(2), image::Rgb([255; 3]));
}

/// Explains every detector and segmenter of the zoo, with a layout that the program finds itself or that a flag gives.
#[test]
fn detectors_and_segmenters_of_the_zoo() {
    if zoo().is_none() {
        return;
    }
    for m in zoo_models(VISION_TASKS) {
        let (model, inputs) = (m.model.to_str().unwrap(), m.inputs.to_str().unwrap());
        let family = m.name.split('/').next_back().unwrap().split('.').next().unwrap();
        let folder = folder();
        let file = path(&folder, "picture.png");
        let (flags, explained): (&[&str], &str) = match family {
            "unet" | "unet_bilinear" => (&["--task", "segmentation"], "mask_logits"),
            "det_yolo" => (&["--box", "best", "--box-layout", "yolo-rows"], "preds"),
            "det_yolos" => (&["--box", "best"], "logits"),
            _ => (&["--box", "best"], "scores"),
        };
        let words = ["run", model, "--inputs", inputs, "--heatmap", &file];
        let report = json(&[&words, flags]);
        assert_eq!(report["explained"], explained, "{}", m.name);
        assert!((report["start"].as_f64().unwrap() - 100.0).abs() < 1e-3, "{}: {}", m.name, report["start"]);
        assert!(image::open(&file).unwrap().to_rgb8().pixels().any(|p| p.0 == [0, 132, 61]), "{}", m.name);
        if family == "det_yolo" {
            assert!(
                fails(2, &[&words, &["--box", "best"]])
                    .contains("fits several box layouts: 80 boxes of 4 classes")
            );
        }
        if family.starts_with("det_") {
            assert_eq!(report["boxes"].as_array().unwrap().len(), 1, "{}", m.name);
            let wrong = fails(2, &[&words, flags, &["--class", "9"]]);
            assert!(wrong.contains("class 9"), "{wrong}");
            let boxes = if family == "det_yolo" { "preds" } else { "boxes" };
            let coordinate = json(&[&words, flags, &["--coordinate", "0"]]);
            assert_eq!((&coordinate["explained"], &coordinate["boxes"]), (&value!(boxes), &report["boxes"]));
        }
    }
}

#[test]
fn misuse_says_what_is_wrong() {
    let folder = folder();
    let [classifier, arrays] = identities(&folder, &[("logits", DataType::F32, &[1, 2], &[0.5, 0.25])]);
    let plain = ["--inputs", arrays.as_str()];
    let (segmenter, detector, classifier) =
        (&["run", SEGMENTER], &["run", DETECTOR], &["run", classifier.as_str()]);
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (segmenter, &["--task", "segmentation", "--class", "3"], &PICTURE),
        (segmenter, &["--task", "segmentation", "--class", "1", "--target", "2"], &PICTURE),
        (segmenter, &["--task", "segmentation", "--class", "1,1"], &PICTURE),
        (segmenter, &["--task", "segmentation", "--position", "0"], &PICTURE),
        (segmenter, &["--task", "segmentation", "--class", "1", "--region", "90,44,122,76"], &PICTURE),
        (segmenter, &["--task", "segmentation", "--class", "1", "--threshold", "9"], &PICTURE),
        (segmenter, &["--task", "segmentation", "--box", "0"], &PICTURE),
        (segmenter, &["--class", "1"], &PICTURE),
        (segmenter, &["--region", "0,0,161,96"], &PICTURE),
        (segmenter, &["--region", "0,0,16,96"], &PICTURE),
        (segmenter, &["--region", "48,10,49,11"], &PICTURE),
        (segmenter, &["--region", "0,0,10"], &PICTURE),
        (segmenter, &["--region", "10,0,10,10"], &PICTURE),
        (segmenter, &["--region", "0,0,80,80", "--task", "multi-class"], &PICTURE),
        (segmenter, &["--coordinate", "x"], &PICTURE),
        (segmenter, &["--box", "0"], &PICTURE),
        (segmenter, &[], &PICTURE),
        (detector, &["--box", "192"], &PICTURE),
        (detector, &["--box", "best", "--class", "2"], &PICTURE),
        (detector, &["--box", "best", "--class", "1", "--target", "0"], &PICTURE),
        (detector, &["--box", "best", "--region", "0,0,1,1"], &PICTURE),
        (detector, &["--box", "best", "--threshold", "0.5"], &PICTURE),
        (detector, &["--box", "best", "--coordinate", "x0"], &PICTURE),
        (detector, &["--box", "best", "--coordinate", "5"], &PICTURE),
        (detector, &["--box", "best", "--box-layout", "detr"], &PICTURE),
        (detector, &["--box", "best", "--box-layout", "yolo-v5", "--class", "190"], &PICTURE),
        (detector, &["--box", "best", "--box-layout", "end-to-end"], &PICTURE),
        (detector, &["--box", "best", "--box-outputs", "scores"], &PICTURE),
        (detector, &["--box", "best", "--no-object", "last"], &PICTURE),
        (detector, &["--box", "worst"], &PICTURE),
        (detector, &["--box", "best", "--box-score", "0.5"], &PICTURE),
        (detector, &["--box", "best", "--task", "segmentation"], &PICTURE),
        (classifier, &["--box", "best"], &plain),
        (classifier, &["--region", "0,0,1,1"], &plain),
        (classifier, &["--task", "segmentation"], &plain),
    ];
    let mut answers = String::new();
    for (words, flags, inputs) in cases {
        let done = dlbc(&[words, flags, inputs]);
        assert!(matches!(done.code, Some(2..=4)), "{flags:?}: {:?} {}", done.code, done.err);
        assert_eq!(done.out, "", "{flags:?}");
        let error = done.err.lines().skip_while(|l| !l.starts_with("error: ")).take_while(|l| !l.is_empty());
        let error: Vec<&str> = error.collect();
        let name = words[1].rsplit('/').next().unwrap();
        writeln!(answers, "{name} {}\n  {}: {}", flags.join(" "), done.code.unwrap(), error.join("\n  "))
            .unwrap();
    }
    insta::assert_snapshot!(answers);
}
