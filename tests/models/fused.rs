//! Files as ONNX Runtime's optimizers write them: outputs against ONNX Runtime, the ledger, and relevance against that of the
//! file from which they were made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::*;
use dlbc_runtime::{Explanation, Target};

const FORWARD: f64 = 1e-4;
const RELEVANCE: f64 = 1e-4;
const LEDGER: f64 = 1e-4;

/// Models and the optimizers that are made for them; the last one is a model type of onnxruntime.transformers.
const MODELS: &[(&str, &[&str])] = &[
    ("resnet", &["extended", "all"]),
    ("mobilenet_v2", &["extended", "all"]),
    ("unet", &["extended", "all"]),
    ("vit", &["extended", "all", "vit"]),
    ("mlp", &["extended", "all"]),
    ("bert", &["extended", "all", "bert"]),
    ("lstm", &["extended", "all"]),
    ("gpt2", &["extended", "all", "gpt2"]),
    ("llama", &["extended", "all", "gpt2"]),
    ("bert_sdpa", &["bert"]),
    ("albert", &["bert"]),
    ("roberta", &["bert"]),
    ("distilbert", &["bert"]),
    ("electra", &["bert"]),
    ("vit_hf", &["vit"]),
    ("llama_sdpa", &["gpt2"]),
];

/// A fused file.
struct Fused {
    /// Name of the model and of the optimizer.
    name: String,
    /// Column of the table: the level, or `transformers`.
    level: &'static str,
    original: PathBuf,
    inputs: PathBuf,
    file: PathBuf,
    /// Operators that the standard does not have.
    operators: BTreeSet<String>,
}

#[test]
fn fused_files_equal_their_originals() {
    if zoo().is_none() {
        return;
    }
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = fuse(&python, folder.path());
    let jobs: Vec<_> = files.iter().map(|f| (f.file.clone(), f.inputs.clone())).collect();
    let expected = onnx_runtime(&jobs).unwrap();
    let mut faults = vec![];
    for (fused, expected) in files.iter().zip(expected) {
        for rules in ["dlb", "attnlrp"] {
            faults
                .extend(check(fused, &expected, rules).err().map(|e| format!("{} {rules}: {e}", fused.name)));
        }
    }
    assert!(faults.is_empty(), "{} of {} files:\n{}", faults.len(), files.len(), faults.join("\n"));
    let page = page(&files);
    let path = root().join("docs/src/reference/fused-files.md");
    if std::env::var_os("DLBC_UPDATE_TABLES").is_some() {
        std::fs::write(&path, page).unwrap();
    } else {
        let current = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(current == page, "{} differs: DLBC_UPDATE_TABLES=1 writes it\n{page}", path.display());
    }
}

/// A decoder as exporters write it, and as ONNX Runtime's tools do, on the same weights.
#[test]
fn forms_of_a_decoder_agree() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("scripts/fixtures/decoder_forms.py");
    let run = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let file = |form: &str| folder.path().join(format!("{form}.onnx"));
    let forms = ["group", "separate", "multi"].map(|form| Fused {
        name: form.into(),
        level: "",
        original: file("primitives"),
        inputs: folder.path().join("input.npz"),
        file: file(form),
        operators: BTreeSet::new(),
    });
    let jobs: Vec<_> = forms.iter().map(|f| (f.file.clone(), f.inputs.clone())).collect();
    for (form, expected) in forms.iter().zip(onnx_runtime(&jobs).unwrap()) {
        for rules in ["dlb", "attnlrp", "lrp-epsilon"] {
            check(form, &expected, rules).unwrap_or_else(|e| panic!("{} {rules}: {e}", form.name));
        }
    }
}

