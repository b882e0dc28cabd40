//! An ssh-agent, as far as it is needed: which keys it holds, and a signature by one of them (draft-ietf-sshm-ssh-agent).
//!
//! Blocking, over the agent's socket, with a bound on every message and on every wait. Nothing is ever added to or
//! removed from the agent.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sft_base::limits::AGENT_MESSAGE_BYTES_MAX;

use crate::public_key::PublicKeyId;
use crate::ssh_wire::{SshReader, put_string};

/// Why an agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The socket cannot be reached, or the agent went away or was silent for too long.
    #[error("cannot talk to the ssh-agent at {}", path.display())]
    Io {
        /// `SSH_AUTH_SOCK`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An answer that is not one.
    #[error("the ssh-agent at {} answered with something that is not its protocol", path.display())]
    Malformed {
        /// `SSH_AUTH_SOCK`.
        path: PathBuf,
    },
    /// It is locked, the user said no, the hardware key was not touched in time, or the key is gone.
    #[error("the ssh-agent at {} would not sign with this key: is it locked, or was the question denied?", path.display())]
    Refused {
        /// `SSH_AUTH_SOCK`.
        path: PathBuf,
    },
}

/// A connection to an agent.
pub(crate) struct Agent {
    path: PathBuf,
    stream: UnixStream,
}

impl Agent {
    pub(crate) fn connect(path: &Path) -> Result<Self, AgentError> {
        let stream =
            UnixStream::connect(path).map_err(|source| AgentError::Io { path: path.into(), source })?;
        Ok(Self { path: path.into(), stream })
    }

    /// The keys that it holds and we accept, with their comments, in its order.
    pub(crate) fn keys(&mut self) -> Result<Vec<(PublicKeyId, String)>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES], LIST_WAIT)?;
        let mut reader = SshReader::new(&answer);
        if reader.byte() != Some(IDENTITIES_ANSWER) {
            return Err(self.malformed());
        }
        let count = reader.u32().ok_or_else(|| self.malformed())?;
        let mut keys = Vec::new();
        for _ in 0..count {
            let (Some(blob), Some(comment)) = (reader.string(), reader.string()) else {
                return Err(self.malformed());
            };
            // Certificates and kinds that no server of ours takes are passed over.
            if let Ok(key) = PublicKeyId::from_blob(blob) {
                keys.push((key, String::from_utf8_lossy(comment).into_owned()));
            }
        }
        Ok(keys)
    }

    /// An SSH signature blob over `signed`. The user may be asked, or have to touch a key: this can take minutes.
    pub(crate) fn sign(&mut self, key: &PublicKeyId, signed: &[u8]) -> Result<Vec<u8>, AgentError> {
        let mut question = vec![SIGN_REQUEST];
        put_string(&mut question, key.blob());
        put_string(&mut question, signed);
        question.extend_from_slice(&RSA_SHA2_512.to_be_bytes());
        let answer = self.ask(&question, SIGN_WAIT)?;
        let mut reader = SshReader::new(&answer);
        match (reader.byte(), reader.string()) {
            (Some(SIGN_RESPONSE), Some(signature)) if reader.is_empty() => Ok(signature.to_vec()),
            (Some(FAILURE), _) => Err(AgentError::Refused { path: self.path.clone() }),
            _ => Err(self.malformed()),
        }
    }

    fn ask(&mut self, question: &[u8], wait: Duration) -> Result<Vec<u8>, AgentError> {
        let answer = exchange(&mut self.stream, question, wait);
        answer.map_err(|source| AgentError::Io { path: self.path.clone(), source })
    }

    fn malformed(&self) -> AgentError {
        AgentError::Malformed { path: self.path.clone() }
    }
}

fn exchange(stream: &mut UnixStream, question: &[u8], wait: Duration) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(LIST_WAIT))?;
    stream.set_read_timeout(Some(wait))?;
    let mut message = Vec::with_capacity(4 + question.len());
    put_string(&mut message, question);
    stream.write_all(&message)?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len) as usize;
    if len > AGENT_MESSAGE_BYTES_MAX {
        let said = format!("an answer of {len} bytes, more than {AGENT_MESSAGE_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, said));
    }
    let mut answer = vec![0; len];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const RSA_SHA2_512: u32 = 4;

const LIST_WAIT: Duration = Duration::from_secs(5);
/// As long as people take to find the key that has to be touched.
const SIGN_WAIT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// An agent that answers whatever it is asked with `answer`.
    fn answering(answer: Vec<u8>) -> (tempfile::TempDir, Agent, UnixStream) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let agent = Agent::connect(&dir.path().join("s")).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&answer).unwrap();
        (dir, agent, stream)
    }

    fn message(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_string(&mut out, body);
        out
    }

    fn some_key() -> PublicKeyId {
        PublicKeyId::from_blob(&crate::ServerKey([1; 32]).blob()).unwrap()
    }

    #[test]
    fn hostile_answers_are_errors() {
        let huge = answering(vec![0xff; 8]).1.keys();
        assert!(matches!(huge, Err(AgentError::Io { .. })), "{huge:?}");
        let short = answering(message(&[IDENTITIES_ANSWER, 0xff, 0xff, 0xff, 0xff])).1.keys();
        assert!(matches!(short, Err(AgentError::Malformed { .. })), "{short:?}");
        let other = answering(message(&[99])).1.keys();
        assert!(matches!(other, Err(AgentError::Malformed { .. })), "{other:?}");
        let empty = answering(message(&[])).1.sign(&some_key(), b"x");
        assert!(matches!(empty, Err(AgentError::Malformed { .. })), "{empty:?}");
        let refused = answering(message(&[FAILURE])).1.sign(&some_key(), b"x");
        assert!(matches!(refused, Err(AgentError::Refused { .. })), "{refused:?}");
    }

    #[test]
    fn kinds_we_do_not_take_are_passed_over() {
        let mut body = vec![IDENTITIES_ANSWER, 0, 0, 0, 2];
        let mut dss = Vec::new();
        put_string(&mut dss, b"ssh-dss");
        for (blob, comment) in [(&dss[..], "old"), (some_key().blob(), "new")] {
            put_string(&mut body, blob);
            put_string(&mut body, comment.as_bytes());
        }
        assert_eq!(answering(message(&body)).1.keys().unwrap(), [(some_key(), "new".to_owned())]);
    }
}
