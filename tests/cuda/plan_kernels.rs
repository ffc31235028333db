//! The kernels that plans of whole models really emit, in every precision.

#[path = "../../cuda/ptxsim/tests/cases/mod.rs"]
mod cases;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::common::*;
use crate::recording::Recorder;
use dlbc_cuda::{CudaBackend, Precision};
use dlbc_ops::program::Program;
use dlbc_ptx::Kernel;
use dlbc_runtime::{Request, Session, SessionOptions, Target, Tensors};

const PRECISIONS: [Precision; 4] = [Precision::Tf32x3, Precision::Tf32, Precision::Bf16, Precision::Simt];
/// Dynamic shared memory that a block may take on every chip, in bytes.
const MAX_SHARED: u32 = 99 << 10;

/// Kernels by name, each with the first plan that emitted it.
#[derive(Default)]
pub struct Kernels(pub BTreeMap<String, (Kernel, String)>);

impl Kernels {
    fn add(&mut self, kernel: Kernel, plan: &str) {
        assert!(kernel.shared <= MAX_SHARED, "{plan}: {} takes {} bytes", kernel.name, kernel.shared);
        let (first, before) =
            self.0.entry(kernel.name.clone()).or_insert_with(|| (kernel.clone(), plan.into()));
        assert!(
            first.text == kernel.text && first.shared == kernel.shared,
            "{before} and {plan} emit different texts under the name {}",
            kernel.name
        );
    }

    /// Plans forward and relevance of a model in every precision.
    fn plan(&mut self, name: &str, program: &Program, inputs: &Tensors) {
        for precision in PRECISIONS {
            let plan = format!("{name} in {precision:?}");
            let recorder = Recorder::new(0, false);
            let backend = CudaBackend::new(Box::new(recorder.clone())).with_precision(precision);
            let session = Session::new(program.clone(), Box::new(backend), SessionOptions::default())
                .unwrap_or_else(|e| panic!("{plan}: {e}"));
            let target = request(program, Target::Index(0)).target;
            // A device that computes nothing answers with zeros: what follows from them may be refused.
            let explained = session.explain(inputs, &Request::new().target(target));
            let kernels = std::mem::take(&mut recorder.recorded.lock().unwrap().kernels);
            assert!(!kernels.is_empty(), "{plan}: {:?}", explained.err());
            kernels.into_iter().for_each(|kernel| self.add(kernel, &plan));
        }
    }
}

/// Plans the models that ship, the large ones that are in the cache, and the zoo where it is; of these, those whose name contains
/// `DLBC_PLAN`.
pub fn kernels_of_plans() -> Kernels {
    let mut kernels = Kernels::default();
    let mut models: Vec<(String, PathBuf, PathBuf)> = vec![];
    let mut add = |name: &str, model: PathBuf, inputs: PathBuf| {
        if model.exists() && inputs.exists() {
            models.push((name.into(), model, inputs));
        } else {
            println!("skipped: {} is not there", model.display());
        }
    };
    for name in ["digits_cnn", "tabular_mlp", "experts"] {
        let folder = root().join("fixtures").join(name);
        add(name, folder.join("model.onnx"), folder.join("input.npz"));
    }
    for name in ["resnet50", "bert-base", "llama-8x1024"] {
        let folder = root().join(".cache/models").join(name);
        add(name, folder.join("model.onnx"), folder.join("input.npz"));
    }
    if zoo().is_some() {
        // Of the mixtures two, whose plans are many.
        let names = [VISION_AND_TABULAR, SEQUENCE, VISION_TASKS, &["mixtral", "gpt_oss_patched"]].concat();
        // One export of each model: the others differ in their pieces, which the compiler joins.
        let mut seen = std::collections::BTreeSet::new();
        for m in zoo_models(&names) {
            let base = m.name.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default();
            if seen.insert(base.to_string()) {
                add(&m.name, m.model, m.inputs);
            }
        }
    }
    let only = std::env::var("DLBC_PLAN").unwrap_or_default();
    for (name, model, inputs) in models.into_iter().filter(|(name, ..)| name.contains(&only)) {
        let clock = std::time::Instant::now();
        let before = kernels.0.len();
        for rules in ["dlb", "lrp-alpha2-beta1"] {
            let program = program(&model, rules);
            let inputs = inputs_of(&program, &npz(&inputs));
            kernels.plan(&format!("{name} by {rules}"), &program, &inputs);
        }
        let seconds = clock.elapsed().as_secs_f64();
        println!("{name}: {} more kernels, {seconds:.1} s", kernels.0.len() - before);
    }
    kernels
}