/// Writes the fused files of all models.
fn fuse(python: &Path, folder: &Path) -> Vec<Fused> {
    let mut files = vec![];
    for (model, levels) in MODELS {
        for m in zoo_models(&[model]) {
            for level in *levels {
                let file = folder.join(format!("{}.{level}.onnx", m.name.replace('/', ".")));
                files.push(Fused {
                    name: format!("{} {level}", m.name),
                    level,
                    original: m.model.clone(),
                    inputs: m.inputs.clone(),
                    file,
                    operators: BTreeSet::new(),
                });
            }
        }
    }
    let jobs: Vec<serde_json::Value> = files
        .iter()
        .map(|f| serde_json::json!({ "model": f.original, "level": f.level, "out": f.file }))
        .collect();
    let jobs_file = folder.join("jobs.json");
    std::fs::write(&jobs_file, serde_json::to_vec(&jobs).unwrap()).unwrap();
    let script = root().join("scripts/fixtures/optimise_models.py");
    let run = Command::new(python).arg(script).arg(&jobs_file).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let lines = String::from_utf8(run.stdout).unwrap();
    let operators: Vec<BTreeMap<String, usize>> =
        serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    for (file, operators) in files.iter_mut().zip(operators) {
        file.operators = operators.into_keys().collect();
    }
    files
}

fn check(fused: &Fused, expected: &dlbc_runtime::Tensors, rules: &str) -> Result<(), String> {
    let explained = |model: &Path| -> Explanation {
        let program = program(model, rules);
        let inputs = inputs_of(&program, &npz(&fused.inputs));
        let request = request(&program, Target::Index(0)).ledger();
        explain(&cpu(program, 1), &inputs, &request)
    };
    let (original, actual) = (explained(&fused.original), explained(&fused.file));
    for (name, expected) in expected {
        let output = actual.outputs.get(name).ok_or_else(|| format!("no output {name}"))?;
        bound(&format!("output {name}"), relative_l1(output, expected), FORWARD)?;
    }
    let size = actual.seed.to_f64().iter().map(|v| v.abs()).sum::<f64>();
    let inputs: f64 = actual.supporting.input_sums.values().sum();
    let open = actual.supporting.seed_sum - inputs - actual.supporting.absorbed;
    bound("ledger", open.abs() / size, LEDGER)?;
    for row in actual.supporting.ledger.iter().flatten() {
        bound(&format!("row {row:?}"), row.residual().abs() / size, LEDGER)?;
    }
    for (name, expected) in &original.supporting.relevance {
        let relevance = &actual.supporting.relevance[name];
        bound(&format!("relevance of {name}"), relative_l1(relevance, expected), RELEVANCE)?;
    }
    Ok(())
}

fn bound(what: &str, gap: f64, bound: f64) -> Result<(), String> {
    if gap <= bound { Ok(()) } else { Err(format!("{what}: {gap:e}")) }
}

/// Optimiser of the files that are not of a level of ONNX Runtime's own.
const TOOL: &str = "onnxruntime.transformers";

/// Writes the page of the book about the files.
fn page(files: &[Fused]) -> String {
    let mut page = String::from(HEAD);
    for title in ["extended", "all", TOOL] {
        let title_of = |f: &Fused| if matches!(f.level, "extended" | "all") { f.level } else { TOOL };
        let of_level: Vec<&Fused> = files.iter().filter(|f| title_of(f) == title).collect();
        let operators: BTreeSet<&String> = of_level.iter().flat_map(|f| &f.operators).collect();
        let names: Vec<String> = operators.iter().map(|name| format!("`{name}`")).collect();
        page += &format!("| {title} | {} | {} |\n", of_level.len(), names.join(", "));
    }
    page
}

const HEAD: &str = "\
# Fused files

After this page you know which files of ONNX Runtime's optimizers dlbc reads. A fused operator is taken apart while the model is
read, so that rules, the ledger and the export are those of its parts, and a file gives the relevance of the model from which it was
made. A test of the project optimises models of nine architectures and writes this page. The outputs of each file are those of
ONNX Runtime to 1e-4, its ledger closes, and its relevance under `dlb` and `attnlrp` is that of the original to 1e-4.

```console
$ dlbc inspect fixtures/operators/ms_gqa_packed.onnx
...
```

Level *all* of `SessionOptions` puts channels in blocks, whose size is that of the machine that wrote the file: keep such a file on that
machine, as ONNX Runtime says.

| optimizer | files | operators |
| --- | ---: | --- |
";
