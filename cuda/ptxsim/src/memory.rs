//! Global memory, which records for each half of a word whether it was written and which threads of a launch touched it.

use dlbc_ptx::{DeviceError, Region};

/// First address of device memory.
const BASE: u64 = 0x7000_0000_0000;
/// Bytes between two allocations that belong to neither.
const RED_ZONE: u64 = 256;

/// Device memory.
#[derive(Debug, Default)]
pub struct Memory {
    words: Vec<u32>,
    /// True for each half of a word that was written.
    written: Vec<bool>,
    /// Last launch that touched each half that it may write; the two records below belong to it.
    touched: Vec<u32>,
    /// Thread that wrote each half in that launch, 0 for none.
    writer: Vec<u32>,
    /// Thread that read each half in that launch, 0 for none, [`MANY`] for several.
    reader: Vec<u32>,
    /// Number of launches so far.
    launch: u32,
    /// Allocations, sorted by address.
    allocations: Vec<Region>,
    capacity: Option<u64>,
}

/// Value of `reader` for several threads.
const MANY: u32 = u32::MAX;

/// Permitted access of a launch to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Update,
}

/// Purpose of an access.
#[derive(Clone, Copy, PartialEq)]
enum Intent {
    Read,
    Write,
}

/// Regions that a launch declares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    pub(crate) regions: Vec<(Region, Access)>,
}

