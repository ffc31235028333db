//! One example of each error, so that its message can be read as a user reads it.

use super::OpError;
use crate::tensor::{Dim, Shape};

/// Lists the variants, in the order of their definition. A variant that is missing here does not compile.
macro_rules! variants {
    ($($variant:ident),+ $(,)?) => {
        const VARIANTS: &[&str] = &[$(stringify!($variant)),+];

        fn variant(error: &OpError) -> &'static str {
            match error {
                $(OpError::$variant { .. } => stringify!($variant),)+
            }
        }
    };
}

variants!(Arity, Mismatch, Unequal, Broadcast, Axis, Invalid, Unsupported, Symbolic, Limit, TensorBytes);

fn shape(dims: &[i64]) -> Shape {
    Shape(dims.iter().copied().map(Dim::from).collect())
}

fn examples() -> Vec<OpError> {
    vec![
        OpError::Arity { expected: "at least 2".into(), actual: 1 },
        OpError::mismatch("input 1", "f32", "i64"),
        OpError::shapes("shape of input 2", &shape(&[16]), &shape(&[32])),
        OpError::broadcast(&shape(&[1, 8, 12]), &shape(&[4, 12])),
        OpError::Axis { axis: -3, rank: 2 },
        OpError::Invalid("node `/attention/Softmax` (softmax): axis 3: expected at most 2, found 3".into()),
        OpError::unsupported("training_mode", 0, 1),
        OpError::symbolic("auto_pad with stride 2", "a known dimension", "height"),
        OpError::Limit("the operator builds 70000 nodes: the limit is 65536".into()),
        OpError::TensorBytes {
            what: "tensor `logits` of type f32[1,512,50257]".into(),
            bytes: 102926336,
            limit: 67108864,
        },
    ]
}

#[test]
fn errors_read_well() {
    let examples = examples();
    let names: Vec<&str> = examples.iter().map(variant).collect();
    assert_eq!(names, VARIANTS);
    let lines: Vec<String> = examples.iter().map(|error| format!("{}: {error}", variant(error))).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
