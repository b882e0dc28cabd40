//! Passwords, for clients of SFTP that have no key (spec/auth.md, "Passwords"). Made here, from random numbers, and never
//! chosen: nobody can guess one, and what is kept of it gives it to nobody, without any work that a stranger could make the
//! server do by trying.

use std::fmt;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::grant::Scope;

/// A password: 120 random bits, wiped from memory when dropped and never shown by `Debug`.
pub struct Password(Zeroizing<[u8; BYTES]>);

/// What a password gives, as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordGrant {
    /// For people: who it was made for.
    pub label: String,
    /// What it lets one do, where and for how long.
    pub scope: Scope,
    pub(crate) verifier: PasswordVerifier,
}

/// What the server keeps to know a password again. It is no secret that would let anybody in.
#[derive(Clone, Copy)]
pub(crate) struct PasswordVerifier(pub(crate) [u8; 32]);

impl Password {
    pub(crate) fn new(bytes: Zeroizing<[u8; BYTES]>) -> Self {
        Self(bytes)
    }

    /// Four groups of six digits and small letters: `4f7k2m-...`, none of which looks like another.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(DIGITS + DIGITS / GROUP));
        for (at, digit) in (0..DIGITS).map(|at| (at, self.digit(at))) {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(digit)]));
        }
        text
    }

    /// Takes what somebody has typed: large letters, blanks and missing hyphens are let pass.
    pub(crate) fn from_typed(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        let mut at = 0;
        for typed in text.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            let typed = typed.to_ascii_lowercase();
            let digit = ALPHABET.iter().position(|&known| known == typed)?;
            if at == DIGITS {
                return None;
            }
            for bit in 0..5 {
                let (bit, place) = (digit >> (4 - bit) & 1, at * 5 + bit);
                bytes[place / 8] |= (bit as u8) << (7 - place % 8);
            }
            at += 1;
        }
        (at == DIGITS).then_some(Self(bytes))
    }

    pub(crate) fn verifier(&self) -> PasswordVerifier {
        PasswordVerifier(blake3::derive_key("sft/1 password", &*self.0))
    }

    fn digit(&self, at: usize) -> u8 {
        let bit = |place: usize| self.0[place / 8] >> (7 - place % 8) & 1;
        (0..5).fold(0, |digit, n| digit << 1 | bit(at * 5 + n))
    }
}

impl PasswordGrant {
    pub(crate) fn is_valid(&self, now: SystemTime) -> bool {
        self.scope.expires.is_none_or(|end| now < end)
    }

    /// Who this is, the same for every session: `password:` and 16 hexadecimal digits.
    pub(crate) fn identity(&self) -> String {
        let id = blake3::derive_key("sft/1 password id", &self.verifier.0);
        id[..8].iter().fold("password:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }
}

impl PartialEq for PasswordVerifier {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Eq for PasswordVerifier {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl fmt::Debug for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordVerifier")
    }
}

pub(crate) const BYTES: usize = 15;
const DIGITS: usize = BYTES * 8 / 5;
const GROUP: usize = 6;
/// Without i, l, o and u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    fn password(bytes: [u8; BYTES]) -> Password {
        Password::new(Zeroizing::new(bytes))
    }

    #[test]
    fn what_is_shown_is_taken_however_it_is_typed() {
        let password = password(std::array::from_fn(|i| (i * 37 + 11) as u8));
        let text = password.to_text();
        assert_eq!(text.len(), 27);
        assert!(text.split('-').all(|group| group.len() == 6), "{}", *text);
        for typed in [text.to_string(), text.to_uppercase(), text.replace('-', ""), text.replace('-', " ")] {
            let taken = Password::from_typed(&typed).unwrap();
            assert!(taken.verifier() == password.verifier(), "{typed}");
        }
        for typed in ["", "-", &text[1..], &format!("{}0", *text), &text.replacen(&text[..1], "u", 1), "é"] {
            assert!(Password::from_typed(typed).is_none(), "{typed}");
        }
    }

    #[test]
    fn every_bit_counts_and_none_is_shown() {
        let zero = password([0; BYTES]);
        for bit in 0..BYTES * 8 {
            let mut bytes = [0; BYTES];
            bytes[bit / 8] = 1 << (bit % 8);
            let other = password(bytes);
            assert!(other.verifier() != zero.verifier() && *other.to_text() != *zero.to_text(), "{bit}");
            assert!(Password::from_typed(&other.to_text()).unwrap().verifier() == other.verifier(), "{bit}");
        }
        assert_eq!(format!("{zero:?} {:?}", zero.verifier()), "Password PasswordVerifier");
    }
}
