//! Map between coordinates of a picture and of the input that it was fitted to.

/// Map from the pixels of a picture to those of an input: `x · scale + shift`, horizontally and vertically.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Width and height of the picture, in pixels.
    pub picture: (u32, u32),
    /// Width and height of the input, in pixels.
    pub input: (u32, u32),
    /// Horizontal and vertical factor.
    pub scale: (f64, f64),
    /// Horizontal and vertical shift, in pixels of the input.
    pub shift: (f64, f64),
}

impl Fit {
    /// Returns the identity map of a picture that is the input.
    pub fn same(width: u32, height: u32) -> Fit {
        let size = (width, height);
        Fit { picture: size, input: size, scale: (1.0, 1.0), shift: (0.0, 0.0) }
    }

    /// Maps left, top, right and bottom edge from the picture to the input.
    pub fn to_input(self, [left, top, right, bottom]: [f64; 4]) -> [f64; 4] {
        let across = |x: f64| x * self.scale.0 + self.shift.0;
        let down = |y: f64| y * self.scale.1 + self.shift.1;
        [across(left), down(top), across(right), down(bottom)]
    }

    /// Maps left, top, right and bottom edge from the input to the picture.
    pub fn to_picture(self, [left, top, right, bottom]: [f64; 4]) -> [f64; 4] {
        let across = |x: f64| (x - self.shift.0) / self.scale.0;
        let down = |y: f64| (y - self.shift.1) / self.scale.1;
        [across(left), down(top), across(right), down(bottom)]
    }
}
