//! `dlbc eval` as scripts see it: kinds of samples, controls, settings, files, gates, bad input.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const DIGITS: [&str; 3] = ["fixtures/digits_cnn/model.onnx", "--inputs", "fixtures/digits_cnn/input.npz"];
const TABLE: [&str; 3] = ["fixtures/tabular_mlp/model.onnx", "--csv", "fixtures/tabular_mlp/rows.csv"];
const TEXT: [&str; 3] = ["fixtures/sentiment_bert/model.onnx", "--text", "A waste of two hours."];
/// Metrics that take no time.
const QUICK: [&str; 2] = ["--metrics", "sparseness,conservation"];

struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

fn eval(words: &[&[&str]]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dlbc"));
    command.arg("eval").args(words.concat()).current_dir(env!("CARGO_MANIFEST_DIR"));
    let done = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let done = Done { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) };
    assert!(!done.err.contains("panicked") && !done.err.contains("internal error"), "{}", done.err);
    done
}

fn json(words: &[&[&str]]) -> Value {
    let done = eval(&[words.concat().as_slice(), &["--json"]]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    serde_json::from_str(&done.out).unwrap()
}

fn fails(code: i32, words: &[&[&str]]) -> String {
    let done = eval(words);
    assert_eq!(done.code, Some(code), "{words:?}: {}", done.err);
    done.err
}

fn mean(report: &Value, rules: &str, metric: &str) -> f64 {
    let results = report["results"].as_array().unwrap();
    let result = results.iter().find(|r| r["rules"] == rules).unwrap_or_else(|| panic!("no {rules}"));
    result["scores"][metric]["mean"].as_f64().unwrap_or_else(|| panic!("{rules}: no {metric} in {result}"))
}

/// The table says what the literature says of this network: an all-positive rule hardly depends on the class.
#[test]
fn composites_are_told_apart_and_controls_stand_beside() {
    let quick = ["--limit", "4", "--runs", "20", "--draws", "2", "--stages", "2"];
    let report = json(&[&DIGITS, &quick, &["--rules", "dlb,lrp-epsilon"]]);
    let rules: Vec<&str> =
        report["results"].as_array().unwrap().iter().map(|r| r["rules"].as_str().unwrap()).collect();
    assert_eq!(rules, ["dlb", "lrp-epsilon", "random", "all-equal"]);
    for composite in ["dlb", "lrp-epsilon"] {
        assert!(mean(&report, composite, "gap") > mean(&report, "random", "gap") + 0.2);
        assert!(mean(&report, composite, "insertion") > mean(&report, "random", "insertion"));
        assert!(mean(&report, composite, "deletion") < mean(&report, "random", "deletion"));
    }
    assert!(mean(&report, "dlb", "random-logit") > 0.9);
    assert!(mean(&report, "lrp-epsilon", "random-logit") < 0.4);
    assert!(mean(&report, "dlb", "max-sensitivity") < mean(&report, "lrp-epsilon", "max-sensitivity"));
    // Equal everywhere: no order, no sparseness, no dependence on anything.
    for (metric, value) in
        [("gap", 0.0), ("max-sensitivity", 0.0), ("random-logit", 1.0), ("randomisation", 1.0)]
    {
        assert!((mean(&report, "all-equal", metric) - value).abs() < 1e-9, "{metric}");
    }
    assert!((mean(&report, "all-equal", "complexity") - 64f64.ln()).abs() < 1e-6);
    assert_eq!(report["results"][0]["randomisation"].as_array().unwrap().len(), 2);
    for (setting, value) in [("baseline", "black"), ("features", "pixels"), ("target", "argmax")] {
        assert_eq!(report["settings"][setting], value);
    }
    assert_eq!(report["settings"]["features a step"], 2);
}

/// Without `--rules` the recommended composites are compared, and those that do not beat random relevance are marked.
#[test]
fn recommended_composites_are_compared_by_default() {
    let quick = ["--limit", "6", "--metrics", "gap,sparseness"];
    let report = json(&[&TABLE, &quick]);
    let results = report["results"].as_array().unwrap();
    let rules: Vec<&str> = results.iter().map(|r| r["rules"].as_str().unwrap()).collect();
    assert_eq!(rules, ["dlb", "epsilon-plus", "attnlrp", "integrated-gradients", "random", "all-equal"]);
    let listed = |rules: &str| {
        let result = results.iter().find(|r| r["rules"] == rules).unwrap();
        result["no_better_than_random"].as_array().cloned().unwrap_or_default()
    };
    for rules in &rules[..4] {
        let worse = mean(&report, rules, "gap") <= mean(&report, "random", "gap");
        assert!(!worse || listed(rules) == ["gap"], "{rules}: {:?}", listed(rules));
    }
    let text = eval(&[&DIGITS, &quick, &["--rules", "dlb,lrp-w2", "--baseline", "white"]]).out;
    assert_eq!(text.contains('*'), text.contains("no better than random"), "{text}");
    // Ids are looked up, so that integrated gradients apply to texts too; one track has no contrast.
    let report = json(&[&TEXT, &["--metrics", "gap", "--mode", "contrastive"]]);
    assert_eq!(report["results"].as_array().unwrap().len(), 3);
}

#[test]
fn samples_of_one_feature_are_left_out() {
    let done = eval(&[&TEXT, &["--text", "Fine"], &QUICK]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("`Fine` is left out: 1 feature"), "{}", done.err);
    assert!(done.out.contains("mean of 1 sample"), "{}", done.out);
    assert!(fails(2, &[&[TEXT[0], "--text", "Fine"]]).contains("two features"));
}

#[test]
fn texts_tables_and_pictures_are_evaluated() {
    let gap = ["--metrics", "gap,insertion,faithfulness-correlation", "--runs", "10"];
    let report =
        json(&[&TEXT, &gap, &["--text", "One of the best films of the year.", "--rules", "attnlrp"]]);
    assert_eq!(
        (report["settings"]["baseline"].as_str(), report["samples"][0]["features"].as_u64()),
        (Some("drop"), Some(6))
    );
    assert!(mean(&report, "attnlrp", "gap") > mean(&report, "random", "gap"));
    let report = json(&[&TEXT, &gap, &["--baseline", "pad"]]);
    assert_eq!(report["settings"]["baseline"], "pad");

    let report = json(&[&TABLE, &gap]);
    assert_eq!(
        (report["settings"]["baseline"].as_str(), report["samples"].as_array().unwrap().len()),
        (Some("feature-mean"), 10)
    );

    let folder = tempfile::tempdir().unwrap();
    for name in ["b.png", "a.png"] {
        fs::copy("fixtures/digits_cnn/digit.png", folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    let pictures = ["--image", folder.path().to_str().unwrap()];
    let report = json(&[&DIGITS[..1], &pictures, &gap]);
    let names: Vec<&str> =
        report["samples"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
}

/// A model whose batch is fixed runs one input at a time, to the same numbers.
#[test]
fn without_an_open_batch_inputs_run_one_by_one() {
    let words = ["--limit", "2", "--runs", "8", "--draws", "2", "--rules", "lrp-epsilon", "--metrics"];
    let metrics = ["gap,insertion,faithfulness-correlation,max-sensitivity"];
    let open = json(&[&DIGITS, &words, &metrics]);
    let fixed = json(&[&DIGITS, &words, &metrics, &["--shape", "input=1,1,8,8"]]);
    for metric in metrics[0].split(',') {
        let (a, b) = (mean(&open, "lrp-epsilon", metric), mean(&fixed, "lrp-epsilon", metric));
        assert!((a - b).abs() < 1e-5, "{metric}: {a} and {b}");
    }
}

#[test]
fn lines_of_a_file_are_texts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("texts");
    fs::write(&file, "A waste of two hours.\n\n  Funny and moving.\n").unwrap();
    let report = json(&[&TEXT[..1], &["--text", &format!("@{}", file.display())], &QUICK]);
    assert_eq!(report["samples"][1]["name"], "Funny and moving.");
    let report = json(&[&TEXT[..1], &["--text-file", file.to_str().unwrap()], &QUICK]);
    assert_eq!(report["samples"][1]["name"], "Funny and moving.");
    fs::write(&file, "A waste of two hours.\nmeh \u{1f44e}\n\n电影\nFunny and moving.\n").unwrap();
    let done = eval(&[&TEXT[..1], &["--text-file", file.to_str().unwrap()], &QUICK]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    for part in ["text 1 (line 2 of", "text 2 (line 4 of"] {
        let note = done.err.lines().find(|l| l.contains(part) && l.contains("left out"));
        assert!(note.is_some(), "{part} is left out: {}", done.err);
    }
    let missing = fails(2, &[&TEXT[..1], &["--text", "@nothing-here"]]);
    assert!(missing.contains("nothing-here") && missing.contains("\\@"), "{missing}");
}

/// Integrated gradients sum to the difference of the outputs on pictures and, at the embeddings, on texts.
#[test]
fn integrated_gradients_are_complete() {
    let rules = ["--rules", "integrated-gradients"];
    let done = Command::new(env!("CARGO_BIN_EXE_dlbc"))
        .args(["run", TEXT[0], TEXT[1], TEXT[2], "--rules", "integrated-gradients"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&done.stderr).contains("off the difference"));
    for words in [[&DIGITS[..], &rules, &QUICK].concat(), [&TEXT[..], &rules, &QUICK].concat()] {
        let conserved = mean(&json(&[&words]), "integrated-gradients", "conservation");
        assert!((conserved - 1.0).abs() < 1e-2, "{conserved}");
    }
}

#[test]
fn files_hold_every_sample() {
    let folder = tempfile::tempdir().unwrap();
    let (out, plot) = (folder.path().join("e.json"), folder.path().join("e.png"));
    let files = ["--out", out.to_str().unwrap(), "--plot", plot.to_str().unwrap()];
    let done = eval(&[&DIGITS, &["--metrics", "morf,lerf,region-perturbation", "--limit", "3"], &files]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let report: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let first = &report["results"][0];
    assert_eq!(first["scores"]["morf"]["samples"].as_array().unwrap().len(), 3);
    assert_eq!(first["curves"]["lerf"][2].as_array().unwrap().len(), 32);
    assert_eq!(first["rules_hash"].as_str().unwrap().len(), 64);
    assert!(fs::read(&plot).unwrap().starts_with(b"\x89PNG"));
    assert!(done.out.contains("better") && done.out.contains("all-equal"), "{}", done.out);
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let words = [
        &DIGITS[..],
        &["--limit", "2", "--metrics", "faithfulness-correlation,max-sensitivity", "--runs", "5"],
    ]
    .concat();
    let once = eval(&[&words]).out;
    assert_eq!(once, eval(&[&words, &["--threads", "1"]]).out);
    assert_ne!(once, eval(&[&words, &["--seed", "7"]]).out);
    let refused = eval(&[&words, &["--device", "cpu", "--precision", "simt"]]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("`--precision` applies to GPUs only"), "{}", refused.err);
}

#[test]
fn bounds_are_gates() {
    let words = [&DIGITS[..], &["--metrics", "sparseness", "--rules", "dlb,lrp-epsilon"]].concat();
    assert_eq!(
        eval(&[&words, &["--fail-under", "sparseness=0.1", "--fail-over", "sparseness=0.99"]]).code,
        Some(0)
    );
    let error = fails(6, &[&words, &["--fail-under", "sparseness=0.72"]]);
    assert!(error.contains("`dlb`: sparseness 0.6") && !error.contains("lrp-epsilon"), "{error}");
    let error = fails(6, &[&words, &["--fail-over", "sparseness=0.1"]]);
    assert!(error.contains("is above 0.1"), "{error}");
    // Controls are not candidates.
    assert_eq!(eval(&[&words, &["--fail-under", "sparseness=0.5"]]).code, Some(0));
}

#[test]
fn bad_input_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for (code, words, message) in [
        (2, vec!["--metrics", "gap,nothing"], "possible values: morf"),
        (2, vec!["--baseline", "grey"], "expected black"),
        (2, vec!["--baseline", "drop"], "texts only"),
        (2, vec!["--target", "1-2"], "expected argmax or an index"),
        (2, vec!["--target", "10"], "out of range"),
        (2, vec!["--metrics", "pointing-game"], "expected `--mask`"),
        (2, vec!["--fail-under", "rank-accuracy=1"], "expected `--mask`"),
        (2, vec!["--metrics", "gap", "--fail-under", "morf=0"], "leaves out"),
        (2, vec!["--fail-under", "gap"], "METRIC=VALUE"),
        (2, vec!["--out", "nowhere/e.json"], "nowhere"),
        (2, vec!["--metrics", "sparseness", "--plot", "e.png"], "curve"),
        (2, vec!["--rules", "dlb,unheard"], "unheard"),
        (5, vec!["--device", "cuda"], "CUDA"),
    ] {
        let error = fails(code, &[&DIGITS, &["--limit", "1"], &words]);
        assert!(error.contains(message), "{words:?}: {error}");
    }
    assert!(!Path::new("e.png").exists());
    for (code, words, message) in [
        (2, vec![DIGITS[0]], "missing input"),
        (3, vec![DIGITS[0], "--image", empty], "no picture"),
        (
            3,
            vec![DIGITS[0], "--inputs", "fixtures/tabular_mlp/rows.csv"],
            "npz archive of arrays, found a CSV table",
        ),
        (2, vec![TEXT[0], "--text", "Fine.", "--baseline", "black"], "drop or pad"),
        (2, vec![TEXT[0], "--text", "Fine.", "--metrics", "max-sensitivity"], "floats"),
        (
            2,
            vec![TABLE[0], "--csv", "fixtures/tabular_mlp/rows.csv", "--metrics", "region-perturbation"],
            "pictures",
        ),
    ] {
        let error = fails(code, &[&words]);
        assert!(error.contains(message), "{words:?}: {error}");
    }
}

/// An artifact is evaluated too, but for its weights; a composite that repeats is kept in it.
#[test]
fn artifacts_are_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let artifact = folder.path().join("digits.dlbc.onnx");
    let dlbc = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlbc"));
        command.args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
    };
    let out = artifact.to_str().unwrap();
    let done = dlbc(&["compile", DIGITS[0], "--rules", "integrated-gradients", "-o", out]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let report = json(&[&[out, DIGITS[1], DIGITS[2], "--limit", "2", "--metrics", "conservation,morf"]]);
    assert!((mean(&report, "integrated-gradients", "conservation") - 1.0).abs() < 2e-2);
    assert!(fails(2, &[&[out, DIGITS[1], DIGITS[2], "--metrics", "randomisation"]]).contains("artifact"));
    for (words, message) in [
        (vec!["export", DIGITS[0], "--rules", "smoothgrad", "-o", "x.onnx"], "several runs"),
        (vec!["compile", TEXT[0], "--rules", "integrated-gradients", "-o", "x.onnx"], "`input_ids`"),
        (vec!["run", DIGITS[0], "--inputs", DIGITS[2], "--rules", "smoothgrad", "--audit"], "the ledger"),
    ] {
        let done = dlbc(&words);
        let error = String::from_utf8_lossy(&done.stderr).to_string();
        assert!(done.status.code() == Some(4) && error.contains(message), "{words:?}: {error}");
    }
    assert!(!Path::new("x.onnx").exists());
}
