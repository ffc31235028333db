//! `dlbc compile`: model file → compiler → artifact.

use std::path::{Path, PathBuf};

use anyhow::Context;
use dlbc_compiler::{Compiled, Phase};

use crate::cli::args::{CompileArgs, Emit};
use crate::cli::exit::{Code, advised, usage};
use crate::cli::report::stages;
use crate::cli::terminal::{Console, print};
use dlbc::error::Error;
use dlbc::explainer::embeddings::integer_input;
use dlbc::explainer::{artifact, load, trees};
use dlbc::results;
use dlbc::wording::{number, plural, size, visible};

/// Compiles a model into an artifact.
///
/// # Errors
/// See the exit codes of the command line.
pub fn compile(args: &CompileArgs, console: Console) -> anyhow::Result<()> {
    let mut options = args.explain.options(&args.limits)?;
    options.dump_after.clone_from(&args.dump_after);
    let out = args.out.clone().unwrap_or_else(|| beside(&args.model));
    results::check(&out)?;
    let source = load::read(&args.model, &args.limits.model(), &console)?;
    if artifact::read(&source)?.is_some() {
        return Err(usage(format!(
            "`{}`: expected an ONNX model, found a compiled model",
            args.model.display()
        )));
    }
    let options = load::chosen_rules(&source, options, !args.explain.names_rules(), &console);
    if options.explains_trees() {
        return trees(&source, &options, &out, args, console);
    }
    if args.background.is_some() {
        return Err(usage("`--background` applies to `--rules treeshap` only"));
    }
    let compiled = load::compile(&source, &options, &console)?;
    if let Some(input) = integer_input(&compiled.program.info) {
        let message = format!(
            "composite `{}` moves the embeddings of input `{}`, which an artifact cannot",
            compiled.program.info.rules,
            visible(input)
        );
        return Err(advised(Code::Unsupported, message, "`dlbc run` explains the model without an artifact"));
    }
    let stage = stage(&source, &options, &compiled, args)?;
    artifact::write(&compiled.program, &out)?;
    let text = compiled.phases.iter().map(line).collect::<String>() + &wrote(&out)?;
    match stage {
        None if console.quiet => Ok(()),
        None => print(&text),
        // Standard output is the stage and nothing else.
        Some(stage) => {
            text.lines().for_each(|l| console.note(l));
            print(&stage)
        }
    }
}

/// Compiles a model of trees, with the background if there is one.
fn trees(
    source: &dlbc_proto::Model,
    options: &dlbc_compiler::Options,
    out: &Path,
    args: &CompileArgs,
    console: Console,
) -> anyhow::Result<()> {
    if args.dump_after.is_some() || args.emit.is_some_and(|emit| emit != Emit::Lowered) {
        return Err(usage("`treeshap` has no rules: expected `--emit lowered`, found another stage"));
    }
    let mut program = load::trees(source, options, &console)?;
    if let Some(file) = &args.background {
        trees::keep_background(&mut program, file, args.limits.tensor_bytes())?;
    }
    artifact::write(&program, out)?;
    let text = wrote(out)?;
    match args.emit {
        None if console.quiet => Ok(()),
        None => print(&text),
        Some(_) => {
            console.note(text.trim_end());
            print(&stages::text(&program.graph))
        }
    }
}

/// Returns the line with the path and size of the artifact.
fn wrote(out: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::metadata(out).with_context(|| format!("`{}`", out.display()))?.len();
    Ok(format!("{:8} {} ({})\n", "wrote", out.display(), size(bytes)))
}

fn line(phase: &Phase) -> String {
    format!("{:8} {:>12}  {} s\n", phase.name, plural(phase.nodes, "node"), number(phase.seconds, 2))
}

fn stage(
    source: &dlbc_proto::Model,
    options: &dlbc_compiler::Options,
    compiled: &Compiled,
    args: &CompileArgs,
) -> anyhow::Result<Option<String>> {
    if let Some(pass) = &args.dump_after {
        let dump = compiled.dump.clone().ok_or_else(|| usage(format!("unknown pass `{pass}`")))?;
        return Ok(Some(dump));
    }
    Ok(match args.emit {
        None => None,
        Some(Emit::Relevance) => Some(stages::text(&compiled.relevance)),
        Some(Emit::Lowered) => Some(stages::text(&compiled.program.graph)),
        Some(Emit::Dot) => Some(stages::dot(compiled)),
        Some(Emit::Json) => {
            Some(stages::json(&dlbc_compiler::inspect(source, options).map_err(Error::from)?, compiled)?)
        }
    })
}

/// Returns the default path of an artifact: `model.dlbc.onnx` beside `model.onnx`.
fn beside(model: &Path) -> PathBuf {
    model.with_extension("dlbc.onnx")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_artifact_stands_beside_the_model() {
        assert_eq!(beside("a/model.onnx".as_ref()), Path::new("a/model.dlbc.onnx"));
        assert_eq!(beside("model".as_ref()), Path::new("model.dlbc.onnx"));
    }
}
