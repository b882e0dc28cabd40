//! What stands before a key in `authorized_keys`: options, with quotes as sshd reads them (spec/auth.md, "The owner").
//!
//! An option that is not carried out makes the whole line give nothing, whatever it would have asked for.

use std::time::SystemTime;

use sft_base::Shown;

use crate::networks::Networks;
use crate::utc;

/// The options of a line, all of which are carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyOptions {
    /// When access ends.
    pub(crate) expires: Option<SystemTime>,
    /// Of an authority: who its certificates have to be for, if it is not the account that serves.
    pub(crate) principals: Option<Vec<String>>,
    /// Of an authority: where from its certificates are taken.
    pub(crate) from: Option<Networks>,
}

impl KeyOptions {
    /// - Errors: a sentence for the owner.
    pub(crate) fn read(options: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let is_authority = is_authority(options);
        for option in split(options) {
            read.take(option, is_authority)?;
        }
        Ok(read)
    }

    /// Whether a certificate for these names is one for the owner.
    pub(crate) fn is_for(&self, names: &[String], account: Option<&str>) -> bool {
        match &self.principals {
            Some(wanted) => wanted.iter().any(|wanted| names.contains(wanted)),
            None => names.iter().any(|name| Some(name.as_str()) == account),
        }
    }

    fn take(&mut self, option: &str, is_authority: bool) -> Result<(), String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("expiry-time") {
            let end = value.and_then(utc::parse_expiry);
            let end = end.ok_or("the `expiry-time` is not a time that can be read")?;
            self.expires = Some(self.expires.map_or(end, |earlier| earlier.min(end)));
        } else if is_authority && option.eq_ignore_ascii_case("cert-authority") {
        } else if is_authority && is("principals") && self.principals.is_none() {
            self.principals = Some(principals(value)?);
        } else if is_authority && is("from") && self.from.is_none() {
            let networks = value.ok_or("the `from` has no list of addresses")?;
            self.from = Some(Networks::parse(networks).map_err(|part| {
                let part = Shown(part.as_bytes());
                format!("in its `from`, `{part}` is no address and no network, so the key gives no access")
            })?);
        } else {
            let name = Shown(name.as_bytes());
            return Err(format!("the option `{name}` is not carried out by sft, so the key gives no access"));
        }
        Ok(())
    }
}

/// Whether the key signs certificates and lets nobody in itself.
pub(crate) fn is_authority(options: &str) -> bool {
    split(options).any(|option| option.eq_ignore_ascii_case("cert-authority"))
}

/// Where options end: at the first blank outside quotes.
pub(crate) fn end_of_options(line: &str) -> usize {
    scan_quoted(line)
        .find(|&(_, byte, quoted)| !quoted && matches!(byte, b' ' | b'\t'))
        .map_or(line.len(), |(at, ..)| at)
}

fn principals(value: Option<&str>) -> Result<Vec<String>, String> {
    let value = value.filter(|value| !value.contains(['\\', '"'])).unwrap_or_default();
    let names: Vec<_> = value.split(',').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return Err("its `principals` cannot be read, so the key gives no access".into());
    }
    Ok(names)
}

fn split(options: &str) -> impl Iterator<Item = &str> {
    let commas = scan_quoted(options).filter(|&(_, byte, quoted)| !quoted && byte == b',').map(|(at, ..)| at);
    let ends = commas.chain([options.len()]);
    let mut start = 0;
    ends.map(move |end| {
        let option = &options[start..end];
        start = (end + 1).min(options.len());
        option
    })
}

/// Each byte that is not an escaped quote, where it stands, and whether it is within quotes.
fn scan_quoted(text: &str) -> impl Iterator<Item = (usize, u8, bool)> {
    let bytes = text.as_bytes();
    let (mut at, mut quoted) = (0, false);
    std::iter::from_fn(move || {
        while bytes.get(at) == Some(&b'\\') && bytes.get(at + 1) == Some(&b'"') {
            at += 2;
        }
        let byte = *bytes.get(at)?;
        quoted ^= byte == b'"';
        at += 1;
        Some((at - 1, byte, quoted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_options_of_its_own() {
        let read = KeyOptions::read("cert-authority,principals=\"ana,ops\",from=\"192.0.2.0/24\"").unwrap();
        assert_eq!(read.principals, Some(vec!["ana".into(), "ops".into()]));
        assert_eq!(read.from, Networks::parse("192.0.2.0/24").ok());
        assert!(
            is_authority("PRINCIPALS=\"ana\",CERT-authority") && !is_authority("from=\"cert-authority\"")
        );
        assert_eq!(KeyOptions::read("Cert-Authority").unwrap(), KeyOptions::default());
    }

    #[test]
    fn what_cannot_be_carried_out_is_told() {
        let told = |options: &str| KeyOptions::read(options).unwrap_err();
        for options in [
            "cert-authority,command=\"x\"",
            "cert-authority,no-pty",
            "cert-authority=\"x\",cert-authority",
            "cert-authority,principals=\"a\",principals=\"b\"",
            "cert-authority,from=\"::1\",from=\"::2\"",
            "principals=\"a\"",
            "from=\"::1\"",
        ] {
            assert!(told(options).contains("is not carried out"), "{options}");
        }
        for value in ["", "=", "=ana", "=\"\"", "=\"a,,b\"", "=\"a\\\"b\""] {
            let told = told(&format!("cert-authority,principals{value}"));
            assert!(told.contains("`principals` cannot be read"), "{value}: {told}");
        }
        assert!(told("cert-authority,from=\"*.example.org\"").contains("`*.example.org` is no address"));
        assert!(told("cert-authority,from").contains("no list of addresses"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z=\",\\\\ \t#éA]{0,60}") {
            let _ = KeyOptions::read(&text);
            let (options, _) = text.split_at(end_of_options(&text));
            split(options).for_each(drop);
        }
    }
}
