//! `--device cuda` on machines whose driver or device fails: exit codes and messages, by a driver that fails on purpose.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dlbc_fakedriver::{SYMBOLS, UNUSED};

use crate::machine::Machine;

const DIGITS: &str = "fixtures/digits_cnn/model.onnx";

fn digit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits_cnn/input.npz")
}

fn explain(machine: &Machine, device: &str) -> (i32, String) {
    machine.explain(device, DIGITS, &digit())
}

/// Replaces what depends on the plan: names of kernels, the numbers of a launch, its parameters and operands.
fn without_plan(text: &str) -> String {
    let mut result: Vec<String> = vec![];
    for line in text.lines() {
        let line = line.split("; parameters").next().unwrap();
        let mut words: Vec<String> = vec![];
        for word in line.split(' ') {
            let is_number = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_digit());
            let word = match word {
                w if w.starts_with('`') && w.contains('_') => {
                    "`KERNEL`".to_string() + w.trim_start_matches(|c| c != ':' && c != ',')
                }
                w if is_number(w.trim_end_matches(',')) => {
                    "N".to_string() + if w.ends_with(',') { "," } else { "" }
                }
                w => w.to_string(),
            };
            words.push(word);
        }
        result.push(words.join(" "));
    }
    result.join("\n")
}

#[test]
#[cfg(target_os = "linux")]
fn each_fault_has_a_code_and_a_message() {
    let mut rows = vec![];
    for (faults, device, code) in [
        ("version=11040", "cuda", 5),
        ("cuInit=100", "cuda", 5),
        ("", "cuda:3", 5),
        ("chip=75", "cuda", 5),
        ("cuDevicePrimaryCtxRetain=2", "cuda", 5),
        // Out of memory: no block at all, one that is too small, none for a graph.
        ("cuMemAlloc_v2=2", "cuda", 5),
        ("memory=65536", "cuda", 5),
        ("cuGraphInstantiateWithFlags=2", "cuda", 5),
        // The host has no memory to pin.
        ("cuMemHostAlloc=2", "cuda", 5),
        // Kernels that fault, and hardware that does.
        ("launch=700@4", "cuda", 5),
        ("launch=716@4", "cuda", 5),
        ("launch=719@4", "cuda", 5),
        ("cuGraphLaunch=214", "cuda", 5),
        // Calls that the driver refuses are errors of dlbc.
        ("assembler=refuses", "cuda", 1),
        ("cuMemcpyHtoDAsync_v2=1", "cuda", 1),
        ("cuMemcpyDtoHAsync_v2=1", "cuda", 1),
        ("cuLaunchKernel=1", "cuda", 1),
        ("cuStreamBeginCapture_v2=900", "cuda", 1),
        ("cuStreamEndCapture=901", "cuda", 1),
        ("cuGraphInstantiateWithFlags=1", "cuda", 1),
        ("cuGraphUpload=1", "cuda", 1),
        // A spill and a slow launch are none.
        ("local=512", "cuda", 0),
        ("launch=slow@2", "cuda", 0),
        // `auto` runs on the CPU and says nothing of GPUs.
        ("", "auto", 0),
        ("version=11040", "auto", 0),
        ("cuInit=100", "auto", 0),
    ] {
        let (exit_code, text) = explain(&Machine::new(faults), device);
        assert_eq!(exit_code, code, "{faults} on {device}: {text}");
        assert!(device != "auto" || !text.contains("processor"), "{faults} on {device}: {text}");
        rows.push(format!("{faults} --device {device}: {exit_code}\n{}", without_plan(&text)));
    }
    insta::assert_snapshot!(rows.join("\n"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_machine_without_a_driver_says_so() {
    let (code, text) = explain(&Machine::without_driver(), "cuda");
    // A machine that has a driver of its own has one.
    if text.contains("the driver's library") {
        assert_eq!(code, 5, "{text}");
    }
}

/// One by one, a fault is that of a kernel, which is named with its parameters.
#[test]
#[cfg(target_os = "linux")]
fn launches_one_by_one_name_the_kernel_that_faults() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("launches.jsonl");
    let sync = |faults: &str| Machine::new(faults).with("DLBC_CUDA_SYNC", "1");
    let (code, text) = explain(&sync(&format!("report={}", report.display())), "cuda");
    assert_eq!(code, 0, "{text}");
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(&report)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.len() > 9, "{} launches", lines.len());
    let mut rows = vec![];
    for code in [700, 715, 716, 719] {
        for launch in [1, 4, 9] {
            let (exit_code, text) = explain(&sync(&format!("launch={code}@{launch}")), "cuda");
            assert_eq!(exit_code, 5, "{text}");
            let line = &lines[launch - 1];
            let kernel = line["kernel"].as_str().unwrap();
            assert!(text.contains(&format!("kernel `{kernel}` faulted")), "{kernel}: {text}");
            let [x, y, z] = [0, 1, 2].map(|axis| line["grid"][axis].as_u64().unwrap());
            assert!(
                text.contains(&format!("{x} x {y} x {z} blocks of {} threads", line["threads"])),
                "{text}"
            );
            // The block's words are written as numbers, the highest byte first.
            let parameters = line["parameters"].as_str().unwrap();
            let bytes: Vec<&str> = (0..16).step_by(2).map(|at| &parameters[at..at + 2]).collect();
            let word: String = bytes.into_iter().rev().collect();
            assert!(text.contains(&format!("parameters 0x{word}")), "{word}: {text}");
            assert!(text.contains("; writes 0x") || text.contains("; updates 0x"), "{text}");
            if launch == 4 {
                rows.push(without_plan(&text));
            }
        }
    }
    insta::assert_snapshot!(rows.join("\n"));
}

#[test]
#[cfg(target_os = "linux")]
fn an_endless_kernel_ends_the_program() {
    let mut rows = vec![];
    for (sync, launch) in [("0", 1), ("0", 4), ("1", 4)] {
        let machine = Machine::new(&format!("launch=hang@{launch}")).with("DLBC_CUDA_SYNC", sync);
        let clock = Instant::now();
        let (code, text) = explain(&machine.with("DLBC_CUDA_TIMEOUT", "0.3"), "cuda");
        assert_eq!(code, 5, "{text}");
        assert!(clock.elapsed() < Duration::from_secs(60), "{:?}", clock.elapsed());
        rows.push(without_plan(&text));
    }
    // A launch that takes its time is waited for.
    let (code, text) = explain(&Machine::new("launch=slow@3").with("DLBC_CUDA_TIMEOUT", "30"), "cuda");
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(rows.join("\n"));
}

#[test]
#[cfg(target_os = "linux")]
fn settings_of_the_environment_are_checked() {
    let mut rows = vec![];
    for (name, value) in
        [("DLBC_CUDA_SYNC", "yes"), ("DLBC_CUDA_TIMEOUT", "-3"), ("DLBC_CUDA_TIMEOUT", "soon")]
    {
        let (code, text) = explain(&Machine::new("").with(name, value), "cuda");
        assert_eq!(code, 2, "{text}");
        rows.push(text);
        // They are settings of `cuda`.
        assert_eq!(explain(&Machine::new("").with(name, value), "cpu").0, 0);
    }
    insta::assert_snapshot!(rows.concat());
}

/// All functions that dlbc may call are looked up before the first is called. The fake driver has no others, and models run on it.
#[test]
#[cfg(target_os = "linux")]
fn a_function_that_the_driver_lacks_is_named() {
    let test = "faults::a_function_that_the_driver_lacks_is_named";
    let open = || match dlbc_cuda::open(0) {
        Ok(_) => println!("\n# opened"),
        Err(e) => println!("\n# {e}"),
    };
    if Machine::inside() {
        return open();
    }
    let opened = |machine: Machine| machine.run(test, || ());
    assert_eq!(opened(Machine::new("")), ["opened"]);
    for function in SYMBOLS {
        let lines = opened(Machine::lacking("", Some(function)));
        if UNUSED.contains(function) {
            assert_eq!(lines, ["opened"], "{function}");
        } else {
            let reason = format!("the driver lacks the function `{function}`");
            assert!(lines.len() == 1 && lines[0].contains(&reason), "{function}: {lines:?}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_input_that_is_not_finite_is_refused_before_the_device_runs() {
    let machine = Machine::new("cuGraphLaunch=719");
    let mut pixels = vec![0.5f32; 64];
    pixels[9] = f32::NAN;
    let array = ndarray::ArrayD::from_shape_vec(vec![1, 1, 8, 8], pixels).unwrap();
    let path = machine.folder().join("nan.npz");
    let mut file = ndarray_npy::NpzWriter::new(std::fs::File::create(&path).unwrap());
    file.add_array("input", &array).unwrap();
    file.finish().unwrap();
    let (code, text) = machine.explain("cuda", DIGITS, &path);
    assert_eq!(code, 3, "{text}");
    assert!(
        text.contains("input `input` at index [0, 0, 1, 1]: expected a finite number, found NaN"),
        "{text}"
    );
}
