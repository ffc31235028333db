//! Parameter blocks: one `repr(C)` struct a kernel, whose offsets the emitter reads and the launch writes.

/// A field of a parameter block.
pub trait Field {
    /// Bytes of the value, or of an element of it.
    const WORD: usize;

    /// Writes the value, little-endian, at the front of `to`.
    fn put(&self, to: &mut [u8]);
}

macro_rules! plain {
    ($($t:ty),*) => { $(impl Field for $t {
        const WORD: usize = size_of::<$t>();

        fn put(&self, to: &mut [u8]) {
            let bytes = self.to_le_bytes();
            to[..bytes.len()].copy_from_slice(&bytes);
        }
    })* };
}
plain!(u32, i32, u64, i64, f32);

impl<T: Field, const N: usize> Field for [T; N] {
    const WORD: usize = T::WORD;

    fn put(&self, to: &mut [u8]) {
        for (value, to) in self.iter().zip(to.chunks_mut(size_of::<T>())) {
            value.put(to);
        }
    }
}

/// A parameter block.
pub trait Params {
    /// Name, offset and bytes of each field, and bytes of an element.
    const FIELDS: &'static [(&'static str, usize, usize, usize)];

    /// The block as a kernel reads it.
    fn bytes(&self) -> Vec<u8>;
}

/// Defines a parameter block.
#[macro_export]
macro_rules! params {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name { $($(#[$doc])* pub $field: $ty,)* }

        impl $crate::Params for $name {
            const FIELDS: &'static [(&'static str, usize, usize, usize)] = &[$((
                stringify!($field),
                std::mem::offset_of!($name, $field),
                size_of::<$ty>(),
                <$ty as $crate::Field>::WORD,
            ),)*];

            fn bytes(&self) -> Vec<u8> {
                let mut bytes = vec![0; size_of::<$name>()];
                $($crate::Field::put(&self.$field, &mut bytes[std::mem::offset_of!($name, $field)..]);)*
                bytes
            }
        }
    };
}
