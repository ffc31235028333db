//! `dlbc run`: runs a model or artifact and explains its outputs.

mod contents;
mod forward;
mod trees;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use dlbc_ops::program::{Info, Output, Program, Repeat};
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::{Explanation, Request, SessionOptions, Target, Tensors};

use crate::cli::args::{Keep, RunArgs};
use crate::cli::checks::{Again, Checks};
use crate::cli::device;
use crate::cli::exit::{Code, advised, unsupported};
use crate::cli::report::pictures::Heatmap;
use crate::cli::report::several::DrawingFile;
use crate::cli::report::summary::{self, Summary, Times};
use crate::cli::report::{pictures, reading, several, start};
use crate::cli::terminal::{Console, print};
use dlbc::classes::Classes;
use dlbc::detector::{self, DeclaredOutput, DetectorOutputs};
use dlbc::explained::Explained;
use dlbc::explainer::Explainer;
use dlbc::explainer::{embeddings, load};
use dlbc::features;
use dlbc::heatmap::format::DrawingFormat;
use dlbc::input::vocabulary;
use dlbc::input::{self, Inputs, Words};
use dlbc::notes::Notes;
use dlbc::results::{Contents, Format, check};
use dlbc::scene::Scene;
use dlbc::scene::region;
use dlbc::scene::region::PictureInput;
use dlbc::statistics::median;
use dlbc::target::NamedTarget;
use dlbc::wording::{number, visible};

/// Error of the sum of integrated gradients, as a share of the start, above which a warning is written.
const QUADRATURE: f64 = 0.05;

