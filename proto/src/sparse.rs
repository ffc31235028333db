//! Conversion of sparse tensors to dense ones.

use crate::{
    DataType, SparseFault, TensorData, TensorFault,
    tensor::{check_bytes, count_elements},
};

/// Creates a tensor of shape `dims` that holds `values` at `indices`, and zeros elsewhere.
pub(crate) fn densify(
    values: &TensorData,
    indices: &TensorData,
    dims: &[i64],
    max_bytes: u64,
) -> Result<TensorData, TensorFault> {
    let dtype = values.dtype;
    let size = dtype.size().ok_or(TensorFault::Sparse(SparseFault::ValueType { actual: dtype }))?;
    let total = check_bytes(count_elements(dims)?, size, max_bytes)?;
    let dims: Vec<u64> = dims.iter().map(|dim| dim.unsigned_abs()).collect();
    let positions = positions(values, indices, &dims).map_err(TensorFault::Sparse)?;
    let mut dense = zeros(total)?;
    let size = size as usize;
    for (value, position) in values.bytes.chunks_exact(size).zip(positions) {
        let start = position as usize * size;
        dense[start..start + size].copy_from_slice(value);
    }
    Ok(TensorData { dtype, dims, bytes: dense.into(), strings: Vec::new() })
}

/// Returns the row-major positions of the values, ascending and within the shape.
fn positions(values: &TensorData, indices: &TensorData, dims: &[u64]) -> Result<Vec<u64>, SparseFault> {
    if indices.dtype != DataType::I64 {
        return Err(SparseFault::IndexType { actual: indices.dtype });
    }
    let &[count] = values.dims.as_slice() else {
        return Err(SparseFault::ValueRank { actual: values.dims.len() });
    };
    let rank = dims.len();
    let numbers = indices.bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    let positions = match indices.dims.as_slice() {
        &[n] if n == count => {
            let elements = dims.iter().product();
            numbers
                .enumerate()
                .map(|(value, index)| bounded(value, index, elements))
                .collect::<Result<_, _>>()?
        }
        &[n, axes] if n == count && axes == rank as u64 => {
            let mut positions = vec![0u64; count as usize];
            for (at, index) in numbers.enumerate() {
                let (value, axis) = (at / rank, at % rank);
                positions[value] = positions[value] * dims[axis] + bounded(value, index, dims[axis])?;
            }
            positions
        }
        shape => return Err(SparseFault::IndexShape { count, rank, actual: shape.to_vec() }),
    };
    if let Some(value) = positions.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(SparseFault::NotAscending { value: value + 1 });
    }
    Ok(positions)
}

fn bounded(value: usize, index: i64, limit: u64) -> Result<u64, SparseFault> {
    match u64::try_from(index) {
        Ok(position) if position < limit => Ok(position),
        _ => Err(SparseFault::OutOfBounds { value, actual: index, limit }),
    }
}

/// Allocates zeros, which take physical memory only once they are written. Fails if the memory is not available.
fn zeros(bytes: u64) -> Result<Vec<u8>, TensorFault> {
    let length = usize::try_from(bytes).map_err(|_| TensorFault::NoMemory { actual: bytes })?;
    Vec::<u8>::new().try_reserve_exact(length).map_err(|_| TensorFault::NoMemory { actual: bytes })?;
    Ok(vec![0; length])
}
