//! Comma-separated values: one line per row and target, with the relevance of each feature.

use super::{Contents, Out};
use crate::error::Result;

/// Writes a header and the lines.
pub fn write(out: Out, contents: &Contents) -> Result<()> {
    let Some(table) = &contents.table else { return Ok(()) };
    let mut writer = csv::Writer::from_writer(out);
    let names = table.lines.first().map(|l| l.features.iter().map(|f| f.name.as_str())).into_iter().flatten();
    writer.write_record(["row", "target"].into_iter().chain(names))?;
    for line in &table.lines {
        // The shortest text that reads back as the same float32.
        let relevance = line.features.iter().map(|f| (f.relevance as f32).to_string());
        writer.write_record([line.row.to_string(), line.target.clone()].into_iter().chain(relevance))?;
    }
    Ok(writer.flush()?)
}
