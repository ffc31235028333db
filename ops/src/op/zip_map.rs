//! Probabilities as dictionaries. Reads `ZipMap` of `ai.onnx.ml`, whose result is the tensor of probabilities itself.

use super::read::Reader;

/// Returns the reader of `ZipMap`.
pub fn readers() -> Vec<Reader> {
    vec![Reader {
        domain: "ai.onnx.ml",
        op: "ZipMap",
        since: 1,
        until: 5,
        read: |r| {
            r.ignore(&["classlabels_strings", "classlabels_int64s"]);
            Ok(vec![r.input(0)?])
        },
    }]
}
