//! `dlbc export`: forward and relevance as one plain ONNX model.

use anyhow::Context;

use crate::args::ExportArgs;
use crate::exit::unsupported;
use crate::terminal::{Console, Progress, print, size};
use crate::{artifact, model, output};

/// Exports a model.
///
/// # Errors
/// See the exit codes of the command line.
pub fn export(args: &ExportArgs, console: Console) -> anyhow::Result<()> {
    output::check(&args.out)?;
    let loaded = model::load(&args.model, &args.explain, &args.limits, console)?;
    if loaded.program.info.repeat.is_some() {
        return Err(unsupported(format!(
            "composite `{}` is a mean over several runs of a program, which no ONNX model expresses; `dlbc run` does it",
            loaded.program.info.rules
        )));
    }
    {
        let _progress = Progress::start(console, "writing");
        artifact::export(&loaded.program, &args.out)?;
    }
    let bytes = std::fs::metadata(&args.out).with_context(|| format!("`{}`", args.out.display()))?.len();
    print(&format!("wrote {} ({})\n", args.out.display(), size(bytes)))
}
