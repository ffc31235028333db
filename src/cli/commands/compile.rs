//! `dlbc compile`: model file → compiler → artifact.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use dlbc_compiler::{Compiled, Phase};

use crate::cli::args::{CompileArgs, Emit};
use crate::cli::exit::{Code, advised, usage};
use crate::cli::report::stages;
use crate::cli::terminal::{Console, print};
use dlbc::error::Error;
use dlbc::explainer::embeddings::integer_input;
use dlbc::explainer::{artifact, load};
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
    let bytes = std::fs::metadata(&out).with_context(|| format!("`{}`", out.display()))?.len();
    let mut text: String = compiled.phases.iter().map(line).collect();
    let _ = writeln!(text, "{:8} {} ({})", "wrote", out.display(), size(bytes));
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
