//! `application/x-www-form-urlencoded` text that may hold secrets (RFC 6749 appendix B).

use std::fmt;

use bytes::Bytes;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

/// A form being written. Wiped when dropped; `Debug` shows nothing of it.
#[derive(Default)]
pub struct Form(Zeroizing<String>);

impl Form {
    /// Adds a field at the end, encoded.
    pub fn append(&mut self, name: &str, value: &str) {
        self.make_room(2 + encoded_at_most(name) + encoded_at_most(value));
        Serializer::for_suffix(&mut *self.0, 0).append_pair(name, value);
    }

    /// The form as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form as a request body, wiped when the last reference to it is dropped.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }

    /// Grows by moving into a larger buffer and wiping the old one, which `String` would not do.
    fn make_room(&mut self, more: usize) {
        if self.0.capacity() - self.0.len() < more {
            let mut larger = Zeroizing::new(String::with_capacity((2 * self.0.len()).max(256) + more));
            larger.push_str(&self.0);
            self.0 = larger;
        }
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").finish_non_exhaustive()
    }
}

/// One name or value, encoded.
pub(super) fn encode(text: &str) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(encoded_at_most(text)));
    encoded.extend(byte_serialize(text.as_bytes()));
    encoded
}

/// Each byte becomes `%XX` at worst.
fn encoded_at_most(text: &str) -> usize {
    3 * text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::form_urlencoded::parse;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_can_be_read_back(fields in proptest::collection::vec((".*", ".*"), 0..6)) {
            let mut form = Form::default();
            for (name, value) in &fields {
                form.append(name, value);
            }
            let read: Vec<(String, String)> = parse(form.as_str().as_bytes()).into_owned().collect();
            prop_assert_eq!(read, fields);
            prop_assert_eq!(format!("{form:?}"), "Form { .. }");
            prop_assert_eq!(form.as_str().to_owned(), String::from_utf8_lossy(&form.into_bytes()).into_owned());
        }

        #[test]
        fn encoding_alone_is_what_a_form_does(text in ".*") {
            let mut form = Form::default();
            form.append("n", &text);
            prop_assert_eq!(form.as_str(), format!("n={}", *encode(&text)));
        }
    }
}
