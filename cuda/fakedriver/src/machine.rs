//! State of the driver: memory, streams with the work that waits on them, kernels, graphs.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use dlbc_ptx::Region;
use dlbc_ptxsim::{Memory, Settings, launch};

use crate::codes::{
    CAPTURE_INVALIDATED, CAPTURE_UNSUPPORTED, CAPTURE_WRONG_THREAD, Code, ILLEGAL_ADDRESS, INVALID_HANDLE,
    INVALID_VALUE, LAUNCH_TIMEOUT, MISALIGNED_ADDRESS, NOT_READY, OUT_OF_MEMORY,
};
use crate::faults::{Ending, Faults};
use crate::host;
use crate::kernel::{Kernels, Node};

/// Time that a slow launch takes.
const SLOW: Duration = Duration::from_millis(50);

/// Handle of the legacy stream.
pub(crate) const LEGACY: usize = 0;

/// Source of a copy to the device.
enum Source {
    /// Bytes that were staged at the call.
    Staged(Vec<u8>),
    /// Pinned memory, which is read when the copy runs.
    Pinned(usize, usize),
}

/// Work that waits on a stream.
enum Work {
    ToDevice(u64, Source),
    ToHost { target: usize, source: u64, bytes: usize },
    Launches(Arc<Vec<Node>>),
}

#[derive(Default)]
struct Stream {
    work: Vec<Work>,
    capture: Option<Capture>,
    /// The stream was asked once since its last work came; an answer of "not ready" comes first.
    asked: bool,
    /// A launch of it does not end.
    hangs: bool,
    /// It is busy up to this time.
    busy: Option<Instant>,
}

struct Capture {
    thread: ThreadId,
    nodes: Vec<Node>,
    broken: bool,
}

/// The driver.
pub(crate) struct Machine {
    pub(crate) faults: Faults,
    pub(crate) capacity: u64,
    memory: Memory,
    allocations: BTreeMap<u64, u64>,
    pinned: BTreeMap<usize, Box<[u64]>>,
    streams: HashMap<usize, Stream>,
    pub(crate) kernels: Kernels,
    graphs: HashMap<usize, Arc<Vec<Node>>>,
    executables: HashMap<usize, Arc<Vec<Node>>>,
    handles: usize,
    launches: u64,
    /// Error that every call returns since a launch failed.
    pub(crate) failure: Code,
    report: Option<File>,
}

impl Machine {
    pub(crate) fn new(faults: Faults) -> Machine {
        let capacity = faults.property("memory", 1 << 30);
        let open = |path: &str| File::options().create(true).append(true).open(path);
        let report = faults.text("report").map(|path| open(path).unwrap_or_else(|e| panic!("{path}: {e}")));
        Machine {
            faults,
            capacity,
            memory: Memory::new(Some(capacity)),
            allocations: BTreeMap::new(),
            pinned: BTreeMap::new(),
            streams: HashMap::from([(LEGACY, Stream::default())]),
            kernels: Kernels::default(),
            graphs: HashMap::new(),
            executables: HashMap::new(),
            handles: 0x1000,
            launches: 0,
            failure: 0,
            report,
        }
    }

    /// Returns a handle that no other object has or had.
    pub(crate) fn handle(&mut self) -> usize {
        self.handles += 16;
        self.handles
    }

    /// Refuses a call that may wait, in a thread that captures, and breaks the capture.
    pub(crate) fn refuse_during_capture(&mut self) -> Result<(), Code> {
        let thread = thread::current().id();
        let captures = self.streams.values_mut().filter_map(|s| s.capture.as_mut());
        let mut refused = Ok(());
        for capture in captures.filter(|c| c.thread == thread) {
            capture.broken = true;
            refused = Err(CAPTURE_UNSUPPORTED);
        }
        refused
    }
}

/// Memory.
impl Machine {
    pub(crate) fn free_bytes(&self) -> u64 {
        self.memory.free().unwrap_or(0)
    }

