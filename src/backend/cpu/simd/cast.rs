//! Memory seen as numbers of another type.

#![allow(unsafe_code)]

use half::{bf16, f16};

/// Types of which every bit pattern is a value and that have no padding.
///
/// # Safety
/// That is what an implementation promises.
pub(in crate::backend::cpu) unsafe trait Plain: Copy + 'static {}

// SAFETY: integers and floats, and structs that are transparent over u16.
unsafe impl Plain for f32 {}
unsafe impl Plain for bf16 {}
unsafe impl Plain for f16 {}
unsafe impl Plain for u8 {}
unsafe impl Plain for i8 {}
// SAFETY: an array has no padding beyond its elements'.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// The same memory as whole elements of `U`; a rest is left out.
///
/// # Panics
/// When the memory is not aligned for `U`.
pub(in crate::backend::cpu) fn cast<T: Plain, U: Plain>(from: &[T]) -> &[U] {
    let count = size_of_val(from) / size_of::<U>();
    assert!(from.as_ptr().cast::<U>().is_aligned(), "memory is aligned for its elements");
    // SAFETY: aligned, within the slice, and any bits are a `U`; the lifetime is the slice's.
    unsafe { std::slice::from_raw_parts(from.as_ptr().cast(), count) }
}

/// As [`cast`], to write.
///
/// # Panics
/// When the memory is not aligned for `U`.
pub(in crate::backend::cpu) fn cast_mut<T: Plain, U: Plain>(from: &mut [T]) -> &mut [U] {
    let count = size_of_val(from) / size_of::<U>();
    assert!(from.as_ptr().cast::<U>().is_aligned(), "memory is aligned for its elements");
    // SAFETY: as in `cast`; the borrow is exclusive, and any bits of a `U` are a `T`.
    unsafe { std::slice::from_raw_parts_mut(from.as_mut_ptr().cast(), count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_same_numbers_whatever_it_is_seen_as() {
        let mut words = [1.0f32, -2.0];
        assert_eq!(cast::<f32, u8>(&words)[..4], 1.0f32.to_ne_bytes());
        cast_mut::<f32, [u8; 4]>(&mut words)[1] = 5.0f32.to_ne_bytes();
        assert_eq!(words, [1.0, 5.0]);
    }

    #[test]
    #[should_panic(expected = "aligned")]
    fn memory_that_is_not_aligned_is_refused() {
        let words = [0.0f32; 2];
        cast::<u8, f32>(&cast::<f32, u8>(&words)[1..]);
    }
}
