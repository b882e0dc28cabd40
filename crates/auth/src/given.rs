//! What a server has given away, as one list for its owner, and taking it back (spec/auth.md, "Grants").
//!
//! The owner's own keys are not in it: they stand in `authorized_keys`. What was taken back lets nobody in; that open sessions end
//! is the business of the doors, which ask [`Policy::stands`].

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use sft_base::EntryPath;

use crate::grant::{Grant, Scope};
use crate::grants::{Access, Contents, Enrolled, Grants, GrantsError, OpenInvitation};
use crate::password::PasswordGrant;
use crate::policy::Policy;
use crate::rights::Rights;

/// One thing that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// By which it is taken back: a fingerprint, `password:` and 16 hexadecimal digits, or those of an invitation. A key that was
    /// given several has them all under one name.
    pub name: String,
    /// For people: who has it, in the owner's words.
    pub note: String,
    /// For people, where a key has no note: how its holder calls itself, which may be anything.
    pub user: String,
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
    /// All that is under one name.
    All {
        /// This.
        taken: Vec<Given>,
        /// What still lets in: for a key the links by which it came, and for a link the keys that came by it.
        left: Vec<Given>,
    },
    /// Nothing: a note of things under several names, or under one that has other notes too; all that is under them.
    Several(Vec<Given>),
    /// Nothing: there is none of this name, and none that is not over of this note.
    Unknown,
}

/// What was given at some moment, to see whether that has changed.
#[derive(Clone, Debug)]
pub struct GivenThen(Arc<Contents>);

impl Grants {
    /// What lets somebody in at `now`, or can: keys, then passwords, then invitations, each in the order in which they were given.
    pub fn given(&self, now: SystemTime) -> Result<Vec<Given>, GrantsError> {
        Ok(self.contents()?.given().filter(|given| !given.is_over(now)).collect())
    }

    /// Takes back what has this name or, if it is no name, this note. A note takes nothing but what bears it.
    pub fn take_back(&self, name: &str, now: SystemTime) -> Result<TakenBack, GrantsError> {
        self.change(|contents| {
            let name = if contents.given().any(|given| given.name == name) {
                name.to_owned()
            } else {
                match contents.noted(name, now) {
                    Ok(Some(name)) => name,
                    Ok(None) => return Ok(TakenBack::Unknown),
                    Err(several) => return Ok(TakenBack::Several(several)),
                }
            };
            let taken = contents.given().filter(|given| given.name == name).collect();
            let left = contents.related(&name, now);
            contents.enrolled.retain(|key| key.given().name != name);
            contents.passwords.retain(|password| password.given().name != name);
            contents.invitations.retain(|open| open.given().name != name);
            Ok(TakenBack::All { taken, left })
        })
    }

    /// What a key or a password of this name lets in to, be its time over or not. Every open session asks whenever something has
    /// changed, and names take long to compute: that is done once.
    fn access(&self, name: &str) -> Result<Vec<Scope>, GrantsError> {
        let contents = self.contents()?;
        let mut known = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, &contents)) {
            let mut by_name = Access::new();
            for given in contents.given().filter(Given::is_access) {
                by_name.entry(given.name.clone()).or_default().push(given.scope());
            }
            *known = Some((contents, by_name));
        }
        Ok(known.as_ref().and_then(|(_, by_name)| by_name.get(name)).cloned().unwrap_or_default())
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
        let mut scopes = self.grants().access(grant.identity())?;
        scopes.retain(|scope| scope.expires.is_none_or(|end| end > now));
        let now = self.as_served(Grant::enrolled(grant.identity().to_owned(), grant.label(), scopes));
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
    fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|end| end <= now)
    }

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

    /// The name that is meant by a note: of the one thing that bears it, and no other note. What is over counts for nothing.
    fn noted(&self, note: &str, now: SystemTime) -> Result<Option<String>, Vec<Given>> {
        let valid: Vec<_> = self.given().filter(|given| !given.is_over(now)).collect();
        let bears = |given: &&Given| given.note == note && !note.is_empty();
        let names: HashSet<_> = valid.iter().filter(bears).map(|given| given.name.clone()).collect();
        let whole = || valid.iter().filter(|given| names.contains(&given.name));
        if names.len() > 1 || whole().any(|given| !bears(&given)) {
            return Err(whole().cloned().collect());
        }
        Ok(names.into_iter().next())
    }

    /// What came by the link of this name, and the links by which the key of this name came, if they are not over.
    fn related(&self, name: &str, now: SystemTime) -> Vec<Given> {
        let by_it = |key: &&Enrolled| key.via.is_some_and(|id| id.to_string() == name);
        let links: HashSet<_> =
            self.enrolled.iter().filter(|key| key.given().name == name).filter_map(|key| key.via).collect();
        let came = self.enrolled.iter().filter(by_it).map(Enrolled::given);
        let led = self.invitations.iter().filter(|open| links.contains(&open.id)).map(OpenInvitation::given);
        came.chain(led).filter(|given| !given.is_over(now)).collect()
    }
}

