//! Texts on the command line: ids, tokens, colours, and what goes wrong.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

const MODEL: &str = "fixtures/sentiment_bert/model.onnx";
const REVIEW: &str = "An enjoyable film, funny and moving, but the ending is a bit dull.";

struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(words: &[&str]) -> Done {
    with_input(words, "")
}

fn with_input(words: &[&str], input: &str) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dlbc"));
    command.arg("run").args(words).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
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
        let separate = json(&[MODEL, "--text", text, "--target", "1"]);
        let (a, b) = (batch["tokens"][i].as_array().unwrap(), separate["tokens"][0].as_array().unwrap());
        assert_eq!(a.len(), b.len(), "padding is not a token");
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
    let table: Vec<Vec<&str>> = (out.lines().skip_while(|l| !l.starts_with("token")).take(8))
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert_eq!(table[0], ["token", "position", "relevance", "share"]);
    let words: Vec<(&str, &str)> = table[2..6].iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(words, [("a", "1"), ("waste", "2"), ("of", "3"), ("time", "4")]);
    // The tokens that the tokenizer added stand apart and do not shorten the bars of the words.
    assert!(table[6][0].starts_with("---"), "{out}");
    assert_eq!((table[7][0], table[7][1]), ("[CLS]", "0"));
    let longest = table[2..6].iter().filter_map(|row| row.get(5)).map(|bar| bar.len()).max();
    assert_eq!(longest, Some(12), "{out}");
    let shares: f64 =
        table[2..].iter().filter_map(|row| row.get(3)).filter_map(|s| s.parse::<f64>().ok()).sum();
    assert!((shares - 100.0).abs() < 0.5, "shares of the magnitudes: {out}");
}

#[test]
fn shares_of_signed_maps_are_of_the_magnitudes() {
    let out = ok(&[MODEL, "--text", REVIEW, "--rules", "attnlrp", "--color", "always"]);
    let rows: Vec<Vec<&str>> = out.lines().map(|l| l.split_whitespace().collect()).collect();
    let shares: Vec<f64> = rows
        .iter()
        .filter(|row| row.len() >= 5 && row[4] == "%" && row[1].parse::<usize>().is_ok())
        .map(|row| row[3].parse().unwrap())
        .collect();
    assert_eq!(shares.len(), 11, "the ten strongest and [CLS]: {out}");
    assert!(shares.iter().all(|s| (0.0..=100.0).contains(s)), "{out}");
    assert!(out.contains("the 10 strongest of 16 tokens"), "{out}");
}

#[test]
fn a_batch_says_target_value_and_sum_of_each_text() {
    let words = [MODEL, "--text", "A waste of two hours.", "--text", REVIEW, "--rules", "attnlrp"];
    let out = ok(&words);
    let summary = json(&words);
    let headings: Vec<&str> = out.lines().filter(|l| l.starts_with("text ")).collect();
    assert_eq!(headings.len(), 2, "{out}");
    for (i, (heading, target)) in headings.iter().zip([0, 1]).enumerate() {
        assert!(heading.starts_with(&format!("text {i}   target {target}, value ")), "{heading}");
        let text = &summary["texts"][i];
        assert_eq!(text["target"], target);
        assert_eq!(numbers(&text["value"]), numbers(&summary["outputs"]["logits"]["max"][i]));
        assert!(numbers(&text["probability"]) > 0.5);
        let tokens = summary["tokens"][i].as_array().unwrap();
        let sum: f64 = tokens.iter().map(|t| numbers(&t["relevance"])).sum();
        assert!((sum - numbers(&text["relevance"])).abs() < 1e-9);
    }
    assert!(headings[0].ends_with("\"A waste of two hours.\""), "{}", headings[0]);
}

