//! Layers with weights of 2, 4 or 8 bits in blocks, packed into bytes. Reads `MatMulNBits` and `GatherBlockQuantized` of com.microsoft.
//!
//! The first of several numbers in a byte is in its low bits. Weights stay packed; engines widen them where they are read.

use super::quantisation_layout::{Layout, finite};
use super::read::{MICROSOFT, Narrow, Reader, Reading, resolve};
use super::{Gather, Linear};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{Compact, DType, Dim, Numbers, Steps, Tensor};

/// Returns the readers of the layers.
pub fn readers() -> Vec<Reader> {
    vec![Reader::of(MICROSOFT, "MatMulNBits", linear), Reader::of(MICROSOFT, "GatherBlockQuantized", gather)]
}

/// Reads `x · Wᵀ + bias`. Operands: x `[…, K]`, W `[N, blocks, bytes of a block]`, scales `[N · blocks]`, zero points (optional),
/// g_idx (refused), bias `[N]` (optional).
fn linear(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (x, packed, scales) = (r.input(0)?, r.input(1)?, r.input(2)?);
    let (zeros, order, bias) = (r.optional(3), r.optional(4), r.optional(5));
    r.ignore(&["accuracy_level"]);
    if r.int_or("weight_prepacked", 0)? != 0 {
        return Err(OpError::unsupported("weight_prepacked", 0, "another layout"));
    }
    if order.is_some() {
        return Err(OpError::unsupported("operand g_idx", "none", "one"));
    }
    let bits = bits(r)?;
    let (rows, columns) = (size(r, "N")?, size(r, "K")?);
    let block = block_size(r)?;
    let blocks = columns.div_ceil(block);
    let bytes = constant(r, packed)?;
    let expected = [rows, blocks, block * bits / 8];
    if bytes.dtype() != DType::U8 || bytes.dims() != expected {
        let property = format!("packed weight `{}`", r.graph.value_name(packed));
        return Err(OpError::invalid(&property, format!("u8 {expected:?}"), bytes.ty()));
    }
    finite(r, scales)?;
    let scales = numbers(r, scales, rows * blocks)?;
    let zeros = match zeros {
        None => vec![f32::from(1u8 << (bits - 1))],
        Some(zeros) if r.ty(zeros).dtype == DType::U8 => {
            let tensor = constant(r, zeros)?;
            let row = (blocks * bits).div_ceil(8);
            if tensor.elems() != rows * row {
                let property = format!("packed zero points `{}`", r.graph.value_name(zeros));
                return Err(OpError::invalid(&property, format!("{} bytes", rows * row), tensor.elems()));
            }
            let unpacked = |row: &[u8]| unpack(row, bits).take(blocks).map(f32::from).collect::<Vec<f32>>();
            tensor.bytes().chunks_exact(row.max(1)).flat_map(unpacked).collect()
        }
        Some(zeros) => {
            finite(r, zeros)?;
            numbers(r, zeros, rows * blocks)?
        }
    };
    r.check_size(&crate::tensor::TensorType::known(DType::F32, &[rows, columns]))?;
    let steps = Steps { scales, zeros, len: columns, inner: 1, block, by_element: true };
    let numbers = match bytes.shared() {
        Some(shared) if blocks * block == columns => shared,
        // The last block of a row is longer than what is left of the row.
        _ => {
            let row = |row: &[u8]| unpack(row, bits).take(columns).collect::<Vec<u8>>();
            let rows = bytes.bytes().chunks_exact((blocks * block * bits / 8).max(1)).flat_map(row);
            std::sync::Arc::new(Compact::pack(bits, rows))
        }
    };
    let values = Compact::new(Numbers::Whole { bits, signed: false }, rows * columns, numbers, Some(steps));
    let weight = values.and_then(|values| Tensor::compact_if_large(&[rows, columns], values));
    let weight = weight.ok_or_else(|| OpError::invalid("packed weight", "whole blocks", bytes.ty()))?;
    let weight = r.add_constant(weight);
    let last = r.ty(x).shape.0.last().cloned().unwrap_or(Dim::known(1));
    if last != Dim::known(columns as i64) {
        return Err(OpError::dims("last axis of the operand", &Dim::known(columns as i64), &last));
    }
    let operands: Vec<Value> = [x, weight].into_iter().chain(bias).collect();
    Ok(vec![r.add(Linear { transposed: true }, &operands)?])
}