    pub(crate) fn allocate(&mut self, bytes: u64) -> Result<u64, Code> {
        self.refuse_during_capture()?;
        if bytes == 0 {
            return Err(INVALID_VALUE);
        }
        let address = self.memory.allocate(bytes).map_err(|_| OUT_OF_MEMORY)?;
        self.allocations.insert(address, bytes);
        Ok(address)
    }

    /// Frees an allocation, after all work of the device.
    pub(crate) fn release(&mut self, address: u64) -> Result<(), Code> {
        self.refuse_during_capture()?;
        self.finish_all()?;
        self.allocations.remove(&address).ok_or(INVALID_VALUE)?;
        self.memory.release(address);
        Ok(())
    }

    pub(crate) fn pin(&mut self, bytes: usize) -> usize {
        let block = vec![u64::MAX; bytes.div_ceil(8)].into_boxed_slice();
        let address = block.as_ptr() as usize;
        self.pinned.insert(address, block);
        address
    }

    pub(crate) fn unpin(&mut self, address: usize) -> Result<(), Code> {
        self.finish_all()?;
        self.pinned.remove(&address).map(drop).ok_or(INVALID_VALUE)
    }

    fn is_pinned(&self, address: usize, bytes: usize) -> bool {
        let block = self.pinned.range(..=address).next_back();
        block.is_some_and(|(start, block)| address + bytes <= start + 8 * block.len())
    }

    /// Checks that whole words lie within an allocation.
    fn check(&self, address: u64, bytes: usize) -> Result<(), Code> {
        let block = self.allocations.range(..=address).next_back();
        let inside = block.is_some_and(|(start, size)| address + bytes as u64 <= start + size);
        if inside && address.is_multiple_of(4) && bytes.is_multiple_of(4) {
            Ok(())
        } else {
            Err(INVALID_VALUE)
        }
    }

    /// Reads device memory as it is now; words that nobody wrote are all ones.
    fn read(&self, address: u64, bytes: usize) -> Vec<u8> {
        let mut values = vec![0xff; bytes];
        if self.memory.download(address, &mut values).is_err() {
            for (i, word) in values.chunks_mut(4).enumerate() {
                word.fill(0xff);
                let _ = self.memory.download(address + 4 * i as u64, word);
            }
        }
        values
    }

    /// Queues a copy to the device. From memory that is not pinned, the bytes are staged now.
    ///
    /// # Safety
    /// As many bytes are readable at `source`, now and, if they are pinned, until the copy has run.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn upload(
        &mut self,
        stream: usize,
        target: u64,
        source: usize,
        bytes: usize,
    ) -> Result<(), Code> {
        self.refuse_during_capture()?;
        self.check(target, bytes)?;
        let source = if stream != LEGACY && self.is_pinned(source, bytes) {
            Source::Pinned(source, bytes)
        } else {
            // SAFETY: the caller's.
            Source::Staged(unsafe { host::read(source, bytes) })
        };
        self.push(stream, Work::ToDevice(target, source))
    }

    /// Queues a copy to the host. To memory that is not pinned, it is complete on return.
    pub(crate) fn download(
        &mut self,
        stream: usize,
        target: usize,
        source: u64,
        bytes: usize,
    ) -> Result<(), Code> {
        self.refuse_during_capture()?;
        self.check(source, bytes)?;
        self.push(stream, Work::ToHost { target, source, bytes })?;
        if stream == LEGACY || !self.is_pinned(target, bytes) { self.finish(stream) } else { Ok(()) }
    }
}

/// Graphs.
impl Machine {
    pub(crate) fn begin_capture(&mut self, stream: usize) -> Result<(), Code> {
        let stream = self.streams.get_mut(&stream).filter(|_| stream != LEGACY).ok_or(CAPTURE_UNSUPPORTED)?;
        if stream.capture.is_some() {
            return Err(INVALID_VALUE);
        }
        let thread = thread::current().id();
        stream.capture = Some(Capture { thread, nodes: vec![], broken: false });
        Ok(())
    }

