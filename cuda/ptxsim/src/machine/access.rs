//! Loads, stores and asynchronous copies, and the bank conflicts of shared accesses.

use super::{Copy, FaultText, LaneCopies, Machine, Warp, blend, lanes, put32};
use crate::program::{Instruction, L32, L64, Operand, Space};

impl Machine<'_> {
    /// Starts a copy of each active lane. If a copy has fewer bytes than its width, the rest becomes zeros.
    pub(super) fn start_copy(
        &mut self,
        warp: &mut Warp,
        index: usize,
        copies: LaneCopies,
        width: u32,
        active: u32,
    ) -> Result<(), FaultText> {
        for l in lanes(active) {
            let (target, source, size) = (copies.target[l], copies.source[l], copies.size[l]);
            if size > width || !size.is_multiple_of(4) || !source.is_multiple_of(u64::from(width)) {
                return Err(("misaligned", format!("copy of {size} from {source:#x}")));
            }
            self.shared.start_copy(target, width, (index * 32 + l) as u32 + 1)?;
            warp.open.push(Copy { target, source, size, width, lane: l });
        }
        Ok(())
    }

    /// Finishes a copy: reads global memory and writes shared memory.
    pub(super) fn finish_copy(&mut self, index: usize, copy: Copy) -> Result<(), FaultText> {
        let thread = (index * 32 + copy.lane) as u32;
        let mut values = [0; 4];
        for (n, v) in values.iter_mut().enumerate().take((copy.size / 4) as usize) {
            let access = (copy.source + 4 * n as u64, 4);
            let at = self.memory.read(self.declared, &mut 0, access, self.first_thread + thread)?;
            *v = self.memory.word(at);
        }
        self.shared.finish_copy(copy.target, &values[..(copy.width / 4) as usize], thread + 1);
        Ok(())
    }

    pub(super) fn load(
        &mut self,
        warp: &mut Warp,
        index: usize,
        i: &Instruction,
        active: u32,
        space: Space,
    ) -> Result<(), FaultText> {
        let is_64_bit = matches!(i.targets[0], Operand::R64(_));
        let words = i.targets.len() * if is_64_bit { 2 } else { 1 };
        let mut values = [[0u32; 32]; 4];
        match space {
            Space::Global => {
                let base = self.a64(warp, index, i.sources[0], active)?;
                let mut hint = 0;
                for l in lanes(active) {
                    let access = (base[l].wrapping_add(i.offset as u64), 4 * words as u64);
                    let thread = self.first_thread + (index * 32 + l) as u32;
                    let at = self.memory.read(self.declared, &mut hint, access, thread)?;
                    (0..words).for_each(|n| values[n][l] = self.memory.word(at + n));
                }
            }
            Space::Shared => {
                let base = self.a32(warp, index, i.sources[0], active)?;
                self.banks(&base, i.offset, words as u32, active);
                for l in lanes(active) {
                    let at = base[l].wrapping_add(i.offset as u32);
                    let thread = (index * 32 + l) as u32 + 1;
                    self.shared.read(at, 4 * words as u32, thread, |n, v| values[n][l] = v)?;
                }
            }
        }
        for (n, target) in i.targets.iter().enumerate() {
            match target {
                Operand::R64(r) => {
                    let pair: L64 = std::array::from_fn(|l| {
                        u64::from(values[2 * n][l]) | u64::from(values[2 * n + 1][l]) << 32
                    });
                    blend(&mut warp.r64[*r], &pair, active);
                    warp.set64[*r] |= active;
                }
                target => put32(warp, *target, &values[n], active),
            }
        }
        Ok(())
    }

    /// Loads 16 bits.
    pub(super) fn load_half(
        &mut self,
        warp: &mut Warp,
        index: usize,
        i: &Instruction,
        active: u32,
        space: Space,
    ) -> Result<(), FaultText> {
        let mut values: L32 = [0; 32];
        let half = |word: u32, address: u64| word >> (8 * (address & 2)) & 0xffff;
        match space {
            Space::Global => {
                let base = self.a64(warp, index, i.sources[0], active)?;
                let mut hint = 0;
                for l in lanes(active) {
                    let address = base[l].wrapping_add(i.offset as u64);
                    let thread = self.first_thread + (index * 32 + l) as u32;
                    let at = self.memory.read(self.declared, &mut hint, (address, 2), thread)?;
                    values[l] = half(self.memory.word(at), address);
                }
            }
            Space::Shared => {
                let base = self.a32(warp, index, i.sources[0], active)?;
                self.banks(&base, i.offset, 1, active);
                for l in lanes(active) {
                    let address = base[l].wrapping_add(i.offset as u32);
                    let thread = (index * 32 + l) as u32 + 1;
                    self.shared.read(address, 2, thread, |_, v| values[l] = half(v, u64::from(address)))?;
                }
            }
        }
        put32(warp, i.targets[0], &values, active);
        Ok(())
    }

    /// Stores 16 bits to global memory.
    pub(super) fn store_half(
        &mut self,
        warp: &mut Warp,
        index: usize,
        i: &Instruction,
        active: u32,
    ) -> Result<(), FaultText> {
        let values = self.a32(warp, index, i.targets[0], active)?;
        let base = self.a64(warp, index, i.sources[0], active)?;
        let mut hint = 0;
        for l in lanes(active) {
            let address = base[l].wrapping_add(i.offset as u64);
            let thread = self.first_thread + (index * 32 + l) as u32;
            let at = self.memory.write(self.declared, &mut hint, (address, 2), thread)?;
            let shift = 8 * (address & 2);
            let rest = self.memory.word(at) & !(0xffff << shift);
            self.memory.set(at, rest | (values[l] & 0xffff) << shift);
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        warp: &mut Warp,
        index: usize,
        i: &Instruction,
        active: u32,
        space: Space,
    ) -> Result<(), FaultText> {
        let mut values: Vec<L32> = vec![];
        for operand in &i.targets {
            match operand {
                Operand::R64(_) => {
                    let v = self.a64(warp, index, *operand, active)?;
                    values.push(v.map(|v| v as u32));
                    values.push(v.map(|v| (v >> 32) as u32));
                }
                _ => values.push(self.a32(warp, index, *operand, active)?),
            }
        }
        match space {
            Space::Global => {
                let base = self.a64(warp, index, i.sources[0], active)?;
                let mut hint = 0;
                for l in lanes(active) {
                    let access = (base[l].wrapping_add(i.offset as u64), 4 * values.len() as u64);
                    let thread = self.first_thread + (index * 32 + l) as u32;
                    let at = self.memory.write(self.declared, &mut hint, access, thread)?;
                    values.iter().enumerate().for_each(|(n, v)| self.memory.set(at + n, v[l]));
                }
            }
            Space::Shared => {
                let base = self.a32(warp, index, i.sources[0], active)?;
                self.banks(&base, i.offset, values.len() as u32, active);
                for l in lanes(active) {
                    let at = base[l].wrapping_add(i.offset as u32);
                    let lane: Vec<u32> = values.iter().map(|v| v[l]).collect();
                    self.shared.write(at, &lane, (index * 32 + l) as u32 + 1)?;
                }
            }
        }
        Ok(())
    }

    /// Counts the bank conflicts of a shared access. The banks serve 32 words at a time.
    fn banks(&mut self, base: &L32, offset: i64, words: u32, active: u32) {
        self.stats.shared += 1;
        let together = 32 / words as usize;
        for first in (0..32).step_by(together) {
            let mut hits: [Vec<u32>; 32] = std::array::from_fn(|_| vec![]);
            for l in (first..first + together).filter(|l| active >> l & 1 == 1) {
                for n in 0..words {
                    let word = base[l].wrapping_add(offset as u32) / 4 + n;
                    let bank = &mut hits[word as usize % 32];
                    if !bank.contains(&word) {
                        bank.push(word);
                    }
                }
            }
            let turns = hits.iter().map(Vec::len).max().unwrap_or(0);
            self.stats.conflicts += turns.saturating_sub(1) as u64;
        }
    }
}
