//! Primitives and metadata as JSON.

use dlbc_ops::prim::{self, PadMode, Prim, Unary};
use dlbc_proto::Name;
use serde_json::Value;

use crate::ArtifactError;

/// JSON has no infinity. This is read as one, because it is larger than any float32.
const INFINITY: f64 = 1e39;

/// Any metadata.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, ArtifactError> {
    serde_json::to_string(value).map_err(damaged)
}

/// An error of JSON, which quotes the file.
pub(crate) fn damaged(e: serde_json::Error) -> ArtifactError {
    ArtifactError::Damaged(Name::new(&e.to_string()).to_string())
}

/// A primitive that is no constant.
pub(crate) fn prim(prim: &Prim) -> Result<String, ArtifactError> {
    let mut value = serde_json::to_value(prim).map_err(damaged)?;
    for (at, number) in floats(prim, "") {
        if number.is_nan() {
            return Err(ArtifactError::Damaged(format!("{prim:?} cannot be written")));
        }
        if let Some(written) = value.pointer_mut(&at).filter(|_| number.is_infinite()) {
            *written = Value::from(INFINITY.copysign(f64::from(number)));
        }
    }
    json(&value)
}

/// The numbers of a primitive that may be infinite, with their place in its JSON.
fn floats(prim: &Prim, at: &str) -> Vec<(String, f32)> {
    let found: Vec<(&str, Option<f32>)> = match prim {
        Prim::Pad(prim::Pad { mode: PadMode::Constant(fill), .. }) => {
            vec![("/Pad/mode/Constant", Some(*fill))]
        }
        Prim::Unary(Unary::Clip { min, max }) => {
            vec![("/Unary/Clip/min", *min), ("/Unary/Clip/max", *max)]
        }
        Prim::Unary(Unary::LeakyRelu { alpha }) => vec![("/Unary/LeakyRelu/alpha", Some(*alpha))],
        Prim::Unary(Unary::Elu { alpha }) => vec![("/Unary/Elu/alpha", Some(*alpha))],
        Prim::Unary(Unary::HardSigmoid { alpha, beta }) => {
            vec![("/Unary/HardSigmoid/alpha", Some(*alpha)), ("/Unary/HardSigmoid/beta", Some(*beta))]
        }
        Prim::Scan(scan) => {
            let lines = scan.body.order().into_iter().enumerate();
            let within = lines
                .map(|(i, id)| floats(scan.body.graph().op(id), &format!("{at}/Scan/body/lines/{i}/prim")));
            return within.flatten().collect();
        }
        _ => vec![],
    };
    found.into_iter().filter_map(|(place, v)| Some((format!("{at}{place}"), v?))).collect()
}
