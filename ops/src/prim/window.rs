//! Geometry of sliding windows, shared by convolutions and pools.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::OpError;
use crate::tensor::Dim;

/// Sliding window over the spatial axes of `[n, c, …]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Number of taps, by spatial axis.
    pub kernel: Vec<usize>,
    /// Distance of consecutive windows, by spatial axis.
    pub strides: Vec<usize>,
    /// Padding before each spatial axis.
    pub before: Vec<usize>,
    /// Padding after each spatial axis.
    pub after: Vec<usize>,
    /// Distance of consecutive taps, by spatial axis.
    pub dilations: Vec<usize>,
    /// True if the output size is rounded up. The last window must still begin inside the operand or its leading
    /// padding.
    pub ceil: bool,
}

impl Window {
    /// Creates a window that moves by one element, without padding or dilation.
    pub fn unit(kernel: &[usize]) -> Window {
        let filled = |value| vec![value; kernel.len()];
        Window {
            kernel: kernel.to_vec(),
            strides: filled(1),
            before: filled(0),
            after: filled(0),
            dilations: filled(1),
            ceil: false,
        }
    }

    /// Returns the number of spatial axes.
    pub fn rank(&self) -> usize {
        self.kernel.len()
    }

    /// Returns the number of elements that the dilated kernel spans along a spatial axis.
    pub fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// Returns the output dimension along a spatial axis. This is the only place with the output-size formula.
    pub fn output_dim(&self, axis: usize, input: &Dim) -> Dim {
        let pads = (self.before[axis] + self.after[axis]) as i64;
        let span = input + &Dim::known(pads - self.extent(axis) as i64);
        let stride = self.strides[axis] as i64;
        if !self.ceil || stride == 1 {
            return &span.floor_div(&Dim::known(stride)) + &Dim::known(1);
        }
        // With `ceil`, a last window that would begin in the trailing padding is dropped. Whether this happens does not depend on
        // the input: windows begin every `stride`, and the last full one ends `after` beyond it.
        if stride + self.after[axis] as i64 >= self.extent(axis) as i64 {
            (input + &Dim::known(self.before[axis] as i64)).ceil_div(stride)
        } else {
            &span.ceil_div(stride) + &Dim::known(1)
        }
    }

    /// Returns the output dimensions for the spatial dimensions `input`.
    ///
    /// # Errors
    /// If a window does not fit into the padded input.
    pub fn output(&self, input: &[Dim]) -> Result<Vec<Dim>, OpError> {
        if input.len() != self.rank() {
            return Err(OpError::mismatch("spatial axes", self.rank(), input.len()));
        }
        let dims: Vec<Dim> = input.iter().enumerate().map(|(i, d)| self.output_dim(i, d)).collect();
        for (axis, d) in dims.iter().enumerate() {
            if d.as_known().is_some_and(|d| d < 1) {
                let (before, after) = (self.before[axis], self.after[axis]);
                return Err(OpError::invalid(
                    &format!("extent of the window along spatial axis {axis}"),
                    format!("at most that of dimension {} with pads {before} and {after}", input[axis]),
                    self.extent(axis),
                ));
            }
        }
        Ok(dims)
    }

    /// Returns how far the last window reaches beyond the input along a spatial axis, for known dimensions; negative if
    /// elements of the input are left over.
    pub fn reach_after(&self, axis: usize, input: usize, output: usize) -> i64 {
        ((output - 1) * self.strides[axis] + self.extent(axis)) as i64 - (input + self.before[axis]) as i64
    }

    /// Checks that all lists have the same length, that sizes are in range, and that kernel, strides and dilations are
    /// not 0.
    ///
    /// # Errors
    /// The attribute that is out of range.
    pub fn check(&self) -> Result<(), OpError> {
        let rank = self.rank();
        let lists = [
            ("strides", &self.strides),
            ("pads", &self.before),
            ("pads", &self.after),
            ("dilations", &self.dilations),
        ];
        for (attribute, list) in lists {
            if list.len() != rank {
                return Err(OpError::mismatch(attribute, format!("{rank} values"), list.len()));
            }
        }
        let huge = 1 << 31;
        for (attribute, list) in [("kernel_shape", &self.kernel), lists[0], lists[3]] {
            if list.iter().any(|v| *v == 0 || *v >= huge) {
                return Err(OpError::invalid(attribute, "values from 1 to below 2^31", format!("{list:?}")));
            }
        }
        if (0..rank).any(|i| self.kernel[i].saturating_mul(self.dilations[i]) >= huge) {
            return Err(OpError::invalid(
                "kernel times dilations",
                "below 2^31",
                format!("{:?} times {:?}", self.kernel, self.dilations),
            ));
        }
        if self.before.iter().chain(&self.after).any(|v| *v >= huge) {
            return Err(OpError::invalid(
                "pads",
                "values below 2^31",
                format!("{:?} {:?}", self.before, self.after),
            ));
        }
        Ok(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel={:?} strides={:?}", self.kernel, self.strides)?;
        if self.before.iter().chain(&self.after).any(|p| *p != 0) {
            write!(f, " pads={:?}", [self.before.as_slice(), &self.after].concat())?;
        }
        if self.dilations.iter().any(|d| *d != 1) {
            write!(f, " dilations={:?}", self.dilations)?;
        }
        if self.ceil {
            f.write_str(" ceil")?;
        }
        Ok(())
    }
}

/// Geometry of a convolution: window and groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvGeometry {
    /// Sliding window; `ceil` is false.
    pub window: Window,
    /// Number of groups into which input and output channels are split.
    pub groups: usize,
}

impl fmt::Display for ConvGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.window)?;
        if self.groups != 1 {
            write!(f, " groups={}", self.groups)?;
        }
        Ok(())
    }
}
