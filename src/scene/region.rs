//! Conversion of a region of the picture to a region of the mask.

use std::collections::BTreeMap;
use std::str::FromStr;

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::Tensor;
use dlbc_runtime::Region;

use crate::error::{Error, Result};
use crate::heatmap::Axes;
use crate::input::{Fit, Inputs, Layout};
use crate::remedy::Remedy;
use crate::wording::visible;

/// Rectangle in pixels, right and bottom edge exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// Left, top, right and bottom edge.
    pub edges: [u32; 4],
}

impl FromStr for Rectangle {
    type Err = String;
    fn from_str(text: &str) -> Result<Rectangle, String> {
        let edges: Option<Vec<u32>> = text.split(',').map(|e| e.trim().parse().ok()).collect();
        let edges = edges.and_then(|e| <[u32; 4]>::try_from(e).ok());
        let edges = edges.ok_or("expected X0,Y0,X1,Y1, four whole numbers from 0")?;
        if edges[0] >= edges[2] || edges[1] >= edges[3] {
            return Err("the region is empty: expected X0 < X1 and Y0 < Y1".into());
        }
        Ok(Rectangle { edges })
    }
}

impl std::fmt::Display for Rectangle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [left, top, right, bottom] = self.edges;
        write!(f, "{left},{top},{right},{bottom}")
    }
}

/// Input with a picture: the one read from a file, else the first explained input with rows and columns of pixels.
#[derive(Clone, Copy, Debug)]
pub struct PictureInput<'a> {
    /// Name of the input.
    pub name: &'a str,
    /// Map from pixels of the picture to those of the input.
    pub fit: Fit,
    /// Position of the channel axis.
    pub layout: Layout,
}

impl<'a> PictureInput<'a> {
    /// Finds the input; `layout` is the position of the channel axis of arrays.
    pub fn find(
        infos: &'a [InputInfo],
        inputs: &'a Inputs,
        layout: Option<Layout>,
    ) -> Option<PictureInput<'a>> {
        if let Some(seen) = &inputs.picture {
            return Some(PictureInput { name: &seen.input, fit: seen.fit, layout: seen.layout });
        }
        let tensors: &BTreeMap<String, Tensor> = &inputs.tensors;
        infos.iter().filter(|i| i.explained).find_map(|info| {
            let axes = Axes::of(tensors.get(&info.name)?.dims(), layout)?;
            let fit = Fit::same(axes.width as u32, axes.height as u32);
            Some(PictureInput { name: &info.name, fit, layout: axes.layout })
        })
    }
}

/// Converts a rectangle to fractions of the input, which the mask covers.
///
/// # Errors
/// For a rectangle that is not within the picture, or was cut off with its edges, and without a picture input.
pub fn region(rectangle: Rectangle, picture: Option<PictureInput>) -> Result<Region> {
    let Some(PictureInput { name: input, fit, .. }) = picture else {
        return Err(Error::usage(
            "a region applies to pictures only: the model has no input with rows and columns of pixels",
        ));
    };
    let (width, height) = fit.picture;
    let [_, _, right, bottom] = rectangle.edges;
    if right > width || bottom > height {
        return Err(Error::usage(format!(
            "region {rectangle} is not within the picture for input `{}`: expected at most {width} columns and {height} rows",
            visible(input)
        )));
    }
    let (across, down) = (f64::from(fit.input.0), f64::from(fit.input.1));
    let [left, top, right, bottom] = fit.to_input(rectangle.edges.map(f64::from));
    if right <= 0.0 || bottom <= 0.0 || left >= across || top >= down {
        let seen = fit.to_picture([0.0, 0.0, across, down]).map(|v| v.round());
        return Err(Error::usage(format!(
            "region {rectangle} was cut off: of the picture's {width} columns and {height} rows input `{}` is columns {} \
             to {} and rows {} to {}",
            visible(input),
            seen[0],
            seen[2],
            seen[1],
            seen[3]
        ))
        .with_remedy(Remedy::StretchPicture));
    }
    Ok(Region { left: left / across, top: top / down, right: right / across, bottom: bottom / down })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_that_were_cut_off_are_refused() {
        // 200 by 100 became 50 by 50: half the size, 25 columns cut off at each side.
        let fit = Fit { picture: (200, 100), input: (50, 50), scale: (0.5, 0.5), shift: (-25.0, 0.0) };
        let input = PictureInput { name: "x", fit, layout: Layout::Nchw };
        let fractions = |text: &str| region(text.parse().unwrap(), Some(input)).map_err(|e| e.to_string());
        let half = fractions("100,0,150,50").unwrap();
        assert_eq!([half.left, half.top, half.right, half.bottom], [0.5, 0.0, 1.0, 0.5]);
        assert!(fractions("0,0,50,50").unwrap_err().contains("is columns 50 to 150 and rows 0 to 100"));
        assert!(fractions("0,0,201,50").unwrap_err().contains("200 columns and 100 rows"));
        assert!(fractions("0,0,60,50").is_ok());
        assert!(region("0,0,1,1".parse().unwrap(), None).is_err());
    }

    #[test]
    fn rectangles() {
        assert_eq!("1, 2,3,4".parse::<Rectangle>().map(|r| r.to_string()), Ok("1,2,3,4".into()));
        for text in ["1,2,3", "1,2,3,4,5", "-1,0,3,4", "3,0,3,4", "0,4,3,2", "a,b,c,d", "0,0,1.5,2"] {
            assert!(text.parse::<Rectangle>().is_err(), "{text}");
        }
    }
}
