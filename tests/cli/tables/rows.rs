//! Features of one row and of several: in the summary, in results, in pictures.

use std::fs::File;

use ndarray_npy::NpzReader;

use super::*;

const WINE: [&str; 2] = ["run", "fixtures/tables/wine.onnx"];
const TABLE: [&str; 4] = ["--csv", "fixtures/tables/wine.csv", "--output", "probabilities"];
const NAMES: [&str; 2] = ["--classes", "fixtures/tables/wine_classes.txt"];

/// The relevance of `X` in a result.
fn relevance(file: &str) -> ndarray::Array2<f32> {
    NpzReader::new(File::open(file).unwrap()).unwrap().by_name("relevance/X").unwrap()
}

fn numbers(list: &Value, key: &str) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|f| f[key].as_f64().unwrap()).collect()
}

#[test]
fn a_row_lists_its_strongest_features() {
    let folder = folder();
    let npz = path(&folder, "r.npz");
    let words = [&WINE[..], &TABLE, &["--row", "4", "--rules", "lrp-epsilon"]];
    let text = ok(&words);
    let (heading, list) = text.split_once("feature ").unwrap();
    assert!(heading.contains("argmax") && list.starts_with(' '), "{text}");
    assert!(list.contains("the 10 largest of 13 features"), "{text}");
    let summary = json(&[&words.concat(), &["--out", &npz]]);
    let features = summary["features"].as_array().unwrap();
    assert_eq!((features.len(), &features[0]["name"]), (13, &"alcohol".into()));
    assert_eq!(features[0]["value"], 13.73);
    let expected: Vec<f64> = relevance(&npz).row(0).iter().map(|r| f64::from(*r)).collect();
    let listed = numbers(&summary["features"], "relevance");
    assert!(
        listed.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs()),
        "{listed:?} {expected:?}"
    );
    assert!((numbers(&summary["features"], "share").iter().sum::<f64>() - 1.0).abs() < 1e-9);
    // The strongest stands first, bars have signs.
    let largest = (0..13).max_by(|a, b| expected[*a].abs().total_cmp(&expected[*b].abs())).unwrap();
    let first = list.lines().nth(2).unwrap();
    assert!(first.starts_with(features[largest]["name"].as_str().unwrap()), "{text}");
    assert!(first.ends_with(if expected[largest] < 0.0 { "------------" } else { "############" }), "{text}");
    assert_eq!(summary["rows"], json!([4]));
}

#[test]
fn several_rows_are_one_batch() {
    let folder = folder();
    let (all, single, csv) = (path(&folder, "all.npz"), path(&folder, "one.npz"), path(&folder, "r.csv"));
    let summary = json(&[&WINE, &TABLE, &["--row", "0-2,7", "--out", &all]]);
    assert_eq!(summary["rows"], json!([0, 1, 2, 7]));
    assert_eq!(summary["outputs"]["probabilities"]["shape"], json!([4, 3]));
    let together = relevance(&all);
    for (i, row) in ["0", "1", "2", "7"].into_iter().enumerate() {
        ok(&[&WINE, &TABLE, &["--row", row, "--out", &single]]);
        let gap = &relevance(&single).row(0) - &together.row(i);
        assert!(gap.iter().all(|g| g.abs() < 1e-3), "{row}: {gap}");
    }
    for feature in 0..13 {
        let mean = together.column(feature).iter().map(|r| f64::from(r.abs())).sum::<f64>() / 4.0;
        assert!((numbers(&summary["mean_features"], "magnitude")[feature] - mean).abs() < 1e-6);
    }
    assert_eq!(summary["features"].as_array().unwrap().len(), 4);
    let text = ok(&[&WINE, &TABLE, &["--row", "all", "--target", "class_1"], &NAMES]);
    assert!(text.contains("target   class_1 = 1 of probabilities\n"), "{text}");
    let text = ok(&[&WINE, &TABLE, &["--row", "all", "--out", &csv], &NAMES]);
    assert!(text.contains("feature, 30 rows") && text.contains("mean magnitude"), "{text}");
    let lines: Vec<String> = fs::read_to_string(&csv).unwrap().lines().map(String::from).collect();
    assert_eq!(lines.len(), 31);
    assert!(lines[0].starts_with("row,target,alcohol,malic_acid,") && lines[1].starts_with("0,class_2,"));
    let third: Vec<f32> = lines[3].split(',').skip(2).map(|c| c.parse().unwrap()).collect();
    ok(&[&WINE, &TABLE, &["--row", "all", "--out", &all]]);
    assert_eq!(third, relevance(&all).row(2).to_vec());
}

