//! What a server keeps of keys that were enrolled and invitations that are open, and of passwords:
//! `STATE/grants.toml` (spec/auth.md, "Grants").
//!
//! One file for both, so that redeeming an invitation and enrolling a key is one replacement of one file. A running
//! server and a command change it in turn, under its lock. What cannot be read gives nobody access.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sft_base::limits::{GRANTS_BYTES_MAX, GRANTS_MAX};
use zeroize::Zeroizing;

use crate::grant::Scope;
use crate::grants_text::{self, MalformedGrants};
use crate::invitation::{Invitation, InvitationId, InvitationSecret, InvitationTerms, InvitationVerifier};
use crate::openssh_key::random;
use crate::password::{self, Password, PasswordGrant};
use crate::private_file::{self, FileError, Opened};
use crate::public_key::PublicKeyId;
use crate::watched::Watched;

/// What each name gives access to.
pub(crate) type Access = HashMap<String, Vec<Scope>>;

/// The grants and open invitations of one server.
#[derive(Debug)]
pub struct Grants {
    file: Watched<Contents>,
    /// What keys and passwords give access to, by their names.
    pub(crate) access: Mutex<Option<(Arc<Contents>, Access)>>,
}

/// Why grants cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// The file or folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file says something that we do not understand, so that nobody but the owner has access.
    #[error("{} cannot be understood; put it right, or move it away to begin with none", path.display())]
    Malformed {
        /// `STATE/grants.toml`.
        path: PathBuf,
        /// Where and what.
        source: MalformedGrants,
    },
    /// More than [`GRANTS_MAX`].
    #[error("there are {GRANTS_MAX} {0} already, which is the most; remove some")]
    TooMany(&'static str),
    /// More than is read back, [`GRANTS_BYTES_MAX`].
    #[error("{} would be longer than {GRANTS_BYTES_MAX} bytes, which is the most; remove some of what is in it", path.display())]
    TooLong {
        /// `STATE/grants.toml`, which is as it was.
        path: PathBuf,
    },
    /// The system gave no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// What a key was given by an invitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enrolled {
    /// The key.
    pub key: PublicKeyId,
    /// For people: the invitation's note.
    pub label: String,
    /// For people, where there was no note: the user name of the proof, which is the guest's own word.
    pub user: String,
    /// What it may do, where and for how long.
    pub scope: Scope,
    /// The invitation that enrolled it; none if the owner wrote it by hand.
    pub via: Option<InvitationId>,
}

/// An invitation that can still be redeemed, as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenInvitation {
    /// Its name.
    pub id: InvitationId,
    /// What it gives; `uses` counts those that are left.
    pub terms: InvitationTerms,
    pub(crate) verifier: InvitationVerifier,
}

/// The file, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) enrolled: Vec<Enrolled>,
    pub(crate) invitations: Vec<OpenInvitation>,
    pub(crate) passwords: Vec<PasswordGrant>,
}

/// Why an invitation does not enrol.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedeemError {
    #[error(transparent)]
    Grants(#[from] GrantsError),
    #[error("there is no invitation {0}: it was used up, has expired, or was taken back")]
    Unknown(InvitationId),
    #[error("the invitation {0} has expired")]
    Expired(InvitationId),
    #[error("the proof of invitation {0} is wrong: its secret is not known to the client")]
    Mac(InvitationId),
}

impl Grants {
    /// The grants in a server's state folder; the folder is made (0700) if it is not there.
    pub fn open(state: &Path) -> Result<Self, GrantsError> {
        private_file::make_folder(state)?;
        Ok(Self { file: Watched::new(state.join("grants.toml")), access: Mutex::default() })
    }

    /// Makes an invitation; its secret is in the answer and nowhere else.
    pub fn invite(&self, terms: InvitationTerms, now: SystemTime) -> Result<Invitation, GrantsError> {
        let mut bytes = Zeroizing::new([0; 16]);
        random(&mut *bytes).map_err(|_| GrantsError::Random)?;
        let secret = InvitationSecret(bytes);
        self.change(|contents| {
            contents.invitations.retain(|open| open.is_open(now));
            if contents.invitations.len() >= GRANTS_MAX {
                return Err(GrantsError::TooMany("invitations"));
            }
            let (id, verifier) = (secret.id(), secret.verifier());
            contents.invitations.push(OpenInvitation { id, terms: terms.clone(), verifier });
            Ok(())
        })?;
        Ok(Invitation { secret, terms })
    }

