//! The fields of an answer, whether it came as JSON or as a form.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::body::Unreadable;

/// The wanted fields of an answer; of a repeated one the last.
///
/// All others are skipped without being kept, so that a large or deeply nested answer costs nothing and a
/// surprising type in a field that nobody reads hurts nobody.
#[derive(Default)]
pub(super) struct Fields {
    wanted: Vec<(String, Value)>,
    names: Vec<String>,
}

/// What a field holds.
pub(super) enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// An object or a list with something in it.
    Nested,
    /// `null`, or an empty object or list.
    Null,
    /// A number.
    Number(Number),
    /// A text; it may be a token.
    Text(Zeroizing<String>),
}

impl Fields {
    /// Reads a body: JSON if it begins like an object, else a form if it is called one or has the fields of one.
    ///
    /// # Errors
    /// [`Unreadable`] if it is neither.
    pub(super) fn read(text: &str, content_type: Option<&str>, wanted: &[&str]) -> Result<Self, Unreadable> {
        let text = text.trim();
        match text.as_bytes().first() {
            None => Err(Unreadable::Empty),
            Some(b'{') => Self::of_json(text, wanted),
            Some(b'<') => Err(Unreadable::Html),
            Some(_) if is_form(content_type) || looks_like_form(text) => Ok(Self::of_form(text, wanted)),
            Some(_) => Err(Unreadable::Unknown),
        }
    }

    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`Unreadable::Json`] with the place; never with what is there.
    pub(super) fn of_json(text: &str, wanted: &[&str]) -> Result<Self, Unreadable> {
        let mut reader = serde_json::Deserializer::from_str(text);
        Wanted(wanted)
            .deserialize(&mut reader)
            .and_then(|fields| reader.end().map(|()| fields))
            .map_err(|error| Unreadable::Json { line: error.line(), column: error.column() })
    }

    fn of_form(text: &str, wanted: &[&str]) -> Self {
        let mut fields = Self::default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if wanted.contains(&&*name) {
                fields.set(&name, Value::Text(Zeroizing::new(value.into_owned())));
            }
        }
        fields
    }

    /// What a wanted field holds, if it is there.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.wanted.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The trimmed text of a wanted field, if it is a text with something in it.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// The names of the first few fields of a JSON object, wanted or not. A form has none here: what looks like
    /// a name may be a bare token.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    fn set(&mut self, name: &str, value: Value) {
        match self.wanted.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.wanted.push((name.to_owned(), value)),
        }
    }
}

/// Reads an object, keeping the named fields.
struct Wanted<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            if self.0.contains(&name.as_str()) {
                fields.set(&name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            if fields.names.len() < MOST_NAMES {
                fields.names.push(name);
            }
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// Accepts whatever JSON can hold.
struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut value = Value::Null;
        while list.next_element::<IgnoredAny>()?.is_some() {
            value = Value::Nested;
        }
        Ok(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut value = Value::Null;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            value = Value::Nested;
        }
        Ok(value)
    }
}

fn is_form(content_type: Option<&str>) -> bool {
    let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A form that is sent as `text/plain` or the like: nothing but fields, and one that matters among them.
fn looks_like_form(text: &str) -> bool {
    let matters = |pair: &str| pair.starts_with("access_token=") || pair.starts_with("error=");
    !text.contains(|character: char| character.is_whitespace() || character == '<') && text.split('&').any(matters)
}

/// How many field names are remembered for a message.
const MOST_NAMES: usize = 12;
