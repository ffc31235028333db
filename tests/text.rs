//! Texts on the command line: ids, tokens, colours, and what goes wrong.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::process::Command;

use serde_json::Value;

const MODEL: &str = "fixtures/sentiment_bert/model.onnx";
const REVIEW: &str = "An enjoyable film, funny and moving, but the ending is a bit dull.";

struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(words: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dlbc"));
    command.arg("run").args(words).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("NO_COLOR");
    let output = command.output().unwrap();
    let done = Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!done.err.contains("panicked"), "{}", done.err);
    done
}

fn ok(words: &[&str]) -> String {
    let done = run(words);
    assert_eq!(done.code, Some(0), "{}", done.err);
    done.out
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&ok(&[words, &["--json"]].concat())).unwrap()
}

/// Fails with `code`, and the error names every one of `parts`.
fn fails(code: i32, words: &[&str], parts: &[&str]) {
    let done = run(words);
    assert_eq!(done.code, Some(code), "{words:?}\n{}", done.err);
    for part in parts {
        assert!(done.err.contains(part), "{part:?} expected in {}", done.err);
    }
}

fn numbers(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn tokens_carry_the_relevance_of_the_ids() {
    let summary = json(&[MODEL, "--text", REVIEW]);
    let tokens = summary["tokens"][0].as_array().unwrap();
    let ids: Vec<i64> = tokens.iter().map(|t| t["id"].as_i64().unwrap()).collect();
    // What the model was trained with.
    assert_eq!(ids, [2, 22, 393, 17, 5, 69, 7, 266, 5, 16, 4, 408, 10, 6, 278, 288, 3]);
    let sum: f64 = tokens.iter().map(|t| numbers(&t["relevance"])).sum();
    assert!((sum - numbers(&summary["inputs"]["input_ids"])).abs() < 1e-3);
    for token in tokens.iter().filter(|t| !t["special"].as_bool().unwrap()) {
        let (start, end) =
            (token["start"].as_u64().unwrap() as usize, token["end"].as_u64().unwrap() as usize);
        assert_eq!(REVIEW[start..end].to_lowercase(), token["token"].as_str().unwrap());
    }
    assert_eq!(summary["outputs"]["logits"]["argmax"][0], 1);
}

#[test]
fn a_batch_is_padded_and_its_rows_are_those_of_single_runs() {
    let (long, short) = (REVIEW, "Dreadful.");
    let batch = json(&[MODEL, "--text", long, "--text", short, "--target", "1"]);
    for (i, text) in [long, short].into_iter().enumerate() {
        let alone = json(&[MODEL, "--text", text, "--target", "1"]);
        let (a, b) = (batch["tokens"][i].as_array().unwrap(), alone["tokens"][0].as_array().unwrap());
        assert_eq!(a.len(), b.len(), "padding is no token");
        for (a, b) in a.iter().zip(b) {
            let (a, b) = (numbers(&a["relevance"]), numbers(&b["relevance"]));
            assert!((a - b).abs() < 1e-3, "{text}: {a}, {b}");
        }
    }
}

#[test]
fn colours_follow_the_flag() {
    let plain = ok(&[MODEL, "--text", REVIEW]);
    assert!(!plain.contains('\u{1b}') && plain.contains("enjoyable"), "{plain}");
    let colored = ok(&[MODEL, "--text", REVIEW, "--color", "always"]);
    assert!(colored.contains("\u{1b}[") && colored.contains("48;2;"), "{colored:?}");
    assert!(!ok(&[MODEL, "--text", REVIEW, "--color", "never"]).contains('\u{1b}'));
}

#[test]
fn the_table_of_tokens() {
    let out = ok(&[MODEL, "--text", "a waste of time"]);
    let table: Vec<&str> = out.lines().skip_while(|l| !l.starts_with("token")).take(7).collect();
    let words: Vec<&str> = table[2..].iter().map(|l| l.split_whitespace().next().unwrap()).collect();
    assert_eq!(words, ["[CLS]", "a", "waste", "of", "time"]);
}

#[test]
fn a_picture_of_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.png");
    ok(&[MODEL, "--text", REVIEW, "--text", "Dull.", "--heatmap", file.to_str().unwrap()]);
    let (width, height) = image::image_dimensions(&file).unwrap();
    assert!(width >= 800 && height > 100, "{width}x{height}");
}

