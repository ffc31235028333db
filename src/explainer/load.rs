//! From a model file to a program: read an artifact, or compile.

use std::path::Path;
use std::time::Instant;

use dlbc_compiler::{Compiled, Options};
use dlbc_ops::program::Program;
use dlbc_proto::{ErrorKind, Model, ProtoError};

use crate::cli::args::{ExplainArgs, LimitArgs};
use crate::cli::exit::{Code, helped, usage};
use crate::cli::terminal::{Console, Progress};
use crate::content::{Content, content};
use crate::detector::Declared;
use crate::explainer::artifact;
use crate::explainer::embeddings::{Split, split};
use crate::wording::visible;

/// A program, and the seconds that it took.
pub struct Loaded {
    /// The program.
    pub program: Program,
    /// Its parts, where the composite moves what ids look up.
    pub split: Option<Split>,
    /// Reading the file.
    pub load_seconds: f64,
    /// Compiling; 0 for an artifact.
    pub compile_seconds: f64,
}

/// Reads a model file.
///
/// # Errors
/// For an invalid model and one above the limits.
pub fn read(path: &Path, limits: &LimitArgs, console: Console) -> anyhow::Result<Model> {
    let _progress = Progress::start(console, "reading the model");
    let mut model =
        dlbc_proto::read_model(path, &limits.model()).map_err(|error| other_content(path, error))?;
    let exported = dlbc_artifact::exported(&model.proto);
    if let Some(explained) = exported.get("explained") {
        let of = exported.get("model").map(|model| format!(" of `{}`", visible(model))).unwrap_or_default();
        console.note(format!(
            "`{}` is an exported explanation of `{}`{of}: its outputs are read as those of any model",
            visible(&path.display().to_string()),
            visible(explained)
        ));
        dlbc_artifact::without_target(&mut model.proto);
    }
    Ok(model)
}

/// The error of a file that is no model: where its content is known, what it is and what to do with it.
fn other_content(path: &Path, error: ProtoError) -> anyhow::Error {
    let kind = match error.kind() {
        ErrorKind::Invalid => content(path).filter(|kind| *kind != Content::Onnx),
        _ => None,
    };
    let Some(kind) = kind else { return error.into() };
    let name = path.display().to_string();
    let message = format!("`{}`: expected an ONNX model, found {}", visible(&name), kind.noun());
    helped(Code::Invalid, message, kind.help_for_model().map(String::from))
}

/// Compiles a model and says which output is explained when there is a choice.
///
/// # Errors
/// For what the compiler refuses.
pub fn compile(model: &Model, options: &Options, console: Console) -> anyhow::Result<Compiled> {
    let compiled = {
        let _progress = Progress::start(console, "compiling");
        dlbc_compiler::compile(model, options)?
    };
    for warning in &compiled.warnings {
        console.warn(warning);
    }
    let info = &compiled.program.info;
    if options.output.is_none() && info.outputs.len() > 1 {
        let others: Vec<String> = info
            .outputs
            .iter()
            .filter(|o| **o != info.explained)
            .map(|o| format!("`{}`", visible(o)))
            .collect();
        console.note(format!(
            "explained output `{}`; `--output` chooses another: {}",
            visible(&info.explained),
            others.join(", ")
        ));
    }
    Ok(compiled)
}

/// Loads the program of a model or an artifact.
///
/// # Errors
/// For an invalid or unsupported model, and for flags that an artifact cannot obey.
pub fn load(
    path: &Path,
    explain: &ExplainArgs,
    limits: &LimitArgs,
    console: Console,
) -> anyhow::Result<Loaded> {
    load_for(path, explain, limits, |_| Ok(explain.output().map(str::to_string)), console)
}

/// The same, where `choose` says by the outputs that there are which is explained.
///
/// # Errors
/// As [`load`], and those of `choose`.
pub fn load_for(
    path: &Path,
    explain: &ExplainArgs,
    limits: &LimitArgs,
    choose: impl FnOnce(&[Declared]) -> anyhow::Result<Option<String>>,
    console: Console,
) -> anyhow::Result<Loaded> {
    let mut options = explain.options(limits)?;
    let clock = Instant::now();
    let mut model = read(path, limits, console)?;
    if let Some(program) = artifact::read(&model)? {
        check_artifact(&program, explain)?;
        check_output(&program, choose(&Declared::of_program(&program))?.as_deref())?;
        let load_seconds = clock.elapsed().as_secs_f64();
        return Ok(Loaded { program, split: None, load_seconds, compile_seconds: 0.0 });
    }
    let load_seconds = clock.elapsed().as_secs_f64();
    options.output = choose(&Declared::of_model(&model))?;
    let clock = Instant::now();
    let compiled = compile(&model, &options, console)?;
    let split = split(&mut model, &options, &compiled)?;
    let compile_seconds = clock.elapsed().as_secs_f64();
    Ok(Loaded { program: compiled.program, split, load_seconds, compile_seconds })
}

/// Refuses flags that came too late for an artifact.
///
/// # Errors
/// Names them all.
pub fn check_artifact(program: &Program, explain: &ExplainArgs) -> anyhow::Result<()> {
    let late = explain.compile_time();
    if !late.is_empty() {
        return Err(usage(format!(
            "the model is compiled already: {} must be given to `dlbc compile`",
            late.join(", ")
        )));
    }
    check_output(program, explain.output())
}

fn check_output(program: &Program, wanted: Option<&str>) -> anyhow::Result<()> {
    match wanted {
        Some(output) if output != program.info.explained => {
            let explained = visible(&program.info.explained);
            let message = format!("the artifact explains output `{explained}`, not `{}`", visible(output));
            let help = format!("compile the model again with `--output {}`", visible(output));
            Err(helped(Code::Usage, message, Some(help)))
        }
        _ => Ok(()),
    }
}