/// Reads a look-up in a packed table: table, indices, scales, zero points (optional).
fn gather(r: &mut Reading) -> Result<Vec<Value>, OpError> {
    let (data, indices, scales, zeros) = (r.input(0)?, r.input(1)?, r.input(2)?, r.optional(3));
    let block = block_size(r)?;
    let bits = bits(r)?;
    let mut table = constant(r, data)?;
    let rank = table.dims().len();
    let axis = resolve(r.int_or("gather_axis", 0)?, rank)?;
    let quantised_axis = resolve(r.int_or("quantize_axis", 1)?, rank)?;
    let narrow = r.narrow(data);
    let is_packed = narrow.is_none();
    if is_packed {
        if quantised_axis + 1 != rank {
            return Err(OpError::unsupported("quantize_axis of packed bytes", rank - 1, quantised_axis));
        }
        table = unpacked_tensor(r, data, bits, None)?;
    }
    let scale_tensor = constant(r, scales)?;
    finite(r, scales)?;
    let layout = Layout::Axis { axis: quantised_axis, block, blocked: true };
    let zeros = match zeros {
        None if is_packed => vec![f32::from(1u8 << (bits - 1))],
        None => vec![0.0],
        Some(zeros) => {
            let numbers = match is_packed {
                true => unpacked_tensor(r, zeros, bits, scale_tensor.dims().last().copied())?,
                false => constant(r, zeros)?,
            };
            zero_points(r, zeros, &numbers, &scale_tensor)?
        }
    };
    let holder = r.add_constant(table.clone());
    layout.check(r, holder, scales, None)?;
    r.check_size(&table.ty().with_dtype(DType::F32))?;
    let stored = if is_packed { Narrow::unsigned(bits) } else { narrow };
    let table = layout.values(&table, stored, scale_tensor.to_f32(), zeros)?;
    let table = r.add_constant(table);
    Ok(vec![r.add(Gather { axis }, &[table, indices])?])
}

/// Adds the weights of a mixture's experts, `[experts, rows, columns]`, from numbers that are packed along the last axis, with scales of
/// each row `[experts, rows]` or of each block `[experts, rows, blocks]`, and zero points, packed like them (optional).
pub(super) fn of_experts(
    r: &mut Reading,
    packed: Value,
    (scales, zeros): (Value, Option<Value>),
    bits: i64,
    block: i64,
) -> Result<Value, OpError> {
    let bits = known_bits(bits)?;
    let table = unpacked_tensor(r, packed, bits, None)?;
    r.check_size(&table.ty().with_dtype(DType::F32))?;
    finite(r, scales)?;
    let scale = constant(r, scales)?;
    let blocks = match (table.dims(), scale.dims()) {
        ([experts, rows, _], [e, n]) if (e, n) == (experts, rows) => 1,
        ([experts, rows, columns], [e, n, blocks])
            if (e, n) == (experts, rows) && *blocks > 0 && columns.is_multiple_of(*blocks) =>
        {
            *blocks
        }
        _ => {
            let property = format!("scales `{}`", r.graph.value_name(scales));
            let expected = format!("a scale for each row or block of {}", table.ty());
            return Err(OpError::invalid(&property, expected, scale.ty()));
        }
    };
    let len = table.dims()[2] / blocks;
    if block > 0 && scale.dims().len() == 3 && usize::try_from(block) != Ok(len) {
        return Err(OpError::invalid("block_size", len, block));
    }
    let zeros = match zeros {
        None => vec![f32::from(1u8 << (bits - 1))],
        Some(zeros) => {
            let numbers = unpacked_tensor(r, zeros, bits, scale.dims().last().copied())?;
            zero_points(r, zeros, &numbers, &scale)?
        }
    };
    let layout = Layout::Axis { axis: 2, block: len, blocked: true };
    let weights = layout.values(&table, Narrow::unsigned(bits), scale.to_f32(), zeros)?;
    Ok(r.add_constant(weights))
}