#[test]
fn words_add_up_their_tokens() {
    let Some(folder) = model("minilm") else { return };
    let (file, text) = (format!("{folder}/model.onnx"), "An unbelievably good film, isn't it?");
    let out = ok(&[&file, "--text", text, "--words"]);
    assert!(out.lines().any(|l| l.starts_with("unbelievably ")), "{out}");
    let summary = json(&[&file, "--text", text, "--words"]);
    let (words, tokens) = (summary["words"][0].as_array().unwrap(), summary["tokens"][0].as_array().unwrap());
    let sum = |items: &[Value]| items.iter().map(|x| numbers(&x["relevance"])).sum::<f64>();
    assert!((sum(words) - sum(tokens)).abs() < 1e-6 && words.len() < tokens.len());
    let shown: Vec<&str> = words.iter().map(|w| w["word"].as_str().unwrap()).collect();
    assert_eq!(shown, ["[CLS]", "An", "unbelievably", "good", "film", ",", "isn't", "it", "?", "[SEP]"]);
    let word = words.iter().find(|w| w["word"] == "unbelievably").unwrap();
    let positions: Vec<usize> =
        word["positions"].as_array().unwrap().iter().map(|p| p.as_u64().unwrap() as usize).collect();
    assert!(positions.len() > 1);
    let chosen: Vec<Value> = positions.iter().map(|p| tokens[*p].clone()).collect();
    assert!((sum(&chosen) - numbers(&word["relevance"])).abs() < 1e-9);
    assert_eq!((word["start"].as_u64(), word["char_end"].as_u64()), (Some(3), Some(15)));
    fails(2, &[&file, "--words", "--inputs", "x.npz"], &["--text"]);
}

/// The folder of a real model, where it was fetched.
fn model(name: &str) -> Option<String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/models").join(name);
    folder.is_dir().then(|| folder.to_str().unwrap().to_string())
}

#[test]
fn offsets_are_in_bytes_and_in_characters() {
    let text = "Élan: a naïve, dull film";
    let summary = json(&[MODEL, "--text", text]);
    for token in summary["tokens"][0].as_array().unwrap().iter().filter(|t| t["special"] == false) {
        let at = |key: &str| token[key].as_u64().unwrap() as usize;
        let shown = token["text"].as_str().unwrap();
        assert_eq!(&text[at("start")..at("end")], shown);
        let by_characters: String =
            text.chars().skip(at("char_start")).take(at("char_end") - at("char_start")).collect();
        assert_eq!(by_characters, shown);
    }
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
fn characters_that_no_font_has_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.png");
    let drawn = |fonts: &str, name: &str, text: &str| {
        let file = folder.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_dlbc"));
        command.args(["run", MODEL, "--text", text, "--heatmap", file.to_str().unwrap()]);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("DLBC_FONTS", fonts);
        let done = command.output().unwrap();
        assert!(done.status.success());
        String::from_utf8(done.stderr).unwrap()
    };
    let none = folder.path().join("no fonts");
    fs::create_dir(&none).unwrap();
    let none = none.to_str().unwrap();
    let picture = drawn(none, "text.png", "中影 good 中");
    assert!(
        picture.contains("no font has a glyph for 2 characters") && picture.contains("`中`, `影`"),
        "{picture}"
    );
    // The font of the fixtures has the first of them.
    let picture = drawn("fixtures/fonts", "square.png", "中影 good 中");
    assert!(picture.contains("no font has a glyph for 1 character of the picture (`影`)"), "{picture}");
    let (boxes, squares) = (
        image::open(&file).unwrap().to_rgb8(),
        image::open(folder.path().join("square.png")).unwrap().to_rgb8(),
    );
    assert_eq!(boxes.dimensions(), squares.dimensions(), "the layout does not depend on fonts");
    let dark = |picture: &image::RgbImage| picture.pixels().filter(|p| p.0.iter().all(|c| *c < 64)).count();
    assert!(dark(&squares) > dark(&boxes) + 100, "two filled squares instead of boxes");
    // Readers of vector files have fonts of their own, and letters of Latin scripts are a part of the program.
    assert!(!drawn(none, "text.svg", "中 good").contains("no font"));
    assert!(!drawn(none, "text.png", "Łódź naïve good").contains("no font"));
}

