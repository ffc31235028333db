//! Names of classes: from a file, from metadata, in targets and results.

use super::*;

const MLP: &str = "fixtures/tabular_mlp/model.onnx";
const PROBABILITIES: &str = "fixtures/tabular_mlp/sklearn.onnx";
const ROWS: [&str; 2] = ["--csv", "fixtures/tabular_mlp/rows.csv"];
const NAMES: [&str; 2] = ["--classes", "fixtures/tables/breast_cancer_classes.txt"];

/// A copy of a model with a pair of metadata.
fn with_metadata(folder: &TempDir, model: &str, key: &str, value: &str) -> String {
    let mut proto = dlbc_proto::read_model(model.as_ref(), &dlbc_proto::Limits::default()).unwrap().proto;
    proto.metadata_props = vec![metadata(key, value)];
    let file = path(folder, "named.onnx");
    fs::write(&file, dlbc_proto::encode(&proto)).unwrap();
    file
}

#[test]
fn a_class_name_is_a_target() {
    let run = |target: &str| json(&[&["run", MLP, "--target", target], &ROWS, &NAMES]);
    for (name, index) in
        [("malignant", "0"), ("Benign", "1"), ("benign-malignant", "1-0"), ("malignant-1", "0-1")]
    {
        let (named, numbered) = (run(name), run(index));
        for key in ["targets", "start", "inputs", "target_name"] {
            assert_eq!(named[key], numbered[key], "{name}: {key}");
        }
        assert_eq!(named["target"], name);
    }
    assert_eq!(run("malignant")["target_name"], "malignant");
    assert_eq!(run("0-1")["target_name"], "malignant minus benign");
    let several = run("benign,malignant");
    assert_eq!(several["by_target"][1]["target_name"], "malignant");
    let mistyped = dlbc(&[&["run", MLP, "--target", "melignant"], &ROWS, &NAMES]);
    assert_eq!(mistyped.code, Some(2));
    assert!(mistyped.err.contains("help: did you mean `malignant`?"), "{}", mistyped.err);
    assert!(fails(2, &[&["run", MLP, "--target", "benign,1"], &ROWS, &NAMES]).contains("twice"));
    let nameless = dlbc(&[&["run", MLP, "--target", "first"], &ROWS]);
    assert!(nameless.code == Some(2) && nameless.err.contains("--classes FILE"), "{}", nameless.err);
}

#[test]
fn results_name_the_class() {
    let summary = json(&[&["run", MLP], &ROWS, &NAMES]);
    assert_eq!(summary["outputs"]["logits"]["argmax_names"], json!(["benign"]));
    assert_eq!((&summary["target_name"], &summary["target_names"]), (&"benign".into(), &json!(["benign"])));
    let text = ok(&[&["run", MLP], &ROWS, &NAMES]);
    assert!(text.contains("argmax 1 benign (") && text.contains("target   argmax = 1 benign of"), "{text}");
    let text = ok(&[&["run", MLP, "--target", "0"], &ROWS, &NAMES]);
    assert!(text.contains("target   0 malignant of logits"), "{text}");
    let plain = json(&[&["run", MLP], &ROWS]);
    assert!(plain.get("target_name").is_none() && plain["outputs"]["logits"].get("argmax_names").is_none());
}

#[test]
fn probabilities_and_labels_are_named() {
    let text = ok(&[&["run", PROBABILITIES, "--row", "3"], &ROWS]);
    assert!(text.contains("argmax 1 (probability 0.9999"), "{text}");
    let wine = ["run", "fixtures/tables/wine.onnx", "--csv", "fixtures/tables/wine.csv"];
    let text = ok(&[&wine, &["--classes", "fixtures/tables/wine_classes.txt", "--output", "probabilities"]]);
    assert!(text.contains("output   label [1]  class 2 class_2\n"), "{text}");
    assert!(text.contains("(probability 0.95"), "{text}");
    let summary = json(&[&wine, &["--output", "probabilities"]]);
    assert_eq!(summary["outputs"]["probabilities"]["probability"], true);
    assert_eq!(summary["outputs"]["label"]["labels"].as_array().unwrap().len(), 1);
    assert_eq!(json(&[&["run", MLP], &ROWS])["outputs"]["logits"].get("probability"), None);
}

#[test]
fn metadata_names_classes_of_a_model_and_its_artifact() {
    let folder = folder();
    let model = with_metadata(&folder, MLP, "names", "{0: 'malignant', 1: 'benign'}");
    let name = |model: &str| json(&[&["run", model], &ROWS])["target_name"].clone();
    assert_eq!(name(&model), "benign");
    let artifact = path(&folder, "named.dlbc.onnx");
    ok(&[&["compile", &model, "-o", &artifact]]);
    assert_eq!(name(&artifact), "benign");
    ok(&[&["run", &artifact, "--target", "malignant"], &ROWS]);
    // Names that are not as many as the units are not those of the output.
    let other = with_metadata(&folder, MLP, "names", "{0: 'a', 1: 'b', 2: 'c'}");
    assert_eq!(name(&other), Value::Null);
    let broken = with_metadata(&folder, MLP, "names", "{0: 'a', 1:");
    assert_eq!(name(&broken), Value::Null);
}

#[test]
fn files_of_class_names_are_checked() {
    let folder = folder();
    let file = path(&folder, "classes.txt");
    fs::write(&file, "one\ntwo\nthree\n").unwrap();
    let error = fails(2, &[&["run", MLP, "--classes", &file], &ROWS]);
    assert!(error.contains("do not fit output `logits`: expected 2 names, found 3"), "{error}");
    fs::write(&file, "").unwrap();
    assert!(
        fails(3, &[&["run", MLP, "--classes", &file], &ROWS]).contains("expected class names, found none")
    );
    fails(2, &[&["run", MLP, "--classes", "missing.txt"], &ROWS]);
}

#[test]
fn boxes_have_class_names() {
    let folder = folder();
    let file = path(&folder, "classes.txt");
    fs::write(&file, "disc\nsquare\n").unwrap();
    let picture = ["--image", "fixtures/scenes/picture.png", "--mean", "0", "--std", "1"];
    let run = |extra: &[&str]| {
        json(&[&["run", "fixtures/scenes/detector.onnx", "--classes", &file], &picture, extra])
    };
    let best = run(&["--box", "best"]);
    let class = best["boxes"][0]["class"].as_u64().unwrap() as usize;
    assert_eq!(best["boxes"][0]["class_name"], ["disc", "square"][class]);
    let square = run(&["--box", "best", "--class", "square"]);
    assert_eq!(square["boxes"][0]["class"], 1);
}
