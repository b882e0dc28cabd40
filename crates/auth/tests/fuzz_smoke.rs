//! A short run of the fuzz targets of keys, proofs, links and the files about them, on any compiler.
//!
//! `SFT_FUZZ_SEED` and `SFT_FUZZ_TURNS` choose another run; a failure prints its seed and its input.

#[path = "../../../fuzz/auth_bodies.rs"]
mod bodies;
#[path = "../../../fuzz/mutation.rs"]
mod mutation;

use std::collections::HashMap;

use bodies::{EXPORTER, SERVER};
use sft_auth::{ClientKeys, KeySearch, Proof, PublicKeyId, ServerKey, verify_proof};

const VECTORS: &str = include_str!("../../../spec/vectors/auth.txt");

#[test]
fn no_body_in_memory_fails_on_bytes_like_those_of_the_vectors() {
    let mut seeds = proofs();
    for stanza in stanzas() {
        seeds.extend(
            ["blob", "public-key", "signature"]
                .iter()
                .filter_map(|key| stanza.get(key))
                .map(|hex| bytes(hex)),
        );
        seeds.extend(stanza.get("text").map(|text| text.as_bytes().to_vec()));
    }
    seeds.push(some_line().into_bytes());
    mutation::try_all(bodies::IN_MEMORY, &seeds, 20_000);
}

#[test]
fn no_body_with_a_file_fails_on_bytes_like_good_ones() {
    let line = some_line();
    let pinned = "# mine\nnas.example:1303 SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA\n[2001:db8::1]:9 SHA256:";
    let mut seeds: Vec<Vec<u8>> = [pinned.to_owned(), line.clone()].map(String::into_bytes).into();
    seeds.push(bytes(bodies::CERTIFICATE));
    for options in [
        "expiry-time=\"20991231\" ",
        "from=\"10.0.0.0/8,\\\"x\\\"\",restrict ",
        "command=\"a b\" ",
        "cert-authority,principals=\"a,b\" ",
    ] {
        seeds.push(format!("# owner\n{options}{line}\n\n{line}").into_bytes());
    }
    seeds.push(
        format!(
            "[[key]]\nkey = \"{}\"\npath = \"/a%FF\"\nrights = \"list,read\"\nexpires = \"2099-12-31T23:59:59Z\"\n\
             [[invitation]]\nid = \"1c53bf474c69547b\"\nverifier = \"{}\"\npath = \"/\"\nrights = \"all\"\nuses = 2\n",
            line.trim(),
            "32".repeat(32)
        )
        .into_bytes(),
    );
    seeds.extend([private_key(None), private_key(Some("secret"))]);
    let mut agent = vec![12, 0, 0, 0, 1];
    for field in [&SERVER.blob()[..], b"comment"] {
        agent.extend((field.len() as u32).to_be_bytes());
        agent.extend(field);
    }
    seeds.push([&(agent.len() as u32).to_be_bytes()[..], &agent].concat());
    mutation::try_all(bodies::ON_DISK, &seeds, 2_000);
}

/// The seeds are worth something only if nothing was wrong with them to begin with.
#[test]
fn what_is_not_changed_is_good() {
    let good = proofs().into_iter().filter(|bytes| {
        let (user, key) = (usize::from(bytes[0]), usize::from(bytes[0]) + 3);
        let len = usize::from(u16::from_be_bytes([bytes[user + 1], bytes[user + 2]]));
        let proof = Proof {
            user: String::from_utf8(bytes[1..=user].to_vec()).unwrap(),
            public_key: bytes[key..key + len].to_vec(),
            signature: bytes[key + len..].to_vec(),
            invitation: None,
        };
        verify_proof(&proof, &EXPORTER, &SERVER).is_ok()
    });
    assert!(good.count() > 0);
    bodies::certificate(&bytes(bodies::CERTIFICATE));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("id"), private_key(None)).unwrap();
    std::fs::set_permissions(dir.path().join("id"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let search = KeySearch { identity: Some(dir.path().join("id")), agent: None, files: Vec::new() };
    assert_eq!(ClientKeys::find(&search).unwrap().keys().len(), 1);
}

/// The proofs of the vectors, as the body takes them.
fn proofs() -> Vec<Vec<u8>> {
    let of = |stanza: HashMap<&str, &str>| {
        let (key, signature) = (bytes(stanza.get("public-key")?), bytes(stanza.get("signature")?));
        let user = stanza.get("user").copied().unwrap_or("");
        let mut proof = vec![user.len() as u8];
        proof.extend(user.as_bytes());
        proof.extend((key.len() as u16).to_be_bytes());
        proof.extend([key, signature].concat());
        Some(proof)
    };
    stanzas().into_iter().filter_map(of).collect()
}

fn stanzas() -> Vec<HashMap<&'static str, &'static str>> {
    let stanza = |text: &'static str| text.lines().filter_map(|line| line.split_once(" = ")).collect();
    VECTORS.split("\n\n").map(stanza).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("vectors are hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn some_line() -> String {
    let key = PublicKeyId::from_blob(&ServerKey([3; 32]).blob()).expect("it is one");
    format!("{} note\n", key.to_line())
}

fn private_key(passphrase: Option<&str>) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("there is a place for temporary files");
    let path = dir.path().join("id");
    ClientKeys::generate(&path, "seed", passphrase).expect("a key can be made");
    std::fs::read(path).expect("it was just made")
}
