//! Execution of launches: the schedule of blocks and warps, and the semantics of instructions.

use dlbc_ptx::Region;

use crate::Fault;
use crate::memory::{Access, Declared, Memory};
use crate::program::{Exchange, Instruction, Join, L32, L64, Op, Operand, Program};
use crate::shared::Shared;

mod access;
mod mma;

pub use mma::TensorSums;

/// Settings of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Seed of the order of blocks and warps.
    pub schedule: u64,
    /// Number of warp instructions after which a block counts as endless.
    pub limit: u64,
    /// Sums of tensor cores.
    pub tensor_sums: TensorSums,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { schedule: 1, limit: 200_000_000, tensor_sums: TensorSums::default() }
    }
}

/// Statistics of a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Number of executed warp instructions.
    pub instructions: u64,
    /// Number of warp accesses to shared memory.
    pub shared: u64,
    /// Bank conflicts: cycles of shared accesses beyond those that their size requires.
    pub conflicts: u64,
    /// Number of tensor-core instructions.
    pub mma: u64,
}

/// Runs a kernel. `reads`, `writes` and `updates` are as in [`dlbc_ptx::Launch`].
///
/// # Errors
/// When the kernel is at fault; returns the first fault.
pub fn launch(
    program: &Program,
    params: &[u8],
    grid: [u32; 3],
    memory: &mut Memory,
    [reads, writes, updates]: [&[Region]; 3],
    settings: Settings,
) -> Result<Stats, Fault> {
    let launch_fault = |(kind, detail)| Fault { kind, line: 0, detail };
    if params.len() != program.params {
        let detail = format!("{} bytes given, {} taken", params.len(), program.params);
        return Err(launch_fault(("parameter block", detail)));
    }
    let mut declared = Declared::default();
    for (regions, access) in [(writes, Access::Write), (updates, Access::Update), (reads, Access::Read)] {
        declared.regions.extend(regions.iter().map(|r| (*r, access)));
    }
    memory.begin(&declared);
    let blocks = grid.iter().map(|g| u64::from(*g)).product::<u64>();
    let mut random = Random(settings.schedule.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    // Blocks run one after another, from a random one on.
    let first = if blocks == 0 { 0 } else { random.next() % blocks };
    let mut stats = Stats::default();
    for i in 0..blocks {
        let linear = (first + i) % blocks;
        let (x, y) = (u64::from(grid[0]), u64::from(grid[1]));
        let block = [(linear % x) as u32, (linear / x % y) as u32, (linear / x / y) as u32];
        let mut machine = Machine {
            program,
            params,
            block,
            first_thread: 1 + linear as u32 * program.threads,
            memory,
            declared: &declared,
            shared: Shared::new(program.shared),
            stats: Stats::default(),
            tensor_sums: settings.tensor_sums,
        };
        machine.run(&mut random, settings.limit)?;
        stats.instructions += machine.stats.instructions;
        stats.shared += machine.stats.shared;
        stats.conflicts += machine.stats.conflicts;
        stats.mma += machine.stats.mma;
    }
    memory.end(&declared).map_err(launch_fault)?;
    Ok(stats)
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 3
    }
}

/// An asynchronous copy of a lane.
struct Copy {
    /// Shared address.
    target: u32,
    /// Global address.
    source: u64,
    /// Bytes that are read; the others become zeros.
    size: u32,
    /// Bytes that are written.
    width: u32,
    lane: usize,
}

/// Targets, sources and sizes of the copies that a warp starts.
struct LaneCopies {
    target: L32,
    source: L64,
    size: L32,
}

/// State of a warp.
struct Warp {
    /// Instruction and mask of each group of lanes with the same next instruction, ascending by instruction.
    groups: Vec<(usize, u32)>,
    r32: Vec<L32>,
    r64: Vec<L64>,
    /// Mask of the lanes that have written each 32-bit register.
    set32: Vec<u32>,
    /// Mask of the lanes that have written each 64-bit register.
    set64: Vec<u32>,
    /// The warp waits at a barrier.
    waiting: bool,
    returned: u32,
    /// Copies that are not committed to a group yet.
    open: Vec<Copy>,
    /// Committed groups of copies, oldest first.
    pending: Vec<Vec<Copy>>,
}

