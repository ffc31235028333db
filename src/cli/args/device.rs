//! Where a program runs.

use clap::{Args, ValueEnum};
use dlbc_cuda::Precision;

use super::Device;
use super::values::positive;
use crate::cli::exit::usage;

/// Where a program runs and how a GPU computes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Execution")]
pub struct DeviceArgs {
    /// Where it runs: auto, cpu, cuda, cuda:N, or reference (float64, slow, for comparisons).
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Device,
    /// How a GPU computes products: 3xtf32 (float32 by three products on tensor cores), tf32 or bf16 (operands of large products
    /// rounded to 11 or 8 bits), or simt (plain float32).
    #[arg(long, value_name = "PRECISION", value_enum)]
    precision: Option<GpuPrecision>,
    /// Threads of the processor [default: all].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
}

/// How a GPU computes products.
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
    /// How a GPU computes products.
    pub fn precision(&self) -> Precision {
        match self.precision {
            Some(GpuPrecision::Simt) => Precision::Simt,
            Some(GpuPrecision::Tf32) => Precision::Tf32,
            Some(GpuPrecision::Bf16) => Precision::Bf16,
            Some(GpuPrecision::Tf32x3) | None => Precision::Tf32x3,
        }
    }

    /// Refuses a GPU's precision elsewhere.
    ///
    /// # Errors
    /// Names the option.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.precision.is_some() && matches!(self.device, Device::Cpu | Device::Reference) {
            return Err(usage(
                "`--precision` applies to GPUs only: the processor computes in float32, the reference in float64",
            ));
        }
        Ok(())
    }
}
