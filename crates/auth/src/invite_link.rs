//! Invitation links (spec/auth.md, "Invitation links").
//!
//! `sft://HOST[:PORT]/#k=FINGERPRINT&i=SECRET[&p=PATH]`. All that follows `#` is secret: whoever sees it can redeem the
//! invitation. A link shows itself only through [`InviteLink::to_text`], never by `Debug`.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};
use sft_base::EntryPath;
use zeroize::Zeroizing;

use crate::fingerprint::Fingerprint;
use crate::invitation::InvitationSecret;
use crate::path_text::{self, PathTextError};
use crate::server_name::{DEFAULT_PORT, ServerName, ServerNameError};

/// Where a server is, the key it must have, and the secret that it will enrol this user for.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteLink {
    /// Where.
    pub server: ServerName,
    /// The fingerprint of its identity: the server is trusted without a question if it has this one.
    pub fingerprint: Fingerprint,
    /// What is redeemed.
    pub secret: InvitationSecret,
    /// Where in the server's tree the invitation leads.
    pub path: EntryPath,
}

/// Why a text is not an invitation link. None of these repeats what could be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteLinkError {
    /// Another scheme, or no `/#`.
    #[error("an invitation looks like `sft://HOST/#k=...&i=...`; was it copied whole?")]
    Shape,
    /// What stands for the host is none.
    #[error("the invitation names no server")]
    Server(#[from] ServerNameError),
    /// `k`, `i` or `p` twice.
    #[error("the invitation has `{0}` twice")]
    Twice(char),
    /// `k` or `i` is not there, or is not base64url of the right length.
    #[error("the invitation is damaged: `{0}=` is missing or not whole; was it copied to the end?")]
    Field(char),
    /// `p` is not a path.
    #[error("the invitation leads to a path that cannot be")]
    Path(#[from] PathTextError),
}

impl InviteLink {
    /// The link as it is given to the person invited. Secret.
    ///
    /// None if the server's name has an IPv6 zone, which means nothing on another machine.
    pub fn to_text(&self) -> Option<Zeroizing<String>> {
        if self.server.has_zone() {
            return None;
        }
        let mut text = Zeroizing::new(format!("{SCHEME}{}", self.server.uri_host()));
        if self.server.port() != DEFAULT_PORT {
            text.push_str(&format!(":{}", self.server.port()));
        }
        text.push_str("/#k=");
        text.push_str(&Base64UrlUnpadded::encode_string(&self.fingerprint.0));
        text.push_str("&i=");
        text.push_str(&Zeroizing::new(Base64UrlUnpadded::encode_string(&*self.secret.0)));
        if !self.path.is_root() {
            text.push_str("&p=");
            text.push_str(&path_text::for_uri(&self.path));
        }
        Some(text)
    }
}

impl FromStr for InviteLink {
    type Err = InviteLinkError;

    /// Keys other than `k`, `i` and `p` are ignored, for what later versions may add.
    fn from_str(text: &str) -> Result<Self, InviteLinkError> {
        let (scheme, rest) = text.trim().split_at_checked(SCHEME.len()).ok_or(InviteLinkError::Shape)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(InviteLinkError::Shape);
        }
        let (place, secret) = rest.split_once('#').ok_or(InviteLinkError::Shape)?;
        let place = place.strip_suffix('/').unwrap_or(place);
        let bare_address = place.contains(':') && !place.starts_with('[') && place.matches(':').count() > 1;
        if place.contains('/') || bare_address {
            return Err(InviteLinkError::Shape);
        }
        let server: ServerName = place.parse()?;
        if server.has_zone() {
            return Err(InviteLinkError::Shape);
        }
        let fields = Fields::read(secret)?;
        let fingerprint = Fingerprint(*bytes_of(fields.k).ok_or(InviteLinkError::Field('k'))?);
        let secret = InvitationSecret(bytes_of(fields.i).ok_or(InviteLinkError::Field('i'))?);
        Ok(Self { server, fingerprint, secret, path: path_text::parse(fields.p.unwrap_or(""))? })
    }
}