/// Returns the zero points `numbers` of operand `v`, which are of the shape of the scales.
fn zero_points(r: &Reading, v: Value, numbers: &Tensor, scales: &Tensor) -> Result<Vec<f32>, OpError> {
    if numbers.dims() != scales.dims() {
        let property = format!("shape of zero point `{}`", r.graph.value_name(v));
        return Err(OpError::invalid(&property, scales.ty(), numbers.ty()));
    }
    Ok(numbers.to_f32())
}

/// Returns the uint8 tensor of the first `len` numbers, or of all, that a constant packs along its last axis.
fn unpacked_tensor(r: &Reading, v: Value, bits: usize, len: Option<usize>) -> Result<Tensor, OpError> {
    let packed = constant(r, v)?;
    let property = format!("packed numbers `{}`", r.graph.value_name(v));
    if packed.dtype() != DType::U8 {
        return Err(OpError::invalid(&property, DType::U8, packed.ty()));
    }
    let mut dims = packed.dims().to_vec();
    let row = dims.pop().unwrap_or(1);
    let len = len.unwrap_or(row * 8 / bits);
    if len > row * 8 / bits {
        return Err(OpError::invalid(&property, format!("at least {len} in a row"), row * 8 / bits));
    }
    dims.push(len);
    let unpacked = |row: &[u8]| unpack(row, bits).take(len).collect::<Vec<u8>>();
    let bytes: Vec<u8> = packed.bytes().chunks_exact(row.max(1)).flat_map(unpacked).collect();
    Tensor::from_bytes(DType::U8, dims, std::sync::Arc::new(bytes))
        .ok_or_else(|| OpError::invalid(&property, "rows of bytes", packed.ty()))
}

/// Returns the numbers in bytes, low bits first.
fn unpack(bytes: &[u8], bits: usize) -> impl Iterator<Item = u8> + '_ {
    let mask = ((1u16 << bits) - 1) as u8;
    bytes.iter().flat_map(move |byte| (0..8 / bits).map(move |i| byte >> (i * bits) & mask))
}

/// Reads the number of bits of a weight.
fn bits(r: &Reading) -> Result<usize, OpError> {
    known_bits(r.int_or("bits", 4)?)
}

fn known_bits(bits: i64) -> Result<usize, OpError> {
    match bits {
        bits @ (2 | 4 | 8) => Ok(bits as usize),
        bits => Err(OpError::unsupported("bits", "2, 4 or 8", bits)),
    }
}

/// Reads the number of weights that share a scale, a power of 2.
fn block_size(r: &Reading) -> Result<usize, OpError> {
    let block = r.int_or("block_size", 128)?;
    let size = usize::try_from(block).ok().filter(|b| b.is_power_of_two() && (16..=1 << 20).contains(b));
    size.ok_or_else(|| OpError::invalid("block_size", "a power of 2 from 16 on", block))
}

fn size(r: &Reading, name: &str) -> Result<usize, OpError> {
    let value = r.int(name)?.ok_or_else(|| OpError::missing_attribute(name, "an integer"))?;
    let size = usize::try_from(value).ok().filter(|v| (1..1 << 31).contains(v));
    size.ok_or_else(|| OpError::invalid(name, "at least 1 and below 2^31", value))
}

fn constant(r: &Reading, v: Value) -> Result<Tensor, OpError> {
    r.constant(v).ok_or_else(|| {
        OpError::unsupported(
            &format!("operand `{}`", r.graph.value_name(v)),
            "a constant",
            "a computed tensor",
        )
    })
}

/// Returns the elements of a constant of floats, of which there must be `count`.
fn numbers(r: &Reading, v: Value, count: usize) -> Result<Vec<f32>, OpError> {
    let tensor = constant(r, v)?;
    if tensor.elems() == count {
        return Ok(tensor.to_f32());
    }
    let property = format!("elements of `{}`", r.graph.value_name(v));
    Err(OpError::invalid(&property, count, tensor.elems()))
}
