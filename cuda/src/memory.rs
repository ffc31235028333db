//! The memory plan: offsets of all values in one block, such that values that live at the same time do not overlap.

/// Size and lifetime of a value. It lives from step `first` to step `last`, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Size in bytes.
    pub bytes: u64,
    /// The step that computes it.
    pub first: usize,
    /// The last step that reads it.
    pub last: usize,
}

/// Alignment of values in bytes.
pub const ALIGNMENT: u64 = 256;

/// Assigns each value an offset; also returns the size of the block. The largest values come first, and each gets the lowest
/// offset that is free during its lifetime.
pub fn assign_offsets(intervals: &[Interval]) -> (Vec<u64>, u64) {
    let mut order: Vec<usize> = (0..intervals.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(intervals[*i].bytes), *i));
    let mut offsets = vec![0; intervals.len()];
    // Values with an offset, sorted by it.
    let mut placed: Vec<usize> = vec![];
    let mut total = 0;
    for i in order {
        let interval = intervals[i];
        let size = interval.bytes.next_multiple_of(ALIGNMENT);
        let mut offset = 0;
        for other in &placed {
            let neighbour = intervals[*other];
            if neighbour.last < interval.first || interval.last < neighbour.first {
                continue;
            }
            if offset + size <= offsets[*other] {
                break;
            }
            offset = offset.max(offsets[*other] + neighbour.bytes.next_multiple_of(ALIGNMENT));
        }
        offsets[i] = offset;
        total = total.max(offset + size);
        let position = placed.partition_point(|other| offsets[*other] <= offset);
        placed.insert(position, i);
    }
    (offsets, total)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_that_live_at_once_do_not_overlap() {
        let mut state = 12345u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for _ in 0..50 {
            let intervals: Vec<Interval> = (0..120)
                .map(|_| {
                    let first = random(100) as usize;
                    Interval { bytes: random(5000), first, last: first + random(20) as usize }
                })
                .collect();
            let (offsets, total) = assign_offsets(&intervals);
            for (i, a) in intervals.iter().enumerate() {
                assert!(offsets[i] % ALIGNMENT == 0 && offsets[i] + a.bytes <= total);
                for (j, b) in intervals.iter().enumerate().skip(i + 1) {
                    let at_once = a.first <= b.last && b.first <= a.last;
                    let apart = offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i];
                    assert!(!at_once || apart, "{a:?} at {} and {b:?} at {}", offsets[i], offsets[j]);
                }
            }
            let peak = (0..130).map(|t| {
                intervals
                    .iter()
                    .filter(|a| a.first <= t && t <= a.last)
                    .map(|a| a.bytes.next_multiple_of(ALIGNMENT))
                    .sum::<u64>()
            });
            assert!(total <= 2 * peak.max().unwrap(), "the block is more than twice the peak");
        }
    }

    #[test]
    fn a_value_reuses_the_memory_of_a_dead_one() {
        let step = |first, last| Interval { bytes: 1000, first, last };
        let (offsets, total) = assign_offsets(&[step(0, 1), step(1, 2), step(2, 3)]);
        assert_eq!((offsets[0], total), (offsets[2], 2048));
    }
}
