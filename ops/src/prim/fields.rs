//! Attributes of primitives as lists, by the constraint that each of them satisfies.

use super::{ConvGeometry, Prim};
use crate::graph::Body;
use crate::tensor::Dim;

/// Attribute of a primitive, by its constraint.
pub enum Field<'a> {
    /// Axis of an operand or of the result.
    Axis(usize),
    /// Axes in ascending order.
    Axes(&'a [usize]),
    /// Permutation of all axes.
    Permutation(&'a [usize]),
    /// Dimension or index, ≥ 0.
    Dim(&'a Dim),
    /// Dimensions or pads, ≥ 0.
    Dims(&'a [Dim]),
    /// Integers without constraint: the dimensions and row-major elements of a tensor.
    Integers(&'a [usize], &'a [Dim]),
    /// Step along an axis, not 0.
    Step(i64),
    /// Window and groups of a convolution.
    Geometry(&'a ConvGeometry),
    /// Graph of primitives.
    Body(&'a Body<Prim>),
    /// Flag, number, word or window. Constraints are checked by the type rule.
    Any,
}

/// Access to the attributes of a primitive.
pub trait Fields {
    /// Returns the name of the type.
    fn name(&self) -> &'static str;

    /// Calls `visit` with each attribute, in the order of declaration.
    fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>));

    /// Calls `visit` with each dimension among the attributes, for editing.
    fn dims_mut(&mut self, visit: &mut dyn FnMut(&mut Dim));

    /// Returns the names and values of the attributes as text.
    fn text(&self) -> String;
}

/// Implements [`Fields`] for a type from the list of its attributes and their kinds. A missing attribute does not
/// compile. Kinds are the variants of [`Field`], and `Shape` for the dimensions of a shape.
macro_rules! fields {
    ($name:ident) => {
        fields!($name {});
    };
    ($name:ident { $($field:ident: $kind:ident),* $(,)? }) => {
        impl Fields for $name {
            fn name(&self) -> &'static str {
                stringify!($name)
            }

            #[allow(unused_variables)]
            fn fields<'a>(&'a self, visit: &mut dyn FnMut(Field<'a>)) {
                let $name { $($field),* } = self;
                $(visit(fields!(@read $kind $field));)*
            }

            #[allow(unused_variables)]
            fn dims_mut(&mut self, visit: &mut dyn FnMut(&mut Dim)) {
                let $name { $($field),* } = self;
                $(fields!(@dims $kind $field visit);)*
            }

            fn text(&self) -> String {
                let fields: &[String] = &[$(format!(concat!(stringify!($field), "={:?}"), self.$field)),*];
                fields.join(" ")
            }
        }
    };
    (@read Axis $f:ident) => { Field::Axis(*$f) };
    (@read Axes $f:ident) => { Field::Axes($f) };
    (@read Permutation $f:ident) => { Field::Permutation($f) };
    (@read Dim $f:ident) => { Field::Dim($f) };
    (@read Dims $f:ident) => { Field::Dims($f) };
    (@read Shape $f:ident) => { Field::Dims(&$f.0) };
    (@read Step $f:ident) => { Field::Step(*$f) };
    (@read Geometry $f:ident) => { Field::Geometry($f) };
    (@read Any $f:ident) => { Field::Any };
    (@dims Dim $f:ident $visit:ident) => { $visit($f); };
    (@dims Dims $f:ident $visit:ident) => { $f.iter_mut().for_each(|dim| $visit(dim)); };
    (@dims Shape $f:ident $visit:ident) => { $f.0.iter_mut().for_each(|dim| $visit(dim)); };
    (@dims $kind:ident $f:ident $visit:ident) => {};
}
pub(super) use fields;