/// Runs a model and explains its answer.
///
/// # Errors
/// See the exit codes of the command line.
pub fn run(args: &RunArgs, console: Console) -> anyhow::Result<()> {
    args.check()?;
    args.target.check()?;
    if args.forward_only {
        return forward::run(args, console);
    }
    let format = args.out.as_deref().map(Format::of).transpose()?;
    if format == Some(Format::Csv) && args.csv.is_none() {
        return Err(advised(
            Code::Usage,
            "a result as .csv holds the relevance of a table's features only",
            "add a table with `--csv`, or write .npz, .safetensors or .json",
        ));
    }
    args.out.as_deref().map(check).transpose()?;
    let pictures = input::files(&args.picture.image)?;
    let names = several::names(&pictures);
    let files = |flag: &str, path: &Option<PathBuf>| {
        let each =
            |path: &PathBuf| DrawingFile::each(path, &names, |p| Ok(DrawingFormat::of_drawing(flag, p)?));
        path.as_ref().map(each).transpose()
    };
    let (heatmaps, maps) = (files("--heatmap", &args.heatmap)?, files("--expert-map", &args.expert_map)?);
    several::check_overlay(args.overlay.as_deref())?;
    let device = device::open(&args.on)?;
    let (hints, mut sources) = (args.target.detector(), args.sources());
    let mut detector_outputs = None;
    let choose = |outputs: &[DeclaredOutput]| {
        let output = args.explain.output();
        if !args.target.detects() {
            return Ok(output.map(str::to_string));
        }
        let detected = detector_outputs.insert(detector::find_outputs(outputs, &hints, output)?);
        Ok(Some(detected.explained(&hints).to_string()))
    };
    let mut loaded =
        load::load_for(&args.model, &args.explain.load_options(&args.limits)?, choose, &console)?;
    let info = loaded.program.info.clone();
    sources.words = Words::of(&info);
    let clock = Instant::now();
    let ids = loaded.split.is_some() || embeddings::integer_input(&info).is_some();
    args.baseline.as_ref().map(|_| input::baseline::check(&info, ids)).transpose()?;
    note_raw(&info, console);
    let mut inputs =
        Some(input::read(&info.inputs, pictures.first().map(PathBuf::as_path), &sources, &console)?);
    if let Some(texts) = inputs.as_ref().and_then(|inputs| inputs.texts.as_ref()) {
        vocabulary::check(&loaded.program, texts, &console)?;
    }
    let baseline = args
        .baseline
        .as_ref()
        .zip(inputs.as_ref())
        .map(|(source, inputs)| input::baseline::read(&info.inputs, source, &pictures, inputs, &sources));
    let baseline = baseline.transpose()?;
    let read_start = |path: &Path| {
        let read = input::npy::open(path, args.limits.tensor_bytes());
        read.with_context(|| format!("start `{}`", path.display()))
    };
    let start = args.target.start().file().map(read_start).transpose()?;
    let background = match (&info.trees, &inputs) {
        (Some(_), Some(inputs)) => trees::background(&loaded.program, inputs, &sources, args, console)?,
        _ => None,
    };
    if info.trees.is_none() {
        trees::refuse_flags(args)?;
    }
    let classes = classes(&loaded.program, args, console)?;
    let targets = args.target.targets(&classes)?;
    let overlays = several::overlays(args.overlay.as_deref(), &names, &targets)?;
    loaded.load_seconds += clock.elapsed().as_secs_f64();
    let experts = args.experts || args.expert_map.is_some();
    if experts && info.repeat.is_some() {
        return Err(unsupported(
            "expert relevance is not available for averaged composites (integrated-gradients, smoothgrad)",
        ));
    }
    if experts && info.experts.is_empty() {
        return Err(unsupported(
            "the model has no mixture of experts between the explained output and its inputs",
        ));
    }

    let options = SessionOptions::new().threads(args.on.threads).max_tensor_bytes(args.limits.tensor_bytes());
    let (load, compile) = (loaded.load_seconds, loaded.compile_seconds);
    let explainer = Explainer::new(loaded.program, loaded.split, &device, &options)?;
    // All pictures are drawn before the first file is written, so that an error leaves no files.
    let mut results: Vec<OneResult> = vec![];
    for i in 0..pictures.len().max(1) {
        // The notes are the same for all pictures, so they are printed once.
        let (all, console) = (console, if i == 0 { console } else { Console { quiet: true } });
        let job_inputs = match inputs.take() {
            Some(inputs) => inputs,
            None => input::read(&info.inputs, pictures.get(i).map(PathBuf::as_path), &sources, &console)?,
        };
        job_inputs.picture.iter().for_each(|seen| seen.note(&all));
        let file = |files: &Option<Vec<DrawingFile>>| files.as_ref().and_then(|f| f.get(i)).cloned();
        let job = Job {
            explainer: &explainer,
            detector_outputs: detector_outputs.as_ref(),
            targets: &targets,
            classes: &classes,
            baseline: baseline.as_ref(),
            start: start.as_ref(),
            background: background.as_ref(),
            args,
            console,
        };
        let load = if i == 0 { load } else { 0.0 };
        let overlays = overlays.iter().skip(i * targets.len()).take(targets.len()).cloned().collect();
        let files = Files { heatmap: file(&heatmaps), map: file(&maps), overlays };
        let result = job.run(job_inputs, Times { load, compile, ..Times::default() }, files);
        let naming = || pictures.get(i).map_or(String::new(), |p| format!("`{}`", p.display()));
        results.push(if pictures.len() > 1 { result.with_context(naming)? } else { result? });
    }
    if info.repeat.is_none() {
        explainer.note_memory(targets.len(), &console);
    }
    let (mut contents, mut drawings, mut summaries) = (vec![], vec![], vec![]);
    for (i, result) in results.into_iter().enumerate() {
        contents.extend(result.contents.map(|c| (names.get(i).cloned().unwrap_or_default(), c)));
        drawings.extend(result.drawings);
        summaries.push(result.summary);
    }
    several::save(format.zip(args.out.as_deref()), contents, console)?;
    for drawing in drawings {
        drawing.save()?;
    }
    if !args.silent {
        print(&if args.json { summary::json(&summaries)? } else { summary::text(&summaries) })?;
    }
    let several = summaries.len() > 1;
    summaries.iter().for_each(|summary| summary.warn(several, console));
    Ok(())
}

