//! The names that a store keeps for itself (spec/store.md, "Reserved names").

use sft_base::{EntryPath, Name};

use crate::StoreError;

/// The directory of the root in which stages rest.
pub(crate) const OWN_DIR: &str = ".sft";
/// The directory in it that holds the stages.
pub(crate) const STAGE_DIR: &str = "stage";
/// Both, from the root.
pub(crate) const STAGE_DIR_PATH: &str = ".sft/stage";

/// Refuses paths that lead into the store's own directory by name, or to content on its way across a mount point.
pub(crate) fn check(path: &EntryPath) -> Result<(), StoreError> {
    let refused =
        path.names().next().is_some_and(is_own_dir) || path.names().next_back().is_some_and(is_crossing);
    if refused { Err(StoreError::NameNotAllowed { path: path.clone() }) } else { Ok(()) }
}

/// Like [`check`], and refuses the root itself.
pub(crate) fn check_below_root(path: &EntryPath) -> Result<(), StoreError> {
    if path.is_root() {
        return Err(StoreError::NameNotAllowed { path: path.clone() });
    }
    check(path)
}

/// Whether a listing leaves the name out.
pub(crate) fn is_hidden(name: &[u8], in_root: bool) -> bool {
    (in_root && is_own_dir(name)) || is_crossing(name)
}

/// Whether the name, in the root, is the store's own directory, also on a file system that folds case.
pub(crate) fn is_own_dir(name: &[u8]) -> bool {
    // U+017F, the long s, is the only other character that Unicode folds to one of these letters.
    name.eq_ignore_ascii_case(OWN_DIR.as_bytes())
        || std::str::from_utf8(name)
            .is_ok_and(|name| name.replace('\u{17f}', "s").eq_ignore_ascii_case(OWN_DIR))
}

/// The name of content that crosses to another file system, made of 32 hex digits nobody can guess.
pub(crate) fn crossing(unpredictable: &str) -> String {
    format!("{CROSSING_PREFIX}{unpredictable}{CROSSING_SUFFIX}")
}

/// Whether the name is one that [`crossing`] makes.
pub(crate) fn is_crossing(name: &[u8]) -> bool {
    name.strip_prefix(CROSSING_PREFIX.as_bytes())
        .and_then(|rest| rest.strip_suffix(CROSSING_SUFFIX.as_bytes()))
        .is_some_and(|hex| hex.len() == 32 && hex.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// The name, when it is one that may be listed.
pub(crate) fn listable(bytes: &[u8], in_root: bool) -> Option<Name> {
    if is_hidden(bytes, in_root) { None } else { Name::new(bytes).ok() }
}

const CROSSING_PREFIX: &str = ".sft-";
const CROSSING_SUFFIX: &str = ".tmp";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> bool {
        check(&EntryPath::from_typed(path.as_bytes()).unwrap()).is_err()
    }

    #[test]
    fn only_the_own_directory_of_the_root_is_reserved() {
        assert!(refused(".sft") && refused(".sft/stage/x") && refused(".SFT/a") && refused(".\u{17f}ft"));
        assert!(!refused("a/.sft") && !refused(".sftp") && !refused("sft") && !refused(""));
    }

    #[test]
    fn content_that_crosses_a_mount_point_is_reserved_everywhere() {
        let name = crossing(&"0a".repeat(16));
        assert!(refused(&name) && refused(&format!("a/{name}")));
        assert!(!refused(".sft-0a.tmp") && !refused(&format!("{name}x")));
        assert_eq!(listable(name.as_bytes(), false), None);
        assert_eq!(listable(b".sft", true), None);
        assert!(listable(b".sft", false).is_some());
        assert!(check_below_root(&EntryPath::root()).is_err());
    }
}
