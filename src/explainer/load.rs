//! Loading of programs: reads an artifact, or compiles a model.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use dlbc_compiler::{Compiled, Mode, Options, TREESHAP};
use dlbc_ops::program::Program;
use dlbc_proto::{ErrorKind, Limits, Model, ProtoError};

use crate::content::{Content, content};
use crate::detector::DeclaredOutput;
use crate::error::{Error, Result};
use crate::explainer::artifact;
use crate::explainer::embeddings::{Split, split};
use crate::notes::Notes;
use crate::remedy::Remedy;
use crate::wording::{visible, visible_path};

/// Name of the activity of reading a model, for receivers of notes.
pub(super) const READING: &str = "reading the model";

/// Name of the activity of compiling a model, for receivers of notes.
pub(super) const COMPILING: &str = "compiling";

/// Options of loading a program.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Options of the compilation. For an artifact only the explained output applies.
    pub compiler: Options,
    /// Limits of the model file.
    pub limits: Limits,
    /// True to compile a model without relevance. An artifact has its relevance in any case.
    pub forward_only: bool,
    /// Names of the compilation settings that the caller set, as they stand in messages. An artifact refuses all of them.
    pub settings: Vec<&'static str>,
    /// True if the caller names the composite.
    pub names_rules: bool,
}

/// A loaded program with its timings.
pub struct Loaded {
    /// Program of the whole model.
    pub program: Program,
    /// Two parts of the program, for a composite that perturbs the embeddings of token ids.
    pub split: Option<Split>,
    /// Time of reading the file, in seconds.
    pub load_seconds: f64,
    /// Time of compiling, in seconds; 0 for an artifact.
    pub compile_seconds: f64,
}

/// Reads a model file.
///
/// # Errors
/// When the file cannot be read, or the model is invalid or above a limit.
pub fn read(path: &Path, limits: &Limits, notes: &dyn Notes) -> Result<Model> {
    let _activity = notes.start(READING);
    let mut model = dlbc_proto::read_model(path, limits).map_err(|error| explain_content(path, error))?;
    let exported = dlbc_artifact::export_metadata(&model.proto);
    if let Some(explained) = exported.get("explained") {
        let of_model =
            exported.get("model").map(|model| format!(" of `{}`", visible(model))).unwrap_or_default();
        notes.note(format!(
            "`{}` is an exported explanation of `{}`{of_model}: its outputs are read as those of any model",
            visible_path(path),
            visible(explained)
        ));
        dlbc_artifact::remove_target_input(&mut model.proto);
    }
    Ok(model)
}

/// Converts the error of a file that is not a model. If the content is of another known kind, the error names it and the flag
/// that takes it.
fn explain_content(path: &Path, error: ProtoError) -> Error {
    let kind = match error.kind() {
        ErrorKind::Invalid => content(path).filter(|kind| *kind != Content::Onnx),
        _ => None,
    };
    let Some(kind) = kind else { return error.into() };
    let name = path.display().to_string();
    let message = format!("`{}`: expected an ONNX model, found {}", visible(&name), kind.noun());
    Error::invalid_model(message).with_remedy(Remedy::NotModel(kind))
}

/// Compiles a model. A note names the explained output when the model has several.
///
/// # Errors
/// Those of the compiler.
pub fn compile(model: &Model, options: &Options, notes: &dyn Notes) -> Result<Compiled> {
    let compiled = {
        let _activity = notes.start(COMPILING);
        dlbc_compiler::compile(model, options)?
    };
    for warning in &compiled.warnings {
        notes.warn(warning);
    }
    let info = &compiled.program.info;
    if options.output.is_none() && info.outputs.len() > 1 {
        let others: Vec<String> = info
            .outputs
            .iter()
            .filter(|o| **o != info.explained)
            .map(|o| format!("`{}`", visible(o)))
            .collect();
        let text = format!("output `{}` is explained, not {}", visible(&info.explained), others.join(", "));
        notes.note_with(text, Remedy::ExplainedOutput);
    }
    Ok(compiled)
}

/// Loads the program of a model or an artifact.
///
/// # Errors
/// When the model is invalid or not supported, or a setting does not apply to an artifact.
pub fn load(path: &Path, options: &LoadOptions, notes: &dyn Notes) -> Result<Loaded> {
    load_for(path, options, |_| Ok(options.compiler.output.clone()), notes)
}

/// Loads the program of a model or an artifact, where `choose` selects the explained output among the declared ones.
///
/// # Errors
/// Those of [`load`] and of `choose`.
pub fn load_for(
    path: &Path,
    options: &LoadOptions,
    choose: impl FnOnce(&[DeclaredOutput]) -> Result<Option<String>>,
    notes: &dyn Notes,
) -> Result<Loaded> {
    let clock = Instant::now();
    let model = read(path, &options.limits, notes)?;
    load_model(model, clock, options, choose, notes)
}