impl Enrolled {
    fn given(&self) -> Given {
        let name = self.key.fingerprint().to_string();
        Given { user: self.user.clone(), ..Given::access(name, &self.label, GivenKind::Key, &self.scope) }
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
        Self { name, note: note.to_owned(), user: String::new(), kind, path, rights, until: expires }
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
        grants.redeem(id, |_| true, key, "Bob", now()).unwrap();
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

        let take_back = |name: &str| grants.take_back(name, now()).unwrap();
        let TakenBack::Several(several) = take_back("Ana") else { panic!("two have it") };
        assert_eq!(several.iter().map(|given| given.kind).collect::<Vec<_>>(), [key_, key_, open]);
        assert_eq!(grants.given(now()).unwrap(), given, "nothing was taken");
        for unknown in ["", "Carl", "password:", &name[..20]] {
            assert_eq!(take_back(unknown), TakenBack::Unknown, "{unknown}");
        }
        let TakenBack::All { taken, left } = take_back("Bob") else { panic!("one has it") };
        assert_eq!((taken.len(), taken[0].kind, left.len()), (1, password, 0));
        assert!(policy.admit_password(&bob.to_text(), now()).is_err());
        let TakenBack::All { taken, left } = take_back(&name) else { panic!("it is a name") };
        assert_eq!(taken.len(), 2, "all that the key was given");
        assert_eq!(
            left.iter().map(|given| given.kind).collect::<Vec<_>>(),
            [open, open],
            "it can come again"
        );
        assert!(policy.admit_proven(&key(1), now()).is_err());
        for given in grants.given(now()).unwrap() {
            assert_eq!(take_back(&given.name), TakenBack::All { taken: vec![given], left: vec![] });
        }
        assert!(grants.given(now()).unwrap().is_empty());
    }

    #[test]
    fn a_note_takes_nothing_but_what_bears_it_and_only_the_owners_words_are_notes() {
        let House { policy, .. } = &house();
        let grants = policy.grants();
        let soon = now() + Duration::from_secs(61);
        let take_back = |name: &str| grants.take_back(name, soon).unwrap();
        grants.make_password("Ana", scope("over"), now()).unwrap();
        assert_eq!(take_back("Ana"), TakenBack::Unknown, "it is over");
        enrol(grants, &key(1), "Ana", "a");
        enrol(grants, &key(1), "Ana at work", "b");
        let given = grants.given(soon).unwrap();
        for link in given.iter().filter(|given| !given.is_access()) {
            let TakenBack::All { left, .. } = take_back(&link.name) else { panic!("it is a name") };
            assert_eq!((left.len(), &left[0].note), (1, &link.note), "the key that came by it");
        }
        let TakenBack::Several(several) = take_back("Ana") else { panic!("the key has another note") };
        assert_eq!(several, given[..2]);
        assert!(matches!(take_back(&given[0].name), TakenBack::All { .. }));

        enrol(grants, &key(2), "", "a");
        enrol(grants, &key(3), "Bob", "a");
        let given = grants.given(soon).unwrap();
        assert_eq!((given[0].note.as_str(), given[0].user.as_str()), ("", "Bob"));
        assert_eq!((given[1].note.as_str(), given[1].user.as_str()), ("Bob", ""));
        let link = given[3].name.clone();
        take_back(&link);
        let TakenBack::All { taken, .. } = take_back("Bob") else { panic!("one has this note") };
        assert_eq!(taken, given[1..2], "and not who says so");
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
        grants.take_back("Carl", now()).unwrap();
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
        grants.take_back(bob.identity(), now()).unwrap();
        assert!(stands(&both) && !stands(&bob));
        grants.take_back(ana.identity(), now()).unwrap();
        assert!(!stands(&ana) && !stands(&both));
        enrol(grants, &key(1), "part", "b");
        assert!(!stands(&both), "only a part is back");
    }
}
