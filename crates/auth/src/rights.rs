//! The rights there are, and sets of them (spec/auth.md, "Rights").

use std::fmt;
use std::str::FromStr;

/// One thing that can be allowed below a path. Which operation takes which right: spec/auth.md, "Rights".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// See names and metadata.
    List,
    /// Read content.
    Read,
    /// Make what is not there.
    Create,
    /// Change or overwrite what is there, its attributes included.
    Replace,
    /// Remove, and rename away.
    Remove,
    /// Pass rights on to others.
    Share,
}

/// A set of rights. As text: names with commas, as `list,read`; presets are read too.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rights(u32);

/// A word that names no right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a right: list, read, fetch, create, replace, remove and share are, and write, drop and all as sets"
)]
pub struct RightsError(String);

impl Right {
    /// Every right, in the order of their bits.
    pub const ALL: [Self; 6] =
        [Self::List, Self::Read, Self::Create, Self::Replace, Self::Remove, Self::Share];

    /// Its bit in `welcome` (spec/auth.md, "Rights").
    pub const fn bit(self) -> u32 {
        match self {
            Self::List => 1 << 0,
            Self::Read => 1 << 1,
            Self::Create => 1 << 2,
            Self::Replace => 1 << 3,
            Self::Remove => 1 << 4,
            Self::Share => 1 << 5,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::Share => "share",
        }
    }
}

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// List and read: the preset `read`.
    pub const READ: Self = Self(Right::List.bit() | Right::Read.bit());
    /// Read what one knows the name of, seeing nothing: the preset `fetch`.
    pub const FETCH: Self = Self(Right::Read.bit());
    /// List, read, create, replace and remove: the preset `write`.
    pub const WRITE: Self =
        Self(Self::READ.0 | Right::Create.bit() | Right::Replace.bit() | Right::Remove.bit());
    /// Create only, seeing nothing: the preset `drop`.
    pub const DROP: Self = Self(Right::Create.bit());
    /// Everything: the preset `all`.
    pub const ALL: Self = Self(Self::WRITE.0 | Right::Share.bit());

    /// The set of these.
    pub fn of(rights: impl IntoIterator<Item = Right>) -> Self {
        Self(rights.into_iter().fold(0, |bits, right| bits | right.bit()))
    }

    /// Whether `right` is among them.
    pub const fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// What is in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One bit each, as in `welcome`.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The rights of these bits; bits without a meaning count for nothing.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The rights, in the order of their bits.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.has(*right))
    }
}

impl FromStr for Rights {
    type Err = RightsError;

    /// Takes names of rights and presets with commas between them. `read` is the preset and brings `list` along;
    /// `fetch` is to read without it.
    fn from_str(text: &str) -> Result<Self, RightsError> {
        text.split(',').map(str::trim).try_fold(Self::NONE, |all, word| Ok(all.or(of_word(word)?)))
    }
}

fn of_word(word: &str) -> Result<Rights, RightsError> {
    match word {
        "read" => Ok(Rights::READ),
        "fetch" => Ok(Rights::FETCH),
        "write" => Ok(Rights::WRITE),
        "drop" => Ok(Rights::DROP),
        "all" => Ok(Rights::ALL),
        _ => {
            let right = Right::ALL.into_iter().find(|right| right.name() == word);
            right.map(|right| Rights::of([right])).ok_or_else(|| RightsError(word.escape_debug().to_string()))
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let blind = !self.has(Right::List);
        let word = |right: Right| if blind && right == Right::Read { "fetch" } else { right.name() };
        f.write_str(&self.iter().map(word).collect::<Vec<_>>().join(","))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_presets() {
        for (text, rights) in [
            ("read", Rights::READ),
            ("list,read", Rights::READ),
            ("list", Rights::of([Right::List])),
            ("write", Rights::WRITE),
            ("drop", Rights::DROP),
            ("create", Rights::DROP),
            ("fetch", Rights::FETCH),
            ("fetch,create", Rights::of([Right::Read, Right::Create])),
            ("list,fetch", Rights::READ),
            ("all", Rights::ALL),
            ("list, create", Rights::of([Right::List, Right::Create])),
        ] {
            assert_eq!(text.parse(), Ok(rights), "{text}");
            assert_eq!(rights.to_string().parse(), Ok(rights));
        }
        for bits in 1..64 {
            let rights = Rights::from_bits(bits);
            assert_eq!(
                rights.to_string().parse(),
                Ok(rights),
                "nothing is gained or lost by writing {rights}"
            );
        }
        assert_eq!(Rights::ALL.to_string(), "list,read,create,replace,remove,share");
        assert!("".parse::<Rights>().is_err());
        assert!("none".parse::<Rights>().is_err());
        let said = "list,fly".parse::<Rights>().unwrap_err().to_string();
        assert!(said.starts_with("`fly` is not a right"), "{said}");
    }

    #[test]
    fn sets_are_sets() {
        for right in Right::ALL {
            assert!(Rights::ALL.has(right));
            assert!(!Rights::NONE.has(right));
            assert!(Rights::of([right]).has(right));
            assert_eq!(Rights::from_bits(right.bit()), Rights::of([right]));
        }
        assert_eq!(Rights::WRITE.and(Rights::DROP), Rights::DROP);
        assert_eq!(Rights::READ.or(Rights::DROP).iter().count(), 3);
        assert_eq!(Rights::from_bits(u32::MAX), Rights::ALL);
    }
}
