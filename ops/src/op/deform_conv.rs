//! Deformable convolution: each point of the kernel reads between elements, moved by an offset. Reads `DeformConv` as samples by
//! [`Interpolate`](super::Interpolate), one tile for each window, and a [`Conv`] of these tiles.
//!
//! Shapes: x `[n, c, s₁, …]`, w `[o, c/groups, k₁, …]`, offset `[n, offset_groups · k₁ · … · d, t₁, …]` for `d` spatial
//! axes, bias `[o]` (optional), mask `[n, offset_groups · k₁ · …, t₁, …]` (optional), y `[n, o, t₁, …]`. Rules that
//! share relevance give the offsets none; derivatives reach them. Source: [dai2017], [zhu2019].

use super::conv::{read_groups, read_kernel, read_window, with_bias};
use super::grid_sample::zero_padded;
use super::read::{Reader, Reading};
use super::sampling::{batches, sample, scaled, shifted};
use super::{Add, Concat, Conv, Mul, Transpose};
use crate::OpError;
use crate::graph::Value;
use crate::prim::{ConvGeometry, Window};
use crate::tensor::{DType, Dim, Shape};

/// Returns the reader of `DeformConv`.
pub fn readers() -> Vec<Reader> {
    vec![Reader::new("DeformConv", 19, read)]
}

fn read(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, w, offset) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (bias, mask) = (r.optional(3), r.optional(4));
    let tx = r.ty(x);
    let kernel = read_kernel(r, [x, w])?;
    let window = read_window(r, kernel, &tx)?;
    let (offset_groups, groups) = (read_groups(r, "offset_group")?, read_groups(r, "group")?);
    let Some(channels) = tx.dim(1).as_known().filter(|c| c % offset_groups as i64 == 0) else {
        let expected = format!("a known number, a multiple of offset_group ({offset_groups})");
        return Err(OpError::mismatch("channels of the operand", expected, tx.dim(1)));
    };
    let to = check_offset(r, offset, &window, offset_groups)?;
    let tiles = Tiles { window: &window, offset_groups, n: tx.dim(0).clone(), to };
    let each = Dim::known(channels / offset_groups as i64);
    let mut parts = vec![];
    for group in 0..offset_groups {
        let part = r.slice(x, 1, &each * &Dim::known(group as i64), each.clone())?;
        parts.push(tiles.sampled(r, part, offset, mask, group)?);
    }
    let sampled = if parts.len() == 1 { parts[0] } else { r.add(Concat { axis: 1 }, &parts)? };
    let rank = window.kernel.len();
    let tiled = Window {
        strides: window.kernel.clone(),
        kernel: window.kernel,
        before: vec![0; rank],
        after: vec![0; rank],
        dilations: vec![1; rank],
        ceil: false,
    };
    Ok(vec![with_bias(r, Conv { geometry: ConvGeometry { window: tiled, groups } }, [sampled, w], bias)?])
}

/// Checks the shape of the offsets, and returns the spatial dimensions of the result.
fn check_offset(r: &Reading, offset: Value, window: &Window, groups: usize) -> Result<Vec<Dim>, OpError> {
    let (ty, rank) = (r.ty(offset), window.kernel.len());
    let points = window.kernel.iter().try_fold(groups * rank, |n, k| n.checked_mul(*k));
    match points {
        Some(points) if ty.rank() == rank + 2 && ty.dim(1).is(points as i64) => Ok(ty.shape.0[2..].to_vec()),
        _ => {
            let expected = format!("{rank} offsets of each point of the kernel, in {groups} groups");
            Err(OpError::mismatch("offset", expected, ty))
        }
    }
}

/// Samples of all windows: for each position of the result the points of its kernel, side by side.
struct Tiles<'a> {
    window: &'a Window,
    offset_groups: usize,
    n: Dim,
    /// Spatial dimensions of the result.
    to: Vec<Dim>,
}

