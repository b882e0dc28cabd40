//! The public key that a server is known by (spec/auth.md, "The server").

use std::fmt;

use crate::fingerprint::Fingerprint;
use crate::ssh_wire::put_string;

/// Ed25519 public key of a server, 32 bytes as in RFC 8032. Shown as its fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerKey(pub [u8; 32]);

impl ServerKey {
    /// The SSH public key blob: string `ssh-ed25519`, string of the 32 bytes.
    pub fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(51);
        put_string(&mut blob, b"ssh-ed25519");
        put_string(&mut blob, &self.0);
        blob
    }

    /// SHA-256 over the blob: what `ssh-keygen -l` prints for the same key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_blob(&self.blob())
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint().fmt(f)
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_openssh() {
        // `ssh-keygen -lf` of a file with this key says so.
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let key = ServerKey(std::array::from_fn(|i| i as u8));
        assert_eq!(crate::PublicKeyId::from_line(line).unwrap().0.blob(), key.blob());
        assert_eq!(key.to_string(), KEYGEN_SAYS);
    }

    const KEYGEN_SAYS: &str = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA";
}
