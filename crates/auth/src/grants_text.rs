//! The text of `grants.toml`: for people to read and to change by hand (spec/auth.md, "Grants").
//!
//! Keys that are not known are errors: a misspelt `expires` must not become access for ever.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sft_base::EntryPath;
use zeroize::Zeroizing;

use crate::grant::Scope;
use crate::grants::{Contents, Enrolled, OpenInvitation};
use crate::invitation::{InvitationId, InvitationTerms, InvitationVerifier};
use crate::password::{PasswordGrant, PasswordVerifier};
use crate::path_text;
use crate::public_key::PublicKeyId;
use crate::utc;

/// Why the text is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedGrants {
    /// Bytes that are no text.
    #[error("it is not UTF-8, as a text file has to be")]
    NotText(#[source] std::str::Utf8Error),
    /// Not TOML, or not with these keys.
    #[error("{0}")]
    Toml(String),
    /// A value that says nothing.
    #[error("`{field} = \"{value}\"` of {table} {number} is not understood")]
    Value {
        /// `key`, `invitation` or `password`.
        table: &'static str,
        /// Which one, from one.
        number: usize,
        /// The key of the value.
        field: &'static str,
        /// What it says.
        value: String,
    },
}

pub(crate) fn parse(text: &str) -> Result<Contents, MalformedGrants> {
    let tables: Tables = toml::from_str(text).map_err(|e| MalformedGrants::Toml(e.to_string()))?;
    let enrolled = tables.key.iter().zip(1..).map(|(table, number)| table.read(At { table: "key", number }));
    let invitations = tables.invitation.iter().zip(1..);
    let invitations = invitations.map(|(table, number)| table.read(At { table: "invitation", number }));
    let passwords = tables.password.iter().zip(1..);
    let passwords = passwords.map(|(table, number)| table.read(At { table: "password", number }));
    Ok(Contents {
        enrolled: enrolled.collect::<Result<_, _>>()?,
        invitations: invitations.collect::<Result<_, _>>()?,
        passwords: passwords.collect::<Result<_, _>>()?,
    })
}

