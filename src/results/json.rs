//! JSON: `{"metadata": {..}, KEY: {"dtype", "shape", "data"}, ..}`, data flat and row-major; NaN and infinities are
//! null. A table also has `"features": {INPUT: [NAME, ..]}` and `"rows": [..]`.

use dlbc_ops::tensor::{DType, Tensor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Contents, Out};

use crate::error::Result;

/// Writes tensors and metadata.
pub fn write(out: Out, contents: &Contents) -> Result<()> {
    serde_json::to_writer(&mut *out, &Document(contents))?;
    Ok(out.write_all(b"\n")?)
}

struct Document<'a>(&'a Contents);
struct Entry<'a>(&'a Tensor);
struct Values<'a>(&'a Tensor);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("metadata", &self.0.metadata)?;
        #[cfg(feature = "table")]
        if let Some(table) = &self.0.table {
            map.serialize_entry("features", &table.names)?;
            map.serialize_entry("rows", &table.rows)?;
        }
        for (name, tensor) in &self.0.tensors {
            map.serialize_entry(name, &Entry(tensor))?;
        }
        map.end()
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("dtype", &self.0.dtype().to_string())?;
        map.serialize_entry("shape", self.0.dims())?;
        map.serialize_entry("data", &Values(self.0))?;
        map.end()
    }
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.elems()))?;
        match self.0.dtype() {
            // The shortest text that reads back as the same float32.
            DType::F32 | DType::F16 | DType::Bf16 => {
                self.0.to_f32().iter().try_for_each(|v| list.serialize_element(v))?;
            }
            DType::F64 => self.0.to_f64().iter().try_for_each(|v| list.serialize_element(v))?,
            DType::Bool => self.0.bytes().iter().try_for_each(|v| list.serialize_element(&(*v != 0)))?,
            DType::U64 => self.0.to_i64().iter().try_for_each(|v| list.serialize_element(&(*v as u64)))?,
            _ => self.0.to_i64().iter().try_for_each(|v| list.serialize_element(v))?,
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::results::Format;
    use crate::results::tests::contents;

    #[test]
    fn keys_are_those_of_the_other_formats() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        Format::Json.save(&path, &contents()).unwrap();
        let read: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read["output/y"], json!({"dtype": "f32", "shape": [1, 2], "data": [0.5, -1.0]}));
        assert_eq!(read["relevance/a/b.c:0"]["data"], json!([1.0, null, 2.0]));
        assert_eq!(read["output/ids"]["data"], json!([7, -7]));
        assert_eq!(read["audit/start"], json!({"dtype": "f32", "shape": [], "data": [100.0]}));
        assert_eq!(read["metadata"]["model"], "m.onnx");
    }
}
