//! How long something holds, as people type it: `30m`, `12h`, `7d`, `2w`, or `never`.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// For how long; none is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime(pub Option<Duration>);

/// A text that is no lifetime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time; write a number and a unit, such as 30m, 12h, 7d or 2w, or `never`")]
pub(crate) struct LifetimeError(String);

impl Lifetime {
    /// The moment at which it ends.
    pub(crate) fn end(self, now: SystemTime) -> Option<SystemTime> {
        self.0.and_then(|time| now.checked_add(time))
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        let error = || LifetimeError(text.to_owned());
        if text == "never" {
            return Ok(Self(None));
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u32 = digits.parse().ok().filter(|n| *n > 0).ok_or_else(error)?;
        let unit_s: u64 = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            "w" => 7 * 24 * 3600,
            _ => return Err(error()),
        };
        Ok(Self(Some(Duration::from_secs(u64::from(number) * unit_s))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        let seconds = |text: &str| text.parse::<Lifetime>().map(|l| l.0.map(|d| d.as_secs()));
        assert_eq!(seconds("30s"), Ok(Some(30)));
        assert_eq!(seconds("12h"), Ok(Some(43_200)));
        assert_eq!(seconds("2w"), Ok(Some(1_209_600)));
        assert_eq!(seconds("never"), Ok(None));
        for text in ["", "7", "d", "0d", "-1d", "1y", "1.5h", "99999999999d", "7d "] {
            assert_eq!(seconds(text), Err(LifetimeError(text.to_owned())));
        }
        let message = LifetimeError("7".into()).to_string();
        assert_eq!(
            message,
            "`7` is not a time; write a number and a unit, such as 30m, 12h, 7d or 2w, or `never`"
        );
    }
}
