//! Runs a lowered program on a device.

use std::sync::{Arc, Mutex, PoisonError};

use dlbc_backend::{BackendError, MemoryReport, Outputs, Plan, Progress, RunControl, Saved, Views};
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::{Array, DType, Tensor};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{DeviceError, KernelId, Launch, Region, SequenceId};

use crate::plan::{Addresses, Home, Lowered, Part, Step, View};
use crate::resident::{Shared, lock, to_device};

/// A stage on the device.
struct Stage {
    /// Launches, and how often they run before the next ones do.
    sequences: Vec<(SequenceId, usize)>,
    inputs: Vec<(String, u64)>,
    outputs: Vec<Download>,
    /// The words that failing steps set, and what they say.
    status: u64,
    complaints: Vec<String>,
}

struct Download {
    output: Output,
    address: u64,
    bytes: usize,
    dims: Vec<usize>,
    dtype: DType,
}

/// A program on a device.
pub(crate) struct DevicePlan {
    shared: Shared,
    /// What runs once, forward, reverse.
    stages: [Stage; 3],
    /// Blocks of memory that go back when the plan does.
    blocks: Vec<u64>,
    /// Constants that stay on the device while the plan does.
    constants: Vec<Arc<Tensor>>,
    /// Counts forward runs: the saved values in memory are those of the last one.
    generation: Mutex<u64>,
    memory: MemoryReport,
}

/// Which forward run left the saved values.
#[derive(Clone)]
struct Generation(u64);

/// An error of a device as one of a run.
pub(crate) fn failed(error: DeviceError) -> BackendError {
    match error {
        DeviceError::Absent(_) | DeviceError::Lost(_) => BackendError::Device(error.to_string()),
        DeviceError::OutOfMemory { .. } => BackendError::DeviceMemory(error.to_string()),
        DeviceError::Assembly { .. } | DeviceError::Launch { .. } => {
            BackendError::Engine { backend: "cuda", stage: "running", message: error.to_string() }
        }
    }
}

impl DevicePlan {
    /// Places the values, loads the kernels, uploads what is known, runs what depends on constants alone.
    pub(crate) fn new(shared: Shared, lowered: Lowered) -> Result<DevicePlan, BackendError> {
        let mut plan = DevicePlan {
            shared: shared.clone(),
            stages: [Stage::empty(), Stage::empty(), Stage::empty()],
            blocks: vec![],
            constants: vec![],
            generation: Mutex::new(0),
            memory: MemoryReport::default(),
        };
        let mut resident = lock(&shared);
        let arena = resident.device.allocate(lowered.bytes.max(4)).map_err(failed)?;
        plan.blocks.push(arena);
        let mut addresses = Addresses::default();
        for (buffer, offset) in lowered.buffers.iter().zip(&lowered.offsets) {
            let address = match &buffer.home {
                Home::Arena => arena + offset,
                Home::Constant(tensor) => {
                    let (held, address) = resident.constant(tensor).map_err(failed)?;
                    plan.constants.push(held);
                    address
                }
                Home::Table(words) => {
                    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                    resident.device.upload(arena + offset, &bytes).map_err(failed)?;
                    arena + offset
                }
            };
            addresses.push(address, buffer.bytes);
        }
        let kernels: Vec<KernelId> = lowered
            .kernels
            .iter()
            .map(|k| resident.device.load(k))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let launches = |steps: &[Step]| steps.iter().map(|s| launch(s, &kernels, &addresses)).collect();
        for (stage, part) in plan.stages.iter_mut().zip(&lowered.parts) {
            for (steps, times) in part.runs() {
                let sequence = resident.device.prepare(launches(&part.steps[steps])).map_err(failed)?;
                stage.sequences.push((sequence, times));
            }
            stage.fill(part, &addresses);
        }
        drop(resident);
        plan.run(&plan.stages[0], &Views::new(), None, &|_, _| Ok(()))?;
        plan.memory.saved_bytes = lowered.saved_bytes;
        plan.memory.plan_bytes = lowered.bytes;
        plan.memory.segments = lowered.segments;
        Ok(plan)
    }

    pub(crate) fn with_weights(mut self, bytes: u64) -> DevicePlan {
        self.memory.constant_bytes = bytes;
        self
    }

    /// Runs a stage; `check` runs before each of its sequences, with the number of those done and of all.
    fn run(
        &self,
        stage: &Stage,
        inputs: &Views<'_>,
        seed: Option<&Tensor>,
        check: &dyn Fn(usize, usize) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        let mut resident = lock(&self.shared);
        let device = &mut resident.device;
        for (name, address) in &stage.inputs {
            let tensor = if name == SEED { seed.map(Tensor::view) } else { inputs.get(name).cloned() };
            let tensor = tensor.ok_or_else(|| BackendError::MissingInput(name.clone()))?;
            device.upload(*address, &to_device(&tensor)).map_err(failed)?;
        }
        let mut status = vec![0; 4 * stage.complaints.len()];
        if !status.is_empty() {
            device.upload(stage.status, &status).map_err(failed)?;
        }
        let runs =
            stage.sequences.iter().flat_map(|(sequence, times)| std::iter::repeat_n(*sequence, *times));
        let total = stage.sequences.iter().map(|(_, times)| times).sum();
        for (done, sequence) in runs.enumerate() {
            check(done, total)?;
            device.run(sequence).map_err(failed)?;
        }
        if !status.is_empty() {
            device.download(stage.status, &mut status).map_err(failed)?;
            if let Some(at) = status.chunks(4).position(|word| word != [0; 4]) {
                return Err(BackendError::Node(stage.complaints[at].clone()));
            }
        }
        Ok(())
    }

