//! The interpreter as a device.

use std::collections::BTreeSet;

use dlbc_ptx::{Device, DeviceError, Kernel, KernelId, Launch, SequenceId};

use crate::machine::{Settings, TensorSums, launch};
use crate::memory::Memory;
use crate::parse::load;
use crate::program::Program;

/// Statistics of all launches of a simulator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Names of the kernels that ran.
    pub kernels: BTreeSet<String>,
    /// Number of launches.
    pub launches: u64,
    /// Number of executed warp instructions.
    pub instructions: u64,
}

/// A device that interprets its kernels.
pub struct Simulator {
    memory: Memory,
    settings: Settings,
    kernels: Vec<(Kernel, Program)>,
    sequences: Vec<Option<Vec<Launch>>>,
    /// Number of launches after which the device fails, if any.
    lost_after: Option<u64>,
    /// Statistics of all launches so far.
    pub totals: Totals,
}

impl Default for Simulator {
    fn default() -> Simulator {
        Simulator::new(None, 1)
    }
}

impl Simulator {
    /// Creates a device with this much memory, unlimited if `None`. `schedule` seeds the order of blocks and warps.
    pub fn new(bytes: Option<u64>, schedule: u64) -> Simulator {
        Simulator {
            memory: Memory::new(bytes),
            settings: Settings { schedule, ..Settings::default() },
            kernels: vec![],
            sequences: vec![],
            lost_after: None,
            totals: Totals::default(),
        }
    }

    /// Makes the device fail as lost after this number of launches.
    pub fn losing(mut self, launches: u64) -> Simulator {
        self.lost_after = Some(launches);
        self
    }

    /// Makes tensor cores truncate their sums.
    pub fn truncating(mut self) -> Simulator {
        self.settings.tensor_sums = TensorSums::Truncated;
        self
    }

    fn alive(&self) -> Result<(), DeviceError> {
        match self.lost_after {
            Some(n) if self.totals.launches >= n => {
                Err(DeviceError::Lost(format!("as planned, after {n} launches")))
            }
            _ => Ok(()),
        }
    }

    fn launch(&mut self, l: &Launch) -> Result<(), DeviceError> {
        self.alive()?;
        let (kernel, program) = &self.kernels[l.kernel.0];
        let regions = [&l.reads[..], &l.writes, &l.updates];
        let stats = launch(program, &l.params, l.grid, &mut self.memory, regions, self.settings);
        let stats = stats.map_err(|fault| {
            let line = kernel.text.lines().nth((fault.line as usize).wrapping_sub(1)).unwrap_or_default();
            let message = format!("{fault}: {}", line.trim());
            DeviceError::Launch { name: kernel.name.clone(), message }
        })?;
        self.totals.kernels.insert(kernel.name.clone());
        self.totals.launches += 1;
        self.totals.instructions += stats.instructions;
        Ok(())
    }
}

impl Device for Simulator {
    fn describe(&self) -> String {
        "PTX interpreter".into()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.memory.free()
    }

    fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        self.alive()?;
        self.memory.allocate(bytes)
    }

    fn release(&mut self, address: u64) {
        self.memory.release(address);
    }

    fn upload(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.alive()?;
        self.memory.upload(address, bytes);
        Ok(())
    }

    fn download(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.alive()?;
        let failed = |message| DeviceError::Launch { name: "download".into(), message };
        self.memory.download(address, bytes).map_err(failed)
    }

    fn load(&mut self, kernel: &Kernel) -> Result<KernelId, DeviceError> {
        self.alive()?;
        if let Some(index) = self.kernels.iter().position(|(k, _)| k == kernel) {
            return Ok(KernelId(index));
        }
        let failed =
            |fault: crate::Fault| DeviceError::Assembly { name: kernel.name.clone(), log: fault.to_string() };
        self.kernels.push((kernel.clone(), load(kernel).map_err(failed)?));
        Ok(KernelId(self.kernels.len() - 1))
    }

    fn prepare(&mut self, launches: Vec<Launch>) -> Result<SequenceId, DeviceError> {
        self.alive()?;
        self.sequences.push(Some(launches));
        Ok(SequenceId(self.sequences.len() - 1))
    }

    fn run(&mut self, sequence: SequenceId) -> Result<(), DeviceError> {
        let launches = self.sequences.get_mut(sequence.0).and_then(Option::take).unwrap_or_default();
        let result = launches.iter().try_for_each(|l| self.launch(l));
        self.sequences[sequence.0] = Some(launches);
        result
    }

    fn discard(&mut self, sequence: SequenceId) {
        if let Some(s) = self.sequences.get_mut(sequence.0) {
            *s = None;
        }
    }
}
