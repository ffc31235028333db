//! Flags that choose the device.

use clap::{Args, ValueEnum};
use dlbc_cuda::Precision;

use super::Device;
use super::values::positive;
use crate::cli::exit::usage;

/// Device that runs the program, and the precision of a GPU.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Execution")]
pub struct DeviceArgs {
    /// Device to run on: auto, cpu, cuda, cuda:N, or reference (float64, slow, for comparisons).
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Device,
    /// Precision of a GPU's matrix products: 3xtf32 (float32 by three products on tensor cores), tf32 or bf16 (operands of large
    /// products rounded to 11 or 8 bits), or simt (plain float32).
    #[arg(long, value_name = "PRECISION", value_enum)]
    precision: Option<GpuPrecision>,
    /// Number of processor threads [default: all].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
}

/// Precision of a GPU's matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GpuPrecision {
    /// Float32 by three products on tensor cores.
    #[value(name = "3xtf32")]
    Tf32x3,
    /// Operands of large products rounded to 11 bits.
    Tf32,
    /// Operands of large products rounded to 8 bits.
    Bf16,
    /// Plain float32.
    Simt,
}

impl DeviceArgs {
    /// Returns the precision of a GPU's matrix products, [`Precision::Tf32x3`] by default.
    pub fn precision(&self) -> Precision {
        match self.precision {
            Some(GpuPrecision::Simt) => Precision::Simt,
            Some(GpuPrecision::Tf32) => Precision::Tf32,
            Some(GpuPrecision::Bf16) => Precision::Bf16,
            Some(GpuPrecision::Tf32x3) | None => Precision::Tf32x3,
        }
    }

    /// Refuses `--precision` on any device other than a GPU.
    ///
    /// # Errors
    /// Returns a usage error that names the option.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.precision.is_some() && matches!(self.device, Device::Cpu | Device::Reference) {
            return Err(usage(
                "`--precision` applies to GPUs only: the processor computes in float32, the reference in float64",
            ));
        }
        Ok(())
    }
}
