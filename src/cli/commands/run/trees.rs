//! Shapley values of trees in `dlbc run`: the background and its note.

use dlbc_ops::program::{Program, TreesEntry};
use dlbc_runtime::Tensors;

use crate::cli::args::RunArgs;
use crate::cli::exit::usage;
use crate::cli::terminal::Console;
use dlbc::input::{self, Inputs, Sources};
use dlbc::wording::plural;

/// Returns the background of a run of trees; `None` where the program holds it, the file counts covers, or the other rows of the
/// batch serve. A note says which it is.
///
/// # Errors
/// For a flag that does not apply to trees, a file that does not fit, and too few rows.
pub(super) fn background(
    program: &Program,
    inputs: &Inputs,
    sources: &Sources,
    args: &RunArgs,
    console: Console,
) -> anyhow::Result<Option<Tensors>> {
    args.target.check_trees()?;
    let covers = if args.tree_path_dependent { "path-dependent values: covers are " } else { "" };
    if args.background.is_none() {
        if args.tree_path_dependent && program.has_trees_entry(TreesEntry::Covers) {
            console.note(format!("{covers}the hit rates of the model file"));
            return Ok(None);
        }
        if let Some(rows) = program.graph.output(&TreesEntry::Background.of(0)) {
            let count = program.graph.ty(rows).dim(0).as_known().unwrap_or(0);
            let stored = format!("the {} of the compiled model", plural(count as usize, "row"));
            console.note(match args.tree_path_dependent {
                true => format!("{covers}counted from {stored}"),
                false => format!("background: {stored}"),
            });
            return Ok(None);
        }
    }
    if args.tree_path_dependent {
        console.note(format!("{covers}counted from the background"));
    }
    let file = args.background.as_deref();
    Ok(input::background::read(&program.info.inputs, file, inputs, sources, &console)?)
}

/// Refuses the flags of Shapley values for another composite.
///
/// # Errors
/// Names the first of them.
pub(super) fn refuse_flags(args: &RunArgs) -> anyhow::Result<()> {
    let flags =
        [("--background", args.background.is_some()), ("--tree-path-dependent", args.tree_path_dependent)];
    match flags.into_iter().find(|(_, is_set)| *is_set) {
        Some((flag, _)) => Err(usage(format!("`{flag}` applies to `--rules treeshap` only"))),
        None => Ok(()),
    }
}