/// Loads the program of a model that has been read. `clock` is the time at which reading began.
///
/// # Errors
/// Those of [`load_for`].
pub fn load_model(
    mut model: Model,
    clock: Instant,
    options: &LoadOptions,
    choose: impl FnOnce(&[DeclaredOutput]) -> Result<Option<String>>,
    notes: &dyn Notes,
) -> Result<Loaded> {
    if let Some(program) = artifact::read(&model)? {
        check_artifact(&program, options)?;
        check_output(&program, choose(&DeclaredOutput::of_program(&program))?.as_deref())?;
        let load_seconds = clock.elapsed().as_secs_f64();
        return Ok(Loaded { program, split: None, load_seconds, compile_seconds: 0.0 });
    }
    let load_seconds = clock.elapsed().as_secs_f64();
    let compiler = Options { output: choose(&DeclaredOutput::of_model(&model))?, ..options.compiler.clone() };
    let clock = Instant::now();
    if options.forward_only {
        let _activity = notes.start(COMPILING);
        let program = dlbc_compiler::compile_forward(&model, &compiler)?;
        let compile_seconds = clock.elapsed().as_secs_f64();
        return Ok(Loaded { program, split: None, load_seconds, compile_seconds });
    }
    let compiler = chosen_rules(&model, compiler, !options.names_rules, notes);
    if compiler.explains_trees() {
        let program = trees(&model, &compiler, notes)?;
        let compile_seconds = clock.elapsed().as_secs_f64();
        return Ok(Loaded { program, split: None, load_seconds, compile_seconds });
    }
    let compiled = compile(&model, &compiler, notes)?;
    let split = split(&mut model, &compiler, &compiled)?;
    let compile_seconds = clock.elapsed().as_secs_f64();
    Ok(Loaded { program: compiled.program, split, load_seconds, compile_seconds })
}

/// Name of the choice of a composite by the model.
const AUTO: &str = "auto";

/// Returns the options with the composite that suits the model, if the caller leaves the choice or the model has trees and the
/// caller names no composite. A note says which it is.
pub fn chosen_rules(model: &Model, compiler: Options, is_unset: bool, notes: &dyn Notes) -> Options {
    let is_auto = compiler.rules_file.is_none() && compiler.rules == AUTO;
    let (rules, reason) = match (dlbc_compiler::has_trees(model), has_linear_model(model)) {
        (true, _) if is_auto || is_unset => {
            (TREESHAP, "exact Shapley values of the raw score, because the model has trees")
        }
        (false, true) if is_auto => ("grad-x-input", "weights times inputs, exact for a linear model"),
        (false, false) if is_auto => ("dlb", "the default"),
        _ => return compiler,
    };
    notes.note(format!("composite `{rules}`: {reason}"));
    Options { rules: rules.into(), ..compiler }
}

fn has_linear_model(model: &Model) -> bool {
    let is_linear = |op: &str| matches!(op, "LinearClassifier" | "LinearRegressor");
    model.graph().node.iter().any(|node| is_linear(node.op_type()))
}

/// Compiles a model of trees. Notes name the tensors that get values in place of inputs.
///
/// # Errors
/// When the explained output is not computed by trees alone, or a setting does not apply to them.
pub fn trees(model: &Model, compiler: &Options, notes: &dyn Notes) -> Result<Program> {
    if compiler.mode == Mode::Contrastive {
        let message = "contrastive mode does not apply to `treeshap`, whose values have signs";
        return Err(Error::usage(message));
    }
    if !compiler.live.is_empty() || !compiler.no_relevance.is_empty() {
        let message =
            "a choice of the inputs that carry relevance does not apply to `treeshap`: expected all of them";
        return Err(Error::usage(message));
    }
    let _activity = notes.start(COMPILING);
    let program = dlbc_compiler::compile_trees(model, compiler)?;
    let sources = program.info.trees.iter().flat_map(|trees| &trees.sources);
    for source in sources.filter(|source| !source.is_input) {
        notes.note(format!(
            "a layer before the trees mixes its inputs: the values are of its output `{}`",
            visible(&source.name)
        ));
    }
    Ok(program)
}

/// Largest composite file, in bytes.
const MAX_COMPOSITE_BYTES: u64 = 1 << 20;

/// Reads the file of a custom composite.
///
/// # Errors
/// When the file cannot be read or is larger than 1 MiB.
pub fn composite_text(path: &Path) -> Result<String> {
    let shown = || visible_path(path);
    let failed = |e: std::io::Error| Error::usage(format!("cannot read `{}`: {e}", shown()));
    let file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_COMPOSITE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_COMPOSITE_BYTES {
        return Err(Error::usage(format!(
            "`{}` is larger than the limit of {MAX_COMPOSITE_BYTES} bytes",
            shown()
        )));
    }
    Ok(text)
}

/// Refuses settings that do not apply to an artifact.
///
/// # Errors
/// When the caller set a setting of the compilation (the error lists all of them), or another explained output.
pub fn check_artifact(program: &Program, options: &LoadOptions) -> Result<()> {
    if !options.settings.is_empty() {
        return Err(Error::usage(format!(
            "the model is compiled already: {} came too late",
            options.settings.join(", ")
        ))
        .with_remedy(Remedy::Compile));
    }
    check_output(program, options.compiler.output.as_deref())
}

/// Refuses an explained output other than the program's.
fn check_output(program: &Program, requested: Option<&str>) -> Result<()> {
    match requested {
        Some(output) if output != program.info.explained => {
            let explained = visible(&program.info.explained);
            let message = format!("the artifact explains output `{explained}`, not `{}`", visible(output));
            Err(Error::usage(message).with_remedy(Remedy::CompileForOutput(output.into())))
        }
        _ => Ok(()),
    }
}
