//! Safetensors: a JSON header and the bytes. Equal contents give equal files, which the crate's own writer does not
//! guarantee: it keeps metadata in a hash map.

use std::collections::BTreeMap;

use dlbc_ops::tensor::DType;
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::{Contents, Out};

use crate::error::Result;

/// Writes tensors and metadata.
pub fn write(out: Out, contents: &Contents) -> Result<()> {
    // Wide types first, so that every tensor is aligned to its type.
    let mut order: Vec<_> = contents.tensors.iter().collect();
    order.sort_by_key(|(name, t)| (std::cmp::Reverse(t.dtype().size_bytes()), *name));
    let mut header = Map::new();
    let metadata: &BTreeMap<String, String> = &contents.metadata;
    header.insert("__metadata__".into(), serde_json::to_value(metadata)?);
    let mut offset = 0;
    for (name, tensor) in &order {
        let end = offset + tensor.bytes().len();
        let entry =
            json!({"dtype": kind(tensor.dtype()), "shape": tensor.dims(), "data_offsets": [offset, end]});
        header.insert((*name).clone(), entry);
        offset = end;
    }
    let mut header = serde_json::to_vec(&Value::Object(header))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, tensor) in order {
        out.write_all(tensor.bytes())?;
    }
    Ok(())
}

fn kind(dtype: DType) -> Dtype {
    match dtype {
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::F16 => Dtype::F16,
        DType::Bf16 => Dtype::BF16,
        DType::I8 => Dtype::I8,
        DType::I16 => Dtype::I16,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
        DType::U16 => Dtype::U16,
        DType::U32 => Dtype::U32,
        DType::U64 => Dtype::U64,
        DType::Bool => Dtype::BOOL,
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use crate::results::Format;
    use crate::results::tests::contents;

    #[test]
    fn other_readers_accept_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.safetensors");
        let contents = contents();
        Format::Safetensors.save(&path, &contents).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["model"], "m.onnx");
        let read = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(read.len(), contents.tensors.len());
        for (name, tensor) in &contents.tensors {
            let view = read.tensor(name).unwrap();
            assert_eq!((view.shape(), view.data()), (tensor.dims(), tensor.bytes()), "{name}");
        }
    }
}
