//! Which failures of entries a user was told of: each once, though a transfer that is begun anew meets it again, and
//! not those of entries that lie below one that failed, which say nothing new.

use std::collections::HashSet;

use sft_client::EntryPath;

/// The failures so far.
#[derive(Debug)]
pub(crate) struct Told {
    /// Whether those that lie below one that failed are told as well.
    all: bool,
    paths: HashSet<EntryPath>,
    /// Failures that were met for the first time and stand for themselves.
    first: u64,
    /// Whether any followed from another.
    any_below: bool,
}

/// What a failure is beside those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Something new.
    First,
    /// Met before.
    Again,
    /// What the entry lies in failed before.
    Below,
}

impl Told {
    /// Nothing failed yet. With `all`, no failure is held to follow from another.
    pub(crate) fn new(all: bool) -> Self {
        Self { all, paths: HashSet::new(), first: 0, any_below: false }
    }

    /// Takes note of a failure.
    pub(crate) fn note(&mut self, path: &EntryPath) -> Failure {
        if self.paths.contains(path) {
            return Failure::Again;
        }
        let is_below = !self.all && self.lies_below(path);
        if self.paths.len() < PATHS_MAX {
            self.paths.insert(path.clone());
        }
        if is_below {
            self.any_below = true;
            return Failure::Below;
        }
        self.first += 1;
        Failure::First
    }

    /// What is left to say where so many entries failed in all; nothing if each was told.
    pub(crate) fn rest(&self, failed: u64) -> Option<String> {
        let (rest, of_below) = (failed.saturating_sub(self.first), self.any_below);
        match rest {
            0 => None,
            1 if of_below => Some("1 more entry failed, which lies below".into()),
            1 => Some("1 more entry failed".into()),
            _ if of_below => Some(format!("{rest} more entries failed, which lie below")),
            _ => Some(format!("{rest} more entries failed")),
        }
    }

    /// The root is no reason: several sources may land there.
    fn lies_below(&self, path: &EntryPath) -> bool {
        let mut above = path.parent();
        while let Some(path) = above.filter(|path| !path.is_root()) {
            if self.paths.contains(&path) {
                return true;
            }
            above = path.parent();
        }
        false
    }
}

/// A few megabytes; what comes after is told as if it were new.
const PATHS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_what_follows_from_it_is_counted() {
        let path = |text: &str| EntryPath::from_typed(text.as_bytes()).unwrap();
        let mut told = Told::new(false);
        assert_eq!(told.rest(0), None);
        let cases = [
            ("", Failure::First),
            ("a", Failure::First),
            ("a/b/c", Failure::Below),
            ("ab", Failure::First),
            ("a", Failure::Again),
            ("a/b/c", Failure::Again),
            ("d/e", Failure::First),
            ("d", Failure::First),
        ];
        for (text, failure) in cases {
            assert_eq!(told.note(&path(text)), failure, "{text}");
        }
        assert_eq!(told.rest(5), None);
        assert_eq!(told.rest(6).unwrap(), "1 more entry failed, which lies below");
        let mut told = Told::new(true);
        assert_eq!(
            ["a", "a/b", "a"].map(|text| told.note(&path(text))),
            [Failure::First, Failure::First, Failure::Again]
        );
        assert_eq!(Told::new(false).rest(1000).unwrap(), "1000 more entries failed");
    }
}