/// A block that runs.
struct Machine<'a> {
    program: &'a Program,
    params: &'a [u8],
    block: [u32; 3],
    /// Number of the block's first thread, for records of accesses to global memory.
    first_thread: u32,
    memory: &'a mut Memory,
    declared: &'a Declared,
    shared: Shared,
    stats: Stats,
    tensor_sums: TensorSums,
}

/// Kind and detail of a [`Fault`].
type FaultText = (&'static str, String);

/// Mask of all lanes.
const ALL: u32 = u32::MAX;

fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |l| mask >> l & 1 == 1)
}

impl Machine<'_> {
    fn run(&mut self, random: &mut Random, limit: u64) -> Result<(), Fault> {
        let [narrow, wide] = self.program.registers;
        let warp = || Warp {
            groups: vec![(0, ALL)],
            r32: vec![[0; 32]; narrow],
            r64: vec![[0; 32]; wide],
            set32: vec![0; narrow],
            set64: vec![0; wide],
            waiting: false,
            returned: 0,
            open: vec![],
            pending: vec![],
        };
        let mut warps: Vec<Warp> = (0..self.program.threads / 32).map(|_| warp()).collect();
        loop {
            let ready: Vec<usize> =
                (0..warps.len()).filter(|w| !warps[*w].groups.is_empty() && !warps[*w].waiting).collect();
            if ready.is_empty() {
                if warps.iter().all(|w| w.groups.is_empty()) {
                    return Ok(());
                }
                if warps.iter().any(|w| w.groups.is_empty()) {
                    let detail = "some threads returned, others wait".into();
                    return Err(Fault { kind: "barrier", line: 0, detail });
                }
                warps.iter_mut().for_each(|w| w.waiting = false);
                self.shared.epoch += 1;
                continue;
            }
            let w = ready[(random.next() % ready.len() as u64) as usize];
            for _ in 0..=random.next() % 400 {
                let warp = &mut warps[w];
                if warp.groups.is_empty() || warp.waiting {
                    break;
                }
                self.step(warp, w)?;
                if self.stats.instructions > limit {
                    return Err(Fault { kind: "endless", line: 0, detail: format!("{limit} instructions") });
                }
            }
        }
    }

    /// Executes one instruction of the lanes that are furthest behind.
    fn step(&mut self, warp: &mut Warp, index: usize) -> Result<(), Fault> {
        let (pc, mask) = warp.groups[0];
        let instruction = &self.program.instructions[pc];
        let fault = |(kind, detail): FaultText| Fault { kind, line: instruction.line, detail };
        self.stats.instructions += 1;
        let mut active = mask;
        if let Some((p, expected)) = instruction.guard {
            if warp.set32[p] & mask != mask {
                return Err(fault(("read of a register that nobody wrote", format!("guard, warp {index}"))));
            }
            for l in lanes(mask) {
                if (warp.r32[p][l] != 0) != expected {
                    active &= !(1 << l);
                }
            }
        }
        match instruction.op {
            Op::Branch(target) => {
                warp.groups.remove(0);
                go(&mut warp.groups, target, active);
                go(&mut warp.groups, pc + 1, mask & !active);
                return Ok(());
            }
            Op::Return => {
                if warp.open.iter().chain(warp.pending.iter().flatten()).next().is_some() {
                    return Err(fault(("return while copies are under way", format!("warp {index}"))));
                }
                warp.returned |= active;
                warp.groups.remove(0);
                go(&mut warp.groups, pc + 1, mask & !active);
                return Ok(());
            }
            Op::Barrier => {
                if active != ALL {
                    return Err(fault(("barrier", format!("warp {index} comes with lanes {active:#010x}"))));
                }
                warp.waiting = true;
            }
            _ => self.execute(warp, index, instruction, active).map_err(fault)?,
        }
        if warp.groups.len() == 1 {
            warp.groups[0].0 = pc + 1;
        } else {
            warp.groups.remove(0);
            go(&mut warp.groups, pc + 1, mask);
        }
        Ok(())
    }

    /// Reads a 32-bit operand.
    fn a32(&self, warp: &Warp, index: usize, operand: Operand, active: u32) -> Result<L32, FaultText> {
        Ok(match operand {
            Operand::R32(r) => {
                require_written(warp.set32[r], active, index)?;
                warp.r32[r]
            }
            Operand::Immediate(v) => [v as u32; 32],
            Operand::Thread => std::array::from_fn(|l| (index * 32 + l) as u32),
            Operand::Block(axis) => [self.block[axis]; 32],
            Operand::R64(_) => return Err(("register of another size", String::new())),
        })
    }

    /// Reads a 64-bit operand.
    fn a64(&self, warp: &Warp, index: usize, operand: Operand, active: u32) -> Result<L64, FaultText> {
        Ok(match operand {
            Operand::R64(r) => {
                require_written(warp.set64[r], active, index)?;
                warp.r64[r]
            }
            Operand::Immediate(v) => [v; 32],
            Operand::R32(_) | Operand::Thread | Operand::Block(_) => {
                return Err(("register of another size", String::new()));
            }
        })
    }

    fn execute(
        &mut self,
        warp: &mut Warp,
        index: usize,
        i: &Instruction,
        active: u32,
    ) -> Result<(), FaultText> {
        let a32 = |n: usize| self.a32(warp, index, i.sources[n], active);
        let a64 = |n: usize| self.a64(warp, index, i.sources[n], active);
        let (mut d32, mut d64) = ([0; 32], [0; 32]);
        match i.op {
            Op::Un32(f) => f(&a32(0)?, &mut d32),
            Op::Bin32(f) => f(&a32(0)?, &a32(1)?, &mut d32),
            Op::Tri32(f) => f(&a32(0)?, &a32(1)?, &a32(2)?, &mut d32),
            Op::Un64(f) => f(&a64(0)?, &mut d64),
            Op::Bin64(f) => f(&a64(0)?, &a64(1)?, &mut d64),
            Op::Tri64(f) => f(&a64(0)?, &a64(1)?, &a64(2)?, &mut d64),
            Op::Widen(f) => f(&a32(0)?, &mut d64),
            Op::Narrow(f) => f(&a64(0)?, &mut d32),
            Op::MadWide => {
                let (a, b, c) = (a32(0)?, a32(1)?, a64(2)?);
                (0..32).for_each(|l| {
                    d64[l] = c[l].wrapping_add_signed(i64::from(a[l] as i32) * i64::from(b[l] as i32))
                });
            }
            Op::Shift64(f) => {
                let (a, b) = (a64(0)?, a32(1)?);
                (0..32).for_each(|l| d64[l] = f(a[l], b[l]));
            }
            Op::Compare32(f, join) => {
                f(&a32(0)?, &a32(1)?, &mut d32);
                join_predicate(&mut d32, join, || a32(2))?;
            }
            Op::Compare64(f, join) => {
                f(&a64(0)?, &a64(1)?, &mut d32);
                join_predicate(&mut d32, join, || a32(2))?;
            }
            Op::Select32 => {
                let (a, b, p) = (a32(0)?, a32(1)?, a32(2)?);
                (0..32).for_each(|l| d32[l] = if p[l] != 0 { a[l] } else { b[l] });
            }
            Op::Select64 => {
                let (a, b, p) = (a64(0)?, a64(1)?, a32(2)?);
                (0..32).for_each(|l| d64[l] = if p[l] != 0 { a[l] } else { b[l] });
            }
            Op::Pack => {
                let (low, high) = (a32(0)?, a32(1)?);
                (0..32).for_each(|l| d64[l] = u64::from(low[l]) | u64::from(high[l]) << 32);
            }
            Op::Unpack => {
                let v = a64(0)?;
                for (n, target) in i.targets.iter().enumerate() {
                    (0..32).for_each(|l| d32[l] = (v[l] >> (32 * n)) as u32);
                    put32(warp, *target, &d32, active);
                }
                return Ok(());
            }
            Op::UnpackHalves => {
                let v = a32(0)?;
                for (n, target) in i.targets.iter().enumerate() {
                    (0..32).for_each(|l| d32[l] = v[l] >> (16 * n) & 0xffff);
                    put32(warp, *target, &d32, active);
                }
                return Ok(());
            }
            Op::Parameter => {
                let at = i.offset as usize;
                let is_64_bit = matches!(i.targets[0], Operand::R64(_));
                let size = if is_64_bit { 8 } else { 4 };
                let bytes = self.params.get(at..at + size).filter(|_| at.is_multiple_of(size));
                let bytes = bytes.ok_or_else(|| ("parameter outside the block", at.to_string()))?;
                let mut word = [0; 8];
                word[..size].copy_from_slice(bytes);
                let value = u64::from_le_bytes(word);
                (d32, d64) = ([value as u32; 32], [value; 32]);
            }
            Op::Shuffle(exchange) => {
                if active != ALL {
                    return Err(("shuffle", format!("lanes {active:#010x} of all")));
                }
                let (v, distance) = (a32(0)?, a32(1)?[0] as usize);
                let source = |l: usize| match exchange {
                    Exchange::Butterfly => l ^ distance,
                    Exchange::Up => l.checked_sub(distance).unwrap_or(l),
                    Exchange::Index => distance,
                };
                (0..32).for_each(|l| d32[l] = v[source(l)]);
            }
            Op::Load(space) => return self.load(warp, index, i, active, space),
            Op::LoadHalf(space) => return self.load_half(warp, index, i, active, space),
            Op::StoreHalf => return self.store_half(warp, index, i, active),
            Op::Store(space) => return self.store(warp, index, i, active, space),
            Op::ReduceOr => {
                let (base, value) = (a64(0)?, a32(1)?);
                for l in lanes(active) {
                    *self.memory.atomic(self.declared, base[l].wrapping_add(i.offset as u64))? |= value[l];
                }
                return Ok(());
            }
            Op::CopyAsync(width) => {
                let target = a32(0)?.map(|base| base.wrapping_add(i.offset as u32));
                let copies = LaneCopies { target, source: a64(1)?, size: a32(2)? };
                return self.start_copy(warp, index, copies, width, active);
            }
            Op::CopyCommit => {
                let open = std::mem::take(&mut warp.open);
                warp.pending.push(open);
                return Ok(());
            }
            Op::CopyWait(count) => {
                while warp.pending.len() > count as usize {
                    for copy in warp.pending.remove(0) {
                        self.finish_copy(index, copy)?;
                    }
                }
                return Ok(());
            }
            Op::Mma(kind) => {
                if active != ALL {
                    return Err(("tensor-core product", format!("lanes {active:#010x} of all")));
                }
                let operands = (0..i.sources.len()).map(a32).collect::<Result<Vec<L32>, _>>()?;
                self.stats.mma += 1;
                for (target, sum) in i.targets.iter().zip(mma::product(kind, self.tensor_sums, &operands)?) {
                    put32(warp, *target, &sum, active);
                }
                return Ok(());
            }
            Op::Branch(_) | Op::Return | Op::Barrier => return Ok(()),
        }
        match i.targets[0] {
            Operand::R64(r) => {
                blend(&mut warp.r64[r], &d64, active);
                warp.set64[r] |= active;
            }
            target => put32(warp, target, &d32, active),
        }
        Ok(())
    }
}