    /// Makes a password, which is in the answer and nowhere else. Those whose time is over are forgotten.
    pub fn make_password(&self, label: &str, scope: Scope, now: SystemTime) -> Result<Password, GrantsError> {
        let mut bytes = Zeroizing::new([0; password::BYTES]);
        random(&mut *bytes).map_err(|_| GrantsError::Random)?;
        let password = Password::new(bytes);
        self.change(|contents| {
            contents.passwords.retain(|known| known.is_valid(now));
            if contents.passwords.len() >= GRANTS_MAX {
                return Err(GrantsError::TooMany("passwords"));
            }
            let (label, verifier) = (label.to_owned(), password.verifier());
            contents.passwords.push(PasswordGrant { label, scope, verifier });
            Ok(())
        })?;
        Ok(password)
    }

    /// The passwords that let somebody in at `now`.
    pub fn passwords(&self, now: SystemTime) -> Result<Vec<PasswordGrant>, GrantsError> {
        Ok(self.contents()?.passwords.iter().filter(|known| known.is_valid(now)).cloned().collect())
    }

    /// Whether there is any.
    pub(crate) fn has_passwords(&self, now: SystemTime) -> Result<bool, GrantsError> {
        Ok(self.contents()?.passwords.iter().any(|known| known.is_valid(now)))
    }

    /// What `key` has been given and not lost by time.
    pub(crate) fn of_key(&self, key: &PublicKeyId, now: SystemTime) -> Result<Vec<Enrolled>, GrantsError> {
        let contents = self.contents()?;
        let valid = |e: &&Enrolled| e.key == *key && e.scope.expires.is_none_or(|end| now < end);
        Ok(contents.enrolled.iter().filter(valid).cloned().collect())
    }

    /// Enrols `key` by an invitation and counts one use, in one step; what it enrolled before is not counted again, so
    /// that a client that lost the answer can ask again.
    pub(crate) fn redeem(
        &self,
        id: InvitationId,
        accepts: impl Fn(&InvitationVerifier) -> bool,
        key: &PublicKeyId,
        user: &str,
        now: SystemTime,
    ) -> Result<(), RedeemError> {
        let done = |contents: &Contents| contents.enrolled.iter().any(|e| e.key == *key && e.via == Some(id));
        let open = |contents: &Contents| {
            let at =
                contents.invitations.iter().position(|open| open.id == id).ok_or(RedeemError::Unknown(id))?;
            let open = &contents.invitations[at];
            if !accepts(&open.verifier) {
                return Err(RedeemError::Mac(id));
            }
            if !open.is_open(now) {
                return Err(RedeemError::Expired(id));
            }
            Ok(at)
        };
        let contents = self.contents()?;
        if done(&contents) {
            return Ok(());
        }
        // Whoever holds no invitation makes nobody write.
        open(&contents)?;
        self.change(|contents| {
            if done(contents) {
                return Ok(());
            }
            let at = open(contents)?;
            let open = &mut contents.invitations[at];
            open.terms.uses -= 1;
            let terms = open.terms.clone();
            contents.invitations.retain(|open| open.is_open(now));
            contents.enrol(key, user, &terms, id)
        })
    }

    pub(crate) fn contents(&self) -> Result<Arc<Contents>, GrantsError> {
        self.file.get(check, |opened| read(opened, self.file.path()))
    }

