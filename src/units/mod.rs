//! Quantities with their unit in the type: FLOPs, bytes, seconds, rates and arithmetic intensity.
//!
//! Values are held in base units (FLOP, byte, second) as `f64`; a prefix appears only when a value
//! is displayed or parsed ([`format_si`], [`parse`](Bytes::parse), [`Scale`]). Dividing quantities gives the right quantity,
//! and what has no meaning does not compile:
//!
//! ```
//! use kprof::units::{Bytes, Flops, Seconds};
//! let rate = Flops(2.0e9) / Seconds(0.5);
//! assert_eq!(rate.0, 4.0e9);
//! let intensity = Flops(100.0) / Bytes(50.0);
//! assert_eq!(intensity.0, 2.0);
//! ```
//!
//! ```compile_fail
//! use kprof::units::{ArithmeticIntensity, Bytes};
//! let wrong: ArithmeticIntensity = Bytes(1.0) / Bytes(2.0);
//! ```

mod prefix;

pub use prefix::{ParseQuantityError, Scale, format_iec, format_si};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub f64);

        impl $name {
            /// The unit's symbol without a prefix.
            pub const UNIT: &'static str = $unit;

            /// Parses a number with an optional decimal or binary prefix and this unit, e.g. `1.5 M` or `2 Gi` before the symbol.
            ///
            /// # Errors
            /// When the number cannot be read or the unit is not this one.
            pub fn parse(text: &str) -> Result<Self, ParseQuantityError> {
                prefix::parse(text, Self::UNIT).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format_si(self.0, Self::UNIT))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Div<f64> for $name {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
                // Not f64's own sum, which is -0.0 of nothing.
                values.fold(Self(0.0), Add::add)
            }
        }
    };
}

quantity!(
    /// A count of floating-point operations; a multiply-add counts as 2.
    Flops,
    "FLOP"
);
quantity!(
    /// An amount of data.
    Bytes,
    "B"
);
quantity!(
    /// A duration.
    Seconds,
    "s"
);
quantity!(
    /// Floating-point operations per second.
    FlopRate,
    "FLOP/s"
);
quantity!(
    /// Bytes per second; device rates are decimal (GB = 10^9 bytes).
    ByteRate,
    "B/s"
);
quantity!(
    /// Floating-point operations per byte moved at a named level of memory.
    ArithmeticIntensity,
    "FLOP/B"
);
quantity!(
    /// A count of tokens.
    Tokens,
    "token"
);
quantity!(
    /// Tokens per second.
    TokenRate,
    "token/s"
);
quantity!(
    /// Energy.
    Joules,
    "J"
);

macro_rules! quotient {
    ($numerator:ident / $denominator:ident = $result:ident) => {
        impl Div<$denominator> for $numerator {
            type Output = $result;
            fn div(self, other: $denominator) -> $result {
                $result(self.0 / other.0)
            }
        }
    };
}

quotient!(Flops / Seconds = FlopRate);
quotient!(Bytes / Seconds = ByteRate);
quotient!(Tokens / Seconds = TokenRate);
quotient!(Flops / Bytes = ArithmeticIntensity);
quotient!(FlopRate / ByteRate = ArithmeticIntensity);
quotient!(Flops / FlopRate = Seconds);
quotient!(Bytes / ByteRate = Seconds);

impl Mul<ByteRate> for ArithmeticIntensity {
    type Output = FlopRate;
    fn mul(self, bandwidth: ByteRate) -> FlopRate {
        FlopRate(self.0 * bandwidth.0)
    }
}

impl Mul<Seconds> for ByteRate {
    type Output = Bytes;
    fn mul(self, time: Seconds) -> Bytes {
        Bytes(self.0 * time.0)
    }
}

impl Mul<Seconds> for FlopRate {
    type Output = Flops;
    fn mul(self, time: Seconds) -> Flops {
        Flops(self.0 * time.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_have_the_value_of_their_division() {
        assert_eq!((Flops(6.0) / Seconds(2.0)).0, 3.0);
        assert_eq!((Bytes(6.0) / Seconds(2.0)).0, 3.0);
        assert_eq!((Tokens(10.0) / Seconds(4.0)).0, 2.5);
        assert_eq!((FlopRate(10e12) / ByteRate(2e12)).0, 5.0);
        assert_eq!((ArithmeticIntensity(5.0) * ByteRate(2e12)).0, 10e12);
        assert_eq!((ByteRate(4.0) * Seconds(2.0)).0, 8.0);
    }

    #[test]
    fn display_uses_a_decimal_prefix() {
        assert_eq!(Bytes(1.5e9).to_string(), "1.50 GB");
        assert_eq!(FlopRate(989.4e12).to_string(), "989 TFLOP/s");
        assert_eq!(Seconds(0.000_012_34).to_string(), "12.3 µs");
    }

    #[test]
    fn parsing_what_display_wrote_gives_the_value_to_three_digits() {
        for value in [1.0, 12.3, 999.0, 1.0e3, 4.56e6, 7.89e9, 1.23e12, 4.5e-3, 6.0e-6] {
            let shown = Seconds(value).to_string();
            let back = Seconds::parse(&shown).expect(&shown).0;
            assert!((back / value - 1.0).abs() < 5e-3, "{value} -> {shown} -> {back}");
        }
    }

    #[test]
    fn binary_prefixes_are_powers_of_1024_and_decimal_ones_of_1000() {
        assert_eq!(Bytes::parse("2 KiB").unwrap().0, 2048.0);
        assert_eq!(Bytes::parse("2kB").unwrap().0, 2000.0);
        assert_eq!(Bytes::parse("3 GiB").unwrap().0, 3.0 * 1024f64.powi(3));
        assert_eq!(Bytes::parse("3 GB").unwrap().0, 3e9);
    }

    #[test]
    fn a_quantity_of_another_unit_is_refused() {
        let error = Bytes::parse("3 GFLOP").unwrap_err().to_string();
        assert!(error.contains("GFLOP") && error.contains('B'), "{error}");
        assert!(Seconds::parse("abc").is_err());
        assert!(Seconds::parse("").is_err());
    }
}
