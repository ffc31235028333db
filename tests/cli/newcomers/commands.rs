//! The table of commands. `$T` is a folder with the files of `files.rs`, `$CAT` and the like are real models.

/// A command and its answer.
pub struct Expected {
    /// The item of the report, as in `A3.2`.
    pub item: &'static str,
    pub command: &'static str,
    /// Standard input.
    pub input: &'static str,
    pub code: i32,
    /// Words on standard output or standard error.
    pub says: &'static [&'static str],
    /// Words that must not be there.
    pub never: &'static [&'static str],
}

const fn says(
    item: &'static str,
    command: &'static str,
    code: i32,
    says: &'static [&'static str],
) -> Expected {
    Expected { item, command, input: "", code, says, never: &[] }
}

impl Expected {
    const fn never(self, never: &'static [&'static str]) -> Expected {
        Expected { never, ..self }
    }

    const fn reads(self, input: &'static str) -> Expected {
        Expected { input, ..self }
    }
}

macro_rules! text {
    ($rest:literal) => {
        concat!("run fixtures/sentiment_bert/model.onnx ", $rest)
    };
}
macro_rules! cancer {
    ($rest:literal) => {
        concat!("run fixtures/tables/breast_cancer.onnx --csv fixtures/tables/breast_cancer.csv ", $rest)
    };
}
macro_rules! digit {
    ($rest:literal) => {
        concat!("run fixtures/digits_cnn/model.onnx ", $rest)
    };
}
macro_rules! cat {
    ($rest:literal) => {
        concat!("run $CAT/model.onnx --image $CAT/picture.png ", $rest)
    };
}