#[derive(Default)]
struct Fields<'a> {
    k: Option<&'a str>,
    i: Option<&'a str>,
    p: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, InviteLinkError> {
        let mut fields = Self::default();
        for (key, value) in text.split('&').filter_map(|field| field.split_once('=')) {
            let (slot, name) = match key {
                "k" => (&mut fields.k, 'k'),
                "i" => (&mut fields.i, 'i'),
                "p" => (&mut fields.p, 'p'),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(InviteLinkError::Twice(name));
            }
        }
        Ok(fields)
    }
}

fn bytes_of<const N: usize>(text: Option<&str>) -> Option<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    let decoded = Base64UrlUnpadded::decode(text?, &mut *bytes).ok()?;
    (decoded.len() == N).then_some(bytes)
}

impl fmt::Debug for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteLink({}, {}, {:?}, {:?})", self.server, self.fingerprint, self.secret, self.path)
    }
}

const SCHEME: &str = "sft://";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(server: &str, path: &[u8]) -> InviteLink {
        InviteLink {
            server: server.parse().unwrap(),
            fingerprint: Fingerprint([0xfb; 32]),
            secret: InvitationSecret::new([0xff; 16]),
            path: EntryPath::from_typed(path).unwrap(),
        }
    }

    #[test]
    fn a_link_says_everything_and_comes_back() {
        let whole = link("nas.example:99", b"2026/a b&c");
        let text = whole.to_text().unwrap();
        let k = "-_v7".repeat(10) + "-_s";
        assert_eq!(*text, format!("sft://nas.example:99/#k={k}&i=_____________________w&p=2026/a%20b%26c"));
        assert_eq!(text.parse(), Ok(whole));
        for server in ["nas", "192.0.2.1:1", "[2001:db8::1]", "[2001:db8::1]:9"] {
            let plain = link(server, b"");
            assert_eq!(plain.to_text().unwrap().parse(), Ok(plain));
        }
        assert!(link("fe80::1%eth0", b"").to_text().is_none());
    }

    #[test]
    fn later_keys_and_case_of_the_scheme_do_not_matter() {
        let plain = link("nas", b"");
        let text = plain.to_text().unwrap();
        assert_eq!(format!(" SFT{}&z=1&q\n", &text[3..]).parse(), Ok(plain.clone()));
        assert_eq!(text.replacen("/#", "#", 1).parse(), Ok(plain));
    }

    #[test]
    fn damaged_links_are_refused_without_repeating_them() {
        use InviteLinkError as E;
        let text = link("nas", b"p").to_text().unwrap().to_string();
        let parse = |text: &str| text.parse::<InviteLink>().unwrap_err();
        assert_eq!(parse(""), E::Shape);
        assert_eq!(parse("sft://nas"), E::Shape);
        assert_eq!(parse(&text.replacen("sft", "ssh", 1)), E::Shape);
        assert_eq!(parse(&text.replacen("nas/", "nas/x/", 1)), E::Shape);
        assert_eq!(parse(&text.replacen("nas", "2001:db8::1", 1)), E::Shape);
        assert!(matches!(parse(&text.replacen("nas", "ana@nas", 1)), E::Server(_)));
        assert!(matches!(parse(&text.replacen("nas", "", 1)), E::Server(_)));
        assert_eq!(parse("sft://nas/#"), E::Field('k'));
        assert_eq!(parse(&text.replacen("&i=", "&j=", 1)), E::Field('i'));
        assert_eq!(parse(&text.replacen("&p=", "A&p=", 1)), E::Field('i'));
        assert_eq!(parse(&text.replacen("w&p=", "&p=", 1)), E::Field('i'));
        assert_eq!(parse(&text.replacen("w&p=", "x&p=", 1)), E::Field('i'), "bits that count for nothing");
        assert_eq!(parse(&text.replacen("k=-_", "k=+/", 1)), E::Field('k'));
        assert_eq!(parse(&format!("{text}&k=")), E::Twice('k'));
        assert_eq!(parse(&format!("{text}%")), E::Path(PathTextError::Percent));
        assert!(matches!(parse(&format!("{text}/..")), E::Path(PathTextError::Path(_))));
        assert!(!format!("{:?}", link("nas", b"")).contains("_____"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(sft://)?[a-z.:\\[\\]#/%&=kip0-9é]{0,80}") {
            let _ = text.parse::<InviteLink>();
        }
    }
}
