//! Entry paths as text: in links, and in files that people read (spec/auth.md, "Invitation links").
//!
//! A path is bytes; what a text cannot hold as it stands is written as `%` and two hexadecimal digits. Reading splits
//! at `/` first and decodes then, so that `%2F` never becomes a separator.

use sft_base::{EntryPath, PathError};

/// Why a text is not a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathTextError {
    /// A `%` that two hexadecimal digits do not follow.
    #[error("a `%` in a path must have two hexadecimal digits after it")]
    Percent,
    /// A name that none may have.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// For a URI: all but the unreserved characters of RFC 3986 and the `/` between names is encoded. The root is empty.
pub(crate) fn for_uri(path: &EntryPath) -> String {
    let mut text = String::new();
    for &byte in path.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(byte as char)
            }
            _ => push_encoded(&mut text, byte),
        }
    }
    text
}

/// For a file that people read: a `/` first, UTF-8 as it stands, the rest, control characters and `%` encoded.
pub(crate) fn for_people(path: &EntryPath) -> String {
    let mut text = String::from("/");
    for chunk in path.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '%' {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_encoded(&mut text, byte));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|&byte| push_encoded(&mut text, byte));
    }
    text
}

/// Reads either form.
pub(crate) fn parse(text: &str) -> Result<EntryPath, PathTextError> {
    let names: Vec<Vec<u8>> = text
        .split('/')
        .filter(|name| !name.is_empty())
        .map(decode)
        .collect::<Option<_>>()
        .ok_or(PathTextError::Percent)?;
    Ok(EntryPath::from_names(names.iter().map(Vec::as_slice))?)
}

fn push_encoded(text: &mut String, byte: u8) {
    text.push('%');
    for digit in [byte >> 4, byte & 15] {
        text.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
    }
}

fn decode(name: &str) -> Option<Vec<u8>> {
    let mut bytes = name.bytes();
    let mut decoded = Vec::with_capacity(name.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms() {
        let path = EntryPath::from_names([&b"a b"[..], b"\xff%", "é".as_bytes()]).unwrap();
        assert_eq!(for_uri(&path), "a%20b/%FF%25/%C3%A9");
        assert_eq!(for_people(&path), "/a b/%FF%25/é");
        assert_eq!(for_people(&EntryPath::root()), "/");
        assert_eq!(parse(""), Ok(EntryPath::root()));
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        assert_eq!(parse("a/%2E%2E/b"), Err(PathError::Dots.into()));
        assert_eq!(parse("a/."), Err(PathError::Dots.into()));
        assert_eq!(parse("a%2Fb"), Err(PathError::Separator.into()));
        assert_eq!(parse("a%00"), Err(PathError::Separator.into()));
        for text in ["%", "%a", "%zz", "%+1", "a/%é"] {
            assert_eq!(parse(text), Err(PathTextError::Percent), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_path_comes_back(names in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..12), 0..5)) {
            if let Ok(path) = EntryPath::from_names(names.iter().map(Vec::as_slice)) {
                prop_assert_eq!(parse(&for_uri(&path)), Ok(path.clone()));
                prop_assert_eq!(parse(&for_people(&path)), Ok(path));
            }
        }
    }
}
