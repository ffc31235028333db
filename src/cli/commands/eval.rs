//! `dlbc eval`: measures the quality of explanations. A random and an all-equal map serve as controls.

use anyhow::Context;
use dlbc_compiler::{Composite, Quantity};
use dlbc_ops::program::Info;
use dlbc_runtime::{SessionOptions, Target};

use crate::cli::args::{EvalArgs, ExplainArgs};
use crate::cli::device;
use crate::cli::exit::{Code, describe, failure, usage, verdict};
use crate::cli::report::evaluation::Report;
use crate::cli::terminal::{Console, print};
use dlbc::eval::{self, Cost, Method, Metric, Plan, Prepared, Randomised, evaluate};
use dlbc::explainer::Explainer;
use dlbc::explainer::load;
use dlbc::heatmap::format::DrawingFormat;
use dlbc::notes::Notes;
use dlbc::results;

/// Composites to compare without `--rules`: the recommendations of the book's page "Which composite to trust".
const USUAL: [&str; 4] = ["dlb", "epsilon-plus", "attnlrp", "integrated-gradients"];

/// Composite under evaluation.
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
    check(args)?;
    args.on.check()?;
    let device = &device::open(&args.on)?;
    let options = SessionOptions::new().threads(args.on.threads).max_tensor_bytes(args.limits.tensor_bytes());
    let artifact = is_artifact(args)?;
    let usual: &[&str] = if artifact || args.explain.is_contrastive() { &[] } else { &USUAL };
    let mut each = args.explain.each(usual).into_iter();
    let first = each.next().context("a composite")?;
    let loaded = load::load(&args.model, &first.load_options(&args.limits)?, &console)?;
    let program = loaded.program.clone();
    let prepare = args.prepare();
    let mut prepared = eval::prepare(&prepare, program, artifact, device.backend(), &options, &console)?;
    let mut plan = args.plan();
    let mut metrics = metrics(args, &prepared, console)?;
    if args.plot.is_some() && !metrics.iter().any(|m| m.has_curve()) {
        return Err(usage("invalid `--plot`: none of the metrics has a curve"));
    }
    let mut candidates = vec![];
    let rest = each.map(|explain| {
        let quiet = Console { quiet: true };
        let options = explain.load_options(&args.limits);
        let loaded = options.and_then(|options| Ok(load::load(&args.model, &options, &quiet)?));
        (explain, loaded)
    });
    for (explain, loaded) in std::iter::once((first, Ok(loaded))).chain(rest) {
        let candidate = loaded.and_then(|loaded| {
            let info = loaded.program.info.clone();
            let explainer = Explainer::new(loaded.program, loaded.split, device, &options)?;
            let quantity = quantity(&explain, args, artifact, &info.rules)?;
            Ok((info, Method::composite(explainer, quantity)))
        });
        match candidate {
            Ok((info, method)) => candidates.push(Candidate { explain, info, method }),
            // The user did not ask for this composite.
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
        let options_of = |c: &Candidate| c.explain.options(&args.limits);
        let each = candidates.iter().map(options_of).collect::<anyhow::Result<Vec<_>>>()?;
        let model = load::read(&args.model, &args.limits.model(), &console)?;
        let randomised = Randomised { model, composites: each, options: options.clone() };
        eval::randomisation(randomised, device, &prepared, &plan, &mut runs, &console)?;
    }
    let report = Report::new(args, &prepared, &plan, &metrics, runs);
    if let Some(path) = &args.out {
        let text = report.json(true)?;
        results::write(path, |out| Ok(out.write_all(text.as_bytes())?))?;
    }
    if let Some(path) = &args.plot {
        let bytes = DrawingFormat::of_drawing("--plot", path)?.drawing(&eval::plot(&report.outcomes))?;
        results::write(path, |out| Ok(out.write_all(&bytes)?))?;
    }
    print(&if args.json { report.json(false)? } else { report.text() })?;
    match report.missed(args).as_slice() {
        [] => Ok(()),
        missed => Err(failure(Code::Gate, missed.join("; "))),
    }
}

/// Shortens the evaluation to about a minute: leaves out samples, metrics that need many explanations and, if even one sample
/// takes too long, steps of its curves.
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
    let fitting = eval::fit(cost, samples, metrics, plan);
    let bounded = args.fail_under.iter().chain(&args.fail_over).map(|b| b.metric);
    let asked: Vec<Metric> = args.metrics.iter().copied().chain(bounded).collect();
    let left_out: Vec<Metric> = fitting.left_out.into_iter().filter(|m| !asked.contains(m)).collect();
    metrics.retain(|m| !left_out.contains(m));
    prepared.cases.truncate(fitting.samples);
    if !left_out.is_empty() {
        let names: Vec<String> = left_out.iter().map(|m| format!("`{m}`")).collect();
        console.note_with_help(
            &format!("{} left out to save time", names.join(", ")),
            "`--metrics` asks for them",
        );
    }
    if fitting.samples < samples {
        console.note_with_help(
            &format!("{} of {samples} samples: all of them would take more than a minute", fitting.samples),
            "`--limit` sets the number of samples, `--rules` the composites",
        );
    }
    if fitting.share < 1.0 {
        plan.thin(fitting.share);
        console.note(format!(
            "even one sample takes longer than a minute: curves of {} steps, {} subsets",
            plan.steps, plan.runs
        ));
    }
    Ok(())
}

/// Returns whether the model file is an artifact of `dlbc compile`.
fn is_artifact(args: &EvalArgs) -> anyhow::Result<bool> {
    let model = load::read(&args.model, &args.limits.model(), &Console { quiet: true })?;
    Ok(dlbc_artifact::is_artifact(&model.proto))
}

/// Returns the quantity that a composite passes on. For an artifact it follows from the composite's name.
fn quantity(explain: &ExplainArgs, args: &EvalArgs, artifact: bool, rules: &str) -> anyhow::Result<Quantity> {
    if artifact {
        return Ok(Composite::named(rules).map_or(Quantity::Relevance, |c| c.quantity));
    }
    Ok(explain.options(&args.limits)?.composite().map_err(dlbc::error::Error::from)?.quantity)
}

fn check(args: &EvalArgs) -> anyhow::Result<()> {
    if let Target::Difference(..) | Target::All = args.target {
        return Err(usage(format!(
            "invalid `--target {}` for metrics: expected argmax or an index",
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
        Some(bound) => Err(usage(format!("invalid bound `{bound}`: `--metrics` leaves out this metric"))),
        None => Ok(()),
    }
}

/// Returns the metrics of the command line, or all metrics that the samples allow.
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
        return Err(usage(format!("metric `{metric}` is not available: expected {what}")));
    }
    let all = Metric::ALL.into_iter();
    let chosen: Vec<Metric> = all
        .filter(|m| if args.metrics.is_empty() { lacks(m).is_none() } else { asked.contains(m) })
        .collect();
    if args.metrics.is_empty() && prepared.artifact {
        console.note("`randomisation` is left out: an artifact has no weights to randomise");
    }
    Ok(chosen)
}
