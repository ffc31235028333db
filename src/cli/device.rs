//! Devices: what `--device` names, opened once.

use dlbc_cuda::CudaBackend;
use dlbc_runtime::backend::ReferenceBackend;
use dlbc_runtime::{Backend, CpuBackend};

use crate::cli::args::{Device, DeviceArgs};
use crate::cli::exit::{Code, failure};
use crate::cli::terminal::Console;

/// An open device. Its backends share what is on it.
pub enum Opened {
    /// The processor.
    Cpu,
    /// The reference kernels.
    Reference,
    /// A GPU.
    Cuda(CudaBackend),
}

/// Opens a device. `auto` is the processor until the kernels have run on a GPU; it says when there is one.
///
/// # Errors
/// When it is not there.
pub fn open(args: &DeviceArgs, console: Console) -> anyhow::Result<Opened> {
    let cuda = |backend: CudaBackend| Opened::Cuda(backend.with_precision(args.precision()));
    match args.device {
        Device::Cpu => Ok(Opened::Cpu),
        Device::Reference => Ok(Opened::Reference),
        Device::Auto => {
            // Nobody asked for a GPU: that there is none is not said.
            if dlbc_cuda::find(0).is_ok() {
                console.note(
                    "there is a GPU, on which the kernels are yet to be proven: `--device cuda` takes it; running on the \
                     processor",
                );
            }
            Ok(Opened::Cpu)
        }
        Device::Cuda(ordinal) => {
            let opened = dlbc_cuda::open(ordinal as usize).map(cuda);
            opened.map_err(|e| failure(Code::Device, e.to_string()))
        }
    }
}

impl Opened {
    /// A backend of the device.
    pub fn backend(&self) -> Box<dyn Backend> {
        match self {
            Opened::Cpu => Box::new(CpuBackend),
            Opened::Reference => Box::new(ReferenceBackend),
            Opened::Cuda(backend) => Box::new(backend.clone()),
        }
    }
}