/// Kind and detail of a [`crate::Fault`].
type FaultText = (&'static str, String);

impl Memory {
    /// Creates memory of `capacity` bytes, unlimited if `None`.
    pub fn new(capacity: Option<u64>) -> Memory {
        Memory { capacity, ..Memory::default() }
    }

    /// Returns the allocated bytes.
    pub fn allocated(&self) -> u64 {
        self.allocations.iter().map(|r| r.bytes).sum()
    }

    /// Returns the free bytes, if the capacity is limited.
    pub fn free(&self) -> Option<u64> {
        self.capacity.map(|c| c.saturating_sub(self.allocated()))
    }

    /// Allocates memory and returns its address.
    ///
    /// # Errors
    /// When the free memory does not suffice.
    pub fn allocate(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let available = self.free();
        if available.is_some_and(|free| bytes > free) {
            return Err(DeviceError::OutOfMemory { requested: bytes, available });
        }
        let size = bytes.next_multiple_of(256).max(256);
        let mut address = BASE;
        let mut index = self.allocations.len();
        for (i, r) in self.allocations.iter().enumerate() {
            if address + size + RED_ZONE <= r.address {
                index = i;
                break;
            }
            address = r.address + r.bytes.next_multiple_of(256).max(256) + RED_ZONE;
        }
        self.allocations.insert(index, Region { address, bytes });
        let end = ((address + size - BASE) / 4) as usize;
        if end > self.words.len() {
            self.words.resize(end, 0);
            self.written.resize(2 * end, false);
            self.touched.resize(2 * end, 0);
            self.writer.resize(2 * end, 0);
            self.reader.resize(2 * end, 0);
        }
        self.forget(Region { address, bytes: size });
        Ok(address)
    }

    /// Frees the allocation that begins at `address`.
    pub fn release(&mut self, address: u64) {
        self.allocations.retain(|r| r.address != address);
    }

    /// Returns the indices of the words of a region.
    fn range(region: Region) -> std::ops::Range<usize> {
        let first = ((region.address - BASE) / 4) as usize;
        first..first + (region.bytes / 4) as usize
    }

    /// Returns the indices of the halves of a region's words.
    fn halves(region: Region) -> std::ops::Range<usize> {
        let words = Self::range(region);
        2 * words.start..2 * words.end
    }

    /// Marks the words of a region as not written.
    fn forget(&mut self, region: Region) {
        self.written[Self::halves(region)].fill(false);
    }

    /// Returns the number of the first word of a region that was not written as a whole.
    fn unwritten(&self, region: Region) -> Option<usize> {
        self.written[Self::halves(region)].iter().position(|w| !w).map(|half| half / 2)
    }

    /// Copies from the host.
    pub fn upload(&mut self, address: u64, bytes: &[u8]) {
        let region = Region { address, bytes: bytes.len() as u64 };
        self.written[Self::halves(region)].fill(true);
        for (word, b) in self.words[Self::range(region)].iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        }
    }

    /// Copies to the host.
    ///
    /// # Errors
    /// When a word was never written; names the first one.
    pub fn download(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        let region = Region { address, bytes: bytes.len() as u64 };
        let range = Self::range(region);
        if let Some(at) = self.unwritten(region) {
            return Err(format!("word {at} of {} was never written", range.len()));
        }
        for (b, word) in bytes.chunks_exact_mut(4).zip(&self.words[range]) {
            b.copy_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }

    /// Prepares a launch: marks its results as not written.
    pub(crate) fn begin(&mut self, declared: &Declared) {
        self.launch += 1;
        for (region, access) in &declared.regions {
            if *access == Access::Write {
                self.forget(*region);
            }
        }
    }

    /// Clears the records of half a word at its first access in this launch.
    fn touch(&mut self, at: usize) {
        if self.touched[at] != self.launch {
            (self.touched[at], self.writer[at], self.reader[at]) = (self.launch, 0, 0);
        }
    }

    /// Checks that every word of the launch's results was written.
    pub(crate) fn end(&self, declared: &Declared) -> Result<(), FaultText> {
        for (region, _) in declared.regions.iter().filter(|(_, a)| *a == Access::Write) {
            if let Some(at) = self.unwritten(*region) {
                return Err(("result not written", format!("word {at} of {}", region.bytes / 4)));
            }
        }
        Ok(())
    }

    /// Returns the index of an access's first half of a word. `hint` is the region of the last access.
    fn locate(
        declared: &Declared,
        hint: &mut usize,
        (address, bytes): (u64, u64),
        intent: Intent,
    ) -> Result<(usize, Access), FaultText> {
        let write = intent == Intent::Write;
        if !address.is_multiple_of(bytes) {
            return Err(("misaligned", format!("{address:#x}")));
        }
        let fits = |(r, access): &(Region, Access)| {
            let inside = address >= r.address && address + bytes <= r.address + r.bytes;
            inside && (!write || *access != Access::Read)
        };
        if !declared.regions.get(*hint).is_some_and(fits) {
            let region = declared.regions.iter().position(fits);
            let kind = if write { "write outside the results" } else { "read outside the operands" };
            *hint = region.ok_or_else(|| (kind, format!("{address:#x}")))?;
        }
        Ok((((address - BASE) / 2) as usize, declared.regions[*hint].1))
    }

    /// Records a read and returns the index of its first word.
    pub(crate) fn read(
        &mut self,
        declared: &Declared,
        hint: &mut usize,
        (address, bytes): (u64, u64),
        thread: u32,
    ) -> Result<usize, FaultText> {
        let (at, access) = Self::locate(declared, hint, (address, bytes), Intent::Read)?;
        for i in at..at + (bytes / 2) as usize {
            if !self.written[i] {
                return Err(("read of memory that nobody wrote", format!("{address:#x}")));
            }
            if access != Access::Read {
                self.touch(i);
                if self.writer[i] != 0 && self.writer[i] != thread {
                    return Err(("race in global memory", format!("{address:#x} is read and written")));
                }
                self.reader[i] =
                    if matches!(self.reader[i], 0) || self.reader[i] == thread { thread } else { MANY };
            }
        }
        Ok(at / 2)
    }

    /// Records a write and returns the index of its first word.
    pub(crate) fn write(
        &mut self,
        declared: &Declared,
        hint: &mut usize,
        (address, bytes): (u64, u64),
        thread: u32,
    ) -> Result<usize, FaultText> {
        let (at, _) = Self::locate(declared, hint, (address, bytes), Intent::Write)?;
        for i in at..at + (bytes / 2) as usize {
            self.touch(i);
            let other = |recorded: u32| recorded != 0 && recorded != thread;
            if other(self.writer[i]) {
                return Err(("race in global memory", format!("{address:#x} has two writers")));
            }
            if other(self.reader[i]) {
                return Err(("race in global memory", format!("{address:#x} is read and written")));
            }
            self.writer[i] = thread;
            self.written[i] = true;
        }
        Ok(at / 2)
    }

    /// Returns the word of an atomic operation, which must be declared as an update and is exempt from race checks.
    pub(crate) fn atomic(&mut self, declared: &Declared, address: u64) -> Result<&mut u32, FaultText> {
        let (at, access) = Self::locate(declared, &mut 0, (address, 4), Intent::Write)?;
        if access != Access::Update {
            return Err(("atomic operation on a result", format!("{address:#x}")));
        }
        Ok(&mut self.words[at / 2])
    }

    pub(crate) fn word(&self, at: usize) -> u32 {
        self.words[at]
    }

    pub(crate) fn set(&mut self, at: usize, value: u32) {
        self.words[at] = value;
    }
}
