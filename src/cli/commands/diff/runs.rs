//! Results to compare: read from files, or computed by running two models on the same inputs.

use std::path::Path;

use anyhow::Context;

use crate::cli::args::DiffArgs;
use crate::cli::commands::run;
use crate::cli::exit::{Code, advised, usage};
use crate::cli::terminal::Console;
use dlbc::content::{Content, content};
use dlbc::results::keys::{is_output, is_relevance};
use dlbc::results::read::{self, Stored};
use dlbc::wording::visible_path;

/// Reads two result files, or runs two models.
///
/// # Errors
/// Fails for a model paired with a result, models without inputs, results with inputs, and as `dlbc run` does.
pub fn results(args: &mut DiffArgs, console: Console) -> anyhow::Result<(Stored, Stored)> {
    // Results and models may be compared with a folder.
    let file = |path: &Path| match path.is_dir() {
        true => args.run.explain.model_file(path, &console),
        false => Ok(path.to_path_buf()),
    };
    let (first, second) = (file(&args.run.model)?, file(&args.second)?);
    let models = (is_model(&first), is_model(&second));
    if let Some(flag) = args.idle(models.0 || models.1) {
        return Err(usage(format!("`{flag}` has no effect on a comparison of these files")));
    }
    match models {
        (false, false) if args.has_inputs() => {
            Err(usage("inputs apply to two models only: results have their own"))
        }
        (false, false) => Ok((read(&first, args)?, read(&second, args)?)),
        (true, true) if !args.has_inputs() => Err(advised(
            Code::Usage,
            "missing inputs to compare two models on",
            format!(
                "add those of `dlbc run`, such as `dlbc diff {} {} --inputs FILE.npz`",
                visible_path(&first),
                visible_path(&second)
            ),
        )),
        (true, true) => {
            let folder = tempfile::tempdir().context("no folder for the results")?;
            let mut result = |model: &Path, console| {
                let out = folder.path().join("result.safetensors");
                args.run.model = model.to_path_buf();
                (args.run.out, args.run.silent) = (Some(out.clone()), true);
                run::run(&args.run, console).with_context(|| format!("model `{}`", visible_path(model)))?;
                read(&out, args)
            };
            // The notes on the inputs are the same for both models.
            let quiet = Console { quiet: true };
            Ok((result(&first, console)?, result(&second, quiet)?))
        }
        (is_first_model, _) => {
            let (model, result) = if is_first_model { (first, second) } else { (second, first) };
            let (model, result) = (visible_path(&model), visible_path(&result));
            let message =
                format!("expected two results or two models, found the model `{model}` and `{result}`");
            Err(advised(Code::Usage, message, "`dlbc run --out` writes a result"))
        }
    }
}

fn is_model(path: &Path) -> bool {
    let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx"));
    named || path.is_dir() || content(path) == Some(Content::Onnx)
}

fn read(path: &Path, args: &DiffArgs) -> anyhow::Result<Stored> {
    let wanted = |key: &str| is_relevance(key) || is_output(key);
    Ok(read::read(path, wanted, args.run.limits.tensor_bytes())?)
}
