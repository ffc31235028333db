//! Device that `--device` names.

use dlbc_runtime::OpenDevice;

use crate::cli::args::{Device, DeviceArgs};

/// Opens the device.
///
/// # Errors
/// Fails if the device does not exist or cannot be used.
pub fn open(args: &DeviceArgs) -> anyhow::Result<OpenDevice> {
    let device = match args.device {
        Device::Auto => dlbc_runtime::Device::Auto,
        Device::Cpu => dlbc_runtime::Device::Cpu,
        Device::Reference => dlbc_runtime::Device::Reference,
        Device::Cuda(ordinal) => {
            dlbc_runtime::Device::Cuda { ordinal: ordinal as usize, precision: args.precision() }
        }
    };
    Ok(device.open_shared()?)
}
