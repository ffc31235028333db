//! `dlbc eval`: how far explanations can be trusted.
//!
//! Metrics are those of Quantus [hedstrom2023], of one sample after the other; a random and an all-equal map are measured
//! beside the composites.

mod budget;
mod chance;
mod curves;
mod features;
mod fill;
mod mask;
mod measure;
mod metric;
mod plot;
mod prepare;
mod report;
mod sanity;
mod subject;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use dlbc_compiler::{Composite, Passes};
use dlbc_ops::program::Info;
use dlbc_runtime::{SessionOptions, Target};

pub use fill::Fill;
pub use metric::Metric;

use crate::cli::args::{EvalArgs, ExplainArgs};
use crate::cli::device;
use crate::cli::exit::{Code, describe, failure, usage, verdict};
use crate::cli::terminal::{Console, print};
use budget::Cost;
use dlbc::explainer::Explainer;
use dlbc::explainer::load;
use dlbc::heatmap::format::DrawingFormat;
use dlbc::notes::Notes;
use dlbc::results;
use dlbc::wording::number;
use measure::{area, mean};
use prepare::Prepared;
use report::{Outcome, Report};
use subject::{Case, Method};

/// Steps of a curve, unless `--step` says otherwise.
const STEPS: usize = 32;

/// The greatest usual subset of faithfulness correlation.
const SUBSET: usize = 224;

/// Where the random numbers of each purpose start.
mod stream {
    pub const SUBSETS: u64 = 1 << 32;
    pub const NOISE: u64 = 2 << 32;
    pub const OTHER: u64 = 3 << 32;
    pub const WEIGHTS: u64 = 4 << 32;
    pub const CONTROL: u64 = 5 << 32;
    pub const CONTROL_NOISE: u64 = 6 << 32;
    pub const CONTROL_OTHER: u64 = 7 << 32;
    pub const CONTROL_WEIGHTS: u64 = 8 << 32;
}

/// The numbers that metrics are measured with.
pub struct Plan {
    step: Option<usize>,
    /// Steps of a curve, where `step` says nothing.
    steps: usize,
    patch: Option<usize>,
    regions: usize,
    runs: usize,
    subset: Option<usize>,
    draws: usize,
    radius: f64,
    stages: usize,
    seed: u64,
}

impl Plan {
    fn new(args: &EvalArgs) -> Plan {
        Plan {
            step: args.step,
            steps: STEPS,
            patch: args.patch,
            regions: args.regions,
            runs: args.runs,
            subset: args.subset,
            draws: args.draws,
            radius: args.radius,
            stages: args.stages,
            seed: args.seed,
        }
    }

    /// Leaves a share of the steps, regions and subsets, where their number was not asked for.
    fn thin(&mut self, share: f64, args: &EvalArgs) {
        let part = |number: usize, least: usize| ((number as f64 * share) as usize).max(least.min(number));
        self.steps = part(self.steps, 8);
        if args.regions == EvalArgs::USUAL_REGIONS {
            self.regions = part(self.regions, 16);
        }
        if args.runs == EvalArgs::USUAL_RUNS {
            self.runs = part(self.runs, 16);
        }
    }

    fn step(&self, case: &Case) -> usize {
        self.step.unwrap_or(case.features.len().div_ceil(self.steps)).max(1)
    }

    fn patch(&self, (height, width): (usize, usize)) -> usize {
        self.patch.unwrap_or((height.min(width) / 28).max(2))
    }

    fn subset(&self, case: &Case) -> usize {
        let n = case.features.len();
        self.subset.unwrap_or((n / 4).min(SUBSET)).clamp(1, n.max(1))
    }
}

/// Composites that are compared when none is named: those that the book's page "Which explanation to trust" recommends for one
/// family of models or another.
const USUAL: [&str; 4] = ["dlb", "epsilon-plus", "attnlrp", "integrated-gradients"];

/// A composite under evaluation.
struct Candidate {
    explain: ExplainArgs,
    info: Info,
    method: Method,
}

