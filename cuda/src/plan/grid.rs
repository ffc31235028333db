//! Limits of grids: those of devices, and those of the index arithmetic of kernels.

/// Maximum number of blocks along y and along z.
pub(super) const MAX_BLOCKS: u32 = 65535;
/// Maximum number of threads along x, whose indices are computed in 32 bits.
const MAX_THREADS: u64 = 1 << 32;

/// Returns why a grid cannot be launched with so many threads a block, if it cannot.
pub(super) fn unlaunchable(grid: [u32; 3], threads: u32) -> Option<String> {
    if grid[1].max(grid[2]) > MAX_BLOCKS {
        return Some(format!(
            "expected at most {MAX_BLOCKS} blocks along the second and third axis, found {grid:?}"
        ));
    }
    let along_x = u64::from(grid[0]) * u64::from(threads);
    (along_x > MAX_THREADS)
        .then(|| format!("expected at most {MAX_THREADS} threads along the first axis, found {along_x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_beyond_devices_and_32_bits_are_refused() {
        for (grid, threads, refused) in [
            ([1, 65535, 65535], 256, false),
            ([1, 65536, 1], 256, true),
            ([1, 1, 65536], 256, true),
            ([1 << 24, 1, 1], 256, false),
            ([(1 << 24) + 1, 1, 1], 256, true),
        ] {
            assert_eq!(unlaunchable(grid, threads).is_some(), refused, "{grid:?} of {threads}");
        }
    }
}
