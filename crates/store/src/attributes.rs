//! Attributes that are set on an entry besides its content, and the report of those that could not be.

use std::fmt;

use sft_base::Time;

/// Attributes to apply; none of what is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Time of last modification.
    pub modified: Option<Time>,
    /// Permission bits, 0 to 0o7777. Without them a new file has those that the process's umask leaves of 0o666.
    pub mode: Option<u32>,
}

/// One of the [`Attributes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// Time of last modification.
    Modified,
    /// Permission bits.
    Mode,
}

/// An attribute that could not be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unapplied {
    /// Which.
    pub attribute: Attribute,
    /// Why, for people.
    pub reason: String,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modified => "time of modification",
            Self::Mode => "mode",
        })
    }
}

impl fmt::Display for Unapplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} could not be set: {}", self.attribute, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_set_is_said_in_words() {
        let unapplied = Unapplied { attribute: Attribute::Mode, reason: "not the owner".into() };
        assert_eq!(unapplied.to_string(), "the mode could not be set: not the owner");
        assert_eq!(Attribute::Modified.to_string(), "time of modification");
    }
}
