//! Axes of a picture in an input.

use dlbc_ops::program::InputInfo;
use dlbc_ops::tensor::{DType, Dim};

use crate::error::{Error, Result};
use crate::input::picture_options::Layout;
use crate::remedy::Remedy;
use crate::wording::visible;

/// Side of a picture in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Fixed number of pixels.
    Pixels(usize),
    /// Open size: any multiple of this number of pixels.
    Multiple(usize),
}

impl Side {
    fn of(dim: &Dim) -> Side {
        match dim.as_known().and_then(|d| usize::try_from(d).ok()) {
            Some(pixels) => Side::Pixels(pixels),
            None => {
                let factor = dim.as_multiple().and_then(|(factor, _)| usize::try_from(factor).ok());
                Side::Multiple(factor.unwrap_or(1).max(1))
            }
        }
    }

    /// Returns the pixels of the side for a picture with `pixels`.
    pub fn fitted(self, pixels: usize) -> usize {
        match self {
            Side::Pixels(fixed) => fixed,
            Side::Multiple(factor) => pixels.next_multiple_of(factor),
        }
    }
}

/// Order and lengths of a picture's axes in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Position of the channel axis.
    pub layout: Layout,
    /// Number of channels, 1 or 3.
    pub channels: usize,
    /// Number of rows of pixels.
    pub height: Side,
    /// Number of pixels in a row.
    pub width: Side,
}

/// Returns the length of a dimension if it can be the number of channels: 1 or 3.
fn channels(dim: &Dim) -> Option<usize> {
    dim.as_known().and_then(|d| usize::try_from(d).ok()).filter(|n| matches!(n, 1 | 3))
}

/// Returns the layout of an input of three or four axes: `requested`, else by the axis with 1 or 3 channels.
pub fn layout(input: &InputInfo, requested: Option<Layout>) -> Layout {
    requested.unwrap_or_else(|| {
        let rank = input.ty.rank();
        let first = rank.checked_sub(3).and_then(|at| channels(input.ty.dim(at)));
        let last = rank.checked_sub(1).and_then(|at| channels(input.ty.dim(at)));
        if first.is_none() && last.is_some() { Layout::Nhwc } else { Layout::Nchw }
    })
}

/// Returns a predicate that is true for inputs that may be a picture: those with four axes; if none has four, those with
/// three axes of which one has 1 or 3 channels.
pub fn takes_picture<'a>(
    infos: &'a [InputInfo],
    requested: Option<Layout>,
) -> impl Fn(&InputInfo) -> bool + use<'a> {
    let fits = |input: &InputInfo, rank| input.ty.rank() == rank && input.ty.dtype != DType::Bool;
    let batched = infos.iter().any(|i| fits(i, 4));
    move |input| {
        let alone = || {
            let axis = if layout(input, requested) == Layout::Nchw { 0 } else { 2 };
            fits(input, 3) && channels(input.ty.dim(axis)).is_some()
        };
        fits(input, 4) || (!batched && alone())
    }
}

impl Site {
    /// Finds the axes of a picture in an input of three or four axes.
    ///
    /// # Errors
    /// For an input with a fixed batch above 1, and for one without 1 or 3 channels.
    pub fn new(input: &InputInfo, requested: Option<Layout>) -> Result<Site> {
        let layout = layout(input, requested);
        let at = input.ty.rank().saturating_sub(3);
        let dim = |axis: usize| input.ty.dim(axis);
        let (depth, height, width, other) = match layout {
            Layout::Nchw => (dim(at), dim(at + 1), dim(at + 2), dim(at + 2)),
            Layout::Nhwc => (dim(at + 2), dim(at), dim(at + 1), dim(at)),
        };
        let name = visible(&input.name);
        if at == 1 && dim(0).as_known().is_some_and(|n| n != 1) {
            let message = format!("input `{name}` {} takes more than one picture at once", input.ty);
            return Err(Error::unsupported(message).with_remedy(Remedy::Arrays));
        }
        let site = |channels| Site { layout, channels, height: Side::of(height), width: Side::of(width) };
        match (channels(depth), channels(other)) {
            (Some(channels), _) => Ok(site(channels)),
            (None, None) if depth.as_known().is_none() => Ok(site(3)),
            (None, Some(_)) => {
                let other = if layout == Layout::Nchw { Layout::Nhwc } else { Layout::Nchw };
                let message = format!("input `{name}` {} has its channels on another axis", input.ty);
                Err(Error::usage(message).with_remedy(Remedy::PictureLayout(other)))
            }
            (None, None) => Err(Error::unsupported(format!(
                "input `{name}` {} cannot be a picture: expected 1 or 3 channels",
                input.ty
            ))),
        }
    }
}
