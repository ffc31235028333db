//! `dlbc run`: model or artifact → backend → outputs and relevance.

use std::collections::BTreeMap;
use std::time::Instant;

use dlbc_ops::program::Info;
use dlbc_ops::tensor::{DType, Tensor};
use dlbc_runtime::{
    Backend, CpuBackend, Explanation, Position, ReferenceBackend, Request, RunOptions, Session,
    Start as SeedStart, Target as SeedTarget,
};

use crate::args::{Device, Keep, RunArgs, Start, Target};
use crate::exit::{Code, failure};
use crate::input::{self, Inputs};
use crate::output::{Contents, Format, check};
use crate::summary::{self, Times};
use crate::terminal::{Console, Progress, print};
use crate::{model, render};

/// Runs a model and explains its answer.
///
/// # Errors
/// See the exit codes of the command line.
pub fn run(args: &RunArgs, console: Console) -> anyhow::Result<()> {
    args.check()?;
    let format = args.out.as_deref().map(Format::of).transpose()?;
    for path in args.out.iter().chain(&args.heatmap) {
        check(path)?;
    }
    let mut loaded = model::load(&args.model, &args.explain, &args.limits, console)?;
    let clock = Instant::now();
    let inputs = input::read(&loaded.program.info.inputs, args, console)?;
    loaded.load_seconds += clock.elapsed().as_secs_f64();
    let info = loaded.program.info.clone();

    let options = RunOptions { threads: args.threads, max_tensor_bytes: args.limits.tensor_bytes() };
    let session = Session::new(loaded.program, backend(args.device)?, options)?;
    let (explanation, mut times) = explain(&session, &inputs, args, console)?;
    times.load = loaded.load_seconds;
    times.compile = loaded.compile_seconds;

    // The pictures are drawn before anything is written: an error leaves no file.
    let heatmap =
        args.heatmap.as_ref().map(|path| render::heatmap(path, &info, &inputs, &explanation, args, console));
    let heatmap = heatmap.transpose()?;
    if let (Some(format), Some(path)) = (format, &args.out) {
        format.save(path, &contents(&info, &explanation, args))?;
    }
    if let Some(heatmap) = heatmap {
        heatmap.save()?;
    }
    let mut summary = summary::Summary::new(&info, session.device(), &explanation, times, args);
    if let Some(texts) = &inputs.texts {
        summary = summary.with_tokens(texts, &explanation, args);
    }
    print(&if args.json { summary.json()? } else { summary.text() })?;
    summary.warn(console);
    Ok(())
}

fn backend(device: Device) -> anyhow::Result<Box<dyn Backend>> {
    match device {
        Device::Cpu => Ok(Box::new(CpuBackend)),
        Device::Reference => Ok(Box::new(ReferenceBackend)),
        Device::Cuda(_) => Err(failure(Code::Device, "this build has no CUDA backend")),
    }
}

/// Runs once, or `--repeat` times after a warm-up.
fn explain(
    session: &Session,
    inputs: &Inputs,
    args: &RunArgs,
    console: Console,
) -> anyhow::Result<(Explanation, Times)> {
    let _progress = Progress::start(console, "running");
    let request = request(args, inputs);
    let first = session.explain(&inputs.tensors, &request)?;
    let mut times = Times {
        prepare: first.seconds.prepare,
        forward: first.seconds.forward,
        reverse: first.seconds.reverse,
        ..Times::default()
    };
    let Some(repeat) = args.repeat else { return Ok((first, times)) };
    let (mut forward, mut reverse) = (vec![], vec![]);
    for _ in 0..repeat {
        let seconds = session.explain(&inputs.tensors, &request)?.seconds;
        forward.push(seconds.forward);
        reverse.push(seconds.reverse);
    }
    (times.forward, times.reverse) = (median(&mut forward), median(&mut reverse));
    Ok((first, times))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values {
        [] => 0.0,
        _ => (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0,
    }
}

fn request(args: &RunArgs, inputs: &Inputs) -> Request {
    let (keep, keep_all) = match &args.keep {
        Keep::Inputs => (vec![], false),
        Keep::All => (vec![], true),
        Keep::Names(names) => (names.clone(), false),
    };
    Request {
        target: match args.target {
            Target::Argmax => SeedTarget::Argmax,
            Target::Index(n) => SeedTarget::Index(n),
            Target::Difference(a, b) => SeedTarget::Difference(a, b),
            Target::All => SeedTarget::All,
        },
        start: match args.start {
            Start::One => SeedStart::One,
            Start::Value => SeedStart::Value,
        },
        multiplier: args.multiplier,
        position: args.position.map_or_else(|| shown(inputs), Position::At),
        keep,
        keep_all,
        audit: args.audit,
    }
}

/// The last position that the mask shows of each row; without a mask the last.
fn shown(inputs: &Inputs) -> Position {
    let Some(mask) = inputs.tensors.get("attention_mask") else { return Position::At(-1) };
    let [_, length] = mask.dims() else { return Position::At(-1) };
    let values = mask.to_f64();
    let last = |row: &[f64]| row.iter().rposition(|m| *m != 0.0).unwrap_or(length - 1);
    Position::Shown { length: *length, last: values.chunks((*length).max(1)).map(last).collect() }
}

/// What the result file holds.
fn contents(info: &Info, explanation: &Explanation, args: &RunArgs) -> Contents {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in &explanation.outputs {
        tensors.insert(format!("output/{name}"), tensor.clone());
    }
    for (name, tensor) in &explanation.relevance {
        tensors.insert(format!("relevance/{name}"), tensor.clone());
    }
    if args.audit {
        let sums = [
            ("audit/start", explanation.start),
            ("audit/inputs", explanation.inputs.values().sum()),
            ("audit/absorbed", explanation.absorbed),
        ];
        for (name, value) in sums {
            let bytes = std::sync::Arc::new(value.to_le_bytes());
            tensors.extend(Tensor::from_bytes(DType::F64, vec![], bytes).map(|t| (name.to_string(), t)));
        }
    }
    let mut metadata = BTreeMap::from([
        ("explained".to_string(), info.explained.clone()),
        ("mode".to_string(), info.mode.clone()),
        ("model".to_string(), info.model.clone()),
        ("rules".to_string(), info.rules.clone()),
        ("rules_hash".to_string(), info.rules_hash.clone()),
        ("target".to_string(), args.target.to_string()),
        ("version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
    ]);
    metadata.extend(info.hashes.iter().map(|(file, hash)| (format!("sha256/{file}"), hash.clone())));
    Contents { tensors, metadata }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
