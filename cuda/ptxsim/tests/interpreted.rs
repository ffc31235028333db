//! Every kernel of the library passes its cases, gives the same bits under five schedules, and fails its cases when an instruction
//! is deleted.

#![allow(clippy::unwrap_used, missing_docs)]

mod cases;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use cases::{cases, dump, failure, run};
use dlbc_ptx::Kernel;
use dlbc_ptx::library::{Entry, library};
use dlbc_ptxsim::load;

/// Schedules of the warps and blocks of each launch.
const SCHEDULES: [u64; 5] = [1, 2, 3, 4, 5];
/// Minimum share of deletions that the cases of each family must detect.
const MIN_DETECTED: f64 = 0.95;
/// Maximum number of deletions per kernel; those of longer kernels are spaced evenly.
const MAX_DELETIONS: usize = 120;

/// Returns the kernels of the library whose name contains `DLBC_KERNEL`, by default all.
fn selected() -> impl Iterator<Item = Entry> {
    let only = std::env::var("DLBC_KERNEL").unwrap_or_default();
    library().into_iter().filter(move |e| e.kernel.name.contains(&only))
}

/// Prints a summary to stderr, even if the test harness captures output.
fn report(summary: &str) {
    let _ = writeln!(std::io::stderr(), "{summary}");
}

#[test]
fn kernels_are_right_and_repeat_their_bits_under_five_schedules() {
    let (mut kernels, mut shapes, mut accesses, mut conflicts) = (0, 0, 0, 0);
    for entry in selected() {
        let program = load(&entry.kernel).unwrap_or_else(|e| panic!("{}: {e}", entry.kernel.name));
        let cases = cases(&entry.kernel);
        assert!(!cases.is_empty(), "{} has no cases", entry.kernel.name);
        for case in cases {
            let context = format!("{} on {}", entry.kernel.name, case.shape);
            let (first, stats) = run(&case, &program, SCHEDULES[0]).unwrap_or_else(|e| {
                let line = entry.kernel.text.lines().nth(e.line as usize - 1).unwrap_or_default();
                panic!("{context}: {e}: {line}")
            });
            case.check(&first).unwrap_or_else(|e| panic!("{context}: {e}"));
            for schedule in &SCHEDULES[1..] {
                let (again, _) = run(&case, &program, *schedule).unwrap_or_else(|e| panic!("{context}: {e}"));
                assert_eq!(first, again, "{context}: schedule {schedule} gives other bits");
            }
            shapes += 1;
            accesses += stats.shared;
            conflicts += stats.conflicts;
            // Stores along the depth may conflict; reads of products must not. An attention reads no columns beyond the last.
            let most = if entry.family == "attention" { 3 } else { 1 };
            let acceptable = stats.conflicts <= most * stats.shared;
            assert!(acceptable, "{context}: {} bank conflicts in {} accesses", stats.conflicts, stats.shared);
        }
        kernels += 1;
    }
    report(&format!(
        "CUDA: {kernels} kernels, {shapes} shapes, {} schedules, on the interpreter",
        SCHEDULES.len()
    ));
    println!("{conflicts} bank conflicts in {accesses} accesses to shared memory");
}

/// Deleted instructions of a family, and how many of them its cases detected.
#[derive(Default)]
struct Deletions {
    count: usize,
    detected: usize,
    missed: Vec<String>,
}

#[test]
fn deleted_instructions_are_detected() {
    let mut families: BTreeMap<&str, Deletions> = BTreeMap::new();
    for entry in selected() {
        let cases = cases(&entry.kernel);
        let lines: Vec<&str> = entry.kernel.text.lines().collect();
        let deletable = |line: &str| {
            let line = line.trim();
            line.ends_with(';') && !line.starts_with('.') && line != "ret;"
        };
        let places: Vec<usize> = (0..lines.len()).filter(|i| deletable(lines[*i])).collect();
        let step = places.len().div_ceil(MAX_DELETIONS);
        let family = families.entry(entry.family).or_default();
        for place in places.into_iter().step_by(step) {
            let text: String = lines
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != place)
                .map(|(_, l)| format!("{l}\n"))
                .collect();
            let kernel = Kernel { text, ..entry.kernel.clone() };
            family.count += 1;
            if cases.iter().any(|case| failure(case, &kernel, 1).is_some()) {
                family.detected += 1;
            } else {
                family.missed.push(format!("{}:{}: {}", entry.kernel.name, place + 1, lines[place].trim()));
            }
        }
    }
    let mut low = vec![];
    let (count, detected) = families.values().fold((0, 0), |sum, f| (sum.0 + f.count, sum.1 + f.detected));
    report(&format!(
        "CUDA: {detected} of {count} deleted instructions detected, in {} families",
        families.len()
    ));
    for (family, Deletions { count, detected, missed }) in &families {
        let share = *detected as f64 / *count as f64;
        println!("{family}: {detected} of {count} deletions detected ({:.1} %)", 100.0 * share);
        missed.iter().for_each(|m| println!("  not detected: {m}"));
        if share < MIN_DETECTED {
            low.push(*family);
        }
    }
    assert!(low.is_empty(), "fewer than 95 % of deletions detected: {low:?}");
}

/// Writes every case to the folder that `DLBC_CASES` names: what `scripts/cuda` launches on a GPU, or proves.
#[test]
fn cases_are_written() {
    let temporary = std::env::temp_dir().join(format!("dlbc-cases-{}", std::process::id()));
    let folder = std::env::var_os("DLBC_CASES").map_or(temporary.clone(), PathBuf::from);
    let mut entries: Vec<Entry> = selected().collect();
    if folder == temporary {
        entries.truncate(4);
    }
    let count = dump(&entries, &folder);
    assert!(count >= entries.len());
    let bytes = |name: &str| std::fs::metadata(folder.join(name)).unwrap().len();
    println!("{count} cases, {} bytes, {} in the index", bytes("blobs.bin"), bytes("index.json"));
    let _ = std::fs::remove_dir_all(temporary);
}