/// Moves lanes to an instruction.
fn go(groups: &mut Vec<(usize, u32)>, pc: usize, mask: u32) {
    if mask == 0 {
        return;
    }
    match groups.binary_search_by_key(&pc, |(at, _)| *at) {
        Ok(i) => groups[i].1 |= mask,
        Err(i) => groups.insert(i, (pc, mask)),
    }
}

/// Checks that all active lanes have written a register; `set` is the mask of those that have.
fn require_written(set: u32, active: u32, warp: usize) -> Result<(), FaultText> {
    if set & active == active {
        return Ok(());
    }
    Err(("read of a register that nobody wrote", format!("warp {warp}")))
}

fn join_predicate(
    d: &mut L32,
    join: Join,
    other: impl FnOnce() -> Result<L32, FaultText>,
) -> Result<(), FaultText> {
    match join {
        Join::Alone => {}
        Join::And => d.iter_mut().zip(other()?).for_each(|(d, o)| *d &= u32::from(o != 0)),
        Join::Or => d.iter_mut().zip(other()?).for_each(|(d, o)| *d |= u32::from(o != 0)),
    }
    Ok(())
}

/// Writes a 32-bit register in the active lanes.
fn put32(warp: &mut Warp, target: Operand, values: &L32, active: u32) {
    if let Operand::R32(r) = target {
        blend(&mut warp.r32[r], values, active);
        warp.set32[r] |= active;
    }
}

/// Copies the values of the active lanes.
fn blend<T: std::marker::Copy>(target: &mut [T; 32], values: &[T; 32], active: u32) {
    if active == ALL {
        *target = *values;
        return;
    }
    lanes(active).for_each(|l| target[l] = values[l]);
}