    pub(crate) fn end_capture(&mut self, stream: usize) -> Result<usize, Code> {
        let stream = self.streams.get_mut(&stream).ok_or(INVALID_HANDLE)?;
        let capture = stream.capture.take().ok_or(INVALID_VALUE)?;
        if capture.thread != thread::current().id() {
            return Err(CAPTURE_WRONG_THREAD);
        }
        if capture.broken {
            return Err(CAPTURE_INVALIDATED);
        }
        let handle = self.handle();
        self.graphs.insert(handle, Arc::new(capture.nodes));
        Ok(handle)
    }

    pub(crate) fn instantiate(&mut self, graph: usize) -> Result<usize, Code> {
        let nodes = self.graphs.get(&graph).ok_or(INVALID_HANDLE)?.clone();
        let handle = self.handle();
        self.executables.insert(handle, nodes);
        Ok(handle)
    }

    pub(crate) fn launch_graph(&mut self, executable: usize, stream: usize) -> Result<(), Code> {
        let nodes = self.executables.get(&executable).ok_or(INVALID_HANDLE)?.clone();
        self.push(stream, Work::Launches(nodes))
    }

    pub(crate) fn has_executable(&self, executable: usize) -> Result<(), Code> {
        if self.executables.contains_key(&executable) { Ok(()) } else { Err(INVALID_HANDLE) }
    }

    pub(crate) fn destroy_graph(&mut self, graph: usize) -> Result<(), Code> {
        self.graphs.remove(&graph).map(drop).ok_or(INVALID_HANDLE)
    }

    pub(crate) fn destroy_executable(&mut self, executable: usize) -> Result<(), Code> {
        self.executables.remove(&executable).map(drop).ok_or(INVALID_HANDLE)
    }
}

/// Streams.
impl Machine {
    /// Records a launch in a capture, or queues it.
    pub(crate) fn launch(&mut self, stream: usize, node: Node) -> Result<(), Code> {
        let state = self.streams.get_mut(&stream).filter(|_| stream != LEGACY).ok_or(INVALID_HANDLE)?;
        match &mut state.capture {
            Some(capture) if capture.broken => Err(CAPTURE_INVALIDATED),
            Some(capture) => {
                capture.nodes.push(node);
                Ok(())
            }
            None => self.push(stream, Work::Launches(Arc::new(vec![node]))),
        }
    }

    pub(crate) fn create_stream(&mut self) -> usize {
        let handle = self.handle();
        self.streams.insert(handle, Stream::default());
        handle
    }

    /// Destroys a stream, after its work. Work that does not end goes on without it.
    pub(crate) fn destroy_stream(&mut self, stream: usize) -> Result<(), Code> {
        if !self.streams.get(&stream).ok_or(INVALID_HANDLE)?.hangs {
            self.finish(stream)?;
        }
        self.streams.remove(&stream);
        Ok(())
    }

    fn push(&mut self, stream: usize, work: Work) -> Result<(), Code> {
        let stream = self.streams.get_mut(&stream).ok_or(INVALID_HANDLE)?;
        stream.work.push(work);
        stream.asked = false;
        Ok(())
    }

    /// Returns whether the work of a stream is done. The first answer after new work is always no.
    pub(crate) fn query(&mut self, stream: usize) -> Result<(), Code> {
        self.refuse_during_capture()?;
        let state = self.streams.get_mut(&stream).ok_or(INVALID_HANDLE)?;
        if !state.asked && !state.work.is_empty() {
            state.asked = true;
            return Err(NOT_READY);
        }
        let result = self.run(stream);
        let state = self.streams.get_mut(&stream).ok_or(INVALID_HANDLE)?;
        if state.hangs || state.busy.is_some_and(|end| Instant::now() < end) {
            return Err(NOT_READY);
        }
        state.busy = None;
        result
    }

    /// Waits for the work of a stream.
    pub(crate) fn finish(&mut self, stream: usize) -> Result<(), Code> {
        self.refuse_during_capture()?;
        let result = self.run(stream);
        if self.streams.get(&stream).ok_or(INVALID_HANDLE)?.hangs {
            Machine::wait_forever();
        }
        result
    }

