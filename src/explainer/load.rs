//! From a model file to a program: read an artifact, or compile.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use dlbc_compiler::{Compiled, Options};
use dlbc_ops::program::Program;
use dlbc_proto::{ErrorKind, Limits, Model, ProtoError};

use crate::content::{Content, content};
use crate::detector::Declared;
use crate::error::{Error, Result};
use crate::explainer::artifact;
use crate::explainer::embeddings::{Split, split};
use crate::notes::Notes;
use crate::remedy::Remedy;
use crate::wording::visible;

/// Activity of reading a model, for a receiver of notes.
pub(super) const READING: &str = "reading the model";

/// Activity of compiling a model, for a receiver of notes.
pub(super) const COMPILING: &str = "compiling";

/// Settings of loading.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Options of the compilation; of an artifact the explained output alone.
    pub compiler: Options,
    /// Limits of the model's file.
    pub limits: Limits,
    /// Names of the settings that only a compilation can obey, as given: an artifact is refused with them.
    pub settings: Vec<&'static str>,
}

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
pub fn read(path: &Path, limits: &Limits, notes: &dyn Notes) -> Result<Model> {
    let _activity = notes.start(READING);
    let mut model = dlbc_proto::read_model(path, limits).map_err(|error| other_content(path, error))?;
    let exported = dlbc_artifact::export_metadata(&model.proto);
    if let Some(explained) = exported.get("explained") {
        let of = exported.get("model").map(|model| format!(" of `{}`", visible(model))).unwrap_or_default();
        notes.note(format!(
            "`{}` is an exported explanation of `{}`{of}: its outputs are read as those of any model",
            visible(&path.display().to_string()),
            visible(explained)
        ));
        dlbc_artifact::remove_target_input(&mut model.proto);
    }
    Ok(model)
}

/// The error of a file that is no model: where its content is known, what it is and what to do with it.
fn other_content(path: &Path, error: ProtoError) -> Error {
    let kind = match error.kind() {
        ErrorKind::Invalid => content(path).filter(|kind| *kind != Content::Onnx),
        _ => None,
    };
    let Some(kind) = kind else { return error.into() };
    let name = path.display().to_string();
    let message = format!("`{}`: expected an ONNX model, found {}", visible(&name), kind.noun());
    Error::invalid_model(message).with_remedy(Remedy::NotModel(kind))
}

/// Compiles a model and says which output is explained when there is a choice.
///
/// # Errors
/// For what the compiler refuses.
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
/// For an invalid or unsupported model, and for flags that an artifact cannot obey.
pub fn load(path: &Path, options: &LoadOptions, notes: &dyn Notes) -> Result<Loaded> {
    load_for(path, options, |_| Ok(options.compiler.output.clone()), notes)
}

/// The same, where `choose` says by the outputs that there are which is explained.
///
/// # Errors
/// As [`load`], and those of `choose`.
pub fn load_for(
    path: &Path,
    options: &LoadOptions,
    choose: impl FnOnce(&[Declared]) -> Result<Option<String>>,
    notes: &dyn Notes,
) -> Result<Loaded> {
    let clock = Instant::now();
    let model = read(path, &options.limits, notes)?;
    load_model(model, clock, options, choose, notes)
}

/// Loads the program of a model that is read, since `clock` started.
///
/// # Errors
/// As [`load_for`].
pub fn load_model(
    mut model: Model,
    clock: Instant,
    options: &LoadOptions,
    choose: impl FnOnce(&[Declared]) -> Result<Option<String>>,
    notes: &dyn Notes,
) -> Result<Loaded> {
    if let Some(program) = artifact::read(&model)? {
        check_artifact(&program, options)?;
        check_output(&program, choose(&Declared::of_program(&program))?.as_deref())?;
        let load_seconds = clock.elapsed().as_secs_f64();
        return Ok(Loaded { program, split: None, load_seconds, compile_seconds: 0.0 });
    }
    let load_seconds = clock.elapsed().as_secs_f64();
    let compiler = Options { output: choose(&Declared::of_model(&model))?, ..options.compiler.clone() };
    let clock = Instant::now();
    let compiled = compile(&model, &compiler, notes)?;
    let split = split(&mut model, &compiler, &compiled)?;
    let compile_seconds = clock.elapsed().as_secs_f64();
    Ok(Loaded { program: compiled.program, split, load_seconds, compile_seconds })
}

/// Largest composite file, in bytes.
const MAX_COMPOSITE_BYTES: u64 = 1 << 20;

/// Reads the text of a composite's file.
///
/// # Errors
/// For a file that cannot be read or is larger than 1 MiB.
pub fn composite_text(path: &Path) -> Result<String> {
    let shown = || visible(&path.display().to_string()).to_string();
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

/// Refuses flags that came too late for an artifact.
///
/// # Errors
/// Names them all.
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

fn check_output(program: &Program, wanted: Option<&str>) -> Result<()> {
    match wanted {
        Some(output) if output != program.info.explained => {
            let explained = visible(&program.info.explained);
            let message = format!("the artifact explains output `{explained}`, not `{}`", visible(output));
            Err(Error::usage(message).with_remedy(Remedy::CompileForOutput(output.into())))
        }
        _ => Ok(()),
    }
}
