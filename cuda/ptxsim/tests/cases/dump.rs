//! Cases in two files, for programs that are not written in Rust: an index in JSON and the contents of all buffers.
//!
//! A blob is a pair of its offset in the second file and its length in bytes. Equal blobs are stored once.

use std::collections::HashMap;
use std::path::Path;

use dlbc_ptx::library::Entry;
use dlbc_ptxsim::load;
use serde_json::{Value, json};

use super::expected::rounding;
use super::{Case, Expected, cases, run};

/// Distance between the buffers of a listed launch, in bytes.
const BUFFER_SPACING: u64 = 1 << 32;

/// Contents of the second file.
#[derive(Default)]
pub struct Blobs {
    bytes: Vec<u8>,
    places: HashMap<Vec<u8>, [usize; 2]>,
}

impl Blobs {
    fn bytes(&mut self, content: Vec<u8>) -> Value {
        let next = [self.bytes.len(), content.len()];
        let place = *self.places.entry(content.clone()).or_insert(next);
        if place == next {
            self.bytes.extend(content);
            self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        }
        json!(place)
    }

    fn words(&mut self, words: impl IntoIterator<Item = u32>) -> Value {
        self.bytes(words.into_iter().flat_map(u32::to_le_bytes).collect())
    }

    /// Stores bounds in 16 bits, the upper half of a float32, rounded up after `slack` was added.
    fn bounds(&mut self, bounds: &[f64], slack: impl Fn(usize) -> f64) -> Value {
        let upper = |(i, b): (usize, &f64)| {
            let bits = ((b + slack(i)) as f32).to_bits();
            if bits == 0 { 0 } else { ((bits >> 16) + 1).min(0x7f80) as u16 }
        };
        self.bytes(bounds.iter().enumerate().map(upper).flat_map(u16::to_le_bytes).collect())
    }

    /// Stores an expectation beside the interpreter's words for it.
    fn expected(&mut self, expected: &Expected, words: &[u32]) -> Value {
        match expected {
            Expected::Any => json!({"kind": "any"}),
            Expected::Words(expected) => {
                json!({"kind": "words", "value": self.words(expected.iter().copied())})
            }
            Expected::Some(expected) => json!({
                "kind": "some",
                "open": self.bytes(expected.iter().map(|e| u8::from(e.is_none())).collect()),
                "value": self.words(expected.iter().map(|e| e.unwrap_or(0))),
            }),
            Expected::Floats(values, bounds) => {
                let rounded: Vec<f32> = values.iter().map(|v| *v as f32).collect();
                // What rounding takes from the value it adds to the bound.
                let slack = |i: usize| match (f64::from(rounded[i]) - values[i]).abs() {
                    gap if gap.is_finite() => gap,
                    _ => 0.0,
                };
                let bits: Vec<u32> = rounded.iter().map(|v| v.to_bits()).collect();
                json!({
                    "kind": "floats",
                    "bound": self.bounds(bounds, slack),
                    // Mostly zeros, which compress well.
                    "difference": self.words(words.iter().zip(&bits).map(|(w, b)| w ^ b)),
                    "value": self.words(bits),
                })
            }
            Expected::Narrow(storage, values, bounds) => {
                let (values, bounds) = rounding(*storage, values, bounds);
                let floats: Vec<f32> = values.iter().map(|v| *v as f32).collect();
                json!({
                    "kind": "narrow",
                    "storage": format!("{storage:?}").to_lowercase(),
                    "bound": self.bounds(&bounds, |_| 0.0),
                    "bits": self.words(words.iter().copied()),
                    "value": self.words(floats.iter().map(|v| v.to_bits())),
                })
            }
            Expected::Doubles(values, bounds) => json!({
                "kind": "doubles",
                "bound": self.bounds(bounds, |_| 0.0),
                "value": self.bytes(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            }),
        }
    }
}

/// Finds the addresses in a parameter block: offset in the block, buffer, and distance from the buffer's first byte.
fn relocations(case: &Case) -> Vec<[u64; 3]> {
    let count = case.buffers.len() as u64;
    let block = |shift: u64| {
        let addresses: Vec<u64> = (1..=count).map(|i| i * BUFFER_SPACING + i * shift).collect();
        let params = (case.params)(&addresses);
        params.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
    };
    let mut places = vec![];
    for (i, (first, moved)) in block(0).into_iter().zip(block(4096)).enumerate() {
        if first != moved {
            let buffer = first / BUFFER_SPACING;
            assert_eq!(moved - first, 4096 * buffer, "{}: an address that is not at 8 bytes", case.shape);
            places.push([8 * i as u64, buffer - 1, first % BUFFER_SPACING]);
        }
    }
    places
}

/// Describes a case, with the interpreter's results.
fn described(entry: &Entry, case: &Case, blobs: &mut Blobs) -> Value {
    let addresses: Vec<u64> = (1..=case.buffers.len() as u64).map(|i| i * BUFFER_SPACING).collect();
    let program = load(&entry.kernel).unwrap();
    let (results, stats) = run(case, &program, 1).unwrap();
    let buffers: Vec<Value> = case
        .buffers
        .iter()
        .map(|(role, words)| {
            let role = format!("{role:?}").to_lowercase();
            // The initial words of a result are not uploaded.
            let content = if role == "write" { json!(null) } else { blobs.words(words.iter().copied()) };
            json!({"role": role, "bytes": 4 * words.len(), "content": content})
        })
        .collect();
    let expected: Vec<Value> =
        case.expected.iter().zip(&results).map(|(e, words)| blobs.expected(e, words)).collect();
    json!({
        "kernel": entry.kernel.name,
        "shape": case.shape,
        "grid": case.grid,
        "params": (case.params)(&addresses),
        "relocations": relocations(case),
        "addresses": addresses,
        "buffers": buffers,
        "expected": expected,
        "instructions": stats.instructions,
    })
}

/// Writes all cases of `entries` to `index.json` and `blobs.bin` of a folder. Returns their number.
pub fn dump(entries: &[Entry], folder: &Path) -> usize {
    let (mut blobs, mut kernels, mut listed) = (Blobs::default(), serde_json::Map::new(), vec![]);
    for entry in entries {
        let text = blobs.bytes(entry.kernel.text.clone().into_bytes());
        let kernel = json!({
            "family": entry.family, "text": text, "threads": entry.kernel.threads, "shared": entry.kernel.shared,
        });
        kernels.insert(entry.kernel.name.clone(), kernel);
        listed.extend(cases(&entry.kernel).iter().map(|case| described(entry, case, &mut blobs)));
    }
    std::fs::create_dir_all(folder).unwrap();
    let count = listed.len();
    let index = json!({"kernels": kernels, "cases": listed});
    std::fs::write(folder.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    std::fs::write(folder.join("blobs.bin"), &blobs.bytes).unwrap();
    count
}