/// Evaluates composites on samples.
///
/// # Errors
/// See the exit codes of the command line.
pub fn eval(args: &EvalArgs, console: Console) -> anyhow::Result<()> {
    let clock = Instant::now();
    check(args)?;
    args.on.check()?;
    let device = &device::open(&args.on, console)?;
    let options = SessionOptions::new().threads(args.on.threads).max_tensor_bytes(args.limits.tensor_bytes());
    let artifact = is_artifact(args)?;
    let usual: &[&str] = if artifact || args.explain.is_contrastive() { &[] } else { &USUAL };
    let mut each = args.explain.each(usual).into_iter();
    let first = each.next().context("a composite")?;
    let loaded = load::load(&args.model, &first.load_options(&args.limits)?, &console)?;
    let mut prepared = prepare::prepare(args, loaded.program.clone(), artifact, device, &options, console)?;
    let mut plan = Plan::new(args);
    let mut metrics = metrics(args, &prepared, console)?;
    if args.plot.is_some() && !metrics.iter().any(|m| m.has_curve()) {
        return Err(usage("`--plot`: none of the metrics has a curve"));
    }
    let mut candidates = vec![];
    let rest = each.map(|explain| {
        let quiet = Console { quiet: true };
        let options = explain.load_options(&args.limits);
        let loaded = options.and_then(|options| Ok(load::load(&args.model, &options, &quiet)?));
        (explain, loaded)
    });
    for (explain, loaded) in std::iter::once((first, Ok(loaded))).chain(rest) {
        let made = loaded.and_then(|loaded| {
            let info = loaded.program.info.clone();
            let explainer = Explainer::new(loaded.program, loaded.split, &|| device.backend(), &options)?;
            let passes = passes(&explain, args, artifact, &info.rules)?;
            Ok((info, Method::composite(explainer, passes)))
        });
        match made {
            Ok((info, method)) => candidates.push(Candidate { explain, info, method }),
            // Nobody asked for this one.
            Err(e) if !args.explain.names_rules() && verdict(&e).code == Code::Unsupported => {
                console.note(format!("`{}` is left out: {}", explain.rules(), describe(&e)));
            }
            Err(e) => return Err(e),
        }
    }
    if args.is_timed() {
        shorten(args, &candidates, &mut prepared, &mut metrics, &mut plan, console)?;
    }
    let mut runs = vec![];
    for (i, Candidate { info, method, .. }) in candidates.iter().enumerate() {
        let _progress =
            Notes::start(&console, &format!("{} ({} of {})", info.rules, i + 1, candidates.len()));
        let run = evaluate(method, &prepared, &metrics, &plan);
        runs.push(run.with_context(|| format!("composite `{}`", info.rules))?.of(info));
    }
    let controls = [("random", Method::Random(plan.seed)), ("all-equal", Method::Equal)];
    for (name, method) in &controls {
        let _progress = Notes::start(&console, &format!("control {name}"));
        runs.push(evaluate(method, &prepared, &metrics, &plan)?.control(name));
    }
    if metrics.contains(&Metric::Randomisation) {
        let each: Vec<&ExplainArgs> = candidates.iter().map(|c| &c.explain).collect();
        sanity::randomisation(args, &each, (device, &options), &prepared, &plan, &mut runs, console)?;
    }
    let report = Report::new(args, &prepared, &plan, &metrics, runs);
    if let Some(path) = &args.out {
        let text = report.json(true)?;
        results::write(path, |out| Ok(out.write_all(text.as_bytes())?))?;
    }
    if let Some(path) = &args.plot {
        let bytes = DrawingFormat::of_drawing("--plot", path)?.drawing(&plot::draw(&report))?;
        results::write(path, |out| Ok(out.write_all(&bytes)?))?;
    }
    print(&if args.json { report.json(false)? } else { report.text() })?;
    console.note(format!("this took {} s", number(clock.elapsed().as_secs_f64(), 2)));
    match report.missed(args).as_slice() {
        [] => Ok(()),
        missed => Err(failure(Code::Gate, missed.join("; "))),
    }
}

