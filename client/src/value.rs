//! Values of fields and of measurements.

use std::borrow::Cow;
use std::fmt;

/// Longest text of a field that is kept, in bytes. What is longer ends with `…`.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// Value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A signed integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// True or false.
    Bool(bool),
}

impl Value {
    /// Returns the text of anything that can be displayed.
    pub fn display(value: &(impl fmt::Display + ?Sized)) -> Self {
        Self::Text(Cow::Owned(bounded(format_args!("{value}"), MAX_TEXT_BYTES)))
    }

    /// Returns the text of anything that can be shown for debugging.
    pub fn debug(value: &(impl fmt::Debug + ?Sized)) -> Self {
        Self::Text(Cow::Owned(bounded(format_args!("{value:?}"), MAX_TEXT_BYTES)))
    }

    /// Returns roughly how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 8,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Bool(value) => value.fmt(f),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Cow::Owned(cut(text, MAX_TEXT_BYTES).into_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(if text.len() > MAX_TEXT_BYTES { cut(&text, MAX_TEXT_BYTES).into_owned() } else { text }))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Cow<'static, str>> for Value {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) if text.len() <= MAX_TEXT_BYTES => Self::Text(Cow::Borrowed(text)),
            text => text.into_owned().into(),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// A value that may be absent is empty text then.
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Text(Cow::Borrowed("")), Into::into)
    }
}

macro_rules! numbers {
    ($($kind:ty => $variant:ident as $as:ty),*) => {$(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::$variant(number as $as)
            }
        }
        impl Number for $kind {
            fn as_f64(self) -> f64 {
                self as f64
            }
        }
    )*};
}

numbers!(i8 => Int as i64, i16 => Int as i64, i32 => Int as i64, i64 => Int as i64, isize => Int as i64,
    u8 => Int as i64, u16 => Int as i64, u32 => Int as i64, f32 => Float as f64, f64 => Float as f64);

/// What OpenTelemetry's signed 64 bits cannot hold becomes a float, not a negative number.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        i64::try_from(number).map_or(Self::Float(number as f64), Self::Int)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        (number as u64).into()
    }
}

/// A number of any of Rust's types, as a measurement takes it.
pub trait Number: Copy {
    /// Returns it as a float.
    fn as_f64(self) -> f64;
}

impl Number for u64 {
    fn as_f64(self) -> f64 {
        self as f64
    }
}

impl Number for usize {
    fn as_f64(self) -> f64 {
        self as f64
    }
}

/// A duration counts in milliseconds, as timers do.
impl Number for std::time::Duration {
    fn as_f64(self) -> f64 {
        self.as_secs_f64() * 1e3
    }
}

/// Returns at most `most` bytes of `text`, and `…` if there were more.
pub(crate) fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most { Cow::Borrowed(text) } else { Cow::Owned(format!("{}…", &text[..text.floor_char_boundary(most)])) }
}

/// Formats at most `most` bytes: what formats itself without end is stopped there, and what fails to is kept as far as it came.
pub(crate) fn bounded(arguments: fmt::Arguments<'_>, most: usize) -> String {
    if let Some(text) = arguments.as_str() {
        return cut(text, most).into_owned();
    }
    let mut writer = Bounded { text: String::new(), most };
    if fmt::write(&mut writer, arguments).is_err() && writer.text.len() >= most.saturating_sub(3) {
        writer.text.push('…');
    }
    writer.text
}

struct Bounded {
    text: String,
    most: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let left = self.most - self.text.len();
        if part.len() <= left {
            self.text.push_str(part);
            return Ok(());
        }
        self.text.push_str(&part[..part.floor_char_boundary(left)]);
        Err(fmt::Error)
    }
}

/// Fields of a record, one after the other: `fields().with("user_id", "12345").with("tries", 3)`. The macro
/// [`fields!`](crate::fields) writes the same more briefly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub(crate) Vec<(Cow<'static, str>, Value)>);

impl Fields {
    /// Returns no fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        self.push(name, value);
        self
    }

    /// Adds a field.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.0.push((name.into(), value.into()));
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Fields by name: `fields! { user_id: "12345", "session.id": id }`. With none, `fields! {}`.
#[macro_export]
macro_rules! fields {
    () => { $crate::Fields::new() };
    ($($name:tt : $value:expr),+ $(,)?) => { $crate::Fields::new()$(.with($crate::__field_name!($name), $value))+ };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __field_name {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:literal) => {
        $name
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_even_if_they_have_no_end() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("ä")?;
                }
            }
        }
        let text = bounded(format_args!("{Endless}"), 101);
        assert_eq!((text.len(), text.ends_with("ä…")), (103, true));
        assert_eq!(bounded(format_args!("{}", "short"), 5), "short");
        assert_eq!(cut("äöü", 3), "ä…");
    }

    #[test]
    fn numbers_keep_their_value() {
        assert_eq!(Value::from(u64::MAX), Value::Float(u64::MAX as f64));
        assert_eq!(Value::from(7_usize), Value::Int(7));
        assert_eq!(Value::from(None::<i64>), Value::Text("".into()));
        let fields = fields! { user_id: "12345", "session.id": 5 };
        assert_eq!(fields.0, [("user_id".into(), "12345".into()), ("session.id".into(), Value::Int(5))]);
    }
}