pub(crate) fn write(contents: &Contents) -> Zeroizing<String> {
    let tables = Tables {
        key: contents.enrolled.iter().map(KeyTable::of).collect(),
        invitation: contents.invitations.iter().map(InvitationTable::of).collect(),
        password: contents.passwords.iter().map(PasswordTable::of).collect(),
    };
    let text = toml::to_string(&tables).expect("tables of strings and numbers can always be written");
    Zeroizing::new(format!("{HEADER}\n{text}"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    key: Vec<KeyTable>,
    #[serde(default)]
    invitation: Vec<InvitationTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    password: Vec<PasswordTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyTable {
    key: String,
    #[serde(default)]
    label: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user: String,
    path: String,
    rights: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvitationTable {
    id: String,
    verifier: String,
    path: String,
    rights: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_until: Option<String>,
    uses: u32,
    #[serde(default)]
    note: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordTable {
    verifier: String,
    #[serde(default)]
    label: String,
    path: String,
    rights: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

impl KeyTable {
    fn of(enrolled: &Enrolled) -> Self {
        Self {
            key: enrolled.key.to_line(),
            label: enrolled.label.clone(),
            user: enrolled.user.clone(),
            path: path_text::for_people(&enrolled.scope.path),
            rights: enrolled.scope.rights.to_string(),
            expires: enrolled.scope.expires.map(utc::format),
            via: enrolled.via.map(|id| id.to_string()),
        }
    }

    fn read(&self, at: At) -> Result<Enrolled, MalformedGrants> {
        let scope = Scope {
            path: at.path(&self.path)?,
            rights: at.value("rights", &self.rights, self.rights.parse().ok())?,
            expires: at.time("expires", self.expires.as_deref())?,
        };
        let key = PublicKeyId::from_line(&self.key).ok().map(|(key, _)| key);
        let via = self.via.as_deref().map(|id| at.id("via", id)).transpose()?;
        let (label, user) = (self.label.clone(), self.user.clone());
        Ok(Enrolled { key: at.value("key", &self.key, key)?, label, user, scope, via })
    }
}

impl InvitationTable {
    fn of(open: &OpenInvitation) -> Self {
        Self {
            id: open.id.to_string(),
            verifier: hex(&*open.verifier.0),
            path: path_text::for_people(&open.terms.path),
            rights: open.terms.rights.to_string(),
            expires: open.terms.expires.map(utc::format),
            access_until: open.terms.access_until.map(utc::format),
            uses: open.terms.uses,
            note: open.terms.note.clone(),
        }
    }

    fn read(&self, at: At) -> Result<OpenInvitation, MalformedGrants> {
        let terms = InvitationTerms {
            path: at.path(&self.path)?,
            rights: at.value("rights", &self.rights, self.rights.parse().ok())?,
            expires: at.time("expires", self.expires.as_deref())?,
            access_until: at.time("access_until", self.access_until.as_deref())?,
            uses: self.uses,
            note: self.note.clone(),
        };
        // The verifier is a secret: an error does not repeat it.
        let verifier = at.value("verifier", "...", unhex(&self.verifier).map(Zeroizing::new))?;
        Ok(OpenInvitation { id: at.id("id", &self.id)?, terms, verifier: InvitationVerifier(verifier) })
    }
}

impl PasswordTable {
    fn of(known: &PasswordGrant) -> Self {
        Self {
            verifier: hex(&known.verifier.0),
            label: known.label.clone(),
            path: path_text::for_people(&known.scope.path),
            rights: known.scope.rights.to_string(),
            expires: known.scope.expires.map(utc::format),
        }
    }

    fn read(&self, at: At) -> Result<PasswordGrant, MalformedGrants> {
        let scope = Scope {
            path: at.path(&self.path)?,
            rights: at.value("rights", &self.rights, self.rights.parse().ok())?,
            expires: at.time("expires", self.expires.as_deref())?,
        };
        let verifier = at.value("verifier", &self.verifier, unhex(&self.verifier).map(PasswordVerifier))?;
        Ok(PasswordGrant { label: self.label.clone(), scope, verifier })
    }
}

/// Where in the file a value stands.
#[derive(Clone, Copy)]
struct At {
    table: &'static str,
    number: usize,
}

impl At {
    fn value<T>(self, field: &'static str, text: &str, value: Option<T>) -> Result<T, MalformedGrants> {
        let Self { table, number } = self;
        let said = || text.escape_debug().to_string();
        value.ok_or_else(|| MalformedGrants::Value { table, number, field, value: said() })
    }

    fn path(self, text: &str) -> Result<EntryPath, MalformedGrants> {
        self.value("path", text, path_text::parse(text).ok())
    }

    fn time(self, field: &'static str, text: Option<&str>) -> Result<Option<SystemTime>, MalformedGrants> {
        text.map(|text| self.value(field, text, utc::parse(text))).transpose()
    }

    fn id(self, field: &'static str, text: &str) -> Result<InvitationId, MalformedGrants> {
        self.value(field, text, unhex(text).map(InvitationId))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|d| char::from(b"0123456789abcdef"[usize::from(d)]))
        .collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0)).collect();
    if digits.len() == 2 * N { bytes.try_into().ok() } else { None }
}

const HEADER: &str = "\
# Who may use this server besides its owner. Keep this file private: it can be used to redeem open invitations.
# `sft serve` and `sft invite` change it while they run; lines may be changed or removed by hand, comments are lost.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invitation::InvitationSecret;
    use crate::rights::{Right, Rights};

    fn contents() -> Contents {
        let secret = InvitationSecret::new([5; 16]);
        let key = PublicKeyId::from_blob(&crate::ServerKey([1; 32]).blob()).unwrap();
        let path = EntryPath::from_names([&b"Fotos f\xc3\xbcr Oma"[..], b"\xff"]).unwrap();
        let terms = InvitationTerms {
            path: path.clone(),
            rights: Rights::WRITE,
            expires: utc::parse("2026-12-31T00:00:00Z"),
            access_until: None,
            uses: 3,
            note: "a \"note\"\n".into(),
        };
        let scope = Scope { path, rights: Rights::of([Right::Read]), expires: terms.expires };
        let enrolled =
            Enrolled { key, label: "Ana".into(), user: "ana".into(), scope, via: Some(secret.id()) };
        let open = OpenInvitation { id: secret.id(), terms, verifier: secret.verifier() };
        let scope = Scope { expires: None, ..enrolled.scope.clone() };
        let password = PasswordGrant { label: "Bob".into(), scope, verifier: PasswordVerifier([7; 32]) };
        Contents { enrolled: vec![enrolled], invitations: vec![open], passwords: vec![password] }
    }

    #[test]
    fn what_is_written_is_read_and_can_be_read_by_people() {
        let text = write(&contents());
        assert_eq!(parse(&text), Ok(contents()));
        for line in
            ["path = \"/Fotos für Oma/%FF\"", "rights = \"fetch\"", "expires = \"2026-12-31T00:00:00Z\""]
        {
            assert!(text.contains(line), "{line} in\n{}", *text);
        }
        assert_eq!(parse(&write(&Contents::default())), Ok(Contents::default()));
        assert_eq!(parse(""), Ok(Contents::default()));
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_says_where() {
        let text = write(&contents());
        for (from, to) in [
            ("label", "lable"),
            ("expires", "expire"),
            ("2026-12-31T00:00:00Z", "2026-12-32T00:00:00Z"),
            ("rights = \"fetch\"", "rights = \"fly\""),
            ("path = \"/", "path = \"/../"),
            ("ssh-ed25519 ", "ssh-rsa "),
            ("uses = 3", "uses = -1"),
            ("via = \"", "via = \"0"),
            ("verifier = \"", "verifier = \"0"),
            ("[[key]]", "[[keys]]"),
            ("verifier = \"0707", "verifier = \"070"),
            ("label = \"Bob\"", "user = \"Bob\""),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, **text, "{from}");
            assert!(parse(&broken).is_err(), "{to}");
        }
        let said = parse(&text.replacen("fetch", "fly", 1)).unwrap_err().to_string();
        assert_eq!(said, "`rights = \"fly\"` of key 1 is not understood");
    }
}