/// Leaves out samples, metrics that explain again and again, and where one sample is too many a part of its curves, until the
/// rest takes about a minute.
fn shorten(
    args: &EvalArgs,
    candidates: &[Candidate],
    prepared: &mut Prepared,
    metrics: &mut Vec<Metric>,
    plan: &mut Plan,
    console: Console,
) -> anyhow::Result<()> {
    let _progress = Notes::start(&console, "measuring the time of a sample");
    let methods: Vec<&Method> = candidates.iter().map(|c| &c.method).collect();
    let samples = prepared.cases.len();
    let cost = Cost::measure(&methods, prepared, metrics, plan)?;
    let fitting = budget::fit(cost, samples, metrics, plan);
    let bounded = args.fail_under.iter().chain(&args.fail_over).map(|b| b.metric);
    let asked: Vec<Metric> = args.metrics.iter().copied().chain(bounded).collect();
    let left_out: Vec<Metric> = fitting.left_out.into_iter().filter(|m| !asked.contains(m)).collect();
    metrics.retain(|m| !left_out.contains(m));
    prepared.cases.truncate(fitting.samples);
    if !left_out.is_empty() {
        let names: Vec<String> = left_out.iter().map(|m| format!("`{m}`")).collect();
        console.note(format!("{} left out to save time; `--metrics` asks for them", names.join(", ")));
    }
    if fitting.samples < samples {
        console.note(format!(
            "{} of {samples} samples: all of them would take more than a minute; `--rules` or `--limit` says otherwise",
            fitting.samples
        ));
    }
    if fitting.share < 1.0 {
        plan.thin(fitting.share, args);
        console.note(format!(
            "even one sample takes longer than a minute: curves of {} steps, {} subsets",
            plan.steps, plan.runs
        ));
    }
    Ok(())
}

/// Returns whether the model file is an artifact, compiled already.
fn is_artifact(args: &EvalArgs) -> anyhow::Result<bool> {
    let model = load::read(&args.model, &args.limits.model(), &Console { quiet: true })?;
    Ok(dlbc_artifact::is_artifact(&model.proto))
}

/// What a composite passes on. Of an artifact only the name of its composite is known.
fn passes(explain: &ExplainArgs, args: &EvalArgs, artifact: bool, rules: &str) -> anyhow::Result<Passes> {
    if artifact {
        return Ok(Composite::named(rules).map_or(Passes::Relevance, |c| c.passes));
    }
    Ok(explain.options(&args.limits)?.composite().map_err(dlbc::error::Error::from)?.passes)
}

fn check(args: &EvalArgs) -> anyhow::Result<()> {
    if let Target::Difference(..) | Target::All = args.target {
        return Err(usage(format!(
            "`--target {}`: metrics look at one unit, argmax or an index",
            args.target
        )));
    }
    args.plot.as_deref().map(|path| DrawingFormat::of_drawing("--plot", path)).transpose()?;
    for path in args.out.iter().chain(&args.plot) {
        results::check(path)?;
    }
    for explain in args.explain.each(&[]) {
        explain.options(&args.limits)?.composite().map_err(dlbc::error::Error::from)?;
    }
    let wanted = |m: Metric| args.metrics.is_empty() || args.metrics.contains(&m);
    match args.fail_under.iter().chain(&args.fail_over).find(|b| !wanted(b.metric)) {
        Some(bound) => Err(usage(format!("`{bound}` bounds a metric that `--metrics` leaves out"))),
        None => Ok(()),
    }
}

/// The metrics that are asked for, or all that the samples allow.
fn metrics(args: &EvalArgs, prepared: &Prepared, console: Console) -> anyhow::Result<Vec<Metric>> {
    let cases = &prepared.cases;
    let lacks = |metric: &Metric| -> Option<&'static str> {
        let lacking = |lacks: bool, what| lacks.then_some(what);
        match metric {
            Metric::RegionPerturbation => {
                lacking(cases.iter().any(|c| c.features.grid.is_none()), "samples that are pictures")
            }
            Metric::MaxSensitivity => lacking(!prepared.floats, "an input of floats"),
            Metric::RankAccuracy | Metric::MassAccuracy | Metric::PointingGame => {
                lacking(cases.iter().any(|c| c.mask.is_none()), "`--mask`")
            }
            Metric::RandomLogit => {
                lacking(cases.iter().any(|c| c.units.len() < 2), "an output of several units")
            }
            Metric::Randomisation => lacking(prepared.artifact, "the model itself, not an artifact"),
            _ => None,
        }
    };
    let bounds = args.fail_under.iter().chain(&args.fail_over).map(|b| b.metric);
    let asked: Vec<Metric> = args.metrics.iter().copied().chain(bounds).collect();
    if let Some((metric, what)) = asked.iter().find_map(|m| Some((m, lacks(m)?))) {
        return Err(usage(format!("metric `{metric}` needs {what}")));
    }
    let all = Metric::value_variants().iter().copied();
    let chosen: Vec<Metric> = all
        .filter(|m| if args.metrics.is_empty() { lacks(m).is_none() } else { asked.contains(m) })
        .collect();
    if args.metrics.is_empty() && prepared.artifact {
        console.note("`randomisation` is left out: an artifact has no weights to randomise");
    }
    Ok(chosen)
}