#[test]
fn a_picture_says_how_many_texts_it_leaves_out() {
    let folder = tempfile::tempdir().unwrap();
    let (texts, picture) = (folder.path().join("texts.txt"), folder.path().join("words.png"));
    let drawn = |count: usize| {
        fs::write(&texts, "a good film\n".repeat(count)).unwrap();
        let words = [MODEL, "--text-file", texts.to_str().unwrap(), "--heatmap", picture.to_str().unwrap()];
        let done = run(&[&words[..], &["--quiet"]].concat());
        assert_eq!(done.code, Some(0), "{}", done.err);
        (done.err, image::image_dimensions(&picture).unwrap().1)
    };
    let (err, height) = drawn(20);
    assert!(!err.contains("the heat map shows") && height > 20 * 3 * 20, "{err}");
    let (err, _) = drawn(70);
    assert!(err.contains("warning: the heat map shows the first 64 of 70 texts"), "{err}");
}

#[test]
fn unsuitable_texts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("tokenizer.json");
    fs::write(&damaged, "{\"model\": 3}").unwrap();
    let damaged = damaged.to_str().unwrap();
    fails(2, &["fixtures/digits_cnn/model.onnx", "--text", "hi"], &["input_ids", "`input`"]);
    fails(3, &[MODEL, "--text", "hi", "--tokenizer", damaged], &[damaged, "invalid tokenizer"]);
    fails(3, &[MODEL, "--text", "hi", "--tokenizer", "missing.json"], &["missing.json"]);
    fails(2, &[MODEL, "--tokenizer", damaged], &["--text"]);
    fails(2, &[MODEL, "--text", "hi", "--max-length", "0"], &["--max-length"]);
    let separate = folder.path().join("model.onnx");
    fs::copy(MODEL, &separate).unwrap();
    fs::remove_file(damaged).unwrap();
    fails(2, &[separate.to_str().unwrap(), "--text", "hi"], &["--tokenizer"]);
    fails(3, &[MODEL, "--text", "", "--no-special-tokens"], &["text 0 is empty"]);
}

#[test]
fn empty_and_endless_texts_are_defined() {
    fails(3, &[MODEL, "--text", "good", "--text", " "], &["text 1 is empty"]);
    let long = "good film ".repeat(10_000);
    let done = run(&[MODEL, "--text", &long, "--json"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("cut to 64 tokens") && done.err.contains("64 of 20001 tokens"), "{}", done.err);
    let short = json(&[MODEL, "--text", &long, "--max-length", "5"]);
    assert_eq!(short["tokens"][0].as_array().unwrap().len(), 5);
    let odd = ok(&[MODEL, "--text", "bad\u{1b}[2J\u{202e} film\u{0007}"]);
    assert!(!odd.contains('\u{1b}') && !odd.contains('\u{202e}') && !odd.contains('\u{7}'), "{odd:?}");
}

#[test]
fn texts_come_from_files_and_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("texts.txt");
    fs::write(&file, "\u{feff}A waste of two hours.\r\n\n  Funny and moving.\n@home\n").unwrap();
    let path = file.to_str().unwrap();
    let texts_of = |words: &[&str], input: &str| -> Vec<String> {
        let done = with_input(&[&[MODEL, "--json"], words].concat(), input);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let summary: Value = serde_json::from_str(&done.out).unwrap();
        summary["texts"].as_array().unwrap().iter().map(|t| t["text"].as_str().unwrap().into()).collect()
    };
    let lines = ["A waste of two hours.", "Funny and moving.", "@home"];
    assert_eq!(texts_of(&["--text", &format!("@{path}")], ""), lines);
    assert_eq!(texts_of(&["--text-file", path], ""), lines);
    assert_eq!(texts_of(&["--text", "-"], "one film\ntwo films\n"), ["one film", "two films"]);
    assert_eq!(texts_of(&["--text-file", "-", "--text", "good"], "a film"), ["good", "a film"]);
    assert_eq!(
        texts_of(&["--text", "\\@home", "--text", "\\- no", "--text", "a"], ""),
        ["@home", "\\- no", "a"]
    );
    // A literal dash has no token here, and is read as a text of its own.
    fails(0, &[MODEL, "--text", "\\-"], &["nothing of text 0", "`-`"]);

    fails(2, &[MODEL, "--text", "@nothing-here"], &["`nothing-here`", "\\@"]);
    fails(2, &[MODEL, "--text-file", "nothing-here"], &["`nothing-here`"]);
    fails(2, &[MODEL, "--text", "-", "--text-file", "-"], &["standard input"]);
    fails(3, &[MODEL, "--text", "-"], &["expected a text"]);
    fs::write(&file, [b'a', 0xff]).unwrap();
    fails(3, &[MODEL, "--text-file", path], &["UTF-8", path]);
    fs::write(&file, "x".repeat((1 << 20) + 1)).unwrap();
    fails(
        7,
        &[MODEL, "--text-file", path],
        &["text 0 (line 1 of", "at most 1048576 characters, found 1048577"],
    );
    let large = fs::File::create(&file).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    fails(7, &[MODEL, "--text", &format!("@{path}")], &["64.0 MiB", path]);
}

