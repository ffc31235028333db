//! Masks of the evidence in samples, for the metrics of localisation.

use std::path::Path;

use dlbc_ops::tensor::Tensor;
use image::ImageReader;

use super::features::Features;
use crate::error::{Error, Result, ResultExt};
use crate::input::npz;
use crate::wording::plural;

/// Masks of all samples, or one mask for all of them.
pub struct Masks {
    /// True for each value of the masks that is not 0, mask by mask.
    values: Vec<bool>,
    /// Length of the first axis: the number of masks, if that is the axis of samples.
    rows: usize,
}

/// Reads masks: the only array of an .npz file, or a picture.
///
/// # Errors
/// For a file that is neither.
pub fn read(path: &Path, max_bytes: u64) -> Result<Masks> {
    let shown = || format!("mask `{}`", path.display());
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
        let arrays = npz::read(path, |_| true, max_bytes).with_context(shown)?.selected;
        let mut arrays = arrays.into_values();
        let (Some(tensor), None) = (arrays.next(), arrays.next()) else {
            return Err(Error::invalid(format!("{}: expected one array", shown())));
        };
        return Ok(of_tensor(&tensor));
    }
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| Error::invalid(format!("{}: {e}", shown())))?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(max_bytes);
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| Error::invalid(format!("{}: {e}", shown())))?.to_luma8();
    Ok(Masks { values: picture.pixels().map(|p| p.0[0] > 0).collect(), rows: 1 })
}

fn of_tensor(tensor: &Tensor) -> Masks {
    let values = tensor.to_f64().iter().map(|v| *v != 0.0).collect();
    Masks { values, rows: tensor.dims().first().copied().unwrap_or(1).max(1) }
}

impl Masks {
    /// Returns for each feature of a sample whether it lies in the mask. A mask has a value for each feature, or for each
    /// element of the tensor.
    ///
    /// # Errors
    /// When the size of the mask fits neither, and for a sample without a mask.
    pub fn of(&self, sample: usize, features: &Features, elements: usize) -> Result<Vec<bool>> {
        let sizes = [features.count(), elements];
        let size = self.values.len() / self.rows;
        let mask = match () {
            () if sizes.contains(&size) && self.rows > 1 => {
                self.values.get(sample * size..(sample + 1) * size).ok_or_else(|| {
                    Error::usage(format!(
                        "no mask for sample {sample}: the file has {}",
                        plural(self.rows, "mask")
                    ))
                })?
            }
            () if sizes.contains(&self.values.len()) => &self.values,
            () => {
                return Err(Error::usage(format!(
                    "the mask does not fit sample {sample}: expected {} {} or {elements} elements, found {size}",
                    features.count(),
                    features.word
                )));
            }
        };
        if mask.len() == features.count() {
            return Ok(mask.to_vec());
        }
        Ok(features.elements.iter().map(|f| f.iter().any(|e| mask[*e])).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Layout, Source};

    #[test]
    fn masks_are_by_feature_or_by_element() {
        let tensor = Tensor::from_f32(&[1, 2, 1, 2], &[0.0; 4]);
        let features = Features::of("x", &tensor, &Source::Pictures("x".into(), Layout::Nchw), 0);
        let mask = |dims: &[usize], values: &[f32]| of_tensor(&Tensor::from_f32(dims, values));
        let two = mask(&[2, 1, 2], &[1.0, 0.0, 0.0, 1.0]);
        assert_eq!(two.of(1, &features, 4).unwrap(), [false, true]);
        assert!(two.of(2, &features, 4).is_err());
        assert_eq!(mask(&[1, 2], &[0.0, 1.0]).of(7, &features, 4).unwrap(), [false, true]);
        assert_eq!(mask(&[1, 2, 1, 2], &[0.0, 0.0, 1.0, 0.0]).of(0, &features, 4).unwrap(), [true, false]);
        assert!(mask(&[1, 3], &[0.0; 3]).of(0, &features, 4).is_err());
    }
}
