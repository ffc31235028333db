//! Every kernel of the library: right on its cases, the same bits under five schedules, and noticed when an instruction
//! is missing.

#![allow(clippy::unwrap_used, missing_docs)]

mod cases;

use std::collections::BTreeMap;
use std::io::Write;

use cases::{cases, complaint, run};
use dlbc_ptx::Kernel;
use dlbc_ptx::library::{Entry, library};
use dlbc_ptxsim::load;

/// Schedules that the warps and blocks of each launch run in.
const SCHEDULES: [u64; 5] = [1, 2, 3, 4, 5];
/// Where each block of memory of a listed launch begins, one after another.
const PLACE: u64 = 1 << 32;
/// The share of deletions that each family's cases must notice.
const NOTICED: f64 = 0.95;
/// Deletions tried in one kernel; those of a longer one are drawn evenly.
const TRIED: usize = 120;

/// The library, or what `DLBC_KERNEL` names of it.
fn chosen() -> impl Iterator<Item = Entry> {
    let only = std::env::var("DLBC_KERNEL").unwrap_or_default();
    library().into_iter().filter(move |e| e.kernel.name.contains(&only))
}

/// Says what was covered, also where the test's own output is kept back.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

#[test]
fn kernels_are_right_and_repeat_their_bits_under_five_schedules() {
    let (mut kernels, mut shapes, mut accesses, mut conflicts) = (0, 0, 0, 0);
    for entry in chosen() {
        let program = load(&entry.kernel).unwrap_or_else(|e| panic!("{}: {e}", entry.kernel.name));
        let cases = cases(&entry);
        assert!(!cases.is_empty(), "{} has no cases", entry.kernel.name);
        for case in cases {
            let what = format!("{} on {}", entry.kernel.name, case.shape);
            let (first, stats) = run(&case, &program, SCHEDULES[0]).unwrap_or_else(|e| {
                let line = entry.kernel.text.lines().nth(e.line as usize - 1).unwrap_or_default();
                panic!("{what}: {e}: {line}")
            });
            (case.check)(&first).unwrap_or_else(|e| panic!("{what}: {e}"));
            for schedule in &SCHEDULES[1..] {
                let (again, _) = run(&case, &program, *schedule).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(first, again, "{what}: schedule {schedule} gives other bits");
            }
            shapes += 1;
            accesses += stats.shared;
            conflicts += stats.conflicts;
            // Stores of what lies along the depth meet in the banks; what the products read does not.
            let spared = stats.conflicts <= stats.shared;
            assert!(spared, "{what}: {} extra turns in {} accesses", stats.conflicts, stats.shared);
        }
        kernels += 1;
    }
    say(&format!(
        "CUDA: {kernels} kernels, {shapes} shapes, {} schedules, on the interpreter",
        SCHEDULES.len()
    ));
    println!("{conflicts} bank conflicts in {accesses} accesses to shared memory");
}

#[test]
fn deleted_instructions_are_noticed() {
    let mut families: BTreeMap<&str, (usize, usize, Vec<String>)> = BTreeMap::new();
    for entry in chosen() {
        let cases = cases(&entry);
        let lines: Vec<&str> = entry.kernel.text.lines().collect();
        let deletable = |line: &str| {
            let line = line.trim();
            line.ends_with(';') && !line.starts_with('.') && line != "ret;"
        };
        let places: Vec<usize> = (0..lines.len()).filter(|i| deletable(lines[*i])).collect();
        let step = places.len().div_ceil(TRIED);
        let family = families.entry(entry.family).or_default();
        for place in places.into_iter().step_by(step) {
            let text: String = lines
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != place)
                .map(|(_, l)| format!("{l}\n"))
                .collect();
            let kernel = Kernel { text, ..entry.kernel.clone() };
            family.0 += 1;
            if cases.iter().any(|case| complaint(case, &kernel, 1).is_some()) {
                family.1 += 1;
            } else {
                family.2.push(format!("{}:{}: {}", entry.kernel.name, place + 1, lines[place].trim()));
            }
        }
    }
    let mut low = vec![];
    let (tried, noticed) = families.values().fold((0, 0), |sum, f| (sum.0 + f.0, sum.1 + f.1));
    say(&format!("CUDA: {noticed} of {tried} deleted instructions noticed, in {} families", families.len()));
    for (family, (tried, noticed, missed)) in &families {
        let share = *noticed as f64 / *tried as f64;
        println!("{family}: {noticed} of {tried} deletions noticed ({:.1} %)", 100.0 * share);
        missed.iter().for_each(|m| println!("  not noticed: {m}"));
        if share < NOTICED {
            low.push(*family);
        }
    }
    assert!(low.is_empty(), "fewer than 95 % of deletions noticed: {low:?}");
}

/// Writes every case as a launch for a static proof (`scripts/cuda/race_proof.py`), to the file that `DLBC_LAUNCHES` names.
#[test]
fn launches_are_listed() {
    let mut launches = vec![];
    for entry in library() {
        for case in cases(&entry) {
            let addresses: Vec<u64> = (1..=case.buffers.len() as u64).map(|i| i * PLACE).collect();
            let params = (case.params)(&addresses);
            let sizes: Vec<u64> = case.buffers.iter().map(|(_, words)| 4 * words.len() as u64).collect();
            // Debug prints strings and lists as JSON does.
            launches.push(format!(
                "{{\"kernel\":{:?},\"shape\":{:?},\"grid\":{:?},\"threads\":{},\"shared\":{},\"params\":{:?},\"addresses\":{:?},\
                 \"sizes\":{:?}}}",
                entry.kernel.name,
                case.shape,
                case.grid,
                entry.kernel.threads,
                entry.kernel.shared,
                params,
                addresses,
                sizes
            ));
        }
    }
    assert!(launches.len() >= library().len());
    if let Some(path) = std::env::var_os("DLBC_LAUNCHES") {
        std::fs::write(path, format!("[{}]", launches.join(",\n"))).unwrap();
    }
}