    fn results(&self, stage: &Stage, run: &RunControl<'_>) -> Result<Outputs, BackendError> {
        let mut resident = lock(&self.shared);
        let mut tensors = Outputs::new();
        for download in &stage.outputs {
            run.check()?;
            let mut bytes = vec![0; download.bytes];
            resident.device.download(download.address, &mut bytes).map_err(failed)?;
            tensors.insert(download.output.clone(), from_device(&bytes, &download.dims, download.dtype));
        }
        Ok(tensors)
    }
}

impl Stage {
    fn empty() -> Stage {
        Stage { sequences: vec![], inputs: vec![], outputs: vec![], status: 0, complaints: vec![] }
    }

    fn fill(&mut self, part: &Part, addresses: &Addresses) {
        self.inputs = part.inputs.iter().map(|(n, v)| (n.clone(), addresses.of(v))).collect();
        self.status = part.status.as_ref().map_or(0, |v| addresses.of(v));
        self.complaints = part.complaints.clone();
        let download = |(output, view, dtype): &(Output, View, DType)| Download {
            output: output.clone(),
            address: addresses.of(view),
            bytes: view.elems() * view.kind.bytes() as usize,
            dims: view.dims.clone(),
            dtype: *dtype,
        };
        self.outputs = part.outputs.iter().map(download).collect();
    }
}

fn launch(step: &Step, kernels: &[KernelId], addresses: &Addresses) -> Launch {
    let regions = |list: &[View]| -> Vec<Region> { list.iter().map(|v| addresses.region(v)).collect() };
    Launch {
        kernel: kernels[step.kernel],
        grid: step.grid,
        params: (step.params)(addresses),
        reads: regions(&step.reads),
        writes: regions(&step.writes),
        updates: regions(&step.updates),
    }
}

impl Drop for DevicePlan {
    fn drop(&mut self) {
        let mut resident = lock(&self.shared);
        for stage in &self.stages {
            stage.sequences.iter().for_each(|(sequence, _)| resident.device.discard(*sequence));
        }
        for block in &self.blocks {
            resident.device.release(*block);
        }
        self.constants.clear();
        resident.sweep();
    }
}

impl DevicePlan {
    /// Runs the forward, whose saved values then are those of the next generation.
    fn run_forward(
        &self,
        generation: &mut u64,
        inputs: &Views<'_>,
        run: &RunControl<'_>,
    ) -> Result<(), BackendError> {
        *generation += 1;
        self.run(&self.stages[1], inputs, None, &|done, total| {
            run.report(Progress::Forward { done, total });
            run.check()
        })
    }
}

/// A sequence is one recorded launch: a cancelled run ends between sequences, between the runs of a scan's step, and between
/// downloads, not between nodes.
impl Plan for DevicePlan {
    fn forward(&self, inputs: &Views<'_>, run: &RunControl<'_>) -> Result<(Outputs, Saved), BackendError> {
        let mut generation = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        self.run_forward(&mut generation, inputs, run)?;
        Ok((self.results(&self.stages[1], run)?, Saved::new(Generation(*generation))))
    }

    fn reverse(
        &self,
        inputs: &Views<'_>,
        saved: Saved,
        seed: &Tensor,
        run: &RunControl<'_>,
    ) -> Result<Outputs, BackendError> {
        let mut generation = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        // Another forward has run since: its values lie where these lay, so they are computed again.
        if saved.take::<Generation>().is_none_or(|g| g.0 != *generation) {
            self.run_forward(&mut generation, inputs, run)?;
        }
        self.run(&self.stages[2], inputs, Some(seed), &|done, total| {
            run.report(Progress::Reverse { done, total });
            run.check()
        })?;
        self.results(&self.stages[2], run)
    }

    fn memory(&self) -> MemoryReport {
        self.memory
    }
}

/// The device's values as a tensor.
fn from_device(bytes: &[u8], dims: &[usize], dtype: DType) -> Tensor {
    let words = || bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let kept = match Kind::of(dtype) {
        Kind::F => DType::F32,
        Kind::I => DType::I64,
        Kind::B => DType::Bool,
    };
    let bytes: Vec<u8> = match kept {
        DType::Bool => words().map(|w| u8::from(w != 0)).collect(),
        _ => bytes.to_vec(),
    };
    // The bytes were counted from these dimensions.
    let tensor =
        Tensor::from_bytes(kept, dims.to_vec(), Arc::new(bytes)).unwrap_or_else(|| Tensor::scalar(f32::NAN));
    if kept == dtype { tensor } else { Array::from_tensor(&tensor).to_tensor(dtype) }
}
