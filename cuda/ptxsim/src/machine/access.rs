//! Loads and stores, and what they cost in turns of the banks.

use super::{Complaint, Copy, Machine, Warp, blend, lanes, put32};
use crate::program::{Instruction, L32, L64, Place, Space};

impl Machine<'_> {
    /// Begins a copy of each lane. Its bytes may be fewer than its width; the rest become zeros.
    pub(super) fn take_off(
        &mut self,
        warp: &mut Warp,
        index: usize,
        (to, from, size): (L32, L64, L32),
        width: u32,
        active: u32,
    ) -> Result<(), Complaint> {
        for l in lanes(active) {
            if size[l] > width || !size[l].is_multiple_of(4) || !from[l].is_multiple_of(u64::from(width)) {
                return Err(("misaligned", format!("copy of {} from {:#x}", size[l], from[l])));
            }
            self.shared.take_off(to[l], width, (index * 32 + l) as u32 + 1)?;
            warp.open.push(Copy { to: to[l], from: from[l], size: size[l], width, lane: l });
        }
        Ok(())
    }

    pub(super) fn land(&mut self, index: usize, copy: Copy) -> Result<(), Complaint> {
        let thread = (index * 32 + copy.lane) as u32;
        let mut values = [0; 4];
        for (n, v) in values.iter_mut().enumerate().take((copy.size / 4) as usize) {
            let access = (copy.from + 4 * n as u64, 4);
            let at = self.memory.read(self.declared, &mut 0, access, self.first_thread + thread)?;
            *v = self.memory.word(at);
        }
        self.shared.land(copy.to, &values[..(copy.width / 4) as usize], thread + 1);
        Ok(())
    }

    pub(super) fn load(
        &mut self,
        warp: &mut Warp,
        index: usize,
        i: &Instruction,
        active: u32,
        space: Space,
    ) -> Result<(), Complaint> {
        let wide = matches!(i.to[0], Place::R64(_));
        let words = i.to.len() * if wide { 2 } else { 1 };
        let mut values = [[0u32; 32]; 4];
        match space {
            Space::Global => {
                let base = self.a64(warp, index, i.from[0], active)?;
                let mut hint = 0;
                for l in lanes(active) {
                    let access = (base[l].wrapping_add(i.offset as u64), 4 * words as u64);
                    let who = self.first_thread + (index * 32 + l) as u32;
                    let at = self.memory.read(self.declared, &mut hint, access, who)?;
                    (0..words).for_each(|n| values[n][l] = self.memory.word(at + n));
                }
            }
            Space::Shared => {
                let base = self.a32(warp, index, i.from[0], active)?;
                self.banks(&base, i.offset, words as u32, active);
                for l in lanes(active) {
                    let at = base[l].wrapping_add(i.offset as u32);
                    let who = (index * 32 + l) as u32 + 1;
                    self.shared.read(at, 4 * words as u32, who, |n, v| values[n][l] = v)?;
                }
            }
        }
        for (n, to) in i.to.iter().enumerate() {
            match to {
                Place::R64(r) => {
                    let pair: L64 = std::array::from_fn(|l| {
                        u64::from(values[2 * n][l]) | u64::from(values[2 * n + 1][l]) << 32
                    });
                    blend(&mut warp.r64[*r], &pair, active);
                    warp.set64[*r] |= active;
                }
                to => put32(warp, *to, &values[n], active),
            }
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
    ) -> Result<(), Complaint> {
        let mut values: Vec<L32> = vec![];
        for place in &i.to {
            match place {
                Place::R64(_) => {
                    let v = self.a64(warp, index, *place, active)?;
                    values.push(v.map(|v| v as u32));
                    values.push(v.map(|v| (v >> 32) as u32));
                }
                _ => values.push(self.a32(warp, index, *place, active)?),
            }
        }
        match space {
            Space::Global => {
                let base = self.a64(warp, index, i.from[0], active)?;
                let mut hint = 0;
                for l in lanes(active) {
                    let access = (base[l].wrapping_add(i.offset as u64), 4 * values.len() as u64);
                    let who = self.first_thread + (index * 32 + l) as u32;
                    let at = self.memory.write(self.declared, &mut hint, access, who)?;
                    values.iter().enumerate().for_each(|(n, v)| self.memory.set(at + n, v[l]));
                }
            }
            Space::Shared => {
                let base = self.a32(warp, index, i.from[0], active)?;
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

    /// Counts the turns of a shared access: the banks serve 32 words at a time.
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
