//! Times one model on the CPU backend and prints a line of JSON.
//!
//! ```text
//! cargo bench --bench explain -- MODEL.onnx INPUT.npz [--threads N] [--repeats N] [--forward] [--targets K]
//!                                [--then OTHER.npz ...]
//! ```
//!
//! `--then` times the first run on each of other inputs afterwards, which a mixture of experts routes differently. `--forward`
//! runs the model alone, so that the peak memory of the process is that of the forward. `--targets K` alternates between one
//! target and K targets in one run, and reports the time of a further target.
//! `benches/python/compare.py` runs it beside its peers.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::time::Instant;

use dlbc_runtime::{CpuBackend, Request, Session, SessionOptions, Target, Tensor, Tensors};
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::NpzReader;
use serde_json::json;

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let value = |flag: &str, default: usize| {
        let at = words.iter().position(|w| w == flag);
        at.map_or(default, |i| words[i + 1].parse().expect("a number"))
    };
    let [model, inputs, ..] = words.as_slice() else {
        println!("usage: MODEL.onnx INPUT.npz [--threads N] [--repeats N] [--forward] [--targets K]");
        return;
    };
    let (threads, repeats) = (value("--threads", 2), value("--repeats", 9));
    let forward = words.iter().any(|w| w == "--forward");

    let read = dlbc_proto::read_model(model.as_ref(), &Default::default()).unwrap();
    let program = dlbc_compiler::compile(&read, &Default::default()).unwrap().program;
    drop(read);
    let options = SessionOptions::new().threads(threads);
    let session = Session::new(program, Box::new(CpuBackend), options).unwrap();
    let inputs = tensors(inputs);
    let count = value("--targets", 1);
    if count > 1 {
        println!("{}", targets(&session, &inputs, count, threads, repeats));
        return;
    }
    let (mut times, mut processor) = (vec![], vec![]);
    for _ in 0..=repeats {
        let (clock, before) = (Instant::now(), processor_ms());
        if forward {
            session.predict(&inputs).unwrap();
        } else {
            session.explain(&inputs, &Request::default()).unwrap();
        }
        times.push(1e3 * clock.elapsed().as_secs_f64());
        processor.extend(processor_ms().zip(before).map(|(after, before)| after - before));
    }
    // The first one plans.
    let first = times.remove(0);
    let processor = median(processor.get(1..).unwrap_or_default());
    let others = words.iter().skip_while(|w| *w != "--then").skip(1).take_while(|w| !w.starts_with("--"));
    let next: Vec<[f64; 2]> = others
        .map(|path| {
            let (inputs, clock) = (tensors(path), Instant::now());
            let seconds = session.explain(&inputs, &Request::default()).unwrap().timings;
            [clock.elapsed().as_secs_f64(), seconds.prepare].map(|s| 1e3 * s)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let what = if forward { "dlbc_forward" } else { "dlbc_explain" };
    let line = json!({
        "method": what, "threads": threads, "median_ms": times[times.len() / 2], "min_ms": times[0],
        "cpu_ms": processor, "first_ms": first, "then_ms": next, "peak_rss_mb": peak_mib(),
    });
    println!("{line}");
}

/// One target beside `count` in one run.
fn targets(
    session: &Session,
    inputs: &Tensors,
    count: usize,
    threads: usize,
    repeats: usize,
) -> serde_json::Value {
    let all: Vec<Target> = (0..count).map(Target::Rank).collect();
    let run = |targets: &[Target]| {
        let seconds = session.explain_targets(inputs, targets, &Request::default()).unwrap()[0].timings;
        [seconds.forward, seconds.reverse].map(|s| 1e3 * s)
    };
    // The first run of each kind also plans.
    run(&all[..1]);
    run(&all);
    let (mut single, mut several) = (vec![], vec![]);
    for _ in 0..repeats {
        single.push(run(&all[..1]));
        several.push(run(&all));
    }
    let median = |runs: &[[f64; 2]], stage: usize| {
        median(&runs.iter().map(|r| r[stage]).collect::<Vec<_>>()).unwrap_or_default()
    };
    let (reverse, reverse_all) = (median(&single, 1), median(&several, 1));
    let extra = (reverse_all - reverse) / (count - 1) as f64;
    json!({
        "method": "dlbc_targets", "threads": threads, "targets": count, "forward_ms": median(&single, 0),
        "reverse_ms": reverse, "reverse_all_ms": reverse_all, "extra_target_ms": extra,
        "extra_over_reverse": extra / reverse, "peak_rss_mb": peak_mib(),
    })
}

fn tensors(path: &str) -> Tensors {
    let mut npz = NpzReader::new(File::open(path).unwrap()).unwrap();
    let names = npz.names().unwrap();
    let mut tensors = Tensors::new();
    for name in names {
        let key = name.strip_suffix(".npy").unwrap_or(&name).to_string();
        let tensor = match npz.by_name::<OwnedRepr<f32>, IxDyn>(&name) {
            Ok(array) => Tensor::from_f32(array.shape(), &array.iter().copied().collect::<Vec<f32>>()),
            Err(_) => {
                let array: ArrayD<i64> = npz.by_name::<OwnedRepr<i64>, IxDyn>(&name).unwrap();
                Tensor::from_i64(array.shape(), &array.iter().copied().collect::<Vec<i64>>())
            }
        };
        tensors.insert(key, tensor);
    }
    tensors
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Returns the processor time of all threads of this process so far, in steps of 10 ms; `None` without `/proc`.
fn processor_ms() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    Some(10.0 * (fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?))
}

/// Returns the peak resident memory of this process so far, in MiB; `None` without `/proc`.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? / 1024)
}
