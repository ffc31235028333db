//! Small launches of every kernel of the library, with the results of the float64 reference.

#![allow(dead_code)]

mod attention;
pub mod bounded;
pub mod chains;
mod choosing;
mod dump;
mod expected;
mod indexing;
mod moving;
mod products;
mod rows;
mod side_by_side;
mod values;

#[allow(unused_imports)]
pub use dump::dump;
pub use expected::Expected;

use std::sync::Arc;

use dlbc_ops::prim::{Prim, reference};
use dlbc_ops::tensor::{Array, DType, Tensor};
use dlbc_ptx::kernel::attention::Tiled;
use dlbc_ptx::kernel::conv::Conv;
use dlbc_ptx::kernel::gemm::{Gemm, Skinny};
use dlbc_ptx::kernel::pointwise::Chain;
use dlbc_ptx::kernel::reduce::Reduce;
use dlbc_ptx::kernel::rows::Rows;
use dlbc_ptx::kernel::side_by_side::SideBySide;
use dlbc_ptx::kernel::storage::Storage;
use dlbc_ptx::{Kernel, Region};
use dlbc_ptxsim::{Fault, Memory, Program, Settings, Stats, launch, load};

/// Access of a launch to a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    Read,
    Write,
    Update,
}

/// Builds the parameter block from the addresses of the buffers.
pub type BuildParams = Box<dyn Fn(&[u64]) -> Vec<u8>>;

/// A launch and its expected results.
pub struct Case {
    pub shape: String,
    pub grid: [u32; 3],
    /// Buffers in words. The initial words of a [`Role::Write`] buffer are not uploaded.
    pub buffers: Vec<(Role, Vec<u32>)>,
    pub params: BuildParams,
    /// Contents of the buffers that are not [`Role::Read`], in order.
    pub expected: Vec<Expected>,
}

impl Case {
    /// Compares the buffers that were written; fails with the first element that differs.
    pub fn check(&self, results: &[Vec<u32>]) -> Result<(), String> {
        if results.len() != self.expected.len() {
            return Err(format!("{} results, expected {}", results.len(), self.expected.len()));
        }
        let mut pairs = self.expected.iter().zip(results).enumerate();
        pairs.try_for_each(|(i, (e, words))| e.check(words).map_err(|e| format!("result {i}: {e}")))
    }
}

/// Returns the cases of a kernel: by the description from which it was emitted, or by its name. Empty for an unknown kernel.
pub fn cases(kernel: &Kernel) -> Vec<Case> {
    if let Some(v) = kernel.variant::<Gemm>() {
        return products::gemm(v);
    }
    if let Some(v) = kernel.variant::<Skinny>() {
        return products::skinny(v);
    }
    if let Some(v) = kernel.variant::<Conv>() {
        return products::conv(v);
    }
    if let Some(v) = kernel.variant::<Reduce>() {
        return values::reduce(*v);
    }
    if let Some(v) = kernel.variant::<Tiled>() {
        return attention::attention(v);
    }
    if let Some(v) = kernel.variant::<Chain>() {
        return chains::chain(v);
    }
    if let Some(v) = kernel.variant::<Rows>() {
        return rows::rows(v);
    }
    if let Some(v) = kernel.variant::<SideBySide>() {
        return side_by_side::side_by_side(v);
    }
    let name = kernel.name.as_str();
    match name.split('_').next().unwrap_or_default() {
        "gemm" => products::integers(),
        "softmax" => values::softmax(),
        "attention" => attention::mask(),
        "pick" => moving::pick(name),
        "transpose" => moving::transpose(name),
        "turn" => moving::turn(name),
        "window" => moving::pool(name),
        "gather" | "overwrite" | "resolve" | "starts" | "scatter" => indexing::index(name),
        "keys" | "rank" | "digits" | "shift" | "scan" | "top" | "columns" => choosing::order(name),
        "suppress" | "collect" => choosing::suppress(name),
        _ => vec![],
    }
}

