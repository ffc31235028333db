//! Parameter blocks: one `repr(C)` struct per kernel family. The emitter takes field offsets from it, the launch its bytes.

/// A type that can be a field of a parameter block.
pub trait Field {
    /// Size of the value in bytes; of an array, the size of one element.
    const ELEMENT_BYTES: usize;

    /// Writes the value in little-endian order to the first bytes of `target`.
    fn write_to(&self, target: &mut [u8]);
}

macro_rules! scalar_fields {
    ($($t:ty),*) => { $(impl Field for $t {
        const ELEMENT_BYTES: usize = size_of::<$t>();

        fn write_to(&self, target: &mut [u8]) {
            let bytes = self.to_le_bytes();
            target[..bytes.len()].copy_from_slice(&bytes);
        }
    })* };
}
scalar_fields!(u32, i32, u64, i64, f32);

impl<T: Field, const N: usize> Field for [T; N] {
    const ELEMENT_BYTES: usize = T::ELEMENT_BYTES;

    fn write_to(&self, target: &mut [u8]) {
        for (value, target) in self.iter().zip(target.chunks_mut(size_of::<T>())) {
            value.write_to(target);
        }
    }
}

/// Name and position of a field in its parameter block.
#[derive(Clone, Copy, Debug)]
pub struct FieldLayout {
    /// Name of the Rust field.
    pub name: &'static str,
    /// Offset of the first byte from the start of the block.
    pub offset: usize,
    /// Size of the whole field in bytes.
    pub bytes: usize,
    /// Size of one array element in bytes; equal to `bytes` for a scalar.
    pub element_bytes: usize,
}

/// A kernel's parameter block.
pub trait Params {
    /// Layout of each field, in declaration order.
    const FIELDS: &'static [FieldLayout];

    /// Returns the block in the layout that the kernel reads.
    fn bytes(&self) -> Vec<u8>;
}

/// Defines a parameter block: a `repr(C)` struct that implements [`Params`](crate::Params).
#[macro_export]
macro_rules! params {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name { $($(#[$doc])* pub $field: $ty,)* }

        impl $crate::Params for $name {
            const FIELDS: &'static [$crate::FieldLayout] = &[$($crate::FieldLayout {
                name: stringify!($field),
                offset: std::mem::offset_of!($name, $field),
                bytes: size_of::<$ty>(),
                element_bytes: <$ty as $crate::Field>::ELEMENT_BYTES,
            },)*];

            fn bytes(&self) -> Vec<u8> {
                let mut bytes = vec![0; size_of::<$name>()];
                $($crate::Field::write_to(&self.$field, &mut bytes[std::mem::offset_of!($name, $field)..]);)*
                bytes
            }
        }
    };
}