    /// Ends the process where a driver would wait for a launch that does not end.
    fn wait_forever() -> ! {
        eprintln!("fake driver: a call waits for a launch that does not end");
        std::process::abort();
    }

    /// Waits, as calls do that take resources from running kernels.
    pub(crate) fn idle(&self) -> Result<(), Code> {
        if self.streams.values().any(|s| s.hangs) { Machine::wait_forever() } else { Ok(()) }
    }

    fn finish_all(&mut self) -> Result<(), Code> {
        let streams: Vec<usize> = self.streams.keys().copied().collect();
        streams.into_iter().try_for_each(|stream| self.finish(stream))
    }

    /// Runs the work of a stream up to a launch that does not end.
    fn run(&mut self, stream: usize) -> Result<(), Code> {
        let work =
            self.streams.get_mut(&stream).map(|s| std::mem::take(&mut s.work)).ok_or(INVALID_HANDLE)?;
        for work in work {
            if self.streams.get(&stream).is_some_and(|s| s.hangs) {
                break;
            }
            match work {
                Work::ToDevice(target, source) => self.arrive(target, source),
                Work::ToHost { target, source, bytes } => self.deliver(target, source, bytes),
                Work::Launches(nodes) => nodes.iter().try_for_each(|node| self.execute(stream, node))?,
            }
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    fn arrive(&mut self, target: u64, source: Source) {
        let bytes = match source {
            Source::Staged(bytes) => bytes,
            // SAFETY: pinned memory is unpinned after all work.
            Source::Pinned(address, bytes) => unsafe { host::read(address, bytes) },
        };
        self.memory.upload(target, &bytes);
    }

    #[allow(unsafe_code)]
    fn deliver(&mut self, target: usize, source: u64, bytes: usize) {
        let values = self.read(source, bytes);
        // SAFETY: the memory is pinned, and unpinned after all work, or its owner waits in the call.
        unsafe { host::write(target, &values) };
    }

    fn execute(&mut self, stream: usize, node: &Node) -> Result<(), Code> {
        self.launches += 1;
        let state = self.streams.get_mut(&stream).ok_or(INVALID_HANDLE)?;
        match self.faults.of_launch(self.launches) {
            Some(Ending::Code(code)) => {
                self.failure = code;
                return Err(code);
            }
            Some(Ending::Hang) => {
                state.hangs = true;
                return Ok(());
            }
            Some(Ending::Slow) => state.busy = Some(Instant::now() + SLOW),
            None => {}
        }
        if state.hangs {
            return Ok(());
        }
        let region = |(address, bytes): (&u64, &u64)| Region { address: *address, bytes: *bytes };
        let everything: Vec<Region> = self.allocations.iter().map(region).collect();
        let settings = Settings { schedule: self.faults.property("schedule", 1), ..Settings::default() };
        let regions = [&[][..], &[], &everything];
        let Node { module, program, grid, params, shared } = node;
        match launch(program, params, *grid, &mut self.memory, regions, settings) {
            Ok(stats) => {
                let hex: String = params.iter().map(|b| format!("{b:02x}")).collect();
                if let Some(report) = &mut self.report {
                    let line = format!(
                        "{{\"launch\": {}, \"kernel\": \"{}\", \"grid\": {grid:?}, \"threads\": {}, \"shared\": {shared}, \
                         \"parameters\": \"{hex}\", \"instructions\": {}}}\n",
                        self.launches, module.name, program.threads, stats.instructions
                    );
                    report.write_all(line.as_bytes()).unwrap_or_else(|e| panic!("the report: {e}"));
                }
                Ok(())
            }
            Err(fault) => {
                eprintln!("fake driver: kernel `{}`: {fault}", module.name);
                self.failure = match fault.kind {
                    "misaligned" => MISALIGNED_ADDRESS,
                    "endless" => LAUNCH_TIMEOUT,
                    _ => ILLEGAL_ADDRESS,
                };
                Err(self.failure)
            }
        }
    }
}
