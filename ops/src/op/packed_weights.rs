//! Layers with weights of 2, 4 or 8 bits in blocks, packed into bytes. Reads `MatMulNBits` and `GatherBlockQuantized` of com.microsoft.
//!
//! The first of several numbers in a byte is in its low bits. Weights become float32 when a model is read.

use super::quantisation_layout::{Layout, finite};
use super::read::{MICROSOFT, Reader, Reading, resolve};
use super::{Gather, Linear, QuantisedRows};
use crate::OpError;
use crate::graph::Value;
use crate::tensor::{DType, Dim, Shape, Tensor};

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
        None => vec![f32::from(1u8 << (bits - 1)); rows * blocks],
        Some(zeros) if r.ty(zeros).dtype == DType::U8 => {
            let tensor = constant(r, zeros)?;
            let row = (blocks * bits).div_ceil(8);
            if tensor.elems() != rows * row {
                let property = format!("packed zero points `{}`", r.graph.value_name(zeros));
                return Err(OpError::invalid(&property, format!("{} bytes", rows * row), tensor.elems()));
            }
            let unpacked = |row: &[u8]| unpack(row, bits).take(blocks).collect::<Vec<f32>>();
            tensor.bytes().chunks_exact(row.max(1)).flat_map(unpacked).collect()
        }
        Some(zeros) => {
            finite(r, zeros)?;
            numbers(r, zeros, rows * blocks)?
        }
    };
    r.check_size(&crate::tensor::TensorType::known(DType::F32, &[rows, columns]))?;
    let mut values = Vec::with_capacity(rows * columns);
    for (i, packed) in bytes.bytes().chunks_exact((block * bits / 8).max(1)).enumerate() {
        let first = i % blocks * block;
        let (scale, zero) = (scales[i], zeros[i]);
        values.extend(unpack(packed, bits).take(block.min(columns - first)).map(|v| (v - zero) * scale));
    }
    let weight = r.add_constant(Tensor::from_f32(&[rows, columns], &values));
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
    let is_packed = r.narrow(data).is_none();
    if is_packed {
        if quantised_axis + 1 != rank {
            return Err(OpError::unsupported("quantize_axis of packed bytes", rank - 1, quantised_axis));
        }
        table = unpacked_tensor(&table, bits, None)?;
    }
    let scale_tensor = constant(r, scales)?;
    finite(r, scales)?;
    let layout = Layout::Axis { axis: quantised_axis, block, blocked: true };
    let zeros = match zeros {
        None if is_packed => vec![f32::from(1u8 << (bits - 1))],
        None => vec![0.0],
        Some(zeros) => {
            let mut tensor = constant(r, zeros)?;
            if is_packed {
                tensor = unpacked_tensor(&tensor, bits, scale_tensor.dims().last().copied())?;
            }
            if tensor.dims() != scale_tensor.dims() {
                let property = format!("shape of zero point `{}`", r.graph.value_name(zeros));
                return Err(OpError::invalid(&property, scale_tensor.ty(), tensor.ty()));
            }
            tensor.to_f32()
        }
    };
    let holder = r.add_constant(table.clone());
    layout.check(r, holder, scales, None)?;
    let len = table.dims()[quantised_axis];
    if axis == 0 && quantised_axis > 0 && len.is_multiple_of(block) {
        return Ok(vec![blocked_rows(r, &table, indices, (&scale_tensor, zeros), block)?]);
    }
    r.check_size(&table.ty().with_dtype(DType::F32))?;
    let values = layout.values(&table, &scale_tensor.to_f32(), &zeros);
    let table = r.add_constant(Tensor::from_f32(table.dims(), &values));
    Ok(vec![r.add(Gather { axis }, &[table, indices])?])
}

/// Adds a look-up of rows that are widened afterwards. Blocks become an axis of their own.
fn blocked_rows(
    r: &mut Reading,
    table: &Tensor,
    indices: Value,
    (scales, zeros): (&Tensor, Vec<f32>),
    block: usize,
) -> Result<Value, OpError> {
    let axis = (0..table.dims().len()).find(|i| table.dims()[*i] != scales.dims()[*i]);
    let axis = axis.unwrap_or(table.dims().len() - 1);
    let split = |dims: &[usize], n: usize| {
        let mut dims = dims.to_vec();
        dims.insert(axis + 1, n);
        dims
    };
    let mut dims = table.dims().to_vec();
    dims[axis] /= block;
    let by_block = |t: &Tensor, n: usize| t.with_dims(&split(&dims, n)).unwrap_or_else(|| t.clone());
    let scale = by_block(&scales.to_f32_tensor(), 1);
    let zero = match zeros.as_slice() {
        [single] => Tensor::scalar(*single),
        all => by_block(&Tensor::from_f32(scales.dims(), all), 1),
    };
    let rows = by_block(table, block);
    let operands = [rows, scale, zero].map(|t| r.add_constant(t));
    let y = r.add(QuantisedRows, &[operands[0], indices, operands[1], operands[2]])?;
    let ids = r.ty(indices).shape.0;
    let row = table.dims()[1..].iter().map(|d| Dim::known(*d as i64));
    r.reshape(y, Shape(ids.into_iter().chain(row).collect()))
}

/// Returns the uint8 tensor of numbers that are packed along the last axis, of which `len` are read.
fn unpacked_tensor(packed: &Tensor, bits: usize, len: Option<usize>) -> Result<Tensor, OpError> {
    if packed.dtype() != DType::U8 {
        return Err(OpError::invalid("packed numbers", DType::U8, packed.ty()));
    }
    let mut dims = packed.dims().to_vec();
    let row = dims.pop().unwrap_or(1);
    let len = len.unwrap_or(row * 8 / bits);
    if len > row * 8 / bits {
        return Err(OpError::invalid("packed numbers of a row", format!("at least {len}"), row * 8 / bits));
    }
    dims.push(len);
    let unpacked = |row: &[u8]| unpack(row, bits).take(len).map(|v| v as u8).collect::<Vec<u8>>();
    let bytes: Vec<u8> = packed.bytes().chunks_exact(row.max(1)).flat_map(unpacked).collect();
    Tensor::from_bytes(DType::U8, dims, std::sync::Arc::new(bytes))
        .ok_or_else(|| OpError::invalid("packed numbers", "rows of bytes", packed.ty()))
}

/// Returns the numbers in bytes, low bits first.
fn unpack(bytes: &[u8], bits: usize) -> impl Iterator<Item = f32> + '_ {
    let mask = ((1u16 << bits) - 1) as u8;
    bytes.iter().flat_map(move |byte| (0..8 / bits).map(move |i| f32::from(byte >> (i * bits) & mask)))
}

/// Reads the number of bits of a weight.
fn bits(r: &Reading) -> Result<usize, OpError> {
    match r.int_or("bits", 4)? {
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
