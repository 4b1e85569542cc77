//! The JSON text that stands for a nested value.
//!
//! Source: OpenTelemetry specification, "Representation of `AnyValue` for non-OTLP protocols": arrays and maps are JSON, bytes are
//! base64, and floats that JSON cannot say are strings.

use std::fmt::Write as _;

/// Appends `text` as a JSON string, as `serde_json` would write it.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut start = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[start..index]);
        out.push_str(escape);
        if escape.is_empty() {
            // Writing into a `String` cannot fail.
            let _ = write!(out, "\\u{byte:04x}");
        }
        start = index + 1;
    }
    out.push_str(&text[start..]);
    out.push('"');
}

/// Appends `number` as a JSON number, or as a string if it is none.
pub(super) fn push_float(out: &mut String, number: f64) {
    let _ = match serde_json::Number::from_f64(number) {
        Some(number) => write!(out, "{number}"),
        None if number.is_nan() => write!(out, "\"NaN\""),
        None => write!(out, "\"{}Infinity\"", if number < 0.0 { "-" } else { "" }),
    };
}

/// Appends `number`.
pub(super) fn push_int(out: &mut String, number: i64) {
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_and_numbers_are_written_as_serde_json_writes_them(text in any::<String>(), control in "[\\x00-\\x22\\\\]{0,20}", number in any::<f64>()) {
            for text in [text, control] {
                let mut out = String::new();
                super::push_string(&mut out, &text);
                prop_assert_eq!(out, serde_json::to_string(&text).unwrap());
            }
            if number.is_finite() {
                let mut out = String::new();
                super::push_float(&mut out, number);
                prop_assert_eq!(out, serde_json::to_string(&number).unwrap());
            }
        }
    }
}
