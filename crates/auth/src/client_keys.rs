//! The keys with which a client can prove who it is (spec/auth.md, "Choosing a key").
//!
//! Order: the key the user named; those of the ssh-agent; OpenSSH's own files; the key that sft made. A key appears
//! once, and where the agent holds it the agent signs. No passphrase is asked for before a signature is needed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::agent::{Agent, AgentError};
use crate::folders::Folders;
use crate::key_file::{self, KeyFile, KeyFileError, NamedKey};
use crate::public_key::PublicKeyId;
use crate::sshsig;

/// Where to look for keys.
#[derive(Clone, Debug, Default)]
pub struct KeySearch {
    /// The file that the user named (`-i`): a private key, or a public one that an agent holds.
    pub identity: Option<PathBuf>,
    /// The socket of an ssh-agent.
    pub agent: Option<PathBuf>,
    /// Files to try after that, in this order; those that are missing are passed over.
    pub files: Vec<PathBuf>,
}

/// The keys that were found, best first, and those that were passed over, with the reason.
#[derive(Debug)]
pub struct ClientKeys {
    keys: Vec<ClientKey>,
    skipped: Vec<SkippedKey>,
}

/// A key that can sign.
pub struct ClientKey {
    public: PublicKeyId,
    comment: String,
    signer: Signer,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The ssh-agent with this socket.
    Agent(PathBuf),
    /// This private key file.
    File(PathBuf),
}

/// A place where a key was, or could have been, that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SkippedKey {
    /// A key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The agent: `SSH_AUTH_SOCK` is set, but nobody useful is there.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Why a key did not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Nobody gave the passphrase.
    #[error("{} needs its passphrase; add it to an ssh-agent with `ssh-add {}` or run this on a terminal", path.display(), path.display())]
    NoPassphrase {
        /// The key file.
        path: PathBuf,
    },
    /// The passphrase was wrong, several times.
    #[error("wrong passphrase for {}", path.display())]
    WrongPassphrase {
        /// The key file.
        path: PathBuf,
    },
    /// The agent did not sign.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The numbers of the key do not belong together.
    #[error("the key in {} is damaged and cannot sign", path.display())]
    Damaged {
        /// The key file.
        path: PathBuf,
    },
    /// The user name is too long for a proof.
    #[error("a user name of {0} bytes is too long: {max} is the most", max = sft_base::limits::USER_BYTES_MAX)]
    UserTooLong(usize),
}

enum Signer {
    Agent(PathBuf),
    File(Box<KeyFile>),
}

impl KeySearch {
    /// The usual places: `$SSH_AUTH_SOCK`, `~/.ssh/id_{ed25519,ecdsa,rsa}`, and sft's own key.
    pub fn usual(folders: &Folders, identity: Option<PathBuf>) -> Self {
        let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|s| !s.is_empty()).map(PathBuf::from);
        let ssh = folders.ssh();
        let mut files: Vec<_> = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| ssh.join(name)).into();
        files.push(folders.own_key());
        Self { identity, agent, files }
    }
}

impl ClientKeys {
    /// Looks in all places.
    ///
    /// - Shape: no key twice; possibly none at all, which is no error.
    /// - Errors: [`KeyFileError`] only for the file that the user named; trouble elsewhere is in [`Self::skipped`].
    /// - Source: spec/auth.md, "Choosing a key".
    pub fn find(search: &KeySearch) -> Result<Self, KeyFileError> {
        let mut skipped = Vec::new();
        let named = search.identity.as_deref().map(KeyFile::read_named).transpose()?;
        let mut keys = search.agent.as_deref().map_or_else(Vec::new, |socket| {
            keys_of_agent(socket).unwrap_or_else(|e| {
                skipped.push(e.into());
                Vec::new()
            })
        });
        if let (Some(named), Some(path)) = (named, search.identity.as_deref()) {
            put_named_first(&mut keys, named, path)?;
        }
        for path in &search.files {
            match KeyFile::read(path) {
                Ok(file) => keys.push(ClientKey::from_file(file)),
                Err(KeyFileError::File(e)) if e.is_missing() => {}
                Err(e) => skipped.push(e.into()),
            }
        }
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(key.public.clone()));
        Ok(Self { keys, skipped })
    }

    /// Makes an Ed25519 key at `path` (0600; folders above it 0700) and its public half at `path.pub`.
    ///
    /// - Errors: [`KeyFileError::Exists`] if there is a file already.
    pub fn generate(
        path: &Path,
        comment: &str,
        passphrase: Option<&str>,
    ) -> Result<PublicKeyId, KeyFileError> {
        key_file::generate(path, comment, passphrase)
    }

    /// The keys, best first.
    pub fn keys(&self) -> &[ClientKey] {
        &self.keys
    }

    /// What was passed over, each with a sentence that says why.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }
}