impl Tiles<'_> {
    /// Returns the samples of the channels `x [n, c, s₁, …]` of an offset group: `[n, c, t₁ · k₁, …]`.
    fn sampled(
        &self,
        r: &mut Reading,
        x: Value,
        offset: Value,
        mask: Option<Value>,
        group: usize,
    ) -> Result<Value, OpError> {
        let ty = r.ty(x);
        let rank = self.window.kernel.len();
        let mut taps = vec![];
        for axis in 0..rank {
            let offset = self.points(r, offset, rank, group * rank + axis)?;
            let start = self.starts(r, axis)?;
            let at = r.add(Add, &[offset, start])?;
            let at = r.flatten(at, 1)?;
            taps.push(zero_padded(r, at, ty.dim(axis + 2))?);
        }
        let batch = batches(r, &self.n)?;
        let mut y = sample(r, x, batch, &taps)?;
        if let Some(mask) = mask {
            let mask = self.points(r, mask, 1, group)?;
            let samples = r.ty(y).dim(1).clone();
            let mask = r.reshape(mask, Shape(vec![self.n.clone(), samples, Dim::known(1)]))?;
            y = r.add(Mul, &[y, mask])?;
        }
        let sides = self.to.iter().zip(&self.window.kernel).map(|(to, k)| to * &Dim::known(*k as i64));
        let channels = ty.dim(1).clone();
        let split: Vec<Dim> = [self.n.clone()].into_iter().chain(sides).chain([channels]).collect();
        let y = r.reshape(y, Shape(split))?;
        let perm: Vec<usize> = [0, rank + 1].into_iter().chain(1..=rank).collect();
        r.add(Transpose { perm }, &[y])
    }

    /// Returns one of the values that each point of the kernel has at each position, `[n, t₁, k₁, …]`: value `i % each` of offset
    /// group `i / each`.
    fn points(&self, r: &mut Reading, x: Value, each: usize, i: usize) -> Result<Value, OpError> {
        let rank = self.window.kernel.len();
        let known = |sizes: &[usize]| sizes.iter().map(|k| Dim::known(*k as i64)).collect::<Vec<_>>();
        // [n, groups, k₁, …, each, t₁, …]
        let mut dims = vec![self.n.clone(), Dim::known(self.offset_groups as i64)];
        dims.extend(known(&self.window.kernel));
        dims.push(Dim::known(each as i64));
        dims.extend(self.to.clone());
        let x = r.reshape(x, Shape(dims))?;
        let x = r.slice(x, 1, Dim::known((i / each) as i64), Dim::known(1))?;
        let x = r.slice(x, rank + 2, Dim::known((i % each) as i64), Dim::known(1))?;
        let pairs = (0..rank).flat_map(|axis| [rank + 3 + axis, 2 + axis]);
        let perm: Vec<usize> = [0].into_iter().chain(pairs).chain([1, rank + 2]).collect();
        let x = r.add(Transpose { perm }, &[x])?;
        let sides = self.to.iter().zip(known(&self.window.kernel)).flat_map(|(to, k)| [to.clone(), k]);
        r.reshape(x, Shape([self.n.clone()].into_iter().chain(sides).collect()))
    }

    /// Returns the positions of the points without offsets along an axis, `[1, t₁, k₁, …]` with 1 for the other axes.
    fn starts(&self, r: &mut Reading, axis: usize) -> Result<Value, OpError> {
        let (window, rank) = (self.window, self.window.kernel.len());
        let position = r.count_along(&self.to[axis], 1 + 2 * axis, 1 + 2 * rank)?;
        let position = r.cast(position, DType::F32)?;
        let position = scaled(r, position, window.strides[axis] as f64)?;
        let position = shifted(r, position, -(window.before[axis] as f64))?;
        let point = r.count_along(&Dim::known(window.kernel[axis] as i64), 2 + 2 * axis, 1 + 2 * rank)?;
        let point = r.cast(point, DType::F32)?;
        let point = scaled(r, point, window.dilations[axis] as f64)?;
        r.add(Add, &[position, point])
    }
}
