//! spec/vectors/auth.txt says byte for byte what this crate makes and takes.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use sft_base::EntryPath;
use zeroize::Zeroizing;

use crate::client_keys::{ClientKeys, KeySearch};
use crate::fingerprint::sha256;
use crate::invitation::InvitationSecret;
use crate::invite_link::InviteLink;
use crate::openssh_key::write_ed25519;
use crate::proof::{Proof, ProofError, prove, verify_proof};
use crate::public_key::PublicKeyId;
use crate::rights::Right;
use crate::server_key::ServerKey;
use crate::ssh_wire::put_string;
use crate::sshsig::{self, SignatureError};

const SEED: [u8; 32] = [0x11; 32];

#[test]
fn the_vectors_say_what_the_code_does() {
    let stanzas: Vec<String> =
        [server(), proof(), hardware_proof(1), hardware_proof(0), foreign_proof(), invitation(), link()]
            .into_iter()
            .chain(rights())
            .collect();
    let expected = format!("{HEADER}\n{}", stanzas.join("\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/auth.txt");
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stanzas_of(&there) == stanzas_of(&expected), "spec/vectors/auth.txt should be:\n{expected}");
}

fn server() -> String {
    let key = server_key();
    stanza(
        "server-key",
        &[
            ("key", hex(&key.0)),
            ("blob", hex(&key.blob())),
            ("fingerprint", hex(&key.fingerprint().0)),
            ("text", key.to_string()),
        ],
    )
}

fn proof() -> String {
    let (proof, message) = made();
    let key = verify_proof(&proof, &exporter(), &server_key()).unwrap();
    stanza(
        "proof",
        &[
            ("client-seed", hex(&SEED)),
            ("server-key", hex(&server_key().0)),
            ("exporter", hex(&exporter())),
            ("user", proof.user.clone()),
            ("public-key", hex(key.blob())),
            ("message", hex(&message)),
            ("signed", hex(&sshsig::signed_bytes(&message))),
            ("signature", hex(&proof.signature)),
        ],
    )
}

/// A FIDO key, whose authenticator says whether it was touched.
fn hardware_proof(flags: u8) -> String {
    let application = b"ssh:";
    let name = b"sk-ssh-ed25519@openssh.com";
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    let key = strings(&[name, pair.public_key().as_ref(), application]);
    let key = PublicKeyId::from_blob(&key).unwrap();
    let (proof, _) = made();
    let proof = Proof { public_key: key.blob().to_vec(), invitation: None, ..proof };
    let message = proof.message(&exporter(), &server_key());
    let said = [flags, 0, 0, 0, 7];
    let signed = [&sha256(application)[..], &said, &sha256(&sshsig::signed_bytes(&message))].concat();
    let signature = [strings(&[name, pair.sign(&signed).as_ref()]), said.to_vec()].concat();
    let proof = Proof { signature: sshsig::encode(&key, &signature), ..proof };
    let verdict = match verify_proof(&proof, &exporter(), &server_key()) {
        Ok(proven) if proven == key => "accepted",
        Err(ProofError::Signature(SignatureError::NotPresent)) => "refused: nobody touched the key",
        other => panic!("{other:?}"),
    };
    let fields = [
        ("public-key", hex(key.blob())),
        ("message", hex(&message)),
        ("signed", hex(&signed)),
        ("signature", hex(&proof.signature)),
        ("verdict", verdict.to_owned()),
    ];
    stanza("hardware-proof", &fields)
}

/// What the same key signed for git.
fn foreign_proof() -> String {
    let (proof, message) = made();
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    let digest = digest::digest(&digest::SHA512, &message);
    let signed = [b"SSHSIG".to_vec(), strings(&[b"git", b"", b"sha512", digest.as_ref()])].concat();
    let signature = strings(&[b"ssh-ed25519", pair.sign(&signed).as_ref()]);
    let fields = strings(&[&proof.public_key, b"git", b"", b"sha512", &signature]);
    let proof = Proof { signature: [&b"SSHSIG\0\0\0\x01"[..], &fields].concat(), ..proof };
    let refused = verify_proof(&proof, &exporter(), &server_key());
    assert_eq!(refused, Err(ProofError::Signature(SignatureError::Namespace("git".into()))));
    stanza(
        "foreign-proof",
        &[
            ("public-key", hex(&proof.public_key)),
            ("message", hex(&message)),
            ("signature", hex(&proof.signature)),
            ("verdict", "refused: another namespace".to_owned()),
        ],
    )
}

fn invitation() -> String {
    let (proof, message) = made();
    let redeemed = proof.invitation.unwrap();
    assert!(secret().verifier().accepts(&redeemed.mac, &message));
    stanza(
        "invitation",
        &[
            ("secret", hex(&*secret().0)),
            ("id", hex(&redeemed.id.0)),
            ("verifier", hex(&*secret().verifier().0)),
            ("message", hex(&message)),
            ("mac", hex(&redeemed.mac)),
        ],
    )
}

fn link() -> String {
    let path = EntryPath::from_names([&b"2026"[..], "für Oma".as_bytes(), b"\xff"]).unwrap();
    let server = "[2001:DB8::1]:9".parse().unwrap();
    let link = InviteLink { server, fingerprint: server_key().fingerprint(), secret: secret(), path };
    let text = link.to_text().unwrap().to_string();
    assert_eq!(text.parse(), Ok(link.clone()));
    stanza(
        "link",
        &[
            ("host", link.server.host().to_owned()),
            ("port", link.server.port().to_string()),
            ("fingerprint", hex(&link.fingerprint.0)),
            ("secret", hex(&*link.secret.0)),
            ("path", hex(link.path.as_bytes())),
            ("text", text),
        ],
    )
}

fn rights() -> Vec<String> {
    let bit = |right: Right| {
        stanza("right", &[("word", right.name().to_owned()), ("bit", format!("0x{:02x}", right.bit()))])
    };
    Right::ALL.into_iter().map(bit).collect()
}

/// A proof with an invitation, and what it is over.
fn made() -> (Proof, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k");
    let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    let text: Zeroizing<String> = write_ed25519(&SEED, &public, "", None).unwrap();
    crate::private_file::replace(&path, text.as_bytes(), 0o600).unwrap();
    let keys = ClientKeys::find(&KeySearch { files: vec![path], ..KeySearch::default() }).unwrap();
    let proof =
        prove(&keys.keys()[0], "ada", &exporter(), &server_key(), Some(&secret()), &mut |_| None).unwrap();
    let message = proof.message(&exporter(), &server_key());
    (proof, message)
}

fn server_key() -> ServerKey {
    ServerKey(std::array::from_fn(|i| i as u8))
}

fn exporter() -> [u8; 32] {
    std::array::from_fn(|i| 0x80 + i as u8)
}

fn secret() -> InvitationSecret {
    InvitationSecret::new(std::array::from_fn(|i| 0xf0 + i as u8))
}

fn stanza(name: &str, fields: &[(&str, String)]) -> String {
    let lines: String = fields.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    format!("name = {name}\n{lines}")
}

fn stanzas_of(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let stanzas = text.split("\n\n").map(|stanza| {
        let lines = stanza.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split_once(" = ").unwrap_or((line, ""))).collect::<BTreeMap<_, _>>()
    });
    stanzas.filter(|stanza| !stanza.is_empty()).collect()
}

fn strings(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|field| put_string(&mut out, field));
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const HEADER: &str = "# Keys, proofs, invitations, links and rights (auth.md). `text`, `user`, `host`, `port`, `word`, `verdict`: as they
# stand. A verdict is on `signature` over `message`.\n";
