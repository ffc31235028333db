//! Help lines for errors and notes: the flags and commands for the remedies of the library.

use dlbc::content::Content;
use dlbc::input::Layout;
use dlbc::remedy::Remedy;
use dlbc::wording::visible;

/// Maximum number of `--live` flags in a help line.
const LISTED: usize = 3;

/// Returns the help line for a remedy; `None` if neither a flag nor a command helps.
pub fn advice(remedy: &Remedy) -> Option<String> {
    Some(match remedy {
        Remedy::FixShape => "fix the dimensions with `--shape NAME=1,3,224,224`".into(),
        Remedy::MaxTensorBytes => "`--max-tensor-bytes` sets the limit".into(),
        Remedy::MaxModelBytes => "`--max-model-bytes` sets the limit".into(),
        Remedy::MaxNodes => "`--max-nodes` sets the limit".into(),
        Remedy::AllowLinks => "add `--allow-links` if the model comes from a source that you trust".into(),
        Remedy::LiveInputs(names) => live(names),
        Remedy::KnownComposite => "`dlbc rules` lists the composites; a file of your own ends in .toml".into(),
        Remedy::Background => {
            "add `--background FILE`, an .npz or a .csv of rows like those of the training; other rows of `--csv` and \
             `--inputs` serve if there are 20"
                .into()
        }
        Remedy::IntegratedGradients => "add `--rules integrated-gradients`".into(),
        Remedy::BaselineInComposite => {
            "set `baseline` in a composite of your own: `dlbc rules integrated-gradients > mine.toml`".into()
        }
        Remedy::BaselineOfRows => "`--baseline mean` and `--baseline median` take that of the rows of `--csv`".into(),
        Remedy::SeveralRows => {
            "add a table with `--csv`, a folder with `--image`, or a batch with `--inputs`".into()
        }
        Remedy::ExplainedOutput => "`--output NAME` explains another".into(),
        Remedy::Compile => "compile the model with `dlbc compile`, where these flags belong".into(),
        Remedy::CompileForOutput(output) => format!("compile the model with `--output {}`", visible(output)),
        Remedy::StopAt => "`--stop-at NAME` starts at a tensor that is computed from the input".into(),
        Remedy::LaunchOneByOne => "set DLBC_CUDA_SYNC=1 in the environment to learn which kernel it was".into(),
        Remedy::DeviceTimeout => {
            "DLBC_CUDA_TIMEOUT sets the limit in seconds, 0 for none; DLBC_CUDA_SYNC=1 names the kernel".into()
        }
        Remedy::NotModel(content) => return for_model(*content).map(String::from),
        Remedy::NotInput(content) => return for_input(*content).map(String::from),
        Remedy::Weights => "`--weights NAME` chooses others".into(),
        Remedy::FileOfFolder => "name one of the files".into(),
        Remedy::Inputs => {
            "add `--input NAME=FILE.npy`, `--inputs FILE.npz`, `--image`, `--csv` or `--text`".into()
        }
        Remedy::InputName { input, file } => {
            format!("name the input: `--input {}={}`", visible(input), visible(file))
        }
        Remedy::Arrays => "add the pictures as an array with `--inputs`".into(),
        Remedy::Texts => "add the texts with `--text`".into(),
        Remedy::Tokenizer => "add `--tokenizer FILE`".into(),
        Remedy::PictureLayout(Layout::Nchw) => "add `--layout nchw`".into(),
        Remedy::PictureLayout(Layout::Nhwc) => "add `--layout nhwc`".into(),
        Remedy::PixelRange => "add `--pixel-range 255`".into(),
        Remedy::RawPixels => "leave out `--mean`, `--std` and `--preset`; `--pixel-range` is 255".into(),
        Remedy::StretchPicture => "add `--resize stretch`, which keeps the whole picture".into(),
        Remedy::ClassNames => "add `--classes FILE`: the model has no class names".into(),
        Remedy::OtherTarget => {
            "`--target all` explains all of it, `--task segmentation` the pixels of a class or above a threshold".into()
        }
        Remedy::AllUnits => "`--target all` explains all of it".into(),
        Remedy::BoxOutputs => "add `--box-outputs BOXES,SCORES[,LABELS]`, or the one output with everything".into(),
        Remedy::BoxLayout(None) => "add `--box-layout LAYOUT` with one of these".into(),
        Remedy::BoxLayout(Some(layout)) => format!("`--box-layout {layout}` says so"),
        Remedy::BoxFormat => "`--box-format` says what the coordinates are".into(),
    })
}

