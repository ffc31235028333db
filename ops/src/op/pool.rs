//! Average and maximum pooling over windows of the spatial axes.
//!
//! Reads `AveragePool` and `MaxPool`; global pools are read as [`Reduce`](super::Reduce). Shapes: x `[n, c, …]`.

use super::Operator;
use super::conv::read_window;
use super::max_pool_indices;
use super::read::{Reader, Reading};
use super::role::{LinearMap, Role, Route, Site};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{self, Binary, Builder, PadMode, Transform, Window};
use crate::tensor::{Dim, Shape};

/// Mean of each window.
#[derive(Clone, Debug, PartialEq)]
pub struct AveragePool {
    /// Window.
    pub window: Window,
    /// True if padding counts in the divisor. Positions beyond the padding, which `ceil` reaches, never count.
    pub count_include_pad: bool,
}

/// Maximum of each window.
#[derive(Clone, Debug, PartialEq)]
pub struct MaxPool {
    /// Window.
    pub window: Window,
}

impl AveragePool {
    /// Builds the number of elements that each window averages, of a shape that broadcasts to the result.
    fn count(&self, b: &mut Builder, x: Value) -> Value {
        let w = &self.window;
        let plain = !w.ceil && w.before.iter().chain(&w.after).all(|p| *p == 0);
        if plain || (self.count_include_pad && !w.ceil) {
            return b.scalar_like(w.kernel.iter().product::<usize>() as f64, x);
        }
        let unit = Dim::known(1);
        let spatial_dims = b.ty(x).shape.0[2..].to_vec();
        let ones = b.scalar_like(1.0, x);
        let ones = b.expand(ones, &Shape([vec![unit.clone(), unit], spatial_dims.clone()].concat()));
        if !self.count_include_pad {
            return b.window_sum(w, ones);
        }
        // Counted padding is a margin of ones; windows may reach beyond it with `ceil`.
        let pads = |p: &[usize]| [0, 0].iter().chain(p).map(|p| Dim::known(*p as i64)).collect::<Vec<_>>();
        let (before, after) = (pads(&w.before), pads(&w.after));
        let ones = b.add(prim::Pad { before, after, mode: PadMode::Constant(1.0) }, &[ones]);
        let zeros = vec![0; w.rank()];
        let inner = Window { before: zeros.clone(), after: zeros, ..w.clone() };
        let mut count = b.window_sum(&inner, ones);
        // A window that begins in the padding after the operand is dropped; here that padding is part of the operand.
        for (i, d) in spatial_dims.iter().enumerate() {
            let len = w.output_dim(i, d);
            if *b.ty(count).dim(i + 2) != len {
                count = b.add(prim::Slice { axis: i + 2, start: Dim::known(0), len, step: 1 }, &[count]);
            }
        }
        count
    }
}

impl Operator for AveragePool {
    fn attributes(&self) -> String {
        format!(" {}{}", self.window, if self.count_include_pad { " count_include_pad" } else { "" })
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        let sum = b.window_sum(&self.window, inputs[0]);
        let count = self.count(b, inputs[0]);
        vec![b.binary(Binary::Div, sum, count)]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Pool(self)
    }
}

impl LinearMap for AveragePool {
    fn has_weight(&self) -> bool {
        false
    }

    // A common factor of a window cancels in every share, so the map is a sum.
    fn apply(&self, b: &mut Builder, _: &Site, x: Value, _: Transform) -> Value {
        b.window_sum(&self.window, x)
    }

    fn transpose(&self, b: &mut Builder, site: &Site, s: Value, _: Transform) -> Value {
        let to = b.ty(site.inputs[0]).shape.0[2..].to_vec();
        b.add(prim::WindowSumTranspose { window: self.window.clone(), to }, &[s])
    }

    fn bias(&self, _: &mut Builder, _: &Site) -> Option<Value> {
        None
    }
}

impl Operator for MaxPool {
    fn attributes(&self) -> String {
        format!(" {}", self.window)
    }

    fn lower(&self, b: &mut Builder, inputs: &[Value]) -> Vec<Value> {
        vec![b.add(prim::WindowMax(self.window.clone()), &[inputs[0]])]
    }

    fn role(&self, _: &[bool]) -> Role<'_> {
        Role::Select(self)
    }
}

impl MaxPool {
    /// Returns the primitive that divides relevance equally among the maxima of a window.
    fn equal_share(&self) -> prim::WindowMaxShare {
        prim::WindowMaxShare { window: self.window.clone(), first: false }
    }
}

impl Route for MaxPool {
    fn route(&self, b: &mut Builder, site: &Site, r: Value) -> Vec<Option<Value>> {
        vec![Some(b.add(self.equal_share(), &[site.inputs[0], site.y(), r]))]
    }

    fn winner(&self, b: &mut Builder, site: &Site, r: Value) -> Option<Vec<Option<Value>>> {
        let share = prim::WindowMaxShare { first: true, ..self.equal_share() };
        Some(vec![Some(b.add(share, &[site.inputs[0], site.y(), r]))])
    }
}

/// Returns the readers of `AveragePool` and `MaxPool`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("AveragePool", 1, read_average), Reader::new("MaxPool", 1, read_max)]
}

/// Reads the mean of each window.
pub(super) fn read_average(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, window) = window(r)?;
    let count_include_pad = r.flag("count_include_pad", false)?;
    Ok(vec![r.add(AveragePool { window, count_include_pad }, &[x])?])
}

/// Reads the largest element of each window, and its place.
pub(super) fn read_max(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let column_major = r.flag("storage_order", false)?;
    let (x, window) = window(r)?;
    let y = r.add(MaxPool { window: window.clone() }, &[x])?;
    if r.outputs < 2 {
        return Ok(vec![y]);
    }
    Ok(vec![y, max_pool_indices::indices(r, x, &window, column_major)?])
}

fn window(r: &mut Reading) -> Result<(Value, Window), OpError> {
    let x = r.input(0)?;
    let kernel = r.sizes("kernel_shape")?;
    let kernel = kernel.ok_or_else(|| OpError::missing_attribute("kernel_shape", "integers"))?;
    let window = read_window(r, kernel, &r.ty(x))?;
    if (0..window.rank()).any(|i| window.before[i] >= window.extent(i) || window.after[i] >= window.extent(i))
    {
        return Err(OpError::invalid("pads", "smaller than the kernel", window));
    }
    Ok((x, window))
}