#[test]
fn each_target_has_a_list() {
    let folder = folder();
    let csv = path(&folder, "r.csv");
    let words = [&WINE[..], &TABLE, &["--target", "class_0,class_0-class_2", "--out", &csv], &NAMES];
    let text = ok(&words);
    assert_eq!(text.matches("the 10 largest of 13 features").count(), 2, "{text}");
    let lines = fs::read_to_string(&csv).unwrap();
    let targets: Vec<&str> = lines.lines().skip(1).map(|l| l.split(',').nth(1).unwrap()).collect();
    assert_eq!(targets, ["class_0", "class_0 minus class_2"]);
    let both = json(&[&WINE, &TABLE, &["--mode", "contrastive", "--target", "0"]]);
    let net: f64 = numbers(&both["features"], "relevance").iter().sum();
    let track = |track: &Value| track["inputs"]["X"].as_f64().unwrap();
    assert!((net - (track(&both) - track(&both["opposing"]))).abs() < 1e-3);
}

#[test]
fn results_have_the_names_of_features() {
    let folder = folder();
    let (file, tensors) = (path(&folder, "r.json"), path(&folder, "r.safetensors"));
    ok(&[&WINE, &TABLE, &["--row", "3", "--out", &file]]);
    let read: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&read["features"]["X"][1], &read["rows"]), (&"malic_acid".into(), &json!([3])));
    ok(&[&WINE, &TABLE, &["--row", "3", "--out", &tensors]]);
    assert!(String::from_utf8_lossy(&fs::read(&tensors).unwrap()).contains("malic_acid"));
    ok(&[&["diff", &file, &tensors, "--max-l1", "0"]]);
    let digit = ["run", "fixtures/digits_cnn/model.onnx", "--image", "fixtures/digits_cnn/digit.png"];
    assert!(help_after(2, &[&digit, &["--out", &path(&folder, "r.csv")]]).contains("--csv"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn missing_rows_are_refused() {
    for (rows, says) in [("-1", "numbers from 0"), ("x", "0-49,60, or all"), ("5-3", "3-5")] {
        let refused = dlbc(&[&WINE, &TABLE, &["--row", rows]]);
        assert!(refused.code == Some(2) && refused.err.contains(says), "{rows}: {}", refused.err);
    }
    assert!(fails(3, &[&WINE, &TABLE, &["--row", "25-49"]]).contains("no row 30: the table has 30 rows"));
    let bound = ["--row", "all", "--max-tensor-bytes", "3KiB"];
    fails(7, &[&WINE, &TABLE, &bound]);
}

#[test]
fn pictures_of_tables_are_drawn() {
    let folder = folder();
    let size = |extra: &[&str]| {
        let file = path(&folder, "p.png");
        ok(&[&WINE, &TABLE, &["--heatmap", &file], extra]);
        image::image_dimensions(&file).unwrap()
    };
    let single = size(&["--row", "2"]);
    let all = size(&["--row", "all"]);
    assert!(all.0 > single.0 && all.1 > 13 * 24, "{single:?} {all:?}");
    assert!(size(&["--row", "all", "--target", "0,1"]).1 > 2 * all.1 - 40);
    let title =
        "a title that is longer than the picture is wide, so that the picture grows with it ".repeat(2);
    assert!(size(&["--row", "2", "--title", &title]).0 > single.0);
}
