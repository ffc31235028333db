//! Random bytes and damaged models through decoding and compiling: an error or a program, never a panic.
//!
//! The seed is fixed, so a failure in CI is the same failure at home.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::LazyLock;

use dlbc_compiler::{Options, compile};
use dlbc_proto::Limits;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

const MODELS: [&str; 5] = [
    "digits_cnn/model.onnx",
    "tiny/mlp_bn_softmax.onnx",
    "tiny/mlp_mixed.onnx",
    "tiny/resnet_bottleneck.onnx",
    "tiny/textcnn.onnx",
];
/// Limit on the bytes of a tensor, so that no damaged model asks for one that takes long to fill.
const MAX_TENSOR_BYTES: u64 = 16 << 20;

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    MODELS.iter().map(|m| std::fs::read(fixtures.join(m)).unwrap()).collect()
});

/// One change to the bytes of a model.
#[derive(Clone, Debug)]
enum Change {
    /// Flips bits of a byte.
    Flip(Index, u8),
    /// Writes a varint over what is there: a length, key or number that is now another one.
    Varint(Index, u64),
    /// Removes bytes.
    Cut(Index, usize),
    /// Copies bytes of any of the models over or between the others.
    Splice { from: Index, model: Index, to: Index, bytes: usize, insert: bool },
    /// Ends the file early.
    Truncate(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    // Numbers at the edges of their types, where arithmetic overflows.
    let number =
        prop_oneof![0u64..300, (0u32..64).prop_map(|b| 1 << b), (0u64..4).prop_map(|n| u64::MAX - n)];
    prop_oneof![
        4 => (at(), 1u8..).prop_map(|(i, bits)| Change::Flip(i, bits)),
        3 => (at(), number).prop_map(|(i, n)| Change::Varint(i, n)),
        1 => (at(), 1usize..64).prop_map(|(i, n)| Change::Cut(i, n)),
        2 => (at(), at(), at(), 1usize..512, any::<bool>())
            .prop_map(|(from, model, to, bytes, insert)| Change::Splice { from, model, to, bytes, insert }),
        1 => at().prop_map(Change::Truncate),
    ]
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match change {
        Change::Flip(at, bits) => bytes[at.index(len)] ^= bits,
        Change::Varint(at, n) => {
            let start = at.index(len);
            // The old varint goes as a whole.
            let old = bytes[start..].iter().take(10).position(|b| *b < 0x80).map_or(1, |n| n + 1);
            bytes.splice(start..start + old, varint(*n));
        }
        Change::Cut(at, n) => {
            let start = at.index(len);
            bytes.drain(start..(start + n).min(len));
        }
        Change::Splice { from, model, to, bytes: n, insert } => {
            let other = model.get(&FILES);
            let start = from.index(other.len());
            let piece = other[start..(start + n).min(other.len())].to_vec();
            let to = to.index(len);
            let end = if *insert { to } else { (to + piece.len()).min(len) };
            bytes.splice(to..end, piece);
        }
        Change::Truncate(at) => bytes.truncate(at.index(len)),
    }
}

/// Returns whether the bytes are a model that compiles.
fn compiles(bytes: &[u8]) -> bool {
    let limits = Limits { max_tensor_bytes: MAX_TENSOR_BYTES, ..Limits::default() };
    let options = Options { max_tensor_bytes: MAX_TENSOR_BYTES, ..Options::default() };
    let Ok(model) = dlbc_proto::decode(bytes, &limits) else { return false };
    match compile(&model, &options) {
        Ok(_) => true,
        Err(e) => {
            assert_ne!(e.kind(), dlbc_compiler::ErrorKind::Internal, "{e}");
            assert!(!e.to_string().is_empty());
            false
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(20_261_123),
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    }
}

#[test]
fn the_models_compile_undamaged() {
    assert!(FILES.iter().all(|f| compiles(f)));
}

proptest! {
    #![proptest_config(config(5000))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        compiles(&bytes);
    }

    /// Most random bytes end at the first key, so these start as a model does.
    #[test]
    fn a_graph_of_random_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let mut model = vec![8, 8, 0x42, 2, 0x10, 17, 0x3a];
        model.extend(varint(bytes.len() as u64));
        model.extend(bytes);
        compiles(&model);
    }
}

proptest! {
    #![proptest_config(config(8000))]

    #[test]
    fn damaged_models_never_panic(
        model in any::<Index>(),
        changes in prop::collection::vec(change(), 1..5),
    ) {
        let mut bytes = model.get(&FILES).clone();
        for change in &changes {
            apply(&mut bytes, change);
        }
        compiles(&bytes);
    }
}