pub const COMMANDS: &[Expected] = &[
    // W: wrong answers. Signs are in answers.rs.
    says("W2.1", cancer!("--target 0-1 --rules lrp-epsilon"), 0, &["worst"]).never(&["every relevance is 0"]),
    says("W2.2", cancer!("--mode contrastive --target 0-1"), 0, &["supporting"])
        .never(&["every relevance is 0"]),
    says("W3.1", cancer!("--stop-at variable --rules lrp-epsilon"), 0, &["variable"])
        .never(&["missing input"]),
    says("W3.2", cancer!("--rules integrated-gradients --baseline mean"), 0, &["mean"]),
    says("W4.1", text!("--text @$T/s.txt"), 0, &["waste", "Wonderful"]),
    says("W4.2", text!("--text -"), 0, &["waste"]).reads("A waste of two hours.\n"),
    says("W4.3", text!("--text @$T/none.txt"), 2, &["none.txt", "\\@"]),
    says("W4.4", text!("--text \\@home"), 0, &["home"]),
    says(
        "W5.1",
        digit!("--image fixtures/digits_cnn/digit.png --heatmap $T/row.html"),
        2,
        &["row.html", ".png"],
    ),
    says("W7.1", text!("--text \"\""), 3, &["expected at least one token"]),
    says("W7.2", text!("--text 电影很好看"), 0, &["token"]),
    says("W7.3", text!("--text \"Loved it 😍😍😍\""), 0, &["token"]),
    says(
        "W8.1",
        "run $FACE/model.onnx --image $FACE/picture.png --mean 0 --std 1",
        0,
        &["--box best", "position 21"],
    ),
    says("W8.2", "run $LINE/model.onnx --inputs $LINE/input.npz", 0, &["--positions-first"]),
    // A: tables.
    says("A2.1", cancer!(""), 0, &["worst", "feature"]),
    says("A2.2", cancer!("--out $T/r.csv"), 0, &[]),
    says("A3.1", cancer!("--row 0-9"), 0, &["worst"]),
    says("A3.2", cancer!("--row all"), 0, &["worst"]),
    says("A3.3", cancer!("--row many"), 2, &["'many' for '--row"]),
    says("A3.4", cancer!("--row 1000"), 3, &["30 rows"]),
    says("A4.1", "run fixtures/tables/breast_cancer.onnx --csv $T/reversed.csv", 0, &["position"]),
    says("A4.2", "run fixtures/tables/breast_cancer.onnx --csv $T/indexed.csv", 3, &["30 columns", "31"]),
    says("A4.3", "run fixtures/tables/breast_cancer.onnx --csv $T/semicolons.csv", 3, &["commas"]),
    says("A5.1", cancer!(""), 0, &["probabilities"]).never(&["(1)"]),
    says(
        "A6.1",
        cancer!("--classes fixtures/tables/breast_cancer_classes.txt --target malignant"),
        0,
        &["malignant"],
    ),
    says(
        "A6.2",
        cancer!("--classes fixtures/tables/breast_cancer_classes.txt --target malignnt"),
        2,
        &["malignant"],
    ),
    says("A6.3", cancer!("--target malignant"), 2, &["--classes"]),
    says("A7.1", "run $T/strings.onnx", 4, &["depends on no input that carries relevance"])
        .never(&["element type 8"]),
    says(
        "A7.2",
        "run $T/people.onnx --csv $T/people.csv --row 1 --rules lrp-epsilon",
        0,
        &["age", "income", "debt"],
    ),
    says(
        "A8.1",
        "run fixtures/tables/breast_cancer.onnx --inputs $T/bad.npz",
        2,
        &["missing input `X`", "the file has `x`", "did you mean `X`?"],
    ),
    says("A8.2", "run fixtures/tables/breast_cancer.onnx --input $T/x.npy", 0, &["probabilities"]),
    says("A8.3", "run fixtures/tables/breast_cancer.onnx --inputs $T/x.npy", 0, &["probabilities"]),
    says(
        "A8.4",
        "run fixtures/tables/breast_cancer.onnx --inputs fixtures/tables/breast_cancer.csv",
        3,
        &["found a CSV table", "--csv"],
    ),
    says("A8.5", "run $T/p.joblib --inputs $T/x.npy", 3, &["found a Python pickle", "skl2onnx"]),
    says(
        "A8.6",
        "run fixtures/tables/breast_cancer.onnx --input x=$T/x.npy",
        2,
        &["unknown input `x`", "did you mean `X`?"],
    ),
    says("A8.7", "inspect $T/m.pt", 3, &["found a PyTorch file", "torch.onnx.export"]),
    says("A8.8", "inspect $T/m.safetensors", 3, &["found a safetensors file"]),
    says("A8.9", "inspect $T/m.h5", 3, &["found a Keras model"]),
    says("A8.10", "inspect $T/m.tflite", 3, &["found a TensorFlow Lite model"]),
    says("A8.11", "inspect $T/m.gguf", 3, &["found a GGUF model"]),
    says("A8.12", "inspect $T/pointer.onnx", 3, &["found a Git LFS pointer", "git lfs pull"]),
    says("A8.13", "compile $T/page.onnx", 3, &["found a web page"]),
    says("A8.14", "run fixtures/digits_cnn/input.npz", 3, &["found an .npz archive"]),
    says(
        "A9.1",
        "eval fixtures/tables/breast_cancer_bare.onnx --csv fixtures/tables/breast_cancer_bare.csv --limit 4 --metrics gap",
        0,
        &["dlb", "epsilon-plus", "integrated-gradients", "random"],
    ),
    says("A10.1", "run --help", 0, &["Which composite to trust"]),
    says("A10.2", "rules", 0, &["Which composite to trust"]),
    says("A11.1", cancer!("--heatmap $T/row.svg"), 0, &[]),
    // B: pictures.
    says(
        "B2.1",
        cat!("--target 285,904"),
        0,
        &["hardly depend on the target", "0.99", "--rules epsilon-gamma-box --target 285-904"],
    ),
    says("B2.2", cat!("--target 285-904 --rules epsilon-gamma-box"), 0, &["285"]).never(&["hardly depend"]),
    says(
        "B2.3",
        digit!("--image fixtures/digits_cnn/digit.png"),
        0,
        &["hardly depends on the target", "runner-up"],
    ),
    says("B2.4", digit!("--image fixtures/digits_cnn/digit.png --rules lrp-epsilon"), 0, &[])
        .never(&["hardly depend"]),
    says(
        "B2.5",
        cancer!("--target 0-1"),
        0,
        &["the maps of 0 and 1 are nearly the same", "--rules lrp-epsilon --target 0-1"],
    ),
    says("B3.1", digit!("--image $T/folder/a.png --image $T/folder/b.png"), 0, &["a.png", "b.png"]),
    says("B3.2", digit!("--image $T/folder"), 0, &["a.png", "b.png"]),
    says("B4.1", digit!("--image $T/scene.png --overlay $T/over.png"), 0, &[]),
    says("B5.1", cat!("--mean 123.7,116.8,103.9 --std 58,57,57"), 2, &["--pixel-range 255"]),
    says("B5.2", cat!("--preset imagenet"), 0, &["Egyptian cat"]),
    says("B5.3", cat!("--preset imagenett"), 2, &["imagenet"]),
    says("B7.1", "run $FACE/model.onnx --image $FACE/picture.png --preset yolo --box top2", 0, &["box"]),
    says(
        "B8.1",
        "run $NSFW/model.onnx --image $NSFW/picture.png --channels bgr --pixel-range 255 --mean 104,117,123 --std 1",
        0,
        &["NHWC"],
    ),
    says("B9.1", digit!("--image $T/clear.png"), 0, &["transparent"]),
    says("B9.2", digit!("--image $T/dot.gif"), 0, &["model.onnx"]),
    says(
        "B10.1",
        "export fixtures/digits_cnn/model.onnx -o $T/explained.onnx",
        0,
        &["dlbc_target", "InferenceSession", "relevance/input"],
    ),
    says(
        "B10.2",
        "export fixtures/digits_cnn/model.onnx -o $T/three.onnx --target 3 --rules lrp-epsilon",
        0,
        &["three.onnx"],
    ),
    says("B11.1", "compile fixtures/digits_cnn/model.onnx -o $T/quiet.dlbc.onnx --quiet", 0, &[])
        .never(&["parsed"]),
    says("B12.1", digit!("--image fixtures/digits_cnn/digit.png"), 0, &[]).never(&["CUDA", "GPU"]),
    says("B15.1", digit!("--image $T/clear.png --rules epsilon_plus"), 2, &["did you mean `epsilon-plus`?"]),
    says("B15.2", digit!("--image $T/clear.png --rules lrp-eps"), 2, &["did you mean `lrp-epsilon`?"]),
    says("B15.3", digit!("--image $T/clear.png --rules LRP"), 2, &["did you mean `lrp-epsilon`"]),
    says("B15.4", "rules attn-lrp", 2, &["did you mean `attnlrp`?"]),
    says("B15.5", digit!("--image $T/clear.png --output logit"), 2, &["did you mean `logits`?"]),
    says("B15.6", digit!("--image $T/clear.png --keep conv1"), 2, &["did you mean `conv1.out`?"]),
    says("B15.7", digit!("--image $T/clear.png --stop-at relu1"), 2, &["did you mean `relu1.out`?"]),
    says("B15.8", digit!("--image $T/clear.png --device gpu"), 2, &["a GPU is `cuda`"]),
    says("B15.9", digit!("--image $T/clear.png --mode contrast"), 2, &["contrastive"]),
    // C: texts.
    says("C2.1", text!("--text unbelievably --words"), 0, &["unbelievably"]),
    says("C5.1", text!("--text \"A waste of two hours.\" --rules attnlrp"), 0, &["waste", "%"])
        .never(&["1401"]),
    says("C6.1", text!("--text \"A waste.\" --text Wonderful."), 0, &["text 0", "text 1"]),
    says("C8.1", text!("--text-file $T/s.txt"), 0, &["waste", "Wonderful"]),
    says(
        "C9.1",
        "diff fixtures/digits_cnn/model.onnx fixtures/digits_cnn/model.onnx --image fixtures/digits_cnn/digit.png",
        0,
        &["1.0000"],
    ),
    says(
        "C10.1",
        "eval fixtures/sentiment_bert/model.onnx --text meh --text \"A waste of two hours.\" --metrics gap --rules dlb",
        0,
        &["left out", "`meh`"],
    ),
];