    /// Reads, changes and replaces the file under its lock; an error leaves it as it was, and so does no change.
    pub(crate) fn change<T, E: From<GrantsError>>(
        &self,
        change: impl FnOnce(&mut Contents) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.file.path();
        let _lock = private_file::lock(path).map_err(GrantsError::from)?;
        self.file.forget();
        let before = self.contents()?;
        let mut contents = Contents::clone(&before);
        let answer = change(&mut contents)?;
        if contents != *before {
            let text = grants_text::write(&contents);
            // What could not be read back would shut out everybody but the owner.
            if text.len() as u64 > GRANTS_BYTES_MAX {
                return Err(GrantsError::TooLong { path: path.into() }.into());
            }
            private_file::replace(path, text.as_bytes(), 0o600).map_err(GrantsError::from)?;
        }
        Ok(answer)
    }
}

impl Enrolled {
    /// What a log calls it; the key itself is the better name where it is empty.
    pub(crate) fn called(&self) -> &str {
        if self.label.is_empty() { &self.user } else { &self.label }
    }
}

impl OpenInvitation {
    fn is_open(&self, now: SystemTime) -> bool {
        self.terms.uses > 0 && self.terms.expires.is_none_or(|end| now < end)
    }
}

impl Contents {
    /// Adds to what the key has: accepting an invitation never takes anything away.
    fn enrol(
        &mut self,
        key: &PublicKeyId,
        user: &str,
        terms: &InvitationTerms,
        via: InvitationId,
    ) -> Result<(), RedeemError> {
        let scope = Scope { path: terms.path.clone(), rights: terms.rights, expires: terms.access_until };
        let keys: HashSet<_> = self.enrolled.iter().map(|enrolled| &enrolled.key).collect();
        if keys.len() >= GRANTS_MAX && !keys.contains(key) {
            return Err(GrantsError::TooMany("enrolled keys").into());
        }
        let user = if terms.note.is_empty() { user.to_owned() } else { String::new() };
        self.enrolled.push(Enrolled {
            key: key.clone(),
            label: terms.note.clone(),
            user,
            scope,
            via: Some(via),
        });
        Ok(())
    }
}

fn check(opened: &Opened) -> Result<(), GrantsError> {
    opened.require_secret()?;
    Ok(opened.require_ours()?)
}

