//! Shared memory of a block. Between two barriers a word belongs to those who read it, or to the one who writes it.

type Complaint = (&'static str, String);

#[derive(Clone, Copy, Default)]
struct Word {
    value: u32,
    written: bool,
    /// An asynchronous copy into it is under way.
    flying: bool,
    /// Who wrote it and who read it last, and between which barriers.
    writer: (u32, u32),
    reader: (u32, u32),
    /// Whether several read it.
    many: bool,
}

/// Shared memory.
pub(crate) struct Shared {
    words: Vec<Word>,
    /// Counts barriers, from 1.
    pub(crate) epoch: u32,
}

impl Shared {
    pub(crate) fn new(bytes: usize) -> Shared {
        Shared { words: vec![Word::default(); bytes / 4], epoch: 1 }
    }

    fn at(&mut self, address: u32, bytes: u32) -> Result<usize, Complaint> {
        if !address.is_multiple_of(bytes) {
            return Err(("misaligned", format!("shared {address:#x}")));
        }
        let at = (address / 4) as usize;
        if at + (bytes / 4) as usize > self.words.len() {
            return Err(("access outside shared memory", format!("{address:#x}")));
        }
        Ok(at)
    }

    /// `bytes` in one access, given to `to`.
    pub(crate) fn read(
        &mut self,
        address: u32,
        bytes: u32,
        who: u32,
        mut to: impl FnMut(usize, u32),
    ) -> Result<(), Complaint> {
        let (first, epoch) = (self.at(address, bytes)?, self.epoch);
        for (i, w) in self.words[first..][..(bytes / 4) as usize].iter_mut().enumerate() {
            if w.flying {
                return Err(("race in shared memory", format!("{address:#x} is still being copied")));
            }
            if !w.written {
                return Err(("read of shared memory that nobody wrote", format!("{address:#x}")));
            }
            if w.writer.1 == epoch && w.writer.0 != who {
                return Err(race(address, "is written and read"));
            }
            w.many = w.reader.1 == epoch && (w.many || w.reader.0 != who);
            w.reader = (who, epoch);
            to(i, w.value);
        }
        Ok(())
    }

    /// Claims a word for a writer.
    fn claim(&mut self, at: usize, address: u32, who: u32) -> Result<&mut Word, Complaint> {
        let (w, epoch) = (&mut self.words[at], self.epoch);
        let read = w.reader.1 == epoch && (w.many || w.reader.0 != who);
        let written = w.writer.1 == epoch && w.writer.0 != who;
        if w.flying || read || written {
            return Err(race(address, "is touched by two threads"));
        }
        Ok(w)
    }

    pub(crate) fn write(&mut self, address: u32, values: &[u32], who: u32) -> Result<(), Complaint> {
        let (first, epoch) = (self.at(address, 4 * values.len() as u32)?, self.epoch);
        for (i, value) in values.iter().enumerate() {
            let w = self.claim(first + i, address, who)?;
            w.value = *value;
            w.written = true;
            w.writer = (who, epoch);
        }
        Ok(())
    }

    /// An asynchronous copy begins: until it lands the words may not be touched.
    pub(crate) fn take_off(&mut self, address: u32, bytes: u32, who: u32) -> Result<(), Complaint> {
        let first = self.at(address, bytes)?;
        for i in 0..(bytes / 4) as usize {
            self.claim(first + i, address, who)?.flying = true;
        }
        Ok(())
    }

    /// It lands: the words count as written now.
    pub(crate) fn land(&mut self, address: u32, values: &[u32], who: u32) {
        let (first, epoch) = ((address / 4) as usize, self.epoch);
        for (w, value) in self.words[first..].iter_mut().zip(values) {
            *w = Word { value: *value, written: true, flying: false, writer: (who, epoch), ..*w };
        }
    }
}

fn race(address: u32, what: &str) -> Complaint {
    ("race in shared memory", format!("{address:#x} {what} without a barrier between"))
}
