//! Global memory: words that know whether they were written, and in a launch by whom they were touched.

use dlbc_ptx::{DeviceError, Region};

/// Where device memory begins.
const BASE: u64 = 0x7000_0000_0000;
/// Bytes between two allocations that belong to nobody.
const RED_ZONE: u64 = 256;

/// Device memory.
#[derive(Debug, Default)]
pub struct Memory {
    words: Vec<u32>,
    written: Vec<bool>,
    /// Of words that a launch may write: who wrote and who read them; 0 is nobody.
    writer: Vec<u32>,
    reader: Vec<u32>,
    /// Allocations by address.
    taken: Vec<Region>,
    capacity: Option<u64>,
}

/// A reader of more than one thread.
const MANY: u32 = u32::MAX;

/// What a launch may do with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Update,
}

/// The regions of a launch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    pub(crate) regions: Vec<(Region, Access)>,
}

type Complaint = (&'static str, String);

impl Memory {
    /// Memory of so many bytes; without end when `None`.
    pub fn new(capacity: Option<u64>) -> Memory {
        Memory { capacity, ..Memory::default() }
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> u64 {
        self.taken.iter().map(|r| r.bytes).sum()
    }

    /// Bytes that are free, when there is an end.
    pub fn free(&self) -> Option<u64> {
        self.capacity.map(|c| c.saturating_sub(self.taken()))
    }

    /// Takes memory.
    ///
    /// # Errors
    /// When there is not enough.
    pub fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let available = self.free();
        if available.is_some_and(|free| bytes > free) {
            return Err(DeviceError::OutOfMemory { wanted: bytes, available });
        }
        let size = bytes.next_multiple_of(256).max(256);
        let mut address = BASE;
        let mut place = self.taken.len();
        for (i, r) in self.taken.iter().enumerate() {
            if address + size + RED_ZONE <= r.address {
                place = i;
                break;
            }
            address = r.address + r.bytes.next_multiple_of(256).max(256) + RED_ZONE;
        }
        self.taken.insert(place, Region { address, bytes });
        let end = ((address + size - BASE) / 4) as usize;
        if end > self.words.len() {
            self.words.resize(end, 0);
            self.written.resize(end, false);
            self.writer.resize(end, 0);
            self.reader.resize(end, 0);
        }
        self.forget(Region { address, bytes: size });
        Ok(address)
    }

    /// Gives memory back.
    pub fn release(&mut self, address: u64) {
        self.taken.retain(|r| r.address != address);
    }

    fn range(region: Region) -> std::ops::Range<usize> {
        let first = ((region.address - BASE) / 4) as usize;
        first..first + (region.bytes / 4) as usize
    }

    fn forget(&mut self, region: Region) {
        self.written[Self::range(region)].fill(false);
    }

    /// Writes from outside.
    pub fn upload(&mut self, address: u64, bytes: &[u8]) {
        let range = Self::range(Region { address, bytes: bytes.len() as u64 });
        self.written[range.clone()].fill(true);
        for (word, b) in self.words[range].iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        }
    }

    /// Reads from outside; what nobody wrote is an error.
    ///
    /// # Errors
    /// The first word that nobody wrote.
    pub fn download(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        let range = Self::range(Region { address, bytes: bytes.len() as u64 });
        if let Some(at) = self.written[range.clone()].iter().position(|w| !w) {
            return Err(format!("word {at} of {} was never written", range.len()));
        }
        for (b, word) in bytes.chunks_exact_mut(4).zip(&self.words[range]) {
            b.copy_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }

    /// Forgets what is in the results of a launch, and who touched them.
    pub(crate) fn begin(&mut self, declared: &Declared) {
        for (region, access) in &declared.regions {
            if *access == Access::Write {
                self.forget(*region);
            }
            if *access != Access::Read {
                let range = Self::range(*region);
                self.writer[range.clone()].fill(0);
                self.reader[range].fill(0);
            }
        }
    }

    /// Every word of the results must have been written.
    pub(crate) fn end(&self, declared: &Declared) -> Result<(), Complaint> {
        for (region, _) in declared.regions.iter().filter(|(_, a)| *a == Access::Write) {
            let range = Self::range(*region);
            if let Some(at) = self.written[range.clone()].iter().position(|w| !w) {
                return Err(("result not written", format!("word {at} of {}", range.len())));
            }
        }
        Ok(())
    }

    /// Finds the word of an access; `hint` is the region of the last one.
    fn place(
        declared: &Declared,
        hint: &mut usize,
        (address, bytes): (u64, u64),
        write: bool,
    ) -> Result<(usize, Access), Complaint> {
        if !address.is_multiple_of(bytes) {
            return Err(("misaligned", format!("{address:#x}")));
        }
        let fits = |(r, access): &(Region, Access)| {
            let inside = address >= r.address && address + bytes <= r.address + r.bytes;
            inside && (!write || *access != Access::Read)
        };
        if !declared.regions.get(*hint).is_some_and(fits) {
            let found = declared.regions.iter().position(fits);
            let kind = if write { "write outside the results" } else { "read outside the operands" };
            *hint = found.ok_or_else(|| (kind, format!("{address:#x}")))?;
        }
        Ok((((address - BASE) / 4) as usize, declared.regions[*hint].1))
    }

    pub(crate) fn read(
        &mut self,
        declared: &Declared,
        hint: &mut usize,
        (address, bytes): (u64, u64),
        who: u32,
    ) -> Result<usize, Complaint> {
        let (at, access) = Self::place(declared, hint, (address, bytes), false)?;
        for i in at..at + (bytes / 4) as usize {
            if !self.written[i] {
                return Err(("read of memory that nobody wrote", format!("{address:#x}")));
            }
            if access != Access::Read {
                if self.writer[i] != 0 && self.writer[i] != who {
                    return Err(("race in global memory", format!("{address:#x} is read and written")));
                }
                self.reader[i] =
                    if matches!(self.reader[i], 0) || self.reader[i] == who { who } else { MANY };
            }
        }
        Ok(at)
    }

    pub(crate) fn write(
        &mut self,
        declared: &Declared,
        hint: &mut usize,
        (address, bytes): (u64, u64),
        who: u32,
    ) -> Result<usize, Complaint> {
        let (at, _) = Self::place(declared, hint, (address, bytes), true)?;
        for i in at..at + (bytes / 4) as usize {
            let other = |thread: u32| thread != 0 && thread != who;
            if other(self.writer[i]) {
                return Err(("race in global memory", format!("{address:#x} has two writers")));
            }
            if other(self.reader[i]) {
                return Err(("race in global memory", format!("{address:#x} is read and written")));
            }
            self.writer[i] = who;
            self.written[i] = true;
        }
        Ok(at)
    }

    /// A word for an atomic operation: declared as an update, and exempt from races.
    pub(crate) fn atomic(&mut self, declared: &Declared, address: u64) -> Result<&mut u32, Complaint> {
        let (at, access) = Self::place(declared, &mut 0, (address, 4), true)?;
        if access != Access::Update {
            return Err(("atomic operation on a result", format!("{address:#x}")));
        }
        Ok(&mut self.words[at])
    }

    pub(crate) fn word(&self, at: usize) -> u32 {
        self.words[at]
    }

    pub(crate) fn set(&mut self, at: usize, value: u32) {
        self.words[at] = value;
    }
}
