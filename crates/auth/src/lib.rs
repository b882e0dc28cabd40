//! Who someone is, and what that lets them do (spec/auth.md).
//!
//! A client proves an SSH key over the TLS exporter; a server is known by the fingerprint of its Ed25519 key; a policy
//! turns a proof into a grant, which nothing else can make. There is no network I/O and no clock here: the caller gives
//! the exporter and the time. The only files touched are key files, the server's state folder, the owner's
//! `authorized_keys`, the client's list of trusted servers, and the socket of an ssh-agent.

mod folders;
pub use folders::{Folders, FoldersError};

mod fingerprint;
pub use fingerprint::{Fingerprint, FingerprintError};
mod server_key;
pub use server_key::ServerKey;
mod server_identity;
pub use server_identity::{IdentityError, ServerIdentity};
mod server_name;
pub use server_name::{DEFAULT_PORT, ServerName, ServerNameError};
mod trust;
pub use trust::{Trust, TrustCheck, TrustError, TrustedServer};

mod public_key;
pub use public_key::{PublicKeyError, PublicKeyId};
mod openssh_key;
pub use openssh_key::PrivateKeyError;
mod key_file;
mod private_key;
pub use key_file::KeyFileError;
mod client_keys;
pub use client_keys::{ClientKey, ClientKeys, KeySearch, KeySource, SignError, SkippedKey};
mod agent;
pub use agent::AgentError;

mod sshsig;
pub use sshsig::{NAMESPACE, SignatureError};
mod proof;
pub use proof::{Proof, ProofError, prove, verify_proof};
mod invitation;
pub use invitation::{Invitation, InvitationId, InvitationProof, InvitationSecret, InvitationTerms};
mod password;
pub use password::{Password, PasswordGrant};
mod invite_link;
pub use invite_link::{InviteLink, InviteLinkError};

mod rights;
pub use rights::{Right, Rights, RightsError};
mod grant;
pub use grant::{Grant, Refused, Scope};
mod certificate;
pub use certificate::CertificateError;
mod authorized_keys;
mod key_options;
mod networks;
pub use authorized_keys::{KeyProblem, OwnerKeys, OwnerKeysError};
mod grants;
pub use grants::{Grants, GrantsError};
mod grants_text;
pub use grants_text::MalformedGrants;
mod given;
pub use given::{Given, GivenKind, GivenThen, TakenBack};
mod policy;
pub use policy::{AuthError, PasswordRefused, Policy, Refusal};

mod path_text;
pub use path_text::PathTextError;
mod private_file;
pub use private_file::FileError;
mod ssh_wire;
mod utc;
mod watched;

#[cfg(test)]
mod vectors;
