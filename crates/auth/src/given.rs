//! What a server has given away, as one list for its owner, and taking it back (spec/auth.md, "Grants").
//!
//! The owner's own keys are not in it: they stand in `authorized_keys`. What was taken back lets nobody in; that open sessions end
//! is the business of the doors, which ask [`Policy::stands`].

use std::sync::Arc;
use std::time::SystemTime;

use sft_base::EntryPath;

use crate::grant::{Grant, Scope};
use crate::grants::{Contents, Enrolled, Grants, GrantsError, OpenInvitation};
use crate::password::PasswordGrant;
use crate::policy::Policy;
use crate::rights::Rights;

/// One thing that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// By which it is taken back: a fingerprint, `password:` and 16 hexadecimal digits, or those of an invitation. A key that was
    /// given several has them all under one name.
    pub name: String,
    /// For people: who has it.
    pub note: String,
    /// What.
    pub kind: GivenKind,
    /// Below which path.
    pub path: EntryPath,
    /// What may be done there.
    pub rights: Rights,
    /// Until when it lets in, or can be redeemed; none for ever.
    pub until: Option<SystemTime>,
}

/// What it is that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenKind {
    /// Access for a key that was enrolled.
    Key,
    /// A link that still enrols so many keys.
    Invitation {
        /// Keys.
        uses: u32,
    },
    /// Access for whoever has a password.
    Password,
}

/// What came of taking something back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenBack {
    /// All of this, under one name.
    All(Vec<Given>),
    /// Nothing: a note that these have together, each with a name of its own.
    Several(Vec<Given>),
    /// Nothing: there is none of this name or note.
    Unknown,
}

/// What was given at some moment, to see whether that has changed.
#[derive(Clone, Debug)]
pub struct GivenThen(Arc<Contents>);

impl Grants {
    /// What lets somebody in at `now`, or can: keys, then passwords, then invitations, each in the order in which they were given.
    pub fn given(&self, now: SystemTime) -> Result<Vec<Given>, GrantsError> {
        let is_over = |given: &Given| given.until.is_some_and(|end| end <= now);
        Ok(self.contents()?.given().filter(|given| !is_over(given)).collect())
    }

    /// Takes back what has this name or, if it is no name, this note.
    pub fn take_back(&self, name: &str) -> Result<TakenBack, GrantsError> {
        self.change(|contents| {
            let named: Vec<_> = contents.given().filter(|given| given.name == name).collect();
            let noted = || contents.given().filter(|given| given.note == name && !name.is_empty()).collect();
            let meant: Vec<Given> = if named.is_empty() { noted() } else { named };
            let Some(first) = meant.first() else { return Ok(TakenBack::Unknown) };
            if meant.iter().any(|other| other.name != first.name) {
                return Ok(TakenBack::Several(meant));
            }
            // Also what has the name and another note.
            let taken = contents.given().filter(|given| given.name == first.name).collect();
            contents.enrolled.retain(|key| key.given().name != first.name);
            contents.passwords.retain(|password| password.given().name != first.name);
            contents.invitations.retain(|open| open.given().name != first.name);
            Ok(TakenBack::All(taken))
        })
    }

    /// What is given now.
    pub fn given_then(&self) -> Result<GivenThen, GrantsError> {
        Ok(GivenThen(self.contents()?))
    }
}

impl Policy {
    /// Whether all that somebody was let in with is still given. The owner's keys are not looked at again. May block.
    ///
    /// - Errors: [`GrantsError`] if that cannot be said now.
    /// - Source: spec/auth.md, "Grants".
    pub fn stands(&self, grant: &Grant, now: SystemTime) -> Result<bool, GrantsError> {
        if grant.is_owner() {
            return Ok(true);
        }
        let given = self.grants().given(now)?;
        let scopes = given.into_iter().filter(|given| given.is_access() && given.name == grant.identity());
        let now = self.as_served(Grant::enrolled(
            grant.identity().to_owned(),
            grant.label(),
            scopes.map(Given::scope).collect(),
        ));
        Ok(grant.scopes().iter().all(|scope| now.scopes().contains(scope)))
    }
}

impl PartialEq for GivenThen {
    /// Whether nothing was changed between the two, be it back and forth.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Given {
    fn is_access(&self) -> bool {
        !matches!(self.kind, GivenKind::Invitation { .. })
    }

    fn scope(self) -> Scope {
        Scope { path: self.path, rights: self.rights, expires: self.until }
    }
}

impl Contents {
    fn given(&self) -> impl Iterator<Item = Given> {
        let keys = self.enrolled.iter().map(Enrolled::given);
        let passwords = self.passwords.iter().map(PasswordGrant::given);
        keys.chain(passwords).chain(self.invitations.iter().map(OpenInvitation::given))
    }
}

impl Enrolled {
    fn given(&self) -> Given {
        Given::access(self.key.fingerprint().to_string(), &self.label, GivenKind::Key, &self.scope)
    }
}

impl PasswordGrant {
    fn given(&self) -> Given {
        Given::access(self.identity(), &self.label, GivenKind::Password, &self.scope)
    }
}

impl OpenInvitation {
    fn given(&self) -> Given {
        let scope =
            Scope { path: self.terms.path.clone(), rights: self.terms.rights, expires: self.terms.expires };
        let kind = GivenKind::Invitation { uses: self.terms.uses };
        Given::access(self.id.to_string(), &self.terms.note, kind, &scope)
    }
}