fn live(names: &[String]) -> String {
    let flag = |name: &str| format!("`--live {}`", visible(name));
    let flags: Vec<String> = names.iter().take(LISTED).map(|name| flag(name)).collect();
    match (flags.len(), names.len()) {
        (0, _) => "`--live NAME` lets an input of integers carry relevance; `dlbc run --forward-only` explains nothing".into(),
        (listed, all) if listed < all => format!("add {} and so on", flags.join(", ")),
        _ => format!("add {}", flags.join(", ")),
    }
}

/// Returns the help line for a file that is not the expected model.
fn for_model(content: Content) -> Option<&'static str> {
    Some(match content {
        Content::Npy | Content::Npz => "the model comes first: `dlbc run MODEL.onnx --inputs FILE`",
        Content::ResultNpz | Content::ResultJson => "`dlbc diff` compares results",
        Content::SklearnPickle => {
            "export it with skl2onnx: `to_onnx(model, X[:1].astype(\"float32\"), options={\"zipmap\": False})`"
        }
        Content::Pickle => {
            "export the model to ONNX from Python: skl2onnx for scikit-learn, `torch.onnx.export` for PyTorch"
        }
        Content::PyTorch => "export it from Python with `torch.onnx.export(model, inputs, \"model.onnx\")`",
        Content::Safetensors => {
            "export the model with its weights: `optimum-cli export onnx --model FOLDER OUT`, or `torch.onnx.export`"
        }
        Content::Keras => {
            "export it from Python: `model.export(\"model.onnx\", format=\"onnx\")`, or with tf2onnx"
        }
        Content::TensorFlow => {
            "convert it: `python -m tf2onnx.convert --saved-model FOLDER --output model.onnx`"
        }
        Content::TfLite => "convert it: `python -m tf2onnx.convert --tflite FILE --output model.onnx`",
        Content::Gguf => "take the ONNX export of the same model, or make one with `optimum-cli export onnx`",
        Content::Ort => "take the .onnx file that it was made from",
        Content::LfsPointer => "download the file itself: `git lfs pull`",
        Content::Html => {
            "the download gave a page instead of the file: fetch the file itself (often its \"raw\" link)"
        }
        Content::Gzip | Content::Zip => "unpack it first",
        Content::Csv => "the model comes first: `dlbc run MODEL.onnx --csv FILE`",
        Content::Picture => "the model comes first: `dlbc run MODEL.onnx --image FILE`",
        Content::Folder => "a folder of models has a model.onnx, or the configuration of onnxruntime-genai",
        Content::Toml => "a composite is given with `--rules`",
        Content::Onnx | Content::Parquet | Content::Json | Content::Empty => return None,
    })
}

/// Returns the help line for an input file of the wrong kind.
fn for_input(content: Content) -> Option<&'static str> {
    Some(match content {
        Content::Npy | Content::Npz => "give it with `--inputs`",
        Content::Csv => "give it with `--csv`",
        Content::Picture => "give it with `--image`",
        Content::Onnx
        | Content::ResultNpz
        | Content::ResultJson
        | Content::Safetensors
        | Content::SklearnPickle
        | Content::Pickle
        | Content::PyTorch
        | Content::Keras
        | Content::TensorFlow
        | Content::TfLite
        | Content::Gguf
        | Content::Ort
        | Content::LfsPointer
        | Content::Html
        | Content::Gzip
        | Content::Zip
        | Content::Parquet
        | Content::Json
        | Content::Toml
        | Content::Folder
        | Content::Empty => return None,
    })
}
