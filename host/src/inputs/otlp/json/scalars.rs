//! Scalars as proto3's JSON writes them. `null` is the default everywhere.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use watchfire_types::log::unhex;

/// Implements `Deserialize` by a visitor that takes `null` for the default.
macro_rules! scalar {
    ($type:ident $(<$life:lifetime>)?, $expecting:literal, { $($visit:item)* }) => {
        impl<'de $(: $life, $life)?> Deserialize<'de> for $type $(<$life>)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ScalarVisitor;
                impl<'de> Visitor<'de> for ScalarVisitor {
                    type Value = scalar!(@value $type $($life)?);
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                        Ok(Self::Value::default())
                    }
                    $($visit)*
                }
                deserializer.deserialize_any(ScalarVisitor)
            }
        }
    };
    (@value $type:ident $life:lifetime) => { $type<'de> };
    (@value $type:ident) => { $type };
}

/// A string.
#[derive(Clone, Debug, Default)]
pub(super) struct Text<'a>(pub Cow<'a, str>);

scalar!(Text<'a>, "a string", {
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
});

/// `uint64` and `fixed64`: text or number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct U64(pub u64);

scalar!(U64, "an unsigned 64-bit integer, as a number or in quotes", {
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<U64, E> {
        Ok(U64(number))
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<U64, E> {
        u64::try_from(number).map(U64).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<U64, E> {
        // 2^53: beyond it a float no longer says which integer was meant.
        if number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number) {
            Ok(U64(number as u64))
        } else {
            Err(E::invalid_value(de::Unexpected::Float(number), &self))
        }
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<U64, E> {
        text.parse().map(U64).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
});

/// `int64` and `sfixed64`: text or number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct I64(pub i64);

scalar!(I64, "a 64-bit integer, as a number or in quotes", {
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<I64, E> {
        i64::try_from(number).map(I64).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<I64, E> {
        Ok(I64(number))
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<I64, E> {
        if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 {
            Ok(I64(number as i64))
        } else {
            Err(E::invalid_value(de::Unexpected::Float(number), &self))
        }
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<I64, E> {
        text.parse().map(I64).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
});

/// `double`: a number, one in quotes, or `"NaN"`, `"Infinity"`, `"-Infinity"`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct F64(pub f64);

scalar!(F64, "a number, or \"NaN\", \"Infinity\", \"-Infinity\"", {
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<F64, E> {
        Ok(F64(number as f64))
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<F64, E> {
        Ok(F64(number as f64))
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<F64, E> {
        Ok(F64(number))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<F64, E> {
        match text {
            "NaN" => Ok(F64(f64::NAN)),
            "Infinity" => Ok(F64(f64::INFINITY)),
            "-Infinity" => Ok(F64(f64::NEG_INFINITY)),
            // Rust reads `inf` and `nan` too, which proto3's JSON does not have.
            _ if text.bytes().any(|byte| byte.is_ascii_digit()) => {
                text.parse().map(F64).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
});

/// `int32`, `uint32`, `fixed32` and enums: an integer that fits 32 bits, signed or not. Enums are never names in OTLP.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Small(pub i64);

scalar!(Small, "a 32-bit integer", {
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Small, E> {
        u32::try_from(number)
            .map(|number| Small(number.into()))
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Small, E> {
        i32::try_from(number)
            .map(|number| Small(number.into()))
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
    }
});

/// `bool`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bool(pub bool);

scalar!(Bool, "true or false", {
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Bool, E> {
        Ok(Bool(value))
    }
});

/// `bytes` in base64, of either alphabet, padded or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Base64(pub Vec<u8>);

scalar!(Base64, "bytes in base64", {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Base64, E> {
        unbase64(text).map(Base64).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
});

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut word = 0_u32;
        for digit in chunk {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(value);
        }
        match chunk.len() {
            4 => bytes.extend_from_slice(&word.to_be_bytes()[1..]),
            3 => bytes.extend_from_slice(&(word >> 2).to_be_bytes()[2..]),
            2 => bytes.push((word >> 4) as u8),
            _ => return None,
        }
    }
    Some(bytes)
}

/// An id of `N` bytes in hexadecimal; empty means none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Default for Hex<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        unhex(&text).map(Self).ok_or_else(|| {
            let expected = format!("{} hexadecimal digits", 2 * N);
            de::Error::invalid_value(de::Unexpected::Str(&text), &expected.as_str())
        })
    }
}

/// A repeated field.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_unit<E: de::Error>(self) -> Result<List<T>, E> {
                Ok(List::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchfire_types::attributes::base64;

    use super::*;

    proptest! {
        #[test]
        fn base64_reads_back_in_both_alphabets_and_without_padding(bytes: Vec<u8>) {
            let text = base64(&bytes);
            prop_assert_eq!(unbase64(&text), Some(bytes.clone()));
            let other = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
            prop_assert_eq!(unbase64(&other), Some(bytes));
        }
    }
}
