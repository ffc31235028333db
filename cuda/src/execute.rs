//! Runs a lowered program on a device.

use std::sync::{Arc, Mutex, PoisonError};

use dlbc_backend::{BackendError, MemoryReport, Outputs, Plan, Progress, RunControl, Saved, Views};
use dlbc_ops::program::{Output, SEED};
use dlbc_ops::tensor::{Array, DType, Tensor};
use dlbc_ptx::kernel::pointwise::Kind;
use dlbc_ptx::{KernelId, Launch, Region, SequenceId};

use crate::error::backend_error;
use crate::plan::{Addresses, Location, Lowered, StageOutput, StagePlan, Step, View};
use crate::resident::{Shared, lock, to_device};

/// Bytes of local memory above which a kernel counts as spilled. Division calls a routine that may keep a return address.
const SPILLED: u32 = 64;

/// A stage of a program on the device.
struct Stage {
    /// Sequences in order, and how often each runs before the next one.
    sequences: Vec<(SequenceId, usize)>,
    /// Name and device address of each input.
    inputs: Vec<(String, u64)>,
    outputs: Vec<Download>,
    /// Address of the status words, one per step that can fail; a failing step sets its word.
    status: u64,
    /// Error message of each status word.
    status_messages: Vec<String>,
}

/// An output of a stage and its values on the device.
struct Download {
    output: Output,
    address: u64,
    bytes: usize,
    dims: Vec<usize>,
    dtype: DType,
}

/// A lowered program with its memory and kernels on a device.
pub(crate) struct DevicePlan {
    shared: Shared,
    /// Setup, which runs once, then forward and reverse.
    stages: [Stage; 3],
    /// Allocations that the plan owns and releases.
    blocks: Vec<u64>,
    /// Constants that stay on the device as long as the plan exists.
    constants: Vec<Arc<Tensor>>,
    /// Number of forward runs. The saved values in memory are those of the last run.
    generation: Mutex<u64>,
    memory: MemoryReport,
}

/// Number of the forward run that produced saved values.
#[derive(Clone)]
struct Generation(u64);

impl DevicePlan {
    /// Allocates memory, loads the kernels, uploads constants and tables, and runs the setup stage.
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
        let arena = resident.device.allocate(lowered.bytes.max(4)).map_err(backend_error)?;
        plan.blocks.push(arena);
        resident.upload_constants(&lowered).map_err(backend_error)?;
        let absent = || BackendError::Engine {
            backend: "cuda",
            stage: "planning",
            message: "a constant is not on the device".into(),
        };
        let mut addresses = Addresses::default();
        for (buffer, offset) in lowered.buffers.iter().zip(&lowered.offsets) {
            let address = match &buffer.location {
                Location::Arena => arena + offset,
                Location::Constant(tensor, _) => {
                    let (constant, address) = resident.constant(tensor).ok_or_else(absent)?;
                    plan.constants.push(constant);
                    address
                }
                Location::Table(words) => {
                    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
                    resident.device.upload(arena + offset, &bytes).map_err(backend_error)?;
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
            .map_err(backend_error)?;
        let spilled = kernels.iter().filter(|k| resident.device.local_bytes(**k) > SPILLED);
        plan.memory.spilled_kernels = spilled.count();
        let launches = |steps: &[Step]| steps.iter().map(|s| launch(s, &kernels, &addresses)).collect();
        for (stage, stage_plan) in plan.stages.iter_mut().zip(&lowered.stages) {
            for (steps, times) in stage_plan.runs() {
                let launches = launches(&stage_plan.steps[steps]);
                let sequence = resident.device.prepare(launches).map_err(backend_error)?;
                stage.sequences.push((sequence, times));
            }
            stage.fill(stage_plan, &addresses);
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

    /// Runs a stage. Before each of its sequences it calls `check` with the number of finished sequences and of all.
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
            device.upload(*address, &to_device(&tensor)).map_err(backend_error)?;
        }
        let mut status = vec![0; 4 * stage.status_messages.len()];
        if !status.is_empty() {
            device.upload(stage.status, &status).map_err(backend_error)?;
        }
        let runs =
            stage.sequences.iter().flat_map(|(sequence, times)| std::iter::repeat_n(*sequence, *times));
        let total = stage.sequences.iter().map(|(_, times)| times).sum();
        for (finished, sequence) in runs.enumerate() {
            check(finished, total)?;
            device.run(sequence).map_err(backend_error)?;
        }
        if !status.is_empty() {
            device.download(stage.status, &mut status).map_err(backend_error)?;
            if let Some(at) = status.chunks(4).position(|word| word != [0; 4]) {
                return Err(BackendError::Node(stage.status_messages[at].clone()));
            }
        }
        Ok(())
    }

    /// Downloads the outputs of a stage.
    fn results(&self, stage: &Stage, run: &RunControl<'_>) -> Result<Outputs, BackendError> {
        let mut resident = lock(&self.shared);
        let mut tensors = Outputs::new();
        for download in &stage.outputs {
            run.check()?;
            let mut bytes = vec![0; download.bytes];
            resident.device.download(download.address, &mut bytes).map_err(backend_error)?;
            tensors.insert(download.output.clone(), from_device(bytes, &download.dims, download.dtype));
        }
        Ok(tensors)
    }
}

impl Stage {
    fn empty() -> Stage {
        Stage { sequences: vec![], inputs: vec![], outputs: vec![], status: 0, status_messages: vec![] }
    }

    /// Resolves inputs, outputs and status words to addresses.
    fn fill(&mut self, plan: &StagePlan, addresses: &Addresses) {
        self.inputs = plan.inputs.iter().map(|(n, v)| (n.clone(), addresses.address_of(v))).collect();
        self.status = plan.status.as_ref().map_or(0, |v| addresses.address_of(v));
        self.status_messages = plan.status_messages.clone();
        let download = |StageOutput { output, view, dtype }: &StageOutput| Download {
            output: output.clone(),
            address: addresses.address_of(view),
            bytes: view.elems() * view.kind.bytes() as usize,
            dims: view.dims.clone(),
            dtype: *dtype,
        };
        self.outputs = plan.outputs.iter().map(download).collect();
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
    /// Runs the forward and counts the run, so that earlier saved values become invalid.
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

/// A run can be cancelled between sequences, between the steps of a scan, and between downloads, but not between the nodes of a
/// sequence, which is one CUDA graph.
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
        // A later forward has overwritten the saved values, so they are recomputed.
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

/// Converts the device's representation of values to a tensor.
fn from_device(bytes: Vec<u8>, dims: &[usize], dtype: DType) -> Tensor {
    let device_dtype = match Kind::of(dtype) {
        Kind::F => DType::F32,
        Kind::I => DType::I64,
        Kind::B => DType::Bool,
    };
    let bytes: Vec<u8> = match device_dtype {
        DType::Bool => bytes.chunks_exact(4).map(|word| u8::from(word != [0; 4])).collect(),
        _ => bytes,
    };
    // The number of bytes was computed from these dimensions, so this cannot fail.
    let tensor = Tensor::from_bytes(device_dtype, dims.to_vec(), Arc::new(bytes))
        .unwrap_or_else(|| Tensor::scalar(f32::NAN));
    if device_dtype == dtype { tensor } else { Array::from_tensor(&tensor).to_tensor(dtype) }
}