/// Output of a run for one picture, or for inputs without pictures.
struct OneResult {
    summary: Summary,
    /// Content of the result file, if `--out` is set.
    contents: Option<Contents>,
    drawings: Vec<Heatmap>,
}

/// Files of the drawings of one picture.
struct Files {
    heatmap: Option<DrawingFile>,
    map: Option<DrawingFile>,
    /// A file for each target, or none.
    overlays: Vec<DrawingFile>,
}

/// State that the explanations of all pictures of a run share.
struct Job<'a> {
    explainer: &'a Explainer,
    /// Outputs of a detector, for box targets.
    detector_outputs: Option<&'a DetectorOutputs>,
    targets: &'a [NamedTarget],
    classes: &'a Classes,
    baseline: Option<&'a Tensors>,
    /// Starting relevance of each element of the output, where it is a file.
    start: Option<&'a Tensor>,
    background: Option<&'a Tensors>,
    args: &'a RunArgs,
    console: Console,
}

impl Job<'_> {
    fn run(&self, inputs: Inputs, mut times: Times, files: Files) -> anyhow::Result<OneResult> {
        let Files { heatmap, map, overlays } = files;
        let (info, args, console) = (self.explainer.info(), self.args, self.console);
        let picture = PictureInput::find(&info.inputs, &inputs, args.picture.layout);
        let within = args.target.scene.region.map(|rectangle| region::region(rectangle, picture));
        let within = within.transpose()?;
        let class_last = args.scene().class_last(picture);
        let mut targets = self.targets.to_vec();
        targets.iter_mut().for_each(|named| named.set_mask(within, class_last));
        let request = request(args, &inputs)
            .detector(self.detector_outputs.map(|f| f.detector.clone()))
            .baseline(self.baseline.cloned())
            .seed(self.start.cloned())
            .background(self.background.cloned());
        // A result file has whole outputs, a start has their shape, and a picture's output is looked at for boxes.
        let is_whole = args.out.is_some() || self.start.is_some() || picture.is_some();
        let request = if is_whole { request } else { self.explainer.on_demand(request) };
        let (explained, seconds) =
            explain(self.explainer, &inputs, &targets, self.classes, &request, args, console)?;
        (times.prepare, times.forward, times.reverse) = (seconds.prepare, seconds.forward, seconds.reverse);
        let scene = Scene::new(self.detector_outputs.cloned(), &info.inputs, &inputs, &args.scene());
        scene.note(&explained[0].explanation.outputs, &console);
        reading::note(info, &inputs, &explained[0], args, console);
        let heatmap =
            heatmap.map(|file| pictures::heatmap(file, info, &inputs, &explained, &scene, args, console));
        let map = map.map(|file| pictures::expert_map(file, info, &explained, args, console));
        let overlay = |(file, target)| Some(pictures::overlay(file, inputs.picture.as_ref()?, target, args));
        let overlays = overlays.into_iter().zip(&explained).filter_map(overlay);
        let drawings =
            heatmap.into_iter().chain(overlays).chain(map).collect::<anyhow::Result<Vec<Heatmap>>>()?;
        let contents =
            args.out.is_some().then(|| contents::contents(info, &inputs, &explained, args)).transpose()?;
        let again = Again {
            explainer: self.explainer,
            inputs: &inputs,
            request,
            seconds: times.forward + times.reverse,
        };
        // A quiet run with tables shows no correlations, so they are not measured.
        let checks = Checks::new(&again, &explained, args.json || !console.quiet);
        let device = self.explainer.device();
        let summary = Summary::new(info, device, &explained, &inputs, &scene, times, args).with(&checks);
        start::note(info, &explained, args, console);
        if let Some(table) = &inputs.table {
            features::note(table, &explained[0].explanation, &console);
        }
        checks.note(&explained, console);
        for target in &explained {
            quadrature(info, &target.explanation, console);
        }
        Ok(OneResult { summary, contents, drawings })
    }
}