#[test]
fn what_the_model_does_not_see_is_said() {
    let nothing = run(&[MODEL, "--text", "电影很好看"]);
    assert_eq!(nothing.code, Some(0), "{}", nothing.err);
    assert!(nothing.err.contains("nothing of text 0") && nothing.err.contains("[CLS]"), "{}", nothing.err);
    let part = run(&[MODEL, "--text", "Loved it 😍😍😍", "--text", "a qqqzx film"]).err;
    assert!(part.contains("no part of any token") && part.contains("`😍😍😍` of text 0"), "{part}");
    assert!(part.contains("unknown to the tokenizer") && part.contains("`qqqzx` of text 1"), "{part}");
    let all = run(&[MODEL, "--text", REVIEW]).err;
    assert!(!all.contains("token"), "{all}");
}

#[test]
fn a_tokenizer_of_another_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut tokenizer: Value =
        serde_json::from_str(&fs::read_to_string("fixtures/sentiment_bert/tokenizer.json").unwrap()).unwrap();
    let path = folder.path().join("other.json");
    let path = path.to_str().unwrap();
    tokenizer["model"]["vocab"]["waste"] = 8188.into();
    fs::write(path, tokenizer.to_string()).unwrap();
    let words = [MODEL, "--tokenizer", path, "--text"];
    fails(3, &[&words[..], &["a waste"]].concat(), &[path, "`waste`", "8188", "6003"]);
    let larger = run(&[&words[..], &["a film"]].concat());
    assert!(larger.err.contains("8189 ids") && larger.err.contains("6003 rows"), "{}", larger.err);
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    vocabulary.retain(|_, id| id.as_u64().unwrap() < 3000);
    fs::write(path, tokenizer.to_string()).unwrap();
    let smaller = run(&[&words[..], &["a film"]].concat());
    assert!(smaller.err.contains("3000 ids") && smaller.err.contains(path), "{}", smaller.err);
    assert!(!run(&[MODEL, "--text", "a film"]).err.contains(" ids"));
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
            let token_relevance =
                |word: &str| numbers(&tokens.iter().find(|t| t["token"] == word).unwrap()["relevance"]);
            // The word that decides has more than the article.
            assert!(
                token_relevance(word) > token_relevance("a"),
                "{rules} {text}: {} for {word}, {} for a",
                token_relevance(word),
                token_relevance("a")
            );
        }
    }
    // Words for and against, in one review.
    let summary = json(&[&words[..], &["--rules", "attnlrp", "--text", REVIEW]].concat());
    assert_eq!(summary["targets"][0], 1);
    let tokens = summary["tokens"][0].as_array().unwrap();
    let token_relevance =
        |word: &str| numbers(&tokens.iter().find(|t| t["token"] == word).unwrap()["relevance"]);
    assert!(
        token_relevance("funny") > 20.0
            && token_relevance("enjoyable") > 20.0
            && token_relevance("but") < -20.0
            && token_relevance("dull") < -20.0,
        "{tokens:?}"
    );
}
