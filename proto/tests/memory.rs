//! Memory that a big model takes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use dlbc_proto::{Bytes, DataType, Limits, WriteOptions, read_model, write, write_model_with};

const WEIGHT_BYTES: u64 = 200 << 20;
const MIB: u64 = 1 << 20;

/// The largest resident set since the last reset, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Starts a new peak; `false` where the system does not let us.
fn reset_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

#[test]
fn weights_are_not_copied() {
    if !reset_peak() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for external_above in [None, Some(1024)] {
        let path = folder.path().join("model.onnx");
        let weight = Bytes::from(vec![1u8; WEIGHT_BYTES as usize]);
        let proto = common::model_of(vec![write::tensor("w", DataType::U8, &[WEIGHT_BYTES], weight)]);
        reset_peak();
        let before = peak();
        write_model_with(&path, &proto, &WriteOptions { external_above }).unwrap();
        assert!(peak() - before < 32 * MIB, "writing took {} bytes", peak() - before);
        drop(proto);

        reset_peak();
        let before = peak();
        let model = read_model(&path, &Limits::default()).unwrap();
        let data = model.tensor(&model.graph().initializer[0]).unwrap();
        assert_eq!(data.bytes.len() as u64, WEIGHT_BYTES);
        assert!(peak() - before < 32 * MIB, "reading took {} bytes", peak() - before);
        assert_eq!(data.bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>(), WEIGHT_BYTES);
        assert!(peak() - before < WEIGHT_BYTES + 32 * MIB, "using took {} bytes", peak() - before);
    }
}
