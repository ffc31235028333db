//! Cost of CUDA plans: launches, bytes and memory, counted on a device that computes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::*;
use dlbc_cuda::{CudaBackend, Device, DeviceError, Precision};
use dlbc_ptx::Params as _;
use dlbc_ptx::kernel::gemm::GemmParams;
use dlbc_ptx::kernel::side_by_side::block_stride;
use dlbc_ptx::{Kernel, KernelId, Launch, Region, SequenceId};
use dlbc_runtime::{Request, Session, SessionOptions, Target};

/// Counts of a plan.
#[derive(Clone, Debug, Default)]
struct Counted {
    /// For each sequence, the number of launches and the bytes of the buffers that they read and write.
    sequences: Vec<(usize, u64)>,
    /// For each sequence, the number of launches and their MiB by kernel family.
    families: Vec<BTreeMap<String, (usize, u64)>>,
    /// Sequences that ran, in order.
    ran: Vec<usize>,
    kernels: Vec<Kernel>,
    allocated: Vec<u64>,
    /// For each sequence, the multiplications of its matrix products.
    multiplications: Vec<u64>,
    uploaded: u64,
    downloaded: u64,
}

impl Counted {
    /// Returns the bytes of the sequences that ran.
    fn bytes(&self) -> u64 {
        self.ran.iter().map(|ran| self.sequences[*ran].1).sum()
    }
}

/// A device whose memory is all zeros.
struct Counting(Arc<Mutex<Counted>>);

impl Device for Counting {
    fn describe(&self) -> String {
        "counting".into()
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let mut counted = self.0.lock().unwrap();
        counted.allocated.push(bytes);
        Ok((counted.allocated.len() as u64) << 40)
    }

    fn release(&mut self, _: u64) {}

    fn upload(&mut self, _: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.0.lock().unwrap().uploaded += bytes.len() as u64;
        Ok(())
    }

    fn download(&mut self, _: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.0.lock().unwrap().downloaded += bytes.len() as u64;
        bytes.fill(0);
        Ok(())
    }

    fn load(&mut self, kernel: &Kernel) -> Result<KernelId, DeviceError> {
        let mut counted = self.0.lock().unwrap();
        counted.kernels.push(kernel.clone());
        Ok(KernelId(counted.kernels.len() - 1))
    }

    fn prepare(&mut self, launches: Vec<Launch>) -> Result<SequenceId, DeviceError> {
        // A buffer counts once for all that a launch reads of it.
        let distinct = |regions: &[Region]| -> u64 {
            let by_address: BTreeMap<u64, u64> = regions.iter().map(|r| (r.address, r.bytes)).collect();
            by_address.values().sum()
        };
        let bytes = |l: &Launch| distinct(&l.reads) + distinct(&l.writes) + 2 * distinct(&l.updates);
        let mut counted = self.0.lock().unwrap();
        let mut families: BTreeMap<String, (usize, u64)> = BTreeMap::new();
        for l in &launches {
            let name = &counted.kernels[l.kernel.0].name;
            if std::env::var_os("DLBC_COUNT").is_some() {
                let mib = |regions: &[Region]| -> Vec<f32> {
                    regions.iter().map(|r| (r.bytes as f32 / 104_857.6).round() / 10.0).collect()
                };
                println!("    {:?} {:?} {:?} {name}", mib(&l.reads), mib(&l.writes), mib(&l.updates));
            }
            let family = families.entry(name.split('_').next().unwrap_or_default().into()).or_default();
            family.0 += 1;
            family.1 += bytes(l);
        }
        let products = launches.iter().filter(|l| counted.kernels[l.kernel.0].name.starts_with("gemm_"));
        let multiplications = products.map(|l| multiplications(&l.params)).sum();
        counted.multiplications.push(multiplications);
        counted.families.push(families);
        counted.sequences.push((launches.len(), launches.iter().map(bytes).sum()));
        Ok(SequenceId(counted.sequences.len() - 1))
    }

    fn run(&mut self, sequence: SequenceId) -> Result<(), DeviceError> {
        self.0.lock().unwrap().ran.push(sequence.0);
        Ok(())
    }

    fn discard(&mut self, _: SequenceId) {}
}

/// Returns the multiplications of products with these parameter blocks, of launches side by side. A second product of the same
/// operands counts as none.
fn multiplications(params: &[u8]) -> u64 {
    let of_block = |block: &[u8]| -> u64 {
        let field = |name: &str| {
            let at = GemmParams::FIELDS.iter().find(|f| f.name == name).unwrap().offset;
            u64::from(u32::from_le_bytes(block[at..at + 4].try_into().unwrap()))
        };
        ["m", "n", "k", "batches"].into_iter().map(field).product()
    };
    params.chunks(block_stride(size_of::<GemmParams>())).map(of_block).sum()
}

/// Plans a model and its relevance, and returns the counts as a row of a table.
fn counted(model: &Path, inputs: &Path, rules: &str, precision: Precision) -> (String, Counted) {
    explained(model, inputs, rules, precision, Request::new().target(Target::Index(0)))
}