/// Selects the kernels to run: of products and convolutions that differ in what follows alone, the one where most follows.
/// With `DLBC_ALL_KERNELS` set, all.
fn selected(kernels: &Kernels) -> Vec<&(Kernel, String)> {
    if std::env::var_os("DLBC_ALL_KERNELS").is_some() {
        return kernels.0.values().collect();
    }
    let mut classes: BTreeMap<&str, &(Kernel, String)> = BTreeMap::new();
    for (name, entry) in &kernels.0 {
        let class = name.split("_then_").next().unwrap_or_default();
        let longest = classes.entry(class).or_insert(entry);
        if name.len() > longest.0.name.len() {
            *longest = entry;
        }
    }
    classes.into_values().collect()
}

/// Runs kernels on the interpreter, on random operands in a small launch of each one's description. Returns those that no launch
/// is known for.
fn interpreted(kernels: &[&(Kernel, String)]) -> Vec<String> {
    let queue = Mutex::new(kernels.iter());
    let next = || queue.lock().unwrap().next();
    let (unknown, faults) = (Mutex::new(vec![]), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((kernel, plan)) = next() {
                    let list = cases::cases(kernel);
                    if list.is_empty() {
                        unknown.lock().unwrap().push(kernel.name.clone());
                    }
                    // The first is larger than a tile and ragged.
                    let fault = list.iter().take(1).find_map(|case| cases::failure(case, kernel, 1));
                    if let Some(fault) = fault {
                        faults.lock().unwrap().push(format!("{} of {plan}: {fault}", kernel.name));
                    }
                }
            });
        }
    });
    let mut faults: Vec<String> = faults.into_inner().unwrap();
    faults.sort();
    assert!(faults.is_empty(), "{} kernels are wrong:\n{}", faults.len(), faults.join("\n"));
    unknown.into_inner().unwrap()
}

/// Writes the kernels to the folder that `DLBC_PLAN_KERNELS` names, for NVIDIA's assembler, and runs them, unless
/// `DLBC_WRITE_ONLY` is set.
#[test]
fn plans_emit_kernels_that_are_right() {
    let kernels = kernels_of_plans();
    let mut families: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, (kernel, plan)) in &kernels.0 {
        dlbc_ptxsim::load(kernel).unwrap_or_else(|e| panic!("{plan}: {name}: {e}"));
        *families.entry(name.split('_').next().unwrap_or_default()).or_default() += 1;
    }
    println!("{} kernels of plans: {families:?}", kernels.0.len());
    if let Some(folder) = std::env::var_os("DLBC_PLAN_KERNELS").map(PathBuf::from) {
        std::fs::create_dir_all(&folder).unwrap();
        for (i, (kernel, _)) in kernels.0.values().enumerate() {
            // Names of epilogues are longer than names of files may be.
            std::fs::write(folder.join(format!("{i}.ptx")), &kernel.text).unwrap();
        }
    }
    if std::env::var_os("DLBC_WRITE_ONLY").is_some() {
        return;
    }
    let clock = std::time::Instant::now();
    let selected = selected(&kernels);
    let unknown = interpreted(&selected);
    println!("{} of them run in {:.1} s", selected.len(), clock.elapsed().as_secs_f64());
    assert!(unknown.is_empty(), "{unknown:?}");
}