/// Runs a case on a program. Returns the buffers that it wrote and its statistics.
pub fn run(case: &Case, program: &Program, schedule: u64) -> Result<(Vec<Vec<u32>>, Stats), Fault> {
    let mut memory = Memory::new(None);
    let mut regions = [vec![], vec![], vec![]];
    let mut addresses = vec![];
    for (role, words) in &case.buffers {
        let bytes = 4 * words.len() as u64;
        let address = memory.allocate(bytes).unwrap();
        if *role != Role::Write {
            memory.upload(address, &words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>());
        }
        regions[*role as usize].push(Region { address, bytes });
        addresses.push(address);
    }
    let params = (case.params)(&addresses);
    let settings = Settings { schedule, limit: 3_000_000, ..Settings::default() };
    let [reads, writes, updates] = &regions;
    let stats = launch(program, &params, case.grid, &mut memory, [reads, writes, updates], settings)?;
    let written = case.buffers.iter().zip(&addresses).filter(|((role, _), _)| *role != Role::Read);
    let read = |((_, words), address): (&(Role, Vec<u32>), &u64)| {
        let mut bytes = vec![0; 4 * words.len()];
        memory.download(*address, &mut bytes).unwrap();
        bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    Ok((written.map(read).collect(), stats))
}

/// Runs a case on a kernel and returns the fault or the failed check, if any.
pub fn failure(case: &Case, kernel: &Kernel, schedule: u64) -> Option<String> {
    let program = match load(kernel) {
        Ok(program) => program,
        Err(fault) => return Some(fault.kind.into()),
    };
    match run(case, &program, schedule) {
        Err(fault) => Some(fault.kind.into()),
        Ok((results, _)) => case.check(&results).err(),
    }
}

/// A deterministic source of random numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub fn float(&mut self) -> f32 {
        (self.bits() & 0xff_ffff) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, dims: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| self.float()).collect();
        Tensor::from_f32(dims, &values)
    }

    /// Draws from few different values, so that there are ties.
    pub fn steps(&mut self, dims: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| (self.float() * 3.0).round()).collect();
        Tensor::from_f32(dims, &values)
    }

    pub fn integers(&mut self, dims: &[usize]) -> Tensor {
        let values: Vec<i64> = (0..dims.iter().product()).map(|_| (self.bits() % 19) as i64 - 9).collect();
        Tensor::from_i64(dims, &values)
    }
}

/// Converts a tensor to the words of its device representation.
pub fn words(t: &Tensor) -> Vec<u32> {
    if t.dtype().is_float() {
        t.to_f32().iter().map(|v| v.to_bits()).collect()
    } else if t.dtype() == DType::Bool {
        t.to_i64().iter().map(|v| *v as u32).collect()
    } else {
        t.to_i64().iter().flat_map(|v| [*v as u32, (*v >> 32) as u32]).collect()
    }
}

/// Rounds floats to the type in which they are stored.
pub fn rounded(storage: Storage, values: &[f32]) -> Vec<f32> {
    narrowed(storage, values).to_f32()
}

fn narrowed(storage: Storage, values: &[f32]) -> Tensor {
    let wide = Tensor::from_f32(&[values.len()], values);
    match storage {
        Storage::F32 => wide,
        Storage::Bf16 => Array::from_tensor(&wide).to_tensor(DType::Bf16),
        Storage::F16 => Array::from_tensor(&wide).to_tensor(DType::F16),
    }
}

/// Converts floats to words of their storage. An odd number of halves is followed by ones.
pub fn packed(storage: Storage, values: &[f32]) -> Vec<u32> {
    let mut bytes = narrowed(storage, values).bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0x3c);
    bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Returns the first `count` floats of words of their storage.
pub fn unpacked(storage: Storage, words: &[u32], count: usize) -> Vec<f32> {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let dtype = match storage {
        Storage::F32 => DType::F32,
        Storage::Bf16 => DType::Bf16,
        Storage::F16 => DType::F16,
    };
    let count = count.min(bytes.len() / storage.bytes() as usize);
    let bytes = bytes[..count * storage.bytes() as usize].to_vec();
    Tensor::from_bytes(dtype, vec![count], Arc::new(bytes)).unwrap().to_f32()
}

/// Returns a buffer for floats that a launch writes. Half a word that follows them is left as it is.
pub fn result(storage: Storage, count: usize) -> (Role, Vec<u32>) {
    let whole = storage == Storage::F32 || count.is_multiple_of(2);
    (if whole { Role::Write } else { Role::Update }, vec![0; words_of(storage, count)])
}

/// Returns the number of words that floats take.
pub fn words_of(storage: Storage, count: usize) -> usize {
    (count * storage.bytes() as usize).div_ceil(4)
}

/// Evaluates a primitive by the float64 reference.
pub fn expected(op: &Prim, inputs: &[&Tensor]) -> Array {
    let arrays: Vec<Array> = inputs.iter().map(|t| Array::from_tensor(t)).collect();
    reference::eval(op, &arrays.iter().collect::<Vec<_>>()).unwrap()
}