/// Does the same for a request.
fn explained(
    model: &Path,
    inputs: &Path,
    rules: &str,
    precision: Precision,
    request: Request,
) -> (String, Counted) {
    let program = program(model, rules);
    let inputs = inputs_of(&program, &npz(inputs));
    let counted = Arc::new(Mutex::new(Counted::default()));
    let backend = CudaBackend::new(Box::new(Counting(counted.clone()))).with_precision(precision);
    let session = Session::new(program, Box::new(backend), SessionOptions::default()).unwrap();
    // Weights and tables are uploaded by the first run.
    session.explain(&inputs, &request).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
    {
        let mut counted = counted.lock().unwrap();
        (counted.uploaded, counted.downloaded, counted.ran) = (0, 0, vec![]);
    }
    session.explain(&inputs, &request).unwrap_or_else(|e| panic!("{}: {e}", model.display()));
    let counted = counted.lock().unwrap().clone();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (mut launches, mut bytes, mut multiplied) = (vec![], 0, 0);
    for ran in &counted.ran {
        launches.push(counted.sequences[*ran].0.to_string());
        bytes += counted.sequences[*ran].1;
        multiplied += counted.multiplications[*ran];
    }
    let row = format!(
        "launches {} | {} kernels | {:.0} MiB touched | {:.1} MiB of values | {:.1} G multiplications | {:.2} MiB to the device, \
         {:.2} from it",
        launches.join(" + "),
        counted.kernels.len(),
        mib(bytes),
        mib(counted.allocated[0]),
        multiplied as f64 / 1e9,
        mib(counted.uploaded),
        mib(counted.downloaded)
    );
    (row, counted)
}

/// Only the explained positions of a language model's output leave the device on demand, and its head is computed for them.
#[test]
fn a_head_is_computed_for_the_explained_positions() {
    let mut models: Vec<_> =
        zoo_models(&["llama"]).into_iter().take(1).map(|m| (m.name, m.model, m.inputs)).collect();
    let folder = root().join(".cache/models/llama-8x1024");
    if folder.join("input.npz").exists() {
        models.push(("llama-8x1024".into(), folder.join("model.onnx"), folder.join("input.npz")));
    }
    for (name, model, inputs) in models {
        let whole = Request::new().target(Target::Index(0));
        let on_demand = whole.clone().outputs(Vec::<String>::new());
        let [whole, on_demand] = [whole, on_demand].map(|request| {
            let (row, counted) = explained(&model, &inputs, "dlb", Precision::Tf32x3, request);
            println!("{name}: {row}");
            let multiplied: u64 = counted.ran.iter().map(|ran| counted.multiplications[*ran]).sum();
            (counted.downloaded, counted.uploaded, multiplied)
        });
        assert!(on_demand.0 < whole.0 && on_demand.2 < whole.2, "{name}: {on_demand:?}, {whole:?}");
    }
}

/// Prints the plans of the models that ship, of the large ones where they are, and of the model in the folder that `DLBC_COUNT`
/// names.
#[test]
fn plans_are_counted() {
    let root = root();
    let mut models: Vec<_> = ["digits_cnn", "tabular_mlp", "sentiment_bert"]
        .map(|name| (name, root.join("fixtures").join(name)))
        .into_iter()
        .collect();
    for name in ["resnet50", "bert-base"] {
        let folder = root.join(".cache/models").join(name);
        if folder.join("model.onnx").exists() {
            models.push((name, folder));
        } else {
            println!("skipped: {name} is not there");
        }
    }
    models.extend(std::env::var_os("DLBC_COUNT").map(|folder| ("DLBC_COUNT", folder.into())));
    for (name, folder) in models {
        let inputs = folder.join("input.npz");
        if !inputs.exists() {
            println!("skipped: no input of {name}");
            continue;
        }
        for rules in ["dlb", "lrp-alpha2-beta1"] {
            let model = folder.join("model.onnx");
            let (row, counted) = counted(&model, &inputs, rules, Precision::Tf32x3);
            println!("{name} by {rules}: {row}");
            counted.ran.iter().for_each(|ran| println!("  {:?}", counted.families[*ran]));
            assert!(counted.ran.len() >= 2, "{name}: a forward and a reverse");
            assert_eq!(counted.allocated.len(), 2, "{name}: a block of values and one of weights");
            // What a block of every chip may take.
            assert!(counted.kernels.iter().all(|k| k.shared <= 99 << 10), "{name}: shared memory");
            let launches: usize = counted.ran.iter().map(|ran| counted.sequences[*ran].0).sum();
            assert!(
                launches <= 500 || name != "bert-base" || rules != "dlb",
                "{launches} launches of {name}"
            );
            if rules == "dlb" && !["digits_cnn", "tabular_mlp", "sentiment_bert", "resnet50"].contains(&name)
            {
                let (row, narrow) = self::counted(&model, &inputs, rules, Precision::Bf16);
                println!("{name} by {rules} in bfloat16: {row}");
                narrow.ran.iter().for_each(|ran| println!("  {:?}", narrow.families[*ran]));
                assert!(narrow.bytes() < counted.bytes(), "{name}: values in bfloat16");
            }
            let both = counted.kernels.iter().any(|k| k.name.contains("_beside_"));
            assert!(both || rules == "dlb" || name != "resnet50", "{name}: both parts in one pass");
        }
    }
}