impl Given {
    fn access(name: String, note: &str, kind: GivenKind, scope: &Scope) -> Self {
        let Scope { path, rights, expires } = scope.clone();
        Self { name, note: note.to_owned(), kind, path, rights, until: expires }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invitation::InvitationTerms;
    use crate::public_key::PublicKeyId;
    use std::time::{Duration, UNIX_EPOCH};

    struct House {
        _dir: tempfile::TempDir,
        policy: Policy,
    }

    fn house() -> House {
        let dir = tempfile::tempdir().unwrap();
        let policy =
            Policy::open(&dir.path().join("state"), dir.path().join("authorized_keys"), true).unwrap();
        House { _dir: dir, policy }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn scope(path: &str) -> Scope {
        let path = EntryPath::from_typed(path.as_bytes()).unwrap();
        Scope { path, rights: Rights::WRITE, expires: Some(now() + Duration::from_secs(60)) }
    }

    fn key(seed: u8) -> PublicKeyId {
        PublicKeyId::from_blob(&crate::ServerKey([seed; 32]).blob()).unwrap()
    }

    /// Enrols a key below a path, by an invitation with a note that can enrol one more.
    fn enrol(grants: &Grants, key: &PublicKeyId, note: &str, path: &str) {
        let Scope { path, rights, .. } = scope(path);
        let terms =
            InvitationTerms { path, rights, uses: 2, note: note.into(), ..InvitationTerms::default() };
        let id = grants.invite(terms, now()).unwrap().secret.id();
        grants.redeem(id, |_| true, key, "", now()).unwrap();
    }

    #[test]
    fn what_was_given_is_told_and_taken_back_by_name_or_note() {
        let House { policy, .. } = &house();
        let grants = policy.grants();
        enrol(grants, &key(1), "Ana", "a");
        enrol(grants, &key(1), "Ana again", "b");
        let bob = grants.make_password("Bob", scope("c"), now()).unwrap();
        grants.make_password("", scope("d"), now()).unwrap();
        let given = grants.given(now()).unwrap();
        let name = key(1).fingerprint().to_string();
        assert_eq!(given.iter().filter(|given| given.name == name).count(), 2);
        let kinds: Vec<_> = given.iter().map(|given| given.kind).collect();
        let (key_, password, open) = (GivenKind::Key, GivenKind::Password, GivenKind::Invitation { uses: 1 });
        assert_eq!(kinds, [key_, key_, password, password, open, open]);
        assert_eq!(grants.given(now() + Duration::from_secs(60)).unwrap().len(), 4, "passwords are over");

        let TakenBack::Several(several) = grants.take_back("Ana").unwrap() else { panic!("two have it") };
        assert_eq!(several.iter().map(|given| given.kind).collect::<Vec<_>>(), [key_, open]);
        assert_eq!(grants.given(now()).unwrap(), given, "nothing was taken");
        for unknown in ["", "Carl", "password:", &name[..20]] {
            assert_eq!(grants.take_back(unknown).unwrap(), TakenBack::Unknown, "{unknown}");
        }
        let TakenBack::All(taken) = grants.take_back("Bob").unwrap() else { panic!("one has it") };
        assert_eq!((taken.len(), taken[0].kind), (1, password));
        assert!(policy.admit_password(&bob.to_text(), now()).is_err());
        let TakenBack::All(taken) = grants.take_back(&name).unwrap() else { panic!("it is a name") };
        assert_eq!(taken.len(), 2, "all that the key was given");
        assert!(policy.admit_proven(&key(1), now()).is_err());
        for given in grants.given(now()).unwrap() {
            assert_eq!(grants.take_back(&given.name).unwrap(), TakenBack::All(vec![given]));
        }
        assert!(grants.given(now()).unwrap().is_empty());
    }

    #[test]
    fn a_grant_stands_until_any_part_of_it_is_taken() {
        let House { policy, .. } = &house();
        let grants = policy.grants();
        let stands = |grant: &Grant| policy.stands(grant, now()).unwrap();
        enrol(grants, &key(1), "Ana", "a");
        let ana = policy.admit_proven(&key(1), now()).unwrap();
        let password = grants.make_password("Bob", scope("c"), now()).unwrap();
        let bob = policy.admit_password(&password.to_text(), now()).unwrap();
        let before = grants.given_then().unwrap();
        let quick = grants.make_password("Carl", scope("c"), now()).unwrap();
        let carl = policy.admit_password(&quick.to_text(), now()).unwrap();
        grants.take_back("Carl").unwrap();
        assert!(
            !stands(&carl) && before != grants.given_then().unwrap(),
            "as little as before, and not the same"
        );
        let before = grants.given_then().unwrap();
        assert!(stands(&ana) && stands(&bob) && stands(&Grant::owner("", Rights::ALL, None)));
        assert_eq!(before, grants.given_then().unwrap());
        enrol(grants, &key(1), "more", "b");
        assert!(stands(&ana) && before != grants.given_then().unwrap(), "more was given");
        let both = policy.admit_proven(&key(1), now()).unwrap();
        grants.take_back(bob.identity()).unwrap();
        assert!(stands(&both) && !stands(&bob));
        grants.take_back(ana.identity()).unwrap();
        assert!(!stands(&ana) && !stands(&both));
        enrol(grants, &key(1), "part", "b");
        assert!(!stands(&both), "only a part is back");
    }
}
