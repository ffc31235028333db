//! Numbers that may be infinite, in JSON, which has no infinity.

use serde::Serializer;
use serde::ser::Error;

/// Read as infinite, because it is larger than any float32.
const INFINITY: f64 = 1e39;

/// Writes a number.
pub(super) fn number<S: Serializer>(v: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    if v.is_nan() {
        return Err(S::Error::custom("an attribute is not a number, and cannot be written"));
    }
    if v.is_infinite() {
        return serializer.serialize_f64(INFINITY.copysign(f64::from(*v)));
    }
    serializer.serialize_f32(*v)
}

/// Writes a number that may be absent.
pub(super) fn optional<S: Serializer>(v: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    match v {
        Some(v) => number(v, serializer),
        None => serializer.serialize_none(),
    }
}