fn read(opened: Opened, path: &Path) -> Result<Contents, GrantsError> {
    let malformed = |source| GrantsError::Malformed { path: path.into(), source };
    let bytes = Zeroizing::new(opened.read(GRANTS_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).map_err(|e| malformed(MalformedGrants::NotText(e)))?;
    grants_text::parse(text).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::TakenBack;
    use std::time::{Duration, UNIX_EPOCH};

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn later(secs: u64) -> SystemTime {
        now() + Duration::from_secs(secs)
    }

    fn key(seed: u8) -> PublicKeyId {
        PublicKeyId::from_blob(&crate::ServerKey([seed; 32]).blob()).unwrap()
    }

    fn redeem(grants: &Grants, invitation: &Invitation, key: &PublicKeyId) -> Result<(), RedeemError> {
        let mac = invitation.secret.verifier().mac(b"m");
        grants.redeem(invitation.secret.id(), |verifier| verifier.accepts(&mac, b"m"), key, "ana", now())
    }

    #[test]
    fn an_invitation_enrols_as_many_keys_as_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let grants = Grants::open(dir.path()).unwrap();
        let invitation = grants.invite(InvitationTerms { uses: 2, ..Default::default() }, now()).unwrap();
        redeem(&grants, &invitation, &key(1)).unwrap();
        redeem(&grants, &invitation, &key(1)).unwrap();
        assert_eq!(grants.contents().unwrap().invitations[0].terms.uses, 1, "asking again is not counted");
        redeem(&grants, &invitation, &key(2)).unwrap();
        assert!(matches!(redeem(&grants, &invitation, &key(3)), Err(RedeemError::Unknown(_))));
        redeem(&grants, &invitation, &key(2)).unwrap();
        assert_eq!(grants.contents().unwrap().enrolled.len(), 2);
        let of_one = &grants.of_key(&key(1), now()).unwrap()[0];
        assert_eq!(
            (of_one.label.as_str(), of_one.user.as_str()),
            ("", "ana"),
            "a word of its own is no note"
        );
        assert!(grants.of_key(&key(3), now()).unwrap().is_empty());
    }

    #[test]
    fn no_secret_no_time_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let grants = Grants::open(dir.path()).unwrap();
        let terms = InvitationTerms { expires: Some(now()), ..Default::default() };
        let late = grants.invite(terms, later(0) - Duration::from_secs(9)).unwrap();
        assert!(matches!(redeem(&grants, &late, &key(1)), Err(RedeemError::Expired(_))));
        let open = grants.invite(InvitationTerms::default(), now()).unwrap();
        let wrong = grants.redeem(open.secret.id(), |_| false, &key(1), "", now());
        assert!(matches!(wrong, Err(RedeemError::Mac(_))));
        let taken = grants.take_back(&open.secret.id().to_string(), now()).unwrap();
        assert!(matches!(taken, TakenBack::All { .. }), "{taken:?}");
        let before = grants.given_then().unwrap();
        assert!(matches!(redeem(&grants, &open, &key(1)), Err(RedeemError::Unknown(_))));
        assert_eq!(grants.given_then().unwrap(), before, "a stranger's try changes nothing");
        assert!(grants.contents().unwrap().enrolled.is_empty());
    }

    #[test]
    fn access_ends_and_can_be_taken() {
        let dir = tempfile::tempdir().unwrap();
        let grants = Grants::open(dir.path()).unwrap();
        let terms =
            InvitationTerms { access_until: Some(later(60)), note: "Bob".into(), ..Default::default() };
        let invitation = grants.invite(terms, now()).unwrap();
        redeem(&grants, &invitation, &key(1)).unwrap();
        let of_bob = &grants.of_key(&key(1), later(59)).unwrap()[0];
        assert_eq!((of_bob.label.as_str(), of_bob.user.as_str()), ("Bob", ""));
        assert!(grants.of_key(&key(1), later(60)).unwrap().is_empty());
        let taken = grants.take_back(&key(1).fingerprint().to_string(), now()).unwrap();
        assert!(matches!(taken, TakenBack::All { .. }), "{taken:?}");
        assert!(grants.of_key(&key(1), now()).unwrap().is_empty());
    }

    #[test]
    fn two_processes_change_it_in_turn() {
        let dir = tempfile::tempdir().unwrap();
        let first = Grants::open(dir.path()).unwrap();
        let invitation = first.invite(InvitationTerms { uses: 8, ..Default::default() }, now()).unwrap();
        std::thread::scope(|scope| {
            for seed in 0..16 {
                let invitation = &invitation;
                let other = Grants::open(dir.path()).unwrap();
                scope.spawn(move || {
                    let _ = redeem(&other, invitation, &key(seed));
                    other.invite(InvitationTerms::default(), now()).unwrap();
                });
            }
        });
        assert_eq!(first.contents().unwrap().enrolled.len(), 8, "exactly as many as the invitation allows");
        assert_eq!(first.contents().unwrap().invitations.len(), 16, "none was lost");
    }

    #[test]
    fn a_file_that_is_not_understood_gives_nothing_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let grants = Grants::open(dir.path()).unwrap();
        grants.invite(InvitationTerms::default(), now()).unwrap();
        let path = dir.path().join("grants.toml");
        private_file::replace(&path, b"[[key]]\nkey = 1\n", 0o600).unwrap();
        assert!(matches!(grants.of_key(&key(1), now()), Err(GrantsError::Malformed { .. })));
        assert!(grants.invite(InvitationTerms::default(), now()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"[[key]]\nkey = 1\n");
    }

    #[test]
    fn it_does_not_outgrow_what_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let grants = Grants::open(dir.path()).unwrap();
        let long = "n".repeat(GRANTS_BYTES_MAX as usize / 2);
        let scope =
            Scope { path: sft_base::EntryPath::root(), rights: crate::rights::Rights::ALL, expires: None };
        let make = |label: &str| grants.make_password(label, scope.clone(), now());
        make(&long).unwrap();
        assert!(matches!(make(&long), Err(GrantsError::TooLong { .. })));
        assert_eq!(grants.passwords(now()).unwrap().len(), 1);
        make("short").unwrap();
        assert_eq!(Grants::open(dir.path()).unwrap().passwords(now()).unwrap().len(), 2);
    }
}