/// Notes that the rules see raw features, if the model normalises them itself.
fn note_raw(info: &Info, console: Console) {
    if info.self_normalized.is_empty() {
        return;
    }
    let names: Vec<String> = info.self_normalized.iter().map(|name| format!("`{}`", visible(name))).collect();
    let message = format!(
        "the model normalises {} itself, which `{}` does not take into account: features count by their raw scale",
        names.join(", "),
        visible(&info.rules)
    );
    console.note_with_help(
        &message,
        "`--rules lrp-epsilon`, `attnlrp` and `integrated-gradients` explain the normalised values",
    );
}

/// Warns if the sum of integrated gradients is far from the difference of the outputs.
fn quadrature(info: &Info, explanation: &Explanation, console: Console) {
    let error = explanation.supporting.absorbed.abs() / explanation.supporting.seed_sum.abs();
    if matches!(info.repeat, Some(Repeat::IntegratedGradients { .. })) && error > QUADRATURE {
        console.warn_with_help(
            &format!("the sum is {} % off the difference of the outputs", number(100.0 * error, 3)),
            "a composite with more `steps`, or another `baseline`, may be closer",
        );
    }
}

/// Returns the class names of the explained output. For unit targets, a file must have one name for each unit.
fn classes(program: &Program, args: &RunArgs, console: Console) -> anyhow::Result<Classes> {
    let info = &program.info;
    let classes = Classes::read(args.target.class_names.as_deref(), info, &args.model)?;
    let explained = program.graph.output(&Output::from(&info.explained)).map(|value| program.graph.ty(value));
    let units =
        explained.filter(|ty| matches!(ty.rank(), 1..=3)).and_then(|ty| ty.dim(ty.rank() - 1).as_known());
    let classes = match units.and_then(|n| usize::try_from(n).ok()) {
        Some(units) if args.target.picks_units() => classes.checked(&info.explained, units)?,
        _ => classes,
    };
    if let Some(file) = classes.beside() {
        console.note(format!("class names from `{}`", visible(file)));
    }
    Ok(classes)
}

/// Explains the targets, at least one; runs once, or `--repeat` times after a warm-up.
fn explain(
    explainer: &Explainer,
    inputs: &Inputs,
    named: &[NamedTarget],
    classes: &Classes,
    request: &Request,
    args: &RunArgs,
    console: Console,
) -> anyhow::Result<(Vec<Explained>, Times)> {
    let _progress = Notes::start(&console, "running");
    let targets: Vec<Target> = named.iter().map(|n| n.target).collect();
    let run = || explainer.explain_targets(&inputs.tensors, &targets, request);
    let first = run()?;
    let seconds = first[0].timings;
    let mut times = Times {
        prepare: seconds.prepare,
        forward: seconds.forward,
        reverse: seconds.reverse,
        ..Times::default()
    };
    let explained = named.iter().cloned().zip(first).map(|(target, explanation)| Explained {
        target,
        explanation,
        classes: classes.clone(),
    });
    let explained = explained.collect();
    let Some(repeat) = args.repeat else { return Ok((explained, times)) };
    let (mut forward, mut reverse) = (vec![], vec![]);
    for _ in 0..repeat {
        let seconds = run()?[0].timings;
        forward.push(seconds.forward);
        reverse.push(seconds.reverse);
    }
    (times.forward, times.reverse) = (median(&mut forward), median(&mut reverse));
    Ok((explained, times))
}

fn request(args: &RunArgs, inputs: &Inputs) -> Request {
    let (keep, keep_all) = match &args.keep {
        Keep::Inputs => (vec![], false),
        Keep::All => (vec![], true),
        Keep::Names(names) => (names.clone(), false),
    };
    let mut request = Request::new()
        .seed_value(args.target.start().value())
        .multiplier(args.target.multiplier())
        .normalize_to(args.target.scaler)
        .task(args.target.task())
        .position(args.target.position.clone().unwrap_or_else(|| inputs.position()))
        .keep(keep);
    request.positions_first = args.target.positions_first;
    request.keep_all = keep_all;
    request.path_dependent = args.tree_path_dependent;
    (request.ledger, request.modules, request.heads) = (args.ledger, args.layers, args.heads);
    request.experts = args.experts || args.expert_map.is_some();
    request
}
