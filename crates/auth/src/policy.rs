//! The one place where a proof becomes a grant (spec/auth.md, "Who is let in").
//!
//! First the owner's keys, then keys that were enrolled, then the invitation of the proof. What the peer is told and
//! what the log keeps are two texts: the peer learns only that it was not let in.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::authorized_keys::{KeyProblem, OwnerKeys, OwnerKeysError, OwnerKeysFile};
use crate::certificate::{CertificateError, UserCertificate};
use crate::fingerprint::Fingerprint;
use crate::grant::Grant;
use crate::grants::{Enrolled, Grants, GrantsError, RedeemError};
use crate::invitation::InvitationVerifier;
use crate::password::Password;
use crate::proof::{Proof, ProofError, verify_proof};
use crate::public_key::PublicKeyId;
use crate::rights::Rights;
use crate::server_key::ServerKey;

/// Who is let into one server, and with which rights.
#[derive(Debug)]
pub struct Policy {
    owner: OwnerKeysFile,
    grants: Grants,
    read_only: bool,
}

/// Not let in. `Display` is what the peer may be told; [`Self::log_text`] is for the server's log.
#[derive(Debug)]
pub struct AuthError {
    key: Fingerprint,
    reason: Refusal,
}

/// Why somebody was not let in, for the log and never for the peer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The proof proves nothing.
    #[error("the proof does not hold")]
    Proof(#[source] ProofError),
    /// A good proof of a key that nobody gave anything.
    #[error("the key is neither the owner's nor enrolled")]
    Unknown,
    /// The same, and the owner's keys could not be looked at.
    #[error("the key is not enrolled, and whether it is the owner's cannot be said")]
    OwnerFile(#[source] OwnerKeysError),
    /// The owner's file names the key, in a line that gives no access.
    #[error("authorized_keys names the key and gives it no access")]
    OwnerLine(#[source] KeyProblem),
    /// The certificate lets nobody in.
    #[error("the certificate does not hold")]
    Certificate(#[source] CertificateError),
    /// The key is not known, and its invitation does not enrol it.
    #[error("{0}")]
    Invitation(String),
    /// Grants cannot be read or changed.
    #[error("nobody but the owner is let in")]
    Grants(#[source] GrantsError),
}

/// Why a password lets nobody in, for the log and never for the peer.
#[derive(Debug, thiserror::Error)]
pub enum PasswordRefused {
    /// It was not granted, or its time is over.
    #[error("the password is none that was granted")]
    Unknown,
    /// Grants cannot be read.
    #[error("no password is taken")]
    Grants(#[source] GrantsError),
}

impl Policy {
    /// The policy of a server.
    ///
    /// - Shape: `state` is the server's folder, made if it is not there; `authorized_keys` is the owner's file, which
    ///   need not exist; `read_only` takes create, replace, remove and share from everybody.
    /// - Errors: [`GrantsError`] if the folder cannot be used. The owner's file is looked at when somebody comes.
    /// - Source: spec/auth.md, "Who is let in".
    pub fn open(state: &Path, authorized_keys: PathBuf, read_only: bool) -> Result<Self, GrantsError> {
        Ok(Self { owner: OwnerKeysFile::new(authorized_keys), grants: Grants::open(state)?, read_only })
    }

    /// The owner's keys as they are now, for what a server says when it starts.
    pub fn owner_keys(&self) -> Result<Arc<OwnerKeys>, OwnerKeysError> {
        self.owner.keys()
    }

    /// Enrolled keys and invitations.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Lets somebody in, or not. Reads files that changed, and writes one if an invitation is redeemed: may block.
    ///
    /// - Shape: `exporter` and `server_key` are those of the connection that the proof came on.
    /// - Errors: [`AuthError`], two texts.
    /// - Source: spec/auth.md, "Who is let in".
    pub fn authenticate(
        &self,
        proof: &Proof,
        exporter: &[u8; 32],
        server_key: &ServerKey,
        now: SystemTime,
    ) -> Result<Grant, AuthError> {
        let refused = |reason| AuthError { key: Fingerprint::of_blob(&proof.public_key), reason };
        let key = verify_proof(proof, exporter, server_key).map_err(|e| refused(Refusal::Proof(e)))?;
        let redeem = || self.redeem(proof, &key, &proof.message(exporter, server_key), now);
        self.admit(&key, redeem, now)
    }

    /// Lets in whoever has proven `key` by other means than a [`Proof`], or would be let in if they proved it.
    ///
    /// **The caller vouches for the proof**: the SSH door, whose clients sign the session identifier of their SSH
    /// connection (RFC 4252, section 7). Blocks as [`Self::authenticate`] does.
    ///
    /// - Errors: [`AuthError`], two texts.
    /// - Source: spec/doors.md, "The SSH door".
    pub fn admit_proven(&self, key: &PublicKeyId, now: SystemTime) -> Result<Grant, AuthError> {
        self.admit(key, || Ok(()), now)
    }

    /// Whether anybody may be let in by a certificate: then a key that is not known may be one that has one.
    pub fn takes_certificates(&self) -> bool {
        self.owner.keys().is_ok_and(|keys| keys.has_authorities())
    }

    /// Lets in whoever has proven the key of an OpenSSH certificate by other means than a [`Proof`].
    ///
    /// **The caller vouches for the proof** and for the address that the client comes from. The certificate itself, its
    /// signature and its times among it, is judged here. Blocks as [`Self::authenticate`] does.
    ///
    /// - Shape: `blob` is the certificate as it is sent, without base64.
    /// - Errors: [`AuthError`], two texts.
    /// - Source: spec/auth.md, "Certificates".
    pub fn admit_certified(&self, blob: &[u8], from: IpAddr, now: SystemTime) -> Result<Grant, AuthError> {
        let read = UserCertificate::from_blob(blob);
        let key = read.as_ref().map_or_else(|_| Fingerprint::of_blob(blob), |read| read.key.fingerprint());
        let refused = |reason| AuthError { key, reason };
        let certificate = read.map_err(|e| refused(Refusal::Certificate(e)))?;
        let keys = self.owner.keys().map_err(|e| refused(Refusal::OwnerFile(e)))?;
        let access = keys.certified(&certificate, self.owner.account(), from.to_canonical(), now);
        let access = access.map_err(|e| refused(Refusal::Certificate(e)))?;
        Ok(self.as_served(Grant::owner(&access.comment, Rights::ALL, access.expires)))
    }

    /// Whether there is any password that lets somebody in.
    pub fn takes_passwords(&self, now: SystemTime) -> bool {
        self.grants.has_passwords(now).unwrap_or(false)
    }

    /// Lets in whoever has typed a password that was granted. Blocks as [`Self::authenticate`] does.
    ///
    /// **The caller vouches for the channel**: it is encrypted, and the client has seen the server prove its key.
    ///
    /// - Errors: [`PasswordRefused`], for the log.
    /// - Source: spec/auth.md, "Passwords".
    pub fn admit_password(&self, typed: &str, now: SystemTime) -> Result<Grant, PasswordRefused> {
        let verifier = Password::from_typed(typed).ok_or(PasswordRefused::Unknown)?.verifier();
        let known = self.grants.passwords(now).map_err(PasswordRefused::Grants)?;
        let known = known.into_iter().find(|known| known.verifier == verifier);
        let known = known.ok_or(PasswordRefused::Unknown)?;
        let identity = known.identity();
        let label = if known.label.is_empty() { identity.clone() } else { known.label };
        Ok(self.as_served(Grant::enrolled(identity, &label, vec![known.scope])))
    }

    /// `redeem` enrols the key if its owner brought an invitation; the owner's keys need none.
    fn admit(
        &self,
        key: &PublicKeyId,
        redeem: impl FnOnce() -> Result<(), Refusal>,
        now: SystemTime,
    ) -> Result<Grant, AuthError> {
        let refused = |reason| AuthError { key: key.fingerprint(), reason };
        let grant = match self.owner(key, now) {
            Some(Ok(grant)) => grant,
            Some(Err(reason @ Refusal::OwnerLine(_))) => return Err(refused(reason)),
            // Keys that were enrolled do not depend on the owner's file.
            not_owner => {
                let enrolled = redeem().and_then(|()| self.enrolled(key, now));
                let unknown = || not_owner.and_then(Result::err).unwrap_or(Refusal::Unknown);
                enrolled.map_err(refused)?.ok_or_else(|| refused(unknown()))?
            }
        };
        Ok(self.as_served(grant))
    }

    pub(crate) fn as_served(&self, grant: Grant) -> Grant {
        if self.read_only { grant.limited_to(Rights::READ) } else { grant }
    }

    /// None if the owner's file does not name the key.
    fn owner(&self, key: &PublicKeyId, now: SystemTime) -> Option<Result<Grant, Refusal>> {
        let keys = match self.owner.keys() {
            Ok(keys) => keys,
            Err(e) => return Some(Err(Refusal::OwnerFile(e))),
        };
        let access = keys.access(key, now)?.map_err(Refusal::OwnerLine);
        Some(access.map(|access| Grant::owner(&access.comment, Rights::ALL, access.expires)))
    }

    /// Enrols the key if the proof brings an invitation.
    fn redeem(
        &self,
        proof: &Proof,
        key: &PublicKeyId,
        message: &[u8],
        now: SystemTime,
    ) -> Result<(), Refusal> {
        let Some(invitation) = &proof.invitation else { return Ok(()) };
        let accepts = |verifier: &InvitationVerifier| verifier.accepts(&invitation.mac, message);
        Ok(self.grants.redeem(invitation.id, accepts, key, &proof.user, now)?)
    }

    fn enrolled(&self, key: &PublicKeyId, now: SystemTime) -> Result<Option<Grant>, Refusal> {
        let enrolled = self.grants.of_key(key, now).map_err(Refusal::Grants)?;
        let Some(called) = enrolled.first().map(Enrolled::called) else { return Ok(None) };
        let identity = key.fingerprint().to_string();
        let label = if called.is_empty() { identity.clone() } else { called.to_owned() };
        Ok(Some(Grant::enrolled(identity, &label, enrolled.into_iter().map(|e| e.scope).collect())))
    }
}

impl AuthError {
    /// The fingerprint of the key that was tried, proven or not.
    pub fn key(&self) -> Fingerprint {
        self.key
    }

    /// The reason; its chain of sources says the rest.
    pub fn reason(&self) -> &Refusal {
        &self.reason
    }

    /// The reason with all its causes on one line, for the server's log.
    pub fn log_text(&self) -> String {
        let mut text = format!("key {} was not let in: {}", self.key, self.reason);
        let mut cause = std::error::Error::source(&self.reason);
        while let Some(error) = cause {
            // A cause that only passes on what lies below it would say the same twice.
            let said = error.to_string();
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not authorised (with the key {})", self.key)
    }
}

/// Without a source: a chain of causes must not reach the peer.
impl std::error::Error for AuthError {}

impl From<RedeemError> for Refusal {
    fn from(error: RedeemError) -> Self {
        match error {
            RedeemError::Grants(e) => Self::Grants(e),
            other => Self::Invitation(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_keys::{ClientKey, ClientKeys, KeySearch};
    use crate::grant::Scope;
    use crate::invitation::{InvitationProof, InvitationSecret, InvitationTerms};
    use crate::private_file::replace;
    use crate::proof::prove;
    use crate::rights::Right;
    use sft_base::EntryPath;
    use std::time::{Duration, UNIX_EPOCH};

    const EXPORTER: [u8; 32] = [3; 32];
    const SERVER: ServerKey = ServerKey([4; 32]);

    struct House {
        dir: tempfile::TempDir,
        policy: Policy,
    }

    impl House {
        fn new(read_only: bool) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let state = dir.path().join("state");
            let policy = Policy::open(&state, dir.path().join("authorized_keys"), read_only).unwrap();
            Self { dir, policy }
        }

        fn key(&self, name: &str) -> ClientKey {
            let path = self.dir.path().join(name);
            if !path.exists() {
                ClientKeys::generate(&path, name, None).unwrap();
            }
            let search = KeySearch { identity: Some(path), ..KeySearch::default() };
            ClientKeys::find(&search).unwrap().into_iter().next().unwrap()
        }

        fn own(&self, line: &str) {
            replace(&self.dir.path().join("authorized_keys"), line.as_bytes(), 0o600).unwrap();
        }

        fn proof(&self, name: &str, invitation: Option<&InvitationSecret>) -> Proof {
            prove(&self.key(name), "ana", &EXPORTER, &SERVER, invitation, &mut |_| None).unwrap()
        }

        fn enter(&self, proof: &Proof) -> Result<Grant, AuthError> {
            self.policy.authenticate(proof, &EXPORTER, &SERVER, now())
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    fn path(text: &str) -> EntryPath {
        EntryPath::from_typed(text.as_bytes()).unwrap()
    }

    #[test]
    fn nobody_is_let_in_until_the_owner_says_so() {
        let house = House::new(false);
        let proof = house.proof("k", None);
        let refused = house.enter(&proof).unwrap_err();
        let key = house.key("k");
        assert_eq!(refused.to_string(), format!("not authorised (with the key {})", key.public()));
        assert!(refused.log_text().ends_with("was not let in: the key is neither the owner's nor enrolled"));
        house.own(&format!("{} ana@laptop\n", key.public().to_line()));
        let grant = house.enter(&proof).unwrap();
        assert_eq!((grant.identity(), grant.label()), ("owner", "owner (ana@laptop)"));
        assert!(Right::ALL.iter().all(|&right| grant.allows(right, &path("x")).is_ok()));
        assert!(grant.set_id());
        house.own("# nobody any more, and longer than before\n");
        assert!(house.enter(&proof).is_err(), "a key that was taken away");
    }

    #[test]
    fn a_key_proven_elsewhere_is_let_in_by_the_same_rules() {
        let house = House::new(true);
        let key = house.key("k");
        let refused = house.policy.admit_proven(key.public(), now()).unwrap_err();
        assert!(refused.log_text().ends_with("was not let in: the key is neither the owner's nor enrolled"));
        house.own(&format!("command=\"/bin/x\" {}\n", key.public().to_line()));
        assert!(house.policy.admit_proven(key.public(), now()).is_err());
        house.own(&format!("{} ana@laptop\n", key.public().to_line()));
        let grant = house.policy.admit_proven(key.public(), now()).unwrap();
        assert_eq!((grant.identity(), grant.rights()), ("owner", Rights::READ), "the server is read-only");
    }

    #[test]
    fn what_the_log_says_the_peer_does_not_hear() {
        let house = House::new(false);
        let proof = house.proof("k", None);
        let line = house.key("k").public().to_line();
        house.own(&format!("command=\"/bin/secret\" {line}\n"));
        let refused = house.enter(&proof).unwrap_err();
        assert!(
            refused.log_text().contains("the option `command` is not carried out"),
            "{}",
            refused.log_text()
        );
        let stale = house.policy.authenticate(&proof, &[9; 32], &SERVER, now()).unwrap_err();
        assert!(
            stale.log_text().ends_with("does not hold: the signature does not match"),
            "{}",
            stale.log_text()
        );
        house.own(&line);
        use std::os::unix::fs::PermissionsExt;
        let file = house.dir.path().join("authorized_keys");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        let open = house.enter(&proof).unwrap_err();
        assert!(open.log_text().contains("can be changed by others"), "{}", open.log_text());
        for error in [refused, stale, open] {
            let told = error.to_string();
            assert!(told.starts_with("not authorised (with the key SHA256:") && told.len() < 100, "{told}");
            assert!(std::error::Error::source(&error).is_none());
        }
    }

    #[test]
    fn an_invitation_enrols_once_and_for_its_path_only() {
        let house = House::new(false);
        let terms = InvitationTerms { path: path("in"), rights: Rights::DROP, ..InvitationTerms::default() };
        let invitation = house.policy.grants().invite(terms, now()).unwrap();
        let joining = house.proof("guest", Some(&invitation.secret));
        let grant = house.enter(&joining).unwrap();
        assert_eq!(grant.label(), "ana");
        assert_eq!(grant.identity(), house.key("guest").public().to_string());
        assert!(grant.allows(Right::Create, &path("in/x")).is_ok());
        assert!(grant.allows(Right::List, &path("in")).is_err());
        assert!(grant.allows(Right::Create, &path("x")).is_err());
        assert!(!grant.set_id());
        assert!(house.enter(&joining).is_ok(), "a client that lost the answer asks again");
        assert!(house.enter(&house.proof("guest", None)).is_ok(), "enrolled from now on");
        let second = house.enter(&house.proof("other", Some(&invitation.secret))).unwrap_err();
        assert!(second.log_text().contains("it was used up"), "{}", second.log_text());
    }

    #[test]
    fn a_keyed_hash_is_good_for_its_key_connection_and_invitation_only() {
        let house = House::new(false);
        let invite = || house.policy.grants().invite(InvitationTerms::default(), now()).unwrap();
        let (invitation, other) = (invite(), invite());
        let good = house.proof("a", Some(&invitation.secret));
        let stolen = Proof { invitation: good.invitation, ..house.proof("b", None) };
        let elsewhere =
            prove(&house.key("a"), "ana", &[9; 32], &SERVER, Some(&invitation.secret), &mut |_| None);
        let stale = Proof { invitation: elsewhere.unwrap().invitation, ..house.proof("a", None) };
        let mac = good.invitation.unwrap().mac;
        let renamed =
            Proof { invitation: Some(InvitationProof { id: other.secret.id(), mac }), ..good.clone() };
        for bad in [stolen, stale, renamed] {
            let refused = house.enter(&bad).unwrap_err();
            assert!(refused.log_text().contains("its secret is not known"), "{}", refused.log_text());
        }
        assert!(house.policy.grants().contents().unwrap().enrolled.is_empty());
        assert!(house.enter(&good).is_ok());
    }

    #[test]
    fn the_owner_needs_no_invitation_and_uses_none_up() {
        let house = House::new(false);
        house.own(&house.key("k").public().to_line());
        let invitation = house.policy.grants().invite(InvitationTerms::default(), now()).unwrap();
        let grant = house.enter(&house.proof("k", Some(&invitation.secret))).unwrap();
        assert_eq!(grant.identity(), "owner");
        assert_eq!(house.policy.grants().contents().unwrap().invitations.len(), 1);
    }

    #[test]
    fn a_password_is_good_for_what_was_granted_and_no_longer() {
        let house = House::new(false);
        let scope =
            |expires| Scope { path: path("in"), rights: Rights::WRITE, expires: Some(now() + expires) };
        let grants = house.policy.grants();
        assert!(!house.policy.takes_passwords(now()));
        let minute = Duration::from_secs(60);
        let first = grants.make_password("Bob", scope(minute), now()).unwrap();
        let second = grants.make_password("", scope(2 * minute), now()).unwrap();
        assert!(house.policy.takes_passwords(now()));
        let enter = |typed: &str, at| house.policy.admit_password(typed, at);
        let grant = enter(&first.to_text(), now()).unwrap();
        assert_eq!((grant.label(), grant.expires()), ("Bob", Some(now() + minute)));
        assert!(grant.allows(Right::Create, &path("in/x")).is_ok());
        assert!(grant.allows(Right::Read, &path("x")).is_err() && !grant.set_id());
        let other = enter(&second.to_text(), now()).unwrap();
        assert!(other.identity().starts_with("password:") && other.identity() != grant.identity());
        assert_eq!(enter(&first.to_text(), now()).unwrap().identity(), grant.identity(), "always the same");
        for wrong in ["", "secret", &first.to_text()[1..], &first.to_text().replace('-', "0")] {
            assert!(matches!(enter(wrong, now()), Err(PasswordRefused::Unknown)), "{wrong}");
        }
        assert!(enter(&first.to_text(), now() + minute).is_err());
        assert!(!house.policy.takes_passwords(now() + 2 * minute));
        let kept = std::fs::read_to_string(house.dir.path().join("state/grants.toml")).unwrap();
        assert!(kept.contains("[[password]]") && !kept.contains(&first.to_text()[..6]), "{kept}");
        grants.make_password("", scope(9 * minute), now() + minute).unwrap();
        assert_eq!(grants.passwords(now()).unwrap().len(), 2, "one that is over is forgotten");
        let house = House::new(true);
        let password = house.policy.grants().make_password("", scope(minute), now()).unwrap();
        let grant = house.policy.admit_password(&password.to_text(), now()).unwrap();
        assert_eq!(grant.rights(), Rights::READ, "the server is read-only");
    }

    #[test]
    fn read_only_takes_writing_from_everybody() {
        let house = House::new(true);
        house.own(&house.key("k").public().to_line());
        let owner = house.enter(&house.proof("k", None)).unwrap();
        assert_eq!(owner.rights(), Rights::READ);
        let terms = InvitationTerms { rights: Rights::ALL, ..InvitationTerms::default() };
        let invitation = house.policy.grants().invite(terms, now()).unwrap();
        let guest = house.enter(&house.proof("guest", Some(&invitation.secret))).unwrap();
        assert_eq!(guest.rights(), Rights::READ);
    }

    #[test]
    fn access_ends_with_time() {
        let house = House::new(false);
        let end = now() + Duration::from_secs(60);
        let terms = InvitationTerms { access_until: Some(end), ..InvitationTerms::default() };
        let invitation = house.policy.grants().invite(terms, now()).unwrap();
        let grant = house.enter(&house.proof("guest", Some(&invitation.secret))).unwrap();
        assert_eq!(grant.expires(), Some(end));
        let later = house.policy.authenticate(&house.proof("guest", None), &EXPORTER, &SERVER, end);
        assert!(later.is_err());
    }
}