impl IntoIterator for ClientKeys {
    type Item = ClientKey;
    type IntoIter = std::vec::IntoIter<ClientKey>;

    fn into_iter(self) -> Self::IntoIter {
        self.keys.into_iter()
    }
}

impl ClientKey {
    /// The public half.
    pub fn public(&self) -> &PublicKeyId {
        &self.public
    }

    /// The comment; empty if there is none, or if it cannot be read without the passphrase.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Where it is.
    pub fn source(&self) -> KeySource {
        match &self.signer {
            Signer::Agent(socket) => KeySource::Agent(socket.clone()),
            Signer::File(file) => KeySource::File(file.path().into()),
        }
    }

    /// Whether signing will ask for a passphrase.
    pub fn needs_passphrase(&self) -> bool {
        matches!(&self.signer, Signer::File(file) if file.opened().is_none())
    }

    /// Signs `message`: an SSHSIG blob in the namespace of client proofs.
    ///
    /// `passphrase` is called with a question for the user, only if the file is encrypted, and up to three times in
    /// all; the key stays open for later signatures. Blocks: an agent may ask its user, or wait for a touch.
    pub fn sign(
        &self,
        message: &[u8],
        passphrase: &mut dyn FnMut(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Vec<u8>, SignError> {
        let signature = match &self.signer {
            Signer::Agent(socket) => {
                Agent::connect(socket)?.sign(&self.public, &sshsig::signed_bytes(message))?
            }
            Signer::File(file) => {
                open(file, passphrase)?;
                let key =
                    file.opened().ok_or_else(|| SignError::NoPassphrase { path: file.path().into() })?;
                let signature = key.sign(&sshsig::signed_bytes(message));
                signature.ok_or_else(|| SignError::Damaged { path: file.path().into() })?
            }
        };
        Ok(sshsig::encode(&self.public, &signature))
    }

    fn from_file(file: KeyFile) -> Self {
        let (public, comment) = (file.public().clone(), file.comment().to_owned());
        Self { public, comment, signer: Signer::File(Box::new(file)) }
    }
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} from {:?}", self.public, self.source())
    }
}

fn keys_of_agent(socket: &Path) -> Result<Vec<ClientKey>, AgentError> {
    let keys = Agent::connect(socket)?.keys()?;
    let signer = |(public, comment)| ClientKey { public, comment, signer: Signer::Agent(socket.into()) };
    Ok(keys.into_iter().map(signer).collect())
}

/// The agent's copy goes before the file, which could need a passphrase.
fn put_named_first(keys: &mut Vec<ClientKey>, named: NamedKey, path: &Path) -> Result<(), KeyFileError> {
    let public = match &named {
        NamedKey::Private(file) => file.public(),
        NamedKey::Public(public) => public,
    };
    let in_agent = keys.iter().position(|key| key.public == *public);
    let first = match (in_agent, named) {
        (Some(at), _) => keys.remove(at),
        (None, NamedKey::Private(file)) => ClientKey::from_file(*file),
        (None, NamedKey::Public(_)) => return Err(KeyFileError::PublicOnly { path: path.into() }),
    };
    keys.insert(0, first);
    Ok(())
}

