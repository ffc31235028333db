//! `dlbc run --forward-only`: runs a model and explains nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{SessionOptions, Tensors};

use crate::cli::args::RunArgs;
use crate::cli::device;
use crate::cli::exit::usage;
use crate::cli::report::forward::{ForwardSummary, json, text};
use crate::cli::report::summary::Times;
use crate::cli::report::{provenance, several};
use crate::cli::terminal::{Console, print};
use dlbc::classes::Classes;
use dlbc::explainer::{Explainer, load};
use dlbc::input::{self, Inputs};
use dlbc::notes::Notes;
use dlbc::results::{Contents, Format, check, keys};
use dlbc::statistics::median;

/// Runs the model on each picture, or once on the other inputs, and writes its outputs.
///
/// # Errors
/// See the exit codes of the command line; a flag that concerns relevance is wrong use.
pub(super) fn run(args: &RunArgs, console: Console) -> anyhow::Result<()> {
    if let Some(flag) = args.relevance_flag() {
        return Err(usage(format!("`{flag}` has no effect with `--forward-only`")));
    }
    let format = args.out.as_deref().map(Format::of).transpose()?;
    if format == Some(Format::Csv) {
        return Err(usage("a result as .csv holds the relevance of a table's features only"));
    }
    args.out.as_deref().map(check).transpose()?;
    let pictures = input::files(&args.picture.image)?;
    let names = several::names(&pictures);
    let device = device::open(&args.on)?;
    let options = load::LoadOptions { forward_only: true, ..args.explain.load_options(&args.limits)? };
    let loaded = load::load(&args.model, &options, &console)?;
    let info = loaded.program.info.clone();
    let classes = Classes::read(args.target.class_names.as_deref(), &info, &args.model)?;
    let session = SessionOptions::new().threads(args.on.threads).max_tensor_bytes(args.limits.tensor_bytes());
    let mut load = loaded.load_seconds;
    let explainer = Explainer::new(loaded.program, None, &device, &session)?;
    let (mut contents, mut summaries) = (vec![], vec![]);
    for i in 0..pictures.len().max(1) {
        let console = if i == 0 { console } else { Console { quiet: true } };
        let clock = Instant::now();
        let picture = pictures.get(i).map(Path::new);
        let inputs = input::read(&info.inputs, picture, &args.sources(), &console)?;
        load += clock.elapsed().as_secs_f64();
        let (outputs, forward) = predict(&explainer, &inputs, args.repeat, console)?;
        let times = Times { load, compile: loaded.compile_seconds, forward, ..Times::default() };
        load = 0.0;
        let device = explainer.device();
        summaries.push(ForwardSummary::new(&info, device, &outputs, &classes, &inputs, times, args.repeat));
        if format.is_some() {
            let name = names.get(i).cloned().unwrap_or_default();
            contents.push((name, of_outputs(&info, outputs, &inputs)?));
        }
    }
    several::save(format.zip(args.out.as_deref()), contents, console)?;
    print(&if args.json { json(&summaries)? } else { text(&summaries) })
}

/// Runs the model once, or `repeat` times after a warm-up; returns its outputs and the median time in seconds.
fn predict(
    explainer: &Explainer,
    inputs: &Inputs,
    repeat: Option<usize>,
    console: Console,
) -> anyhow::Result<(Tensors, f64)> {
    let _progress = Notes::start(&console, "running");
    let run = || {
        let clock = Instant::now();
        let outputs = explainer.predict(&inputs.tensors)?;
        anyhow::Ok((outputs, clock.elapsed().as_secs_f64()))
    };
    let (outputs, seconds) = run()?;
    let Some(repeat) = repeat else { return Ok((outputs, seconds)) };
    let mut times = (0..repeat).map(|_| Ok(run()?.1)).collect::<anyhow::Result<Vec<f64>>>()?;
    Ok((outputs, median(&mut times)))
}

/// Returns the content of the result file.
fn of_outputs(info: &Info, outputs: Tensors, inputs: &Inputs) -> anyhow::Result<Contents> {
    let tensors: BTreeMap<String, Tensor> =
        outputs.into_iter().map(|(name, tensor)| (keys::output(&name), tensor)).collect();
    Ok(Contents { tensors, metadata: provenance::of_model(info, inputs)?, table: None })
}
