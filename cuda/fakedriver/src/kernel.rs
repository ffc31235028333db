//! Loaded kernels, as the driver knows them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dlbc_ptx::Kernel;
use dlbc_ptxsim::{Program, load, parse};

use crate::codes::{Code, INVALID_HANDLE, INVALID_PTX, INVALID_VALUE, NOT_FOUND};

/// Dynamic shared memory that a kernel gets without asking for more.
const SHARED_BY_DEFAULT: u32 = 48 << 10;
/// Largest dynamic shared memory of a kernel.
const SHARED_AT_MOST: u32 = 227 << 10;
/// A loaded kernel.
pub(crate) struct Module {
    pub(crate) name: String,
    text: String,
    program: Arc<Program>,
}

/// Entry point of a module, as it may be launched.
struct Function {
    module: Arc<Module>,
    /// Largest dynamic shared memory of a launch.
    shared: u32,
    /// Programs by dynamic shared memory.
    programs: BTreeMap<u32, Arc<Program>>,
}

/// A launch with its parameters, which are copied when it is recorded.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) module: Arc<Module>,
    pub(crate) program: Arc<Program>,
    pub(crate) grid: [u32; 3],
    pub(crate) shared: u32,
    pub(crate) params: Vec<u8>,
}

/// Modules and functions by handle.
#[derive(Default)]
pub(crate) struct Kernels {
    modules: HashMap<usize, Arc<Module>>,
    functions: HashMap<usize, Function>,
}

impl Kernels {
    /// Loads a module under a handle.
    pub(crate) fn load(&mut self, handle: usize, text: String) -> Result<(), Code> {
        let entry = text.split(".entry ").nth(1).and_then(|rest| rest.split('(').next());
        let name = entry.ok_or(INVALID_PTX)?.trim().to_string();
        let program = Arc::new(parse(&text).map_err(|_| INVALID_PTX)?);
        self.modules.insert(handle, Arc::new(Module { name, text, program }));
        Ok(())
    }

    pub(crate) fn unload(&mut self, module: usize) -> Result<(), Code> {
        let module = self.modules.remove(&module).ok_or(INVALID_HANDLE)?;
        self.functions.retain(|_, f| !Arc::ptr_eq(&f.module, &module));
        // A graph or a stream would launch it.
        if Arc::strong_count(&module) > 1 { Err(INVALID_VALUE) } else { Ok(()) }
    }

    /// Finds an entry point of a module, and knows it under a handle from now on.
    pub(crate) fn find(&mut self, handle: usize, module: usize, name: &str) -> Result<(), Code> {
        let module = self.modules.get(&module).ok_or(INVALID_HANDLE)?.clone();
        if module.name != name {
            return Err(NOT_FOUND);
        }
        let programs = BTreeMap::from([(0, module.program.clone())]);
        self.functions.insert(handle, Function { module, shared: SHARED_BY_DEFAULT, programs });
        Ok(())
    }

    pub(crate) fn permit_shared(&mut self, function: usize, bytes: i32) -> Result<(), Code> {
        let function = self.functions.get_mut(&function).ok_or(INVALID_HANDLE)?;
        function.shared = u32::try_from(bytes).ok().filter(|b| *b <= SHARED_AT_MOST).ok_or(INVALID_VALUE)?;
        Ok(())
    }

    /// Returns the size of a kernel's parameter block.
    pub(crate) fn parameter_bytes(&self, function: usize) -> Result<usize, Code> {
        self.functions.get(&function).map(|f| f.module.program.params).ok_or(INVALID_HANDLE)
    }

    /// Checks a launch as the driver does.
    pub(crate) fn node(
        &mut self,
        function: usize,
        (grid, threads, shared): ([u32; 3], [u32; 3], u32),
        params: Vec<u8>,
    ) -> Result<Node, Code> {
        let function = self.functions.get_mut(&function).ok_or(INVALID_HANDLE)?;
        let module = function.module.clone();
        let grid_fits = grid.iter().all(|g| *g > 0) && grid[0] < 1 << 31 && grid[1].max(grid[2]) <= 65535;
        if !grid_fits || threads != [module.program.threads, 1, 1] || shared > function.shared {
            return Err(INVALID_VALUE);
        }
        let program = match function.programs.get(&shared) {
            Some(program) => program.clone(),
            None => {
                let (name, text) = (module.name.clone(), module.text.clone());
                let kernel = Kernel { name, text, threads: threads[0], shared, variant: None };
                let program = Arc::new(load(&kernel).map_err(|_| INVALID_PTX)?);
                function.programs.insert(shared, program.clone());
                program
            }
        };
        Ok(Node { module, program, grid, shared, params })
    }
}
