//! Launches of one kernel side by side: those of its own cases, several times, each with buffers of its own.

use dlbc_ptx::kernel::side_by_side::{SideBySide, block_stride};

use super::{Case, cases};

pub fn side_by_side(v: &SideBySide) -> Vec<Case> {
    let launches = v.launches;
    let repeat = |case: Case| {
        let Case { shape, grid: [x, y, z], buffers, params, expected } = case;
        let count = buffers.len();
        Case {
            shape: format!("{shape}, {launches} times"),
            grid: [x, y, z * launches as u32],
            buffers: (0..launches).flat_map(|_| buffers.clone()).collect(),
            params: Box::new(move |at| {
                let mut all = vec![];
                for addresses in at.chunks(count) {
                    let mut block = params(addresses);
                    block.resize(block_stride(block.len()), 0);
                    all.extend(block);
                }
                all
            }),
            expected: (0..launches).flat_map(|_| expected.clone()).collect(),
        }
    };
    cases(&v.kernel).into_iter().map(repeat).collect()
}
