//! Faults to inject, from the environment variable `FAKE_CUDA`: items `NAME=VALUE`, with commas between. `@N` after a value
//! is the call or the launch, from 1, at which the fault begins.
//!
//! | item | effect |
//! | --- | --- |
//! | `cuMemAlloc_v2=2@3` | this function returns this code from its third call on |
//! | `launch=700@5` | the fifth launch ends in this error, as do all calls after it |
//! | `launch=hang@5` | the fifth launch does not end |
//! | `launch=slow@5` | the stream of the fifth launch is busy for 50 ms |
//! | `version=11040` | version of the driver API; 12040 without it |
//! | `chip=75` | compute capability; 80 without it |
//! | `memory=65536` | bytes of device memory; 1 GiB without it |
//! | `local=128` | bytes of local memory that each kernel takes |
//! | `assembler=refuses` | the assembler rejects every kernel |
//! | `schedule=2` | seed of the interpreter's order of blocks and warps |
//! | `report=FILE` | appends a JSON line for each executed launch |

use std::collections::BTreeMap;

/// Faults and properties by name.
#[derive(Debug, Default)]
pub struct Faults {
    items: BTreeMap<String, Item>,
    /// Number of calls of each function that has an item.
    calls: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Item {
    value: String,
    /// First call or launch that is affected, from 1.
    first: u64,
}

/// End of a launch that does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Error code, which all later calls return, too.
    Code(i32),
    /// The launch does not end.
    Hang,
    /// The launch takes its time and succeeds.
    Slow,
}

impl Faults {
    /// Parses the variable's value.
    ///
    /// # Panics
    /// When an item is not of the form `NAME=VALUE[@N]`.
    pub fn parse(text: &str) -> Faults {
        let mut items = BTreeMap::new();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (name, value) =
                item.split_once('=').unwrap_or_else(|| panic!("FAKE_CUDA: no value in `{item}`"));
            let (value, first) = match value.split_once('@') {
                Some((value, first)) => (value, first.parse().ok()),
                None => (value, Some(1)),
            };
            let first = first.unwrap_or_else(|| panic!("FAKE_CUDA: no number behind `@` in `{item}`"));
            items.insert(name.to_string(), Item { value: value.into(), first });
        }
        Faults { items, calls: BTreeMap::new() }
    }

    /// Counts a call of a function and returns the error that it shall end in, if any.
    pub fn of_call(&mut self, name: &str) -> Option<i32> {
        let item = self.items.get(name)?;
        let calls = self.calls.entry(name.into()).or_default();
        *calls += 1;
        (*calls >= item.first).then(|| number(name, &item.value))
    }

    /// Returns how a launch shall end, by its number from 1.
    pub fn of_launch(&self, number_of_launch: u64) -> Option<Ending> {
        let item = self.items.get("launch").filter(|item| item.first == number_of_launch)?;
        Some(match item.value.as_str() {
            "hang" => Ending::Hang,
            "slow" => Ending::Slow,
            code => Ending::Code(number("launch", code)),
        })
    }

    /// Returns a property of the device.
    pub fn property<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.items.get(name).map_or(default, |item| number(name, &item.value))
    }

    /// Returns the text of an item.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.items.get(name).map(|item| item.value.as_str())
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> T {
    value.parse().unwrap_or_else(|_| panic!("FAKE_CUDA: `{name}` is not a number: `{value}`"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn items_say_what_fails_and_when() {
        let mut faults = Faults::parse("cuMemAlloc_v2=2@2,launch=hang@3,chip=75,cuInit=100");
        assert_eq!([(); 3].map(|()| faults.of_call("cuMemAlloc_v2")), [None, Some(2), Some(2)]);
        assert_eq!((faults.of_call("cuInit"), faults.of_call("cuMemFree_v2")), (Some(100), None));
        assert_eq!([2, 3, 4].map(|n| faults.of_launch(n)), [None, Some(Ending::Hang), None]);
        assert_eq!((faults.property("chip", 80), faults.property("memory", 7)), (75, 7));
        assert_eq!(Faults::parse("launch=716").of_launch(1), Some(Ending::Code(716)));
    }

    #[test]
    fn an_item_without_a_meaning_is_refused() {
        for text in ["lost", "launch=700@x", "chip=new"] {
            assert!(std::panic::catch_unwind(|| Faults::parse(text).property("chip", 80)).is_err(), "{text}");
        }
    }
}
