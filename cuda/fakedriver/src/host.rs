//! Memory of the host, by address, as the driver API passes it.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};

/// Reads bytes at an address.
///
/// # Safety
/// As many bytes are readable there.
pub(crate) unsafe fn read(address: usize, bytes: usize) -> Vec<u8> {
    let mut values = vec![0; bytes];
    // SAFETY: the caller's.
    unsafe { std::ptr::copy_nonoverlapping(address as *const u8, values.as_mut_ptr(), bytes) };
    values
}

/// Writes bytes at an address.
///
/// # Safety
/// As many bytes are writable there.
pub(crate) unsafe fn write(address: usize, values: &[u8]) {
    // SAFETY: the caller's.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), address as *mut u8, values.len()) };
}

/// Reads a text that ends with a zero.
///
/// # Safety
/// Such a text stands at the address.
pub(crate) unsafe fn text(address: *const c_void) -> String {
    // SAFETY: the caller's.
    unsafe { CStr::from_ptr(address.cast::<c_char>()) }.to_string_lossy().into_owned()
}
