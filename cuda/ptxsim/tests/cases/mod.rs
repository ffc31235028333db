//! Small launches of every kernel of the library, with the results of the float64 reference.

#![allow(dead_code)]

mod attention;
mod choosing;
mod indexing;
mod moving;
mod products;
mod values;

use dlbc_ops::prim::{Prim, reference};
use dlbc_ops::tensor::{Array, DType, Tensor};
use dlbc_ptx::kernel::storage::Storage;
use dlbc_ptx::library::Entry;
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
/// Checks the words of the buffers that were written; fails with a message.
pub type Check = Box<dyn Fn(&[Vec<u32>]) -> Result<(), String>>;

/// A launch and the check of its results.
pub struct Case {
    pub shape: String,
    pub grid: [u32; 3],
    /// Buffers in words. The initial words of a [`Role::Write`] buffer are not uploaded.
    pub buffers: Vec<(Role, Vec<u32>)>,
    pub params: BuildParams,
    pub check: Check,
}

/// Returns the cases of a kernel; empty for an unknown family.
pub fn cases(entry: &Entry) -> Vec<Case> {
    let name = entry.kernel.name.as_str();
    match entry.family {
        "gemm" => products::gemm(name),
        "conv" => products::conv(name),
        "reduce" => values::reduce(name),
        "softmax" => values::softmax(),
        "attention" => attention::attention(name),
        "pointwise" => values::pointwise(name),
        "pick" => moving::pick(name),
        "transpose" => moving::transpose(name),
        "turn" => moving::turn(name),
        "index" => indexing::index(name),
        "order" => choosing::order(name),
        "suppress" => choosing::suppress(name),
        "pool" => moving::pool(name),
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
        Ok((results, _)) => (case.check)(&results).err(),
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

/// Evaluates a primitive by the float64 reference.
pub fn expected(op: &Prim, inputs: &[&Tensor]) -> Array {
    let arrays: Vec<Array> = inputs.iter().map(|t| Array::from_tensor(t)).collect();
    reference::eval(op, &arrays.iter().collect::<Vec<_>>()).unwrap()
}

/// Compares words to floats, each within its bound.
pub fn near<'a>(
    words: &[u32],
    values: impl IntoIterator<Item = &'a f64>,
    bound: impl Fn(usize, f64) -> f64,
) -> Result<(), String> {
    for (i, (word, e)) in words.iter().zip(values).enumerate() {
        let (f, e32) = (f64::from(f32::from_bits(*word)), f64::from(*e as f32));
        let same = f == e32 || (f.is_nan() && e.is_nan()) || (f - e).abs() <= bound(i, *e);
        if !same {
            return Err("wrong numbers".into());
        }
    }
    Ok(())
}

/// Compares words to an array: integers and booleans exactly, floats within the bound of each element.
pub fn holds(words: &[u32], array: &Array, bound: impl Fn(usize, f64) -> f64) -> Result<(), String> {
    match array {
        Array::F(a) => {
            near(words, a, bound)?;
        }
        Array::I(a) => {
            let integers = words.chunks(2).map(|w| (u64::from(w[0]) | u64::from(w[1]) << 32) as i64);
            if !integers.eq(a.iter().copied()) {
                return Err("wrong numbers".into());
            }
        }
        Array::B(a) => {
            if !words.iter().copied().eq(a.iter().map(|v| u32::from(*v))) {
                return Err("wrong numbers".into());
            }
        }
    }
    Ok(())
}

/// Returns a check of the first result against an array.
pub fn check(array: Array, bound: impl Fn(usize, f64) -> f64 + 'static) -> Check {
    Box::new(move |results| holds(&results[0], &array, &bound))
}
