//! Blocks and warps: who runs when, and what each instruction does.

use dlbc_ptx::Region;

use crate::Fault;
use crate::memory::{Access, Declared, Memory};
use crate::program::{Exchange, Instruction, Join, L32, L64, Op, Place, Program};
use crate::shared::Shared;

mod access;
mod mma;

/// How a launch runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Draws the order of blocks and warps.
    pub schedule: u64,
    /// Warp instructions of a block before it counts as endless.
    pub limit: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { schedule: 1, limit: 200_000_000 }
    }
}

/// What a launch took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Warp instructions.
    pub instructions: u64,
    /// Shared accesses of warps, and the turns that they took beyond what their size needs: bank conflicts.
    pub shared: u64,
    /// Extra turns.
    pub conflicts: u64,
    /// Tensor-core products.
    pub mma: u64,
}

/// Runs a kernel. `reads`, `writes` and `updates` are as in [`dlbc_ptx::Launch`].
///
/// # Errors
/// The first fault.
pub fn launch(
    program: &Program,
    params: &[u8],
    grid: [u32; 3],
    memory: &mut Memory,
    [reads, writes, updates]: [&[Region]; 3],
    settings: Settings,
) -> Result<Stats, Fault> {
    let whole = |(kind, detail)| Fault { kind, line: 0, detail };
    if params.len() != program.params {
        let detail = format!("{} bytes given, {} taken", params.len(), program.params);
        return Err(whole(("parameter block", detail)));
    }
    let mut declared = Declared::default();
    for (regions, access) in [(writes, Access::Write), (updates, Access::Update), (reads, Access::Read)] {
        declared.regions.extend(regions.iter().map(|r| (*r, access)));
    }
    memory.begin(&declared);
    let blocks = grid.iter().map(|g| u64::from(*g)).product::<u64>();
    let mut random = Random(settings.schedule.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    // Blocks run one after another, from a drawn place on.
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
        };
        machine.run(&mut random, settings.limit)?;
        stats.instructions += machine.stats.instructions;
        stats.shared += machine.stats.shared;
        stats.conflicts += machine.stats.conflicts;
        stats.mma += machine.stats.mma;
    }
    memory.end(&declared).map_err(whole)?;
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

/// An asynchronous copy.
struct Copy {
    to: u32,
    from: u64,
    /// Bytes that exist.
    size: u32,
    /// Bytes that are written.
    width: u32,
    lane: usize,
}

struct Warp {
    /// Lanes at the same instruction, by instruction, ascending.
    groups: Vec<(usize, u32)>,
    r32: Vec<L32>,
    r64: Vec<L64>,
    /// Lanes that have written each register.
    set32: Vec<u32>,
    set64: Vec<u32>,
    waiting: bool,
    returned: u32,
    open: Vec<Copy>,
    pending: Vec<Vec<Copy>>,
}

struct Machine<'a> {
    program: &'a Program,
    params: &'a [u8],
    block: [u32; 3],
    first_thread: u32,
    memory: &'a mut Memory,
    declared: &'a Declared,
    shared: Shared,
    stats: Stats,
}

