//! Looks at a source map before it is read, so that a hostile one does not cost memory: nothing is kept here, only counted.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Entries of the mappings; each takes 28 bytes.
const MAX_MAPPINGS: usize = 4_000_000;
/// Names and sources.
const MAX_NAMES: usize = 1_000_000;
/// Values in keys that are not looked at.
const MAX_OTHERS: usize = 1_000_000;
/// Maps within one map of maps.
const MAX_SECTIONS: usize = 10_000;

/// Returns whether `json` has the shape of a source map, of a size that can be read.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    let shape: Shape = serde_json::from_slice(json).map_err(|error| format!("it is no source map: {error}"))?;
    if !shape.is_map {
        return Err("it is no source map: it has neither `mappings` nor `sections`".to_owned());
    }
    let bounds = [
        ("mappings", shape.mappings, MAX_MAPPINGS),
        ("names and sources", shape.names, MAX_NAMES),
        ("sections", shape.sections, MAX_SECTIONS),
        ("other values", shape.others, MAX_OTHERS),
    ];
    match bounds.into_iter().find(|(_, count, most)| count > most) {
        Some((what, count, most)) => Err(format!("it has {count} {what}, and {most} are read")),
        None => Ok(()),
    }
}

/// How much there is of what.
#[derive(Debug, Default)]
struct Shape {
    is_map: bool,
    mappings: usize,
    names: usize,
    sections: usize,
    others: usize,
}

impl Shape {
    fn add(&mut self, other: &Self) {
        self.mappings += other.mappings;
        self.names += other.names;
        self.sections += other.sections;
        self.others += other.others;
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Shape;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
                let mut shape = Shape::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "mappings" => {
                            shape.is_map = true;
                            shape.mappings += map.next_value::<Separators>()?.0;
                        }
                        "names" | "sources" | "sourcesContent" => shape.names += map.next_value::<Scalars>()?.0,
                        "file" | "sourceRoot" => shape.names += map.next_value::<Scalars>()?.0,
                        "sections" => {
                            shape.is_map = true;
                            shape.add(&map.next_value::<Sections>()?.0);
                        }
                        _ => shape.others += map.next_value::<Nodes>()?.0,
                    }
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[derive(Deserialize)]
struct Section {
    map: Option<Shape>,
}

/// All maps of a list together.
struct Sections(Shape);

impl<'de> Deserialize<'de> for Sections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Sections;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of sections")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Sections, A::Error> {
                let mut all = Shape::default();
                while let Some(section) = list.next_element::<Section>()? {
                    all.sections += 1;
                    all.add(&section.map.unwrap_or_default());
                }
                Ok(Sections(all))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Counts the separators of a text; anything else counts as none.
struct Separators(usize);

impl<'de> Deserialize<'de> for Separators {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Separators;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text of mappings")
            }
            fn visit_str<E>(self, text: &str) -> Result<Separators, E> {
                Ok(Separators(text.bytes().filter(|byte| matches!(byte, b',' | b';')).count()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Counts a scalar, or those of a list; whatever else is nested is refused.
struct Scalars(usize);

/// Counts every value.
struct Nodes(usize);

macro_rules! scalars {
    ($counted:ident) => {
        fn visit_bool<E>(self, _: bool) -> Result<$counted, E> {
            Ok($counted(1))
        }
        fn visit_i64<E>(self, _: i64) -> Result<$counted, E> {
            Ok($counted(1))
        }
        fn visit_u64<E>(self, _: u64) -> Result<$counted, E> {
            Ok($counted(1))
        }
        fn visit_f64<E>(self, _: f64) -> Result<$counted, E> {
            Ok($counted(1))
        }
        fn visit_str<E>(self, _: &str) -> Result<$counted, E> {
            Ok($counted(1))
        }
        fn visit_unit<E>(self) -> Result<$counted, E> {
            Ok($counted(1))
        }
    };
}

impl<'de> Deserialize<'de> for Scalars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One(bool);
        impl<'de> Visitor<'de> for One {
            type Value = Scalars;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }
            scalars!(Scalars);
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalars, A::Error> {
                if self.0 {
                    return Err(de::Error::custom("a list within a list of names"));
                }
                let mut count = 0;
                while list.next_element_seed(Within)?.is_some() {
                    count += 1;
                }
                Ok(Scalars(count))
            }
        }
        struct Within;
        impl<'de> de::DeserializeSeed<'de> for Within {
            type Value = Scalars;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalars, D::Error> {
                deserializer.deserialize_any(One(true))
            }
        }
        deserializer.deserialize_any(One(false))
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Nodes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            scalars!(Nodes);
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Nodes, A::Error> {
                let mut count = 1;
                while let Some(nodes) = list.next_element::<Nodes>()? {
                    count += nodes.0;
                }
                Ok(Nodes(count))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Nodes, A::Error> {
                let mut count = 1;
                while map.next_key::<IgnoredAny>()?.is_some() {
                    count += map.next_value::<Nodes>()?.0 + 1;
                }
                Ok(Nodes(count))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_source_map_of_bearable_size_is_read() {
        assert_eq!(check(br#"{"version":3,"sources":["a",null],"names":["a",1],"mappings":"AAAA;","x":{"y":[1]}}"#), Ok(()));
        assert_eq!(check(br#"{"version":3,"sections":[{"offset":{"line":0,"column":0},"map":{"mappings":"AAAA"}}]}"#), Ok(()));
        assert!(check(b"[]").is_err() && check(b"{}").is_err() && check(b"x").is_err());
        assert!(check(br#"{"mappings":1}"#).is_err());
        assert!(check(br#"{"mappings":"","names":[[1]]}"#).unwrap_err().contains("list of"));
        let many = format!(r#"{{"mappings":"{}"}}"#, ";".repeat(MAX_MAPPINGS + 1));
        assert!(check(many.as_bytes()).unwrap_err().contains("mappings"));
        let deep = format!(r#"{{"mappings":"","x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert!(check(deep.as_bytes()).is_err());
    }
}
