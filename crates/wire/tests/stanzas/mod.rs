//! Reads the files of spec/vectors: stanzas of `key = value` lines, an empty line between them, `#` before remarks.

// Each test that includes this file uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

/// One vector.
pub(crate) struct Stanza(BTreeMap<String, String>);

impl Stanza {
    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.find(key).unwrap_or_else(|| panic!("no `{key}` in {:?}", self.0))
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        let text = self.text(key);
        let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
        parsed.unwrap_or_else(|_| panic!("`{text}` is not a number"))
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        unhex(self.text(key))
    }
}

/// All vectors of spec/vectors/`file`.
pub(crate) fn read(file: &str) -> Vec<Stanza> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut stanzas = vec![BTreeMap::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(" =") {
            Some((key, value)) => {
                let before =
                    stanzas.last_mut().expect("never empty").insert(key.into(), value.trim_start().into());
                assert_eq!(before, None, "`{key}` stands twice before: {line}");
            }
            None if line.is_empty() => stanzas.push(BTreeMap::new()),
            None => panic!("{file}: neither key nor remark: {line}"),
        }
    }
    stanzas.into_iter().filter(|stanza| !stanza.is_empty()).map(Stanza).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(|pair| byte(pair).unwrap_or_else(|| panic!("`{text}` is not hexadecimal"))).collect()
}
