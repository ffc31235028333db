//! Shapes and tensor types with symbolic dimensions.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Bindings, DType, Dim};

/// Shape of a tensor: its dimensions, outermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// Returns the number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Returns the number of elements: the product of the dimensions.
    pub fn elems(&self) -> Dim {
        self.0.iter().fold(Dim::known(1), |n, d| &n * d)
    }

    /// Returns the dimensions as integers; `None` if one of them has a symbol or is negative.
    pub fn as_known(&self) -> Option<Vec<usize>> {
        self.0.iter().map(|d| d.as_known().and_then(|v| usize::try_from(v).ok())).collect()
    }

    /// Replaces the symbols in `bindings` by their values.
    pub fn substitute(&self, bindings: &Bindings) -> Shape {
        self.0.iter().map(|d| d.substitute(bindings)).collect()
    }

    /// Replaces each symbol for which `replacement` returns a dimension.
    pub fn replace(&self, replacement: &impl Fn(&str) -> Option<Dim>) -> Shape {
        self.0.iter().map(|d| d.replace(replacement)).collect()
    }

    /// Resolves an axis in `-rank..rank` to `0..rank`; `None` if it is out of range.
    pub fn axis(&self, axis: i64) -> Option<usize> {
        resolve_axis(axis, self.rank())
    }
}

/// Resolves an axis in `-rank..rank` to `0..rank`; `None` if it is out of range.
pub(crate) fn resolve_axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = rank as i64;
    let axis = if axis < 0 { axis + rank } else { axis };
    (0..rank).contains(&axis).then_some(axis as usize)
}

impl FromIterator<Dim> for Shape {
    fn from_iter<I: IntoIterator<Item = Dim>>(dims: I) -> Shape {
        Shape(dims.into_iter().collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{d}")?;
        }
        f.write_str("]")
    }
}

/// Type of a tensor: element type and shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Shape; dimensions may be symbolic.
    pub shape: Shape,
}

impl TensorType {
    /// Creates a tensor type.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype, shape: shape.into() }
    }

    /// Creates a type whose dimensions are all known.
    pub fn known(dtype: DType, dims: &[usize]) -> TensorType {
        TensorType { dtype, shape: dims.iter().map(|d| Dim::known(*d as i64)).collect() }
    }

    /// Returns the number of axes.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// Returns the dimension of `axis`.
    ///
    /// # Panics
    /// If `axis` is not below the rank.
    pub fn dim(&self, axis: usize) -> &Dim {
        &self.shape.0[axis]
    }

    /// Returns the type with another shape.
    pub fn with_shape(&self, shape: impl Into<Shape>) -> TensorType {
        TensorType { dtype: self.dtype, shape: shape.into() }
    }

    /// Returns the type with another element type.
    pub fn with_dtype(&self, dtype: DType) -> TensorType {
        TensorType { dtype, shape: self.shape.clone() }
    }

    /// Returns the size in bytes; `None` if a dimension has a symbol or the size overflows.
    pub fn bytes(&self) -> Option<u64> {
        let elems =
            self.shape.0.iter().try_fold(1u64, |n, d| n.checked_mul(u64::try_from(d.as_known()?).ok()?))?;
        elems.checked_mul(self.dtype.size_bytes() as u64)
    }
}

impl From<Vec<Dim>> for Shape {
    fn from(dims: Vec<Dim>) -> Shape {
        Shape(dims)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// Returns the shape to which two shapes broadcast by the ONNX rules; `None` if they do not.
///
/// The result of a symbol and a known dimension other than 1 is the known one. Two different symbols do not broadcast,
/// because only a run could tell which of them is 1.
pub fn broadcast(a: &Shape, b: &Shape) -> Option<Shape> {
    let rank = a.rank().max(b.rank());
    let dim_at =
        |s: &Shape, i: usize| (i + s.rank()).checked_sub(rank).map_or(Dim::known(1), |i| s.0[i].clone());
    (0..rank)
        .map(|i| {
            let (a, b) = (dim_at(a, i), dim_at(b, i));
            match (a.as_known(), b.as_known()) {
                _ if a == b => Some(a),
                (Some(1), _) => Some(b),
                (_, Some(1)) => Some(a),
                (Some(_), None) => Some(a),
                (None, Some(_)) => Some(b),
                _ => None,
            }
        })
        .collect()
}