/// Commands whose part is not there yet.
pub const WAITING: &[(&str, &str)] = &[];

/// Items that other parts of the project answer, and why.
pub const LEFT: &[(&str, &str)] = &[
    ("A1", "the dictionary of ZipMap is read as its tensor: tests of tests/cli/tables"),
    ("A7.3", "trees are read: tests of tests/operators"),
    ("A7.4", "strings are numbers of a vocabulary; operators that read them as text are refused in words"),
    (
        "B6",
        "an open size is padded or the multiples are named where pictures are read: tests of tests/cli/program.rs",
    ),
    ("B13", "quantised models are imported with the file formats; so is the width of their names"),
    ("D1", "how to depend on the project is decided with its crates"),
    ("D2", "the book's page on embedding is rewritten with the book"),
    ("D3", "nothing was wrong"),
    ("D4", "constructors of tensors are part of the crate that others depend on"),
    ("D5", "the book's page on embedding is rewritten with the book"),
    ("D6", "pictures, tokenizers and heat maps become crates with the library that others depend on"),
    ("D8", "the build of a foreign crate is part of the library that others depend on"),
];

/// Ten telling commands, for before and after.
pub const TEN: [&str; 10] = [
    text!("--text \"A waste of two hours.\" --rules attnlrp --target 1"),
    text!("--text \"A waste of two hours.\" --rules attnlrp --target 0-1"),
    text!("--text @$T/s.txt"),
    cancer!("--target 0-1"),
    cancer!("--rules lrp-epsilon"),
    "run fixtures/tables/breast_cancer.onnx --inputs $T/bad.npz",
    "run $T/p.joblib --inputs $T/x.npy",
    cat!("--target 285,904"),
    digit!("--image $T/clear.png --rules epsilon_plus"),
    cancer!("--row 0-4"),
];
