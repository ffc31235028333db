//! From a picture to what became the input, and back.

/// How a picture was fitted to an input: a pixel at x is at `x · scale + shift`, across and down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Width and height of the picture.
    pub picture: (u32, u32),
    /// Width and height of the input.
    pub input: (u32, u32),
    /// Across and down.
    pub scale: (f64, f64),
    /// Across and down.
    pub shift: (f64, f64),
}

impl Fit {
    /// Of a picture that is the input.
    pub fn same(width: u32, height: u32) -> Fit {
        let size = (width, height);
        Fit { picture: size, input: size, scale: (1.0, 1.0), shift: (0.0, 0.0) }
    }

    /// Left, top, right and bottom edge in the input.
    pub fn to_input(self, [left, top, right, bottom]: [f64; 4]) -> [f64; 4] {
        let across = |x: f64| x * self.scale.0 + self.shift.0;
        let down = |y: f64| y * self.scale.1 + self.shift.1;
        [across(left), down(top), across(right), down(bottom)]
    }

    /// Left, top, right and bottom edge in the picture.
    pub fn to_picture(self, [left, top, right, bottom]: [f64; 4]) -> [f64; 4] {
        let across = |x: f64| (x - self.shift.0) / self.scale.0;
        let down = |y: f64| (y - self.shift.1) / self.scale.1;
        [across(left), down(top), across(right), down(bottom)]
    }
}