type Complaint = (&'static str, String);

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

    /// One instruction of the lanes that are furthest behind.
    fn step(&mut self, warp: &mut Warp, index: usize) -> Result<(), Fault> {
        let (pc, mask) = warp.groups[0];
        let instruction = &self.program.instructions[pc];
        let fault = |(kind, detail): Complaint| Fault { kind, line: instruction.line, detail };
        self.stats.instructions += 1;
        let mut active = mask;
        if let Some((p, wanted)) = instruction.guard {
            if warp.set32[p] & mask != mask {
                return Err(fault(("read of a register that nobody wrote", format!("guard, warp {index}"))));
            }
            for l in lanes(mask) {
                if (warp.r32[p][l] != 0) != wanted {
                    active &= !(1 << l);
                }
            }
        }
        match instruction.op {
            Op::Branch(to) => {
                warp.groups.remove(0);
                go(&mut warp.groups, to, active);
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

    fn a32(&self, warp: &Warp, index: usize, place: Place, active: u32) -> Result<L32, Complaint> {
        Ok(match place {
            Place::R32(r) => {
                written(warp.set32[r], active, index)?;
                warp.r32[r]
            }
            Place::Immediate(v) => [v as u32; 32],
            Place::Thread => std::array::from_fn(|l| (index * 32 + l) as u32),
            Place::Block(axis) => [self.block[axis]; 32],
            Place::R64(_) => return Err(("register of another size", String::new())),
        })
    }

    fn a64(&self, warp: &Warp, index: usize, place: Place, active: u32) -> Result<L64, Complaint> {
        Ok(match place {
            Place::R64(r) => {
                written(warp.set64[r], active, index)?;
                warp.r64[r]
            }
            Place::Immediate(v) => [v; 32],
            Place::R32(_) | Place::Thread | Place::Block(_) => {
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
    ) -> Result<(), Complaint> {
        let a32 = |n: usize| self.a32(warp, index, i.from[n], active);
        let a64 = |n: usize| self.a64(warp, index, i.from[n], active);
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
                joined(&mut d32, join, || a32(2))?;
            }
            Op::Compare64(f, join) => {
                f(&a64(0)?, &a64(1)?, &mut d32);
                joined(&mut d32, join, || a32(2))?;
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
                for (n, to) in i.to.iter().enumerate() {
                    (0..32).for_each(|l| d32[l] = (v[l] >> (32 * n)) as u32);
                    put32(warp, *to, &d32, active);
                }
                return Ok(());
            }
            Op::Parameter => {
                let at = i.offset as usize;
                let wide = matches!(i.to[0], Place::R64(_));
                let size = if wide { 8 } else { 4 };
                let bytes = self.params.get(at..at + size).filter(|_| at.is_multiple_of(size));
                let bytes = bytes.ok_or_else(|| ("parameter outside the block", at.to_string()))?;
                let mut whole = [0; 8];
                whole[..size].copy_from_slice(bytes);
                let value = u64::from_le_bytes(whole);
                (d32, d64) = ([value as u32; 32], [value; 32]);
            }
            Op::Shuffle(exchange) => {
                if active != ALL {
                    return Err(("shuffle", format!("lanes {active:#010x} of all")));
                }
                let (v, distance) = (a32(0)?, a32(1)?[0] as usize);
                let of = |l: usize| match exchange {
                    Exchange::Butterfly => l ^ distance,
                    Exchange::Up => l.checked_sub(distance).unwrap_or(l),
                    Exchange::Index => distance,
                };
                (0..32).for_each(|l| d32[l] = v[of(l)]);
            }
            Op::Load(space) => return self.load(warp, index, i, active, space),
            Op::Store(space) => return self.store(warp, index, i, active, space),
            Op::ReduceOr => {
                let (base, value) = (a64(0)?, a32(1)?);
                for l in lanes(active) {
                    *self.memory.atomic(self.declared, base[l].wrapping_add(i.offset as u64))? |= value[l];
                }
                return Ok(());
            }
            Op::CopyAsync(width) => {
                let to = a32(0)?.map(|to| to.wrapping_add(i.offset as u32));
                let copies = (to, a64(1)?, a32(2)?);
                return self.take_off(warp, index, copies, width, active);
            }
            Op::CopyCommit => {
                let open = std::mem::take(&mut warp.open);
                warp.pending.push(open);
                return Ok(());
            }
            Op::CopyWait(count) => {
                while warp.pending.len() > count as usize {
                    for copy in warp.pending.remove(0) {
                        self.land(index, copy)?;
                    }
                }
                return Ok(());
            }
            Op::Mma(kind) => {
                if active != ALL {
                    return Err(("tensor-core product", format!("lanes {active:#010x} of all")));
                }
                let operands = (0..i.from.len()).map(a32).collect::<Result<Vec<L32>, _>>()?;
                self.stats.mma += 1;
                for (to, sum) in i.to.iter().zip(mma::product(kind, &operands)?) {
                    put32(warp, *to, &sum, active);
                }
                return Ok(());
            }
            Op::Branch(_) | Op::Return | Op::Barrier => return Ok(()),
        }
        match i.to[0] {
            Place::R64(r) => {
                blend(&mut warp.r64[r], &d64, active);
                warp.set64[r] |= active;
            }
            to => put32(warp, to, &d32, active),
        }
        Ok(())
    }
}

/// Lanes arrive at an instruction.
fn go(groups: &mut Vec<(usize, u32)>, pc: usize, mask: u32) {
    if mask == 0 {
        return;
    }
    match groups.binary_search_by_key(&pc, |(at, _)| *at) {
        Ok(i) => groups[i].1 |= mask,
        Err(i) => groups.insert(i, (pc, mask)),
    }
}

fn written(set: u32, active: u32, warp: usize) -> Result<(), Complaint> {
    if set & active == active {
        return Ok(());
    }
    Err(("read of a register that nobody wrote", format!("warp {warp}")))
}

fn joined(d: &mut L32, join: Join, other: impl FnOnce() -> Result<L32, Complaint>) -> Result<(), Complaint> {
    match join {
        Join::Alone => {}
        Join::And => d.iter_mut().zip(other()?).for_each(|(d, o)| *d &= u32::from(o != 0)),
        Join::Or => d.iter_mut().zip(other()?).for_each(|(d, o)| *d |= u32::from(o != 0)),
    }
    Ok(())
}

fn put32(warp: &mut Warp, place: Place, values: &L32, active: u32) {
    if let Place::R32(r) = place {
        blend(&mut warp.r32[r], values, active);
        warp.set32[r] |= active;
    }
}

fn blend<T: std::marker::Copy>(to: &mut [T; 32], values: &[T; 32], active: u32) {
    if active == ALL {
        *to = *values;
        return;
    }
    lanes(active).for_each(|l| to[l] = values[l]);
}
