//! Shared memory of a block. Between two barriers, a word may have several readers or a single writer.

/// Kind and detail of a [`crate::Fault`].
type FaultText = (&'static str, String);

#[derive(Clone, Copy, Default)]
struct Word {
    value: u32,
    written: bool,
    /// An asynchronous copy into the word is in flight.
    in_flight: bool,
    /// Last writer and its epoch.
    writer: (u32, u32),
    /// Last reader and its epoch.
    reader: (u32, u32),
    /// Several threads read the word in this epoch.
    many_readers: bool,
}

/// Shared memory of a block, with the accesses to each word.
pub(crate) struct Shared {
    words: Vec<Word>,
    /// Number of barriers so far, plus 1.
    pub(crate) epoch: u32,
}

impl Shared {
    pub(crate) fn new(bytes: usize) -> Shared {
        Shared { words: vec![Word::default(); bytes / 4], epoch: 1 }
    }

    /// Returns the index of the first word of an access.
    fn index_of(&mut self, address: u32, bytes: u32) -> Result<usize, FaultText> {
        if !address.is_multiple_of(bytes) {
            return Err(("misaligned", format!("shared {address:#x}")));
        }
        let at = (address / 4) as usize;
        if at + bytes.div_ceil(4) as usize > self.words.len() {
            return Err(("access outside shared memory", format!("{address:#x}")));
        }
        Ok(at)
    }

    /// Reads `bytes` in one access and passes each word to `body`; a half is passed with its word.
    pub(crate) fn read(
        &mut self,
        address: u32,
        bytes: u32,
        thread: u32,
        mut body: impl FnMut(usize, u32),
    ) -> Result<(), FaultText> {
        let (first, epoch) = (self.index_of(address, bytes)?, self.epoch);
        for (i, w) in self.words[first..][..bytes.div_ceil(4) as usize].iter_mut().enumerate() {
            if w.in_flight {
                return Err(("race in shared memory", format!("{address:#x} is still being copied")));
            }
            if !w.written {
                return Err(("read of shared memory that nobody wrote", format!("{address:#x}")));
            }
            if w.writer.1 == epoch && w.writer.0 != thread {
                return Err(race(address, "is written and read"));
            }
            w.many_readers = w.reader.1 == epoch && (w.many_readers || w.reader.0 != thread);
            w.reader = (thread, epoch);
            body(i, w.value);
        }
        Ok(())
    }

    /// Checks that a thread may write a word.
    fn claim(&mut self, at: usize, address: u32, thread: u32) -> Result<&mut Word, FaultText> {
        let (w, epoch) = (&mut self.words[at], self.epoch);
        let read = w.reader.1 == epoch && (w.many_readers || w.reader.0 != thread);
        let written = w.writer.1 == epoch && w.writer.0 != thread;
        if w.in_flight || read || written {
            return Err(race(address, "is touched by two threads"));
        }
        Ok(w)
    }

    pub(crate) fn write(&mut self, address: u32, values: &[u32], thread: u32) -> Result<(), FaultText> {
        let (first, epoch) = (self.index_of(address, 4 * values.len() as u32)?, self.epoch);
        for (i, value) in values.iter().enumerate() {
            let w = self.claim(first + i, address, thread)?;
            w.value = *value;
            w.written = true;
            w.writer = (thread, epoch);
        }
        Ok(())
    }

    /// Starts an asynchronous copy: its words may not be touched until it finishes.
    pub(crate) fn start_copy(&mut self, address: u32, bytes: u32, thread: u32) -> Result<(), FaultText> {
        let first = self.index_of(address, bytes)?;
        for i in 0..(bytes / 4) as usize {
            self.claim(first + i, address, thread)?.in_flight = true;
        }
        Ok(())
    }

    /// Finishes an asynchronous copy: its words count as written now.
    pub(crate) fn finish_copy(&mut self, address: u32, values: &[u32], thread: u32) {
        let (first, epoch) = ((address / 4) as usize, self.epoch);
        for (w, value) in self.words[first..].iter_mut().zip(values) {
            *w = Word { value: *value, written: true, in_flight: false, writer: (thread, epoch), ..*w };
        }
    }
}

fn race(address: u32, event: &str) -> FaultText {
    ("race in shared memory", format!("{address:#x} {event} without a barrier between"))
}