fn open(file: &KeyFile, ask: &mut dyn FnMut(&str) -> Option<Zeroizing<String>>) -> Result<(), SignError> {
    let mut question = format!("Passphrase for {}: ", file.path().display());
    if file.opened().is_some() {
        return Ok(());
    }
    for _ in 0..PASSPHRASE_TRIES {
        let answer = ask(&question).ok_or_else(|| SignError::NoPassphrase { path: file.path().into() })?;
        if file.open_with(&answer).is_ok() {
            return Ok(());
        }
        question = format!("That is not it. Passphrase for {}: ", file.path().display());
    }
    Err(SignError::WrongPassphrase { path: file.path().into() })
}

const PASSPHRASE_TRIES: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<Zeroizing<String>> {
        panic!("no passphrase is needed")
    }

    fn search(files: &[&Path]) -> KeySearch {
        KeySearch { files: files.iter().map(PathBuf::from).collect(), ..KeySearch::default() }
    }

    #[test]
    fn files_are_tried_in_order_and_no_key_twice() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, copy, missing] = ["a", "b", "copy", "missing"].map(|name| dir.path().join(name));
        let (first, second) =
            (ClientKeys::generate(&a, "a", None).unwrap(), ClientKeys::generate(&b, "b", None).unwrap());
        std::fs::copy(&a, &copy).unwrap();
        let found = ClientKeys::find(&search(&[&missing, &b, &a, &copy])).unwrap();
        let publics: Vec<_> = found.keys().iter().map(|key| key.public().clone()).collect();
        assert_eq!(publics, [second.clone(), first.clone()]);
        assert!(found.skipped().is_empty());
        let named = KeySearch { identity: Some(a.clone()), ..search(&[&b, &a]) };
        let found = ClientKeys::find(&named).unwrap();
        assert_eq!(found.keys()[0].public(), &first);
        assert_eq!(found.keys()[0].source(), KeySource::File(a));
        assert_eq!(found.keys().len(), 2);
    }

    #[test]
    fn trouble_is_an_error_only_in_the_named_file() {
        let dir = tempfile::tempdir().unwrap();
        let bad = dir.path().join("bad");
        crate::private_file::replace(&bad, b"-----BEGIN RSA PRIVATE KEY-----", 0o600).unwrap();
        let socket = dir.path().join("nobody");
        let place = KeySearch { agent: Some(socket), ..search(&[&bad]) };
        let found = ClientKeys::find(&place).unwrap();
        assert!(found.keys().is_empty());
        assert_eq!(found.skipped().len(), 2);
        assert!(ClientKeys::find(&KeySearch { identity: Some(bad), ..KeySearch::default() }).is_err());
        let missing = KeySearch { identity: Some(dir.path().join("missing")), ..KeySearch::default() };
        assert!(ClientKeys::find(&missing).is_err());
    }

    #[test]
    fn a_public_file_needs_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        ClientKeys::generate(&dir.path().join("k"), "", None).unwrap();
        let named = KeySearch { identity: Some(dir.path().join("k.pub")), ..KeySearch::default() };
        assert!(matches!(ClientKeys::find(&named), Err(KeyFileError::PublicOnly { .. })));
    }

    #[test]
    fn a_passphrase_is_asked_for_when_it_is_needed_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        ClientKeys::generate(&path, "", Some("sesame")).unwrap();
        let found = ClientKeys::find(&search(&[&path])).unwrap();
        let key = &found.keys()[0];
        assert!(key.needs_passphrase());
        assert!(matches!(key.sign(b"m", &mut |_| None), Err(SignError::NoPassphrase { .. })));
        let mut asked = 0;
        let wrong = key.sign(b"m", &mut |_| {
            asked += 1;
            Some(Zeroizing::new("barley".into()))
        });
        assert!(matches!(wrong, Err(SignError::WrongPassphrase { .. })));
        assert_eq!(asked, 3);
        let mut answers = ["sesame", "barley"];
        let mut said = Vec::new();
        let signed = key.sign(b"m", &mut |question| {
            said.push(question.to_owned());
            answers.reverse();
            Some(Zeroizing::new(answers[0].into()))
        });
        assert_eq!(sshsig::verify(&signed.unwrap(), b"m").unwrap(), *key.public());
        assert!(said.len() == 2 && said[1].starts_with("That is not it."), "{said:?}");
        assert!(!key.needs_passphrase());
        assert!(key.sign(b"again", &mut none).is_ok());
    }
}