/// Measures a method on every sample.
fn evaluate(
    method: &Method,
    prepared: &Prepared,
    metrics: &[Metric],
    plan: &Plan,
) -> anyhow::Result<Outcome> {
    let model = &prepared.model;
    let has = |m: Metric| metrics.contains(&m);
    let mut outcome = Outcome::default();
    for (number, case) in prepared.cases.iter().enumerate() {
        let map = method.explain(case, case.target, stream::CONTROL + number as u64)?;
        let relevance = &map.relevance;
        let mut scores: BTreeMap<Metric, f64> = BTreeMap::new();
        let untouched = model.answer(&case.units, case.target);
        if [Metric::Morf, Metric::Gap, Metric::Deletion].into_iter().any(has) {
            let curve = curves::flipping(model, case, relevance, plan, true)?;
            scores.insert(Metric::Morf, area(&curve));
            scores.insert(Metric::Deletion, curves::deletion(untouched, &curve));
            outcome.curve("morf", curve);
        }
        if [Metric::Lerf, Metric::Gap].into_iter().any(has) {
            let curve = curves::flipping(model, case, relevance, plan, false)?;
            scores.insert(Metric::Lerf, area(&curve));
            outcome.curve("lerf", curve);
        }
        if let (Some(morf), Some(lerf)) = (scores.get(&Metric::Morf), scores.get(&Metric::Lerf)) {
            scores.insert(Metric::Gap, lerf - morf);
        }
        if has(Metric::RegionPerturbation)
            && let Some(drops) = curves::regions(model, case, relevance, plan)?
        {
            scores.insert(Metric::RegionPerturbation, mean(&drops));
            outcome.curve("region-perturbation", drops);
        }
        if has(Metric::Insertion) {
            let curve = curves::insertion(model, case, relevance, plan)?;
            scores.insert(Metric::Insertion, area(&curve));
            outcome.curve("insertion", curve);
        }
        if has(Metric::FaithfulnessCorrelation) {
            let score = curves::faithfulness(model, case, number, relevance, plan)?;
            scores.insert(Metric::FaithfulnessCorrelation, score);
        }
        if has(Metric::MaxSensitivity) {
            let score = sanity::sensitivity(method, case, number, relevance, plan)?;
            scores.extend(score.map(|s| (Metric::MaxSensitivity, s)));
        }
        scores.insert(Metric::Sparseness, measure::sparseness(relevance));
        scores.insert(Metric::Complexity, measure::complexity(relevance));
        if let Some(mask) = &case.mask {
            scores.insert(Metric::RankAccuracy, measure::rank_accuracy(relevance, mask));
            scores.insert(Metric::MassAccuracy, measure::mass_accuracy(relevance, mask));
            scores.insert(Metric::PointingGame, measure::pointing(relevance, mask));
        }
        if has(Metric::RandomLogit) {
            let score = sanity::random_logit(method, case, number, plan)?;
            scores.extend(score.map(|s| (Metric::RandomLogit, s)));
        }
        if let Some(books) = map.books {
            scores.insert(Metric::Conservation, books[1] / books[0]);
            outcome.books.push(books);
        }
        scores.retain(|metric, _| has(*metric));
        outcome.add(scores);
        outcome.maps.push(map.relevance);
    }
    Ok(outcome)
}
