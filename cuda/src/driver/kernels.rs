//! Loaded kernels. Those that no sequence launches stay for later plans, up to a bound; the least recently used go first.

use std::collections::HashMap;

use cudarc::driver::CudaFunction;
use dlbc_ptx::{DeviceError, Kernel, KernelId};

/// Number of kernels that stay loaded although nothing launches them.
const IDLE: usize = 512;

/// A kernel on the device.
pub(super) struct Loaded<F = CudaFunction> {
    /// The kernel without its text.
    pub(super) kernel: Kernel,
    pub(super) function: F,
    /// Bytes of local memory of a thread.
    pub(super) local_bytes: u32,
    /// Number of sequences that launch it.
    users: usize,
    last_use: u64,
}

/// Loaded kernels by handle and by entry point.
pub(super) struct Kernels<F = CudaFunction> {
    slots: Vec<Option<Loaded<F>>>,
    ids: HashMap<String, KernelId>,
    clock: u64,
    /// Number of idle kernels that stay.
    idle: usize,
}

impl<F> Default for Kernels<F> {
    fn default() -> Kernels<F> {
        Kernels { slots: vec![], ids: HashMap::new(), clock: 0, idle: IDLE }
    }
}

impl<F> Kernels<F> {
    /// Returns a loaded kernel's handle by its entry point.
    pub(super) fn find(&mut self, name: &str) -> Option<KernelId> {
        let id = *self.ids.get(name)?;
        self.clock += 1;
        self.slots[id.0].as_mut()?.last_use = self.clock;
        Some(id)
    }

    /// Keeps a kernel. It stays at least until a sequence that launches it is discarded.
    pub(super) fn insert(&mut self, kernel: &Kernel, function: F, local_bytes: u32) -> KernelId {
        self.clock += 1;
        let kernel = Kernel { text: String::new(), ..kernel.clone() };
        let name = kernel.name.clone();
        let loaded = Loaded { kernel, function, local_bytes, users: 0, last_use: self.clock };
        let free = self.slots.iter().position(Option::is_none);
        let id = KernelId(free.unwrap_or(self.slots.len()));
        match free {
            Some(at) => self.slots[at] = Some(loaded),
            None => self.slots.push(Some(loaded)),
        }
        self.ids.insert(name, id);
        id
    }

    /// Returns a loaded kernel.
    ///
    /// # Errors
    /// When it is not loaded any more, which is a bug in dlbc.
    pub(super) fn get(&self, id: KernelId) -> Result<&Loaded<F>, DeviceError> {
        let loaded = self.slots.get(id.0).and_then(Option::as_ref);
        let message = "it is not loaded any more".to_string();
        loaded.ok_or_else(|| DeviceError::Launch { name: format!("number {}", id.0), message })
    }

    /// Counts a sequence that launches these kernels.
    pub(super) fn acquire(&mut self, ids: &[KernelId]) {
        for id in ids {
            if let Some(loaded) = &mut self.slots[id.0] {
                loaded.users += 1;
            }
        }
    }

    /// Counts a discarded sequence, and unloads the oldest idle kernels beyond the bound.
    pub(super) fn release(&mut self, ids: &[KernelId]) {
        self.clock += 1;
        for id in ids {
            if let Some(loaded) = &mut self.slots[id.0] {
                loaded.users = loaded.users.saturating_sub(1);
                loaded.last_use = self.clock;
            }
        }
        let idle = |slot: &Option<Loaded<F>>| slot.as_ref().filter(|l| l.users == 0).map(|l| l.last_use);
        let mut ages: Vec<(u64, usize)> =
            self.slots.iter().enumerate().filter_map(|(at, slot)| Some((idle(slot)?, at))).collect();
        ages.sort_unstable();
        for (_, at) in ages.iter().take(ages.len().saturating_sub(self.idle)) {
            if let Some(loaded) = self.slots[*at].take() {
                self.ids.remove(&loaded.kernel.name);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn idle_kernels_go_by_age_and_used_ones_stay() {
        let alive = Rc::new(());
        let mut kernels: Kernels<Rc<()>> = Kernels { idle: 2, ..Kernels::default() };
        let load = |kernels: &mut Kernels<Rc<()>>, name: &str| {
            let text = "text".into();
            kernels.insert(
                &Kernel { name: name.into(), text, threads: 32, shared: 0, variant: None },
                alive.clone(),
                0,
            )
        };
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| load(&mut kernels, name));
        assert_eq!(Rc::strong_count(&alive), 5, "kernels without a sequence stay until one is discarded");
        kernels.acquire(&[a, b]);
        kernels.acquire(&[a]);
        kernels.release(&[a, b]);
        // `a` has a sequence; of `b`, `c` and `d` the oldest goes.
        assert_eq!(["a", "b", "c", "d"].map(|n| kernels.find(n)), [Some(a), Some(b), None, Some(d)]);
        assert!(kernels.get(c).is_err() && kernels.get(a).is_ok());
        assert_eq!(load(&mut kernels, "e"), c, "a free slot is taken again");
        kernels.release(&[a]);
        assert_eq!(["a", "b", "d", "e"].map(|n| kernels.find(n).is_some()), [true, false, false, true]);
        assert_eq!(Rc::strong_count(&alive), 3);
    }
}
