//! JSON form of floats that may be infinite.

use serde::Serializer;
use serde::ser::Error;

/// Number that stands for infinity in JSON: larger than any float32.
const INFINITY: f64 = 1e39;

/// Serialises a float; infinities are written as ±1e39.
pub(super) fn number<S: Serializer>(v: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    if v.is_nan() {
        return Err(S::Error::custom("an attribute is not a number, and cannot be written"));
    }
    if v.is_infinite() {
        return serializer.serialize_f64(INFINITY.copysign(f64::from(*v)));
    }
    serializer.serialize_f32(*v)
}

/// Serialises an optional float.
pub(super) fn optional<S: Serializer>(v: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match v {
        Some(v) => number(v, serializer),
        None => serializer.serialize_none(),
    }
}