#[test]
fn what_is_no_text_for_a_model_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("tokenizer.json");
    fs::write(&damaged, "{\"model\": 3}").unwrap();
    let damaged = damaged.to_str().unwrap();
    fails(2, &["fixtures/digits_cnn/model.onnx", "--text", "hi"], &["input_ids", "`input`"]);
    fails(3, &[MODEL, "--text", "hi", "--tokenizer", damaged], &[damaged, "no tokenizer"]);
    fails(3, &[MODEL, "--text", "hi", "--tokenizer", "missing.json"], &["missing.json"]);
    fails(2, &[MODEL, "--tokenizer", damaged], &["--text"]);
    fails(2, &[MODEL, "--text", "hi", "--max-length", "0"], &["--max-length"]);
    let alone = folder.path().join("model.onnx");
    fs::copy(MODEL, &alone).unwrap();
    fs::remove_file(damaged).unwrap();
    fails(2, &[alone.to_str().unwrap(), "--text", "hi"], &["--tokenizer"]);
    fails(2, &[MODEL, "--text", "", "--no-special-tokens"], &["no token"]);
}

#[test]
fn empty_and_endless_texts_are_defined() {
    let empty = json(&[MODEL, "--text", ""]);
    assert_eq!(empty["tokens"][0].as_array().unwrap().len(), 1, "the first token is left");
    let long = "good film ".repeat(10_000);
    let done = run(&[MODEL, "--text", &long, "--json"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("cut to 64 tokens"), "{}", done.err);
    let short = json(&[MODEL, "--text", &long, "--max-length", "5"]);
    assert_eq!(short["tokens"][0].as_array().unwrap().len(), 5);
    let odd = ok(&[MODEL, "--text", "bad\u{1b}[2J\u{202e} film\u{0007}"]);
    assert!(!odd.contains('\u{1b}') && !odd.contains('\u{202e}') && !odd.contains('\u{7}'), "{odd:?}");
}

#[test]
fn ids_out_of_range_name_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, values: &[i64], dims: [usize; 2]| {
        let path = folder.path().join(name);
        let array = ndarray::Array2::from_shape_vec(dims, values.to_vec()).unwrap();
        ndarray_npy::write_npy(&path, &array).unwrap();
        path.to_str().unwrap().to_string()
    };
    let mask = format!("attention_mask={}", write("mask.npy", &[1, 1, 1], [1, 3]));
    let ids = format!("input_ids={}", write("ids.npy", &[2, 999_999, 3], [1, 3]));
    for device in ["cpu", "reference"] {
        fails(
            3,
            &[MODEL, "--input", &ids, "--input", &mask, "--device", device],
            &["999999", "out of range"],
        );
    }
    let ids = format!("input_ids={}", write("good.npy", &[2, 5, 3], [1, 3]));
    let mask = format!("attention_mask={}", write("wide.npy", &[1; 4], [1, 4]));
    fails(3, &[MODEL, "--input", &ids, "--input", &mask], &["attention_mask", "sequence"]);
}

#[test]
fn the_recurrent_model_shares_the_tokenizer() {
    let words =
        ["fixtures/sentiment_lstm/model.onnx", "--tokenizer", "fixtures/sentiment_bert/tokenizer.json"];
    for (text, class, word) in [("A waste of two hours.", 0, "waste"), ("A moving, funny film.", 1, "funny")]
    {
        for rules in ["dlb", "attnlrp"] {
            let summary = json(&[&words[..], &["--rules", rules, "--text", text]].concat());
            assert_eq!(summary["targets"][0], class, "{text}");
            let tokens = summary["tokens"][0].as_array().unwrap();
            let of = |word: &str| numbers(&tokens.iter().find(|t| t["token"] == word).unwrap()["relevance"]);
            // The word that decides has more than the article.
            assert!(of(word) > of("a"), "{rules} {text}: {} for {word}, {} for a", of(word), of("a"));
        }
    }
    // Words for and against, in one review.
    let summary = json(&[&words[..], &["--rules", "attnlrp", "--text", REVIEW]].concat());
    assert_eq!(summary["targets"][0], 1);
    let tokens = summary["tokens"][0].as_array().unwrap();
    let of = |word: &str| numbers(&tokens.iter().find(|t| t["token"] == word).unwrap()["relevance"]);
    assert!(
        of("funny") > 20.0 && of("enjoyable") > 20.0 && of("but") < -20.0 && of("dull") < -20.0,
        "{tokens:?}"
    );
}
