//! The help of every command, and what wrong use is answered with, as snapshots: users and scripts read both.

use std::fmt::Write;

use crate::common::command::*;

#[test]
fn help_of_every_command() {
    insta::assert_snapshot!("help", ok(&[&["--help"]]));
    for command in ["compile", "run", "inspect", "export", "diff", "eval", "rules", "completions"] {
        insta::assert_snapshot!(format!("help_{command}"), ok(&[&[command, "--help"]]));
    }
}

/// Command lines that fail, a line each; `DIGITS`, `PICTURE` and `OUT` stand for words that many need.
const MISUSES: &str = "
nonsense
run
run nothing.onnx
run README.md
run README
run fixtures/digits_cnn/model.onnx
run DIGITS --target 10
run DIGITS --target cat
run DIGITS --target 3-
run DIGITS --position 3
run DIGITS --region 0,0,1,1
run DIGITS --task detection
run DIGITS --scaler -1
run DIGITS --rules nothing
run DIGITS --rules nothing.toml
run DIGITS --rules attnlrp --mode contrastive
run DIGITS --mode both
run DIGITS --baseline mean
run DIGITS --shape input=1,1,8,9
run DIGITS --shape other=1
run DIGITS --output nothing
run DIGITS --stop-at nothing
run DIGITS --keep nothing
run DIGITS --out r.txt
run DIGITS --out /nowhere/r.npz
run DIGITS --experts
run DIGITS --device cuda:x
run DIGITS --threads 0
run DIGITS --timeout 0
run DIGITS --max-nodes 3
run DIGITS --max-model-bytes 1KiB
run DIGITS --max-tensor-bytes 1KiB
run DIGITS --input input=nothing.npy
run fixtures/digits_cnn/model.onnx --input input
run fixtures/digits_cnn/model.onnx --inputs fixtures/experts/input.npz
run fixtures/digits_cnn/model.onnx --image fixtures/digits_cnn/model.onnx
run fixtures/digits_cnn/model.onnx --csv fixtures/tabular_mlp/rows.csv
run fixtures/digits_cnn/model.onnx --text hi
run fixtures/tabular_mlp/model.onnx --csv fixtures/tabular_mlp/rows.csv --row 99
run fixtures/sentiment_bert/model.onnx --text hi --tokenizer nothing.json
run fixtures/sentiment_lstm/model.onnx --text hi
run fixtures/operators/refused_Einsum.onnx --inputs fixtures/operators/refused_Einsum.in.npz
run fixtures/scenes/detector.onnx PICTURE --box 500
run fixtures/scenes/detector.onnx PICTURE --coordinate x
run fixtures/scenes/detector.onnx PICTURE --box best --coordinate x0
run fixtures/scenes/segmenter.onnx PICTURE --task segmentation --class 7
run fixtures/artifacts/choice.dlbc.onnx --rules dlb --inputs fixtures/artifacts/choice.npz
compile fixtures/artifacts/choice.dlbc.onnx
compile fixtures/digits_cnn/model.onnx -o /nowhere/x.onnx
compile fixtures/tiny/textcnn.onnx -o OUT --rules integrated-gradients
export fixtures/digits_cnn/model.onnx
export fixtures/digits_cnn/model.onnx -o OUT --rules smoothgrad
export fixtures/digits_cnn/model.onnx -o OUT --target 10
inspect fixtures/digits_cnn/digit.png
diff fixtures/digits_cnn/model.onnx fixtures/digits_cnn/relevance.npz
diff fixtures/digits_cnn/relevance.npz fixtures/tabular_mlp/relevance.npz
eval DIGITS --metrics nonsense
eval DIGITS --limit 2 --rules dlb --metrics gap --fail-under gap=2
eval fixtures/digits_cnn/model.onnx
rules nothing
completions tcsh
";

#[test]
fn messages_for_wrong_use() {
    let folder = folder();
    let out = path(&folder, "out.onnx");
    let digits = "fixtures/digits_cnn/model.onnx --inputs fixtures/digits_cnn/input.npz";
    let picture = "--image fixtures/scenes/picture.png --mean 0 --std 1";
    let mut report = String::new();
    for line in MISUSES.trim().lines() {
        let words = line.replace("DIGITS", digits).replace("PICTURE", picture).replace("OUT", &out);
        let mut words: Vec<&str> = words.split(' ').collect();
        words.push("-q");
        let done = dlbc(&[&words]);
        let code = done.code.unwrap();
        assert_ne!(code, 0, "{line}");
        writeln!(report, "$ dlbc {line}\nexit code {code}\n{}", done.err.replace(&out, "OUT")).unwrap();
    }
    insta::assert_snapshot!("wrong_use", report);
}
