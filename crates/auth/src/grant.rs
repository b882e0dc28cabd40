//! Grants: proof that an identity was authenticated, and what that lets it do (spec/auth.md, "Grants").
//!
//! Only this crate makes one: a policy from a proof, or [`Grant::owner_local`] for files that need no permission from
//! anybody. A view of a store takes one, so that no door can reach a file without.

use std::time::SystemTime;

use sft_base::{EntryPath, Shown};

use crate::rights::{Right, Rights};

/// What one identity may do, in one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    identity: String,
    label: String,
    scopes: Vec<Scope>,
    set_id: bool,
}

/// Rights below a path, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The subtree, its root included.
    pub path: EntryPath,
    /// What is allowed there.
    pub rights: Rights,
    /// Until when; none for ever.
    pub expires: Option<SystemTime>,
}

/// A right that a grant does not give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no right to {right} {path}")]
pub struct Refused {
    /// What was asked for.
    pub right: Right,
    /// Where.
    pub path: EntryPath,
}

impl Grant {
    /// All rights everywhere, without any proof: for the local end of a transfer, whose files belong to the user who
    /// runs it and need no permission of ours.
    ///
    /// Never for what a peer asks: whoever serves gets a grant from [`crate::Policy::authenticate`].
    pub fn owner_local() -> Self {
        Self {
            identity: "local".into(),
            label: "local".into(),
            scopes: everywhere(Rights::ALL),
            set_id: true,
        }
    }

    pub(crate) fn owner(comment: &str, rights: Rights, expires: Option<SystemTime>) -> Self {
        let label = if comment.is_empty() { "owner".into() } else { format!("owner ({})", shown(comment)) };
        let scopes = everywhere(rights).into_iter().map(|scope| Scope { expires, ..scope }).collect();
        Self { identity: "owner".into(), label, scopes, set_id: true }
    }

    pub(crate) fn enrolled(identity: String, label: &str, scopes: Vec<Scope>) -> Self {
        Self { identity, label: shown(label), scopes, set_id: false }
    }

    /// The same identity with no more than `rights` below `path`, and without set-id bits: nothing is ever added.
    pub fn narrowed(&self, path: &EntryPath, rights: Rights) -> Self {
        let scopes = self.scopes.iter().filter_map(|scope| scope.narrowed(path, rights)).collect();
        Self { scopes, set_id: false, ..self.clone() }
    }

    /// Whether `right` is given at `path`.
    ///
    /// - Errors: [`Refused`] names both. Whether the session outlived the grant is for the session to watch: see
    ///   [`Self::expires`].
    pub fn allows(&self, right: Right, path: &EntryPath) -> Result<(), Refused> {
        let allowed =
            self.scopes.iter().any(|scope| scope.rights.has(right) && path.starts_with(&scope.path));
        if allowed { Ok(()) } else { Err(Refused { right, path: path.clone() }) }
    }

    /// Who this is, for programs: the same for every session of the same identity, and never the same for two.
    /// `owner` for all keys of the owner, the fingerprint of an enrolled key, `local` for [`Self::owner_local`].
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn is_owner(&self) -> bool {
        // No fingerprint and no password is called so.
        self.identity == "owner" || self.identity == "local"
    }

    /// Who this is, for people and logs. Not unique; no control characters.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What is given where; a right holds if any of them gives it.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// All rights that are given somewhere: what `welcome` tells the client.
    pub fn rights(&self) -> Rights {
        self.scopes.iter().fold(Rights::NONE, |all, scope| all.or(scope.rights))
    }

    /// The deepest path that everything given lies below.
    pub fn path(&self) -> EntryPath {
        let mut common = self.scopes.first().map_or_else(EntryPath::root, |scope| scope.path.clone());
        for scope in &self.scopes {
            while !scope.path.starts_with(&common) {
                common = common.parent().unwrap_or_default();
            }
        }
        common
    }

    /// When the first part of it ends: a session must not go on with this grant from then on.
    pub fn expires(&self) -> Option<SystemTime> {
        self.scopes.iter().filter_map(|scope| scope.expires).min()
    }

    /// Whether set-user-id, set-group-id and sticky bits may be set: the owner's doing only.
    pub fn set_id(&self) -> bool {
        self.set_id
    }

    pub(crate) fn limited_to(self, rights: Rights) -> Self {
        let scopes = self.scopes.into_iter().map(|s| Scope { rights: s.rights.and(rights), ..s }).collect();
        Self { scopes, ..self }
    }
}

impl Scope {
    fn narrowed(&self, path: &EntryPath, rights: Rights) -> Option<Self> {
        let path = if path.starts_with(&self.path) {
            path.clone()
        } else if self.path.starts_with(path) {
            self.path.clone()
        } else {
            return None;
        };
        Some(Self { path, rights: self.rights.and(rights), expires: self.expires })
    }
}

fn everywhere(rights: Rights) -> Vec<Scope> {
    vec![Scope { path: EntryPath::root(), rights, expires: None }]
}

/// A label of others, safe for a terminal.
fn shown(label: &str) -> String {
    Shown(label.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::from_typed(text.as_bytes()).unwrap()
    }

    fn scope(at: &str, rights: Rights) -> Scope {
        Scope { path: path(at), rights, expires: None }
    }

    #[test]
    fn a_right_holds_below_its_path_only() {
        let grant =
            Grant::enrolled("x".into(), "x", vec![scope("a/b", Rights::READ), scope("in", Rights::DROP)]);
        assert!(grant.allows(Right::Read, &path("a/b")).is_ok());
        assert!(grant.allows(Right::List, &path("a/b/c/d")).is_ok());
        assert!(grant.allows(Right::Create, &path("in/x")).is_ok());
        for (right, at) in [
            (Right::Read, "a"),
            (Right::Read, "a/bc"),
            (Right::List, ""),
            (Right::Create, "a/b/c"),
            (Right::Read, "in/x"),
            (Right::Replace, "in/x"),
        ] {
            assert_eq!(grant.allows(right, &path(at)), Err(Refused { right, path: path(at) }));
        }
        let said = grant.allows(Right::Remove, &path("a/b")).unwrap_err().to_string();
        assert_eq!(said, "no right to remove a/b");
        assert!(!grant.set_id());
        assert_eq!(grant.rights().to_string(), "list,read,create");
        assert!(grant.path().is_root());
    }

    #[test]
    fn narrowing_never_adds() {
        let all = Grant::owner_local();
        assert!(Right::ALL.iter().all(|&right| all.allows(right, &path("any/where")).is_ok()));
        let narrow = all.narrowed(&path("a"), Rights::WRITE);
        assert!(narrow.allows(Right::Create, &path("a/x")).is_ok());
        assert!(narrow.allows(Right::Create, &path("b")).is_err());
        assert!(narrow.allows(Right::Share, &path("a")).is_err());
        assert!(!narrow.set_id());
        let back = narrow.narrowed(&EntryPath::root(), Rights::ALL);
        assert_eq!(back.scopes(), narrow.scopes());
        assert_eq!(back.path(), path("a"));
        assert!(narrow.narrowed(&path("b"), Rights::ALL).scopes().is_empty());
    }

    #[test]
    fn labels_cannot_forge_a_terminal() {
        assert_eq!(Grant::owner("a\x1b[2J", Rights::ALL, None).label(), "owner (a\\u{1b}[2J)");
        assert_eq!(Grant::owner("", Rights::ALL, None).label(), "owner");
    }
}
