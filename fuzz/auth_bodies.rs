//! What must hold for any bytes where keys, proofs, links and the files about them are read: one function for each target.
//!
//! A stranger reaches the first two over the network, the third by mail, and the rest by whatever writes to a home.

// Each target includes this file for one of its functions.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sft_auth::{
    ClientKeys, Fingerprint, GivenKind, Grants, GrantsError, InvitationTerms, InviteLink, KeySearch, Policy,
    Proof, PublicKeyId, Rights, ServerKey, Trust, prove, verify_proof,
};
use sft_base::{EntryPath, limits};
use tempfile::TempDir;

/// A key whose certificates count, and one of them in hexadecimal, for `ana` at 192.0.2.0/24.
pub(crate) const AUTHORITY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJZSfpiLOG8ZImM9JDj6pbPYa7xsgFE4wgJONsZ7+UB4";
pub(crate) const CERTIFICATE: &str = "\
    000000207373682d656432353531392d636572742d763031406f70656e7373682e636f6d000000207b6b282c09cfbe73578fe6dd\
    12d0ed383005d52fa46772d4571886301df72bda000000200af7027616abcd87b129cde02b62bbe3a9d560e848ab4b48eb61f1be\
    17cc34f300000000000000000000000100000001690000000700000003616e610000000000000000ffffffffffffffff00000026\
    0000000e736f757263652d61646472657373000000100000000c3139322e302e322e302f323400000082000000157065726d6974\
    2d5831312d666f7277617264696e6700000000000000177065726d69742d6167656e742d666f7277617264696e67000000000000\
    00167065726d69742d706f72742d666f7277617264696e67000000000000000a7065726d69742d707479000000000000000e7065\
    726d69742d757365722d72630000000000000000000000330000000b7373682d656432353531390000002096527e988b386f1922\
    633d2438faa5b3d86bbc6c805138c2024e36c67bf94078000000530000000b7373682d6564323535313900000040a498adf597f7\
    33508243868a9c42e476e757c4f101dd48a43b2f37f1bfc33097468967b3718e45a75ee8a95087a06311a39377a56d3f8e10b444\
    bbff00850c01";

/// What a target does with the bytes it is given.
pub(crate) type Body = fn(&[u8]);

/// Those that stay in memory, by name.
pub(crate) const IN_MEMORY: &[(&str, Body)] = &[("public_key", public_key), ("proof", proof), ("link", link)];
/// Those that go through a file or a socket.
pub(crate) const ON_DISK: &[(&str, Body)] = &[
    ("trusted", trusted),
    ("grants", grants),
    ("authorized_keys", authorized_keys),
    ("certificate", certificate),
    ("key_file", key_file),
    ("agent", agent),
];

/// The connection that proofs of the vectors were made on.
pub(crate) const EXPORTER: [u8; 32] = {
    let (mut bytes, mut at) = ([0; 32], 0);
    while at < 32 {
        bytes[at] = 0x80 + at as u8;
        at += 1;
    }
    bytes
};
/// The server they were made for.
pub(crate) const SERVER: ServerKey = {
    let (mut bytes, mut at) = ([0; 32], 0);
    while at < 32 {
        bytes[at] = at as u8;
        at += 1;
    }
    ServerKey(bytes)
};

/// A blob, and the same bytes as a line of text.
pub(crate) fn public_key(bytes: &[u8]) {
    if let Ok(key) = PublicKeyId::from_blob(bytes) {
        assert_eq!(key.blob(), bytes, "a key has one blob");
        assert!(bytes.len() <= limits::PUBLIC_KEY_BYTES_MAX);
        assert_eq!(PublicKeyId::from_line(&key.to_line()).map(|(key, _)| key), Ok(key));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok((key, _)) = PublicKeyId::from_line(text) {
        assert_eq!(PublicKeyId::from_blob(key.blob()), Ok(key));
    }
}

/// A user, a key and a signature, the first two with their lengths before them.
pub(crate) fn proof(bytes: &[u8]) {
    let Some(proof) = split_proof(bytes) else { return };
    if let Ok(key) = verify_proof(&proof, &EXPORTER, &SERVER) {
        assert_eq!(key.blob(), proof.public_key, "it proves the key that was claimed");
        let other = [0; 32];
        verify_proof(&proof, &other, &SERVER).expect_err("it holds on one connection alone");
        verify_proof(&proof, &EXPORTER, &ServerKey(other)).expect_err("it holds for one server alone");
    }
}

fn split_proof(bytes: &[u8]) -> Option<Proof> {
    let (&len, rest) = bytes.split_first()?;
    let (user, rest) = rest.split_at_checked(len.into())?;
    let (len, rest) = rest.split_first_chunk()?;
    let (key, signature) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    let user = String::from_utf8(user.to_vec()).ok()?;
    Some(Proof { user, public_key: key.to_vec(), signature: signature.to_vec(), invitation: None })
}

/// An invitation link. What is wrong with it is told without what could be secret.
pub(crate) fn link(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<InviteLink>() {
        Ok(link) => {
            let again = link.to_text().expect("a link that is read has no zone");
            assert!(again.parse() == Ok(link), "what is read is written, and read the same");
        }
        Err(error) => {
            let secret = text.split_once("i=").map_or("", |(_, secret)| secret);
            let secret: String = secret.chars().take_while(char::is_ascii_alphanumeric).collect();
            assert!(secret.len() < 8 || !error.to_string().contains(&secret), "{error}");
        }
    }
}

/// The list of trusted servers: read, changed and read again.
pub(crate) fn trusted(bytes: &[u8]) {
    let folder = folder();
    let path = secret_file(&folder, "trusted", bytes);
    let Ok(trust) = Trust::open(&path) else { return };
    let before = trust.list().expect("what was read once is read again");
    for server in &before {
        let pinned = trust.pinned(&server.server).expect("it is read again");
        assert_eq!(pinned, Some(server.fingerprint), "a server has one key");
    }
    let new = "unlisted.example:9".parse().expect("that is a name");
    if before.iter().any(|known| known.server == new) {
        return;
    }
    trust.pin(&new, Fingerprint([7; 32])).expect("one more has room");
    assert!(trust.remove(&new).expect("it can be taken back"));
    assert_eq!(trust.list().expect("it is read again"), before, "nothing else was touched");
}

/// Grants: read, changed and read again.
pub(crate) fn grants(bytes: &[u8]) {
    let folder = folder();
    secret_file(&folder, "grants.toml", bytes);
    let grants = Grants::open(folder.path()).expect("the folder is ours");
    let now = SystemTime::now();
    let access = || {
        let mut given = grants.given(now)?;
        given.retain(|given| !matches!(given.kind, GivenKind::Invitation { .. }));
        Ok::<_, GrantsError>(given)
    };
    let Ok(before) = access() else { return };
    let terms = InvitationTerms {
        path: EntryPath::root(),
        rights: Rights::READ,
        expires: None,
        access_until: None,
        uses: 1,
        note: String::new(),
    };
    if grants.invite(terms, now).is_ok() {
        assert_eq!(access().expect("it is read again"), before, "nothing else was touched");
    }
}

/// The owner's keys: each line counts once, as a key or as a problem.
pub(crate) fn authorized_keys(bytes: &[u8]) {
    let folder = folder();
    let path = secret_file(&folder, "authorized_keys", bytes);
    let policy = Policy::open(folder.path(), path, false).expect("the folder is ours");
    let Ok(keys) = policy.owner_keys() else { return };
    let lines = String::from_utf8_lossy(bytes).lines().count();
    assert!(keys.usable() + keys.problems().len() <= lines);
    assert!(keys.problems().iter().all(|problem| (1..=lines).contains(&problem.line)));
    assert!(
        keys.problems().iter().all(|problem| !problem.to_string().contains('\x1b')),
        "nothing forges a terminal"
    );
}

/// A certificate that a client shows: the one that the authority has signed lets somebody in, and no other.
pub(crate) fn certificate(bytes: &[u8]) {
    let folder = folder();
    let line = format!("cert-authority,principals=\"ana\" {AUTHORITY}");
    let path = secret_file(&folder, "authorized_keys", line.as_bytes());
    let policy = Policy::open(folder.path(), path, false).expect("the folder is ours");
    let near = policy.admit_certified(bytes, IpAddr::from([192, 0, 2, 7]), SystemTime::now());
    let is_good = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == CERTIFICATE;
    assert_eq!(near.is_ok(), is_good);
    policy
        .admit_certified(bytes, IpAddr::from([192, 0, 3, 7]), SystemTime::now())
        .expect_err("it comes from elsewhere");
}

/// A private key, in its armour or about to be put in it: what can be used makes proofs that hold.
pub(crate) fn key_file(bytes: &[u8]) {
    let folder = folder();
    let text = if bytes.starts_with(b"-") { bytes.to_vec() } else { armour(bytes) };
    let path = secret_file(&folder, "id", &text);
    let search = KeySearch { identity: Some(path), agent: None, files: Vec::new() };
    let Ok(keys) = ClientKeys::find(&search) else { return };
    for key in keys.keys().iter().filter(|key| !key.needs_passphrase()) {
        if let Ok(proof) = prove(key, "", &EXPORTER, &SERVER, None, &mut |_| None) {
            assert_eq!(verify_proof(&proof, &EXPORTER, &SERVER).as_ref(), Ok(key.public()));
        }
    }
}

/// What an agent answers when it is asked for its keys.
pub(crate) fn agent(bytes: &[u8]) {
    let folder = folder();
    let path = folder.path().join("agent");
    let listener = UnixListener::bind(&path).expect("the folder is ours");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let _ = stream.read(&mut [0; 16]);
            let _ = stream.write_all(bytes);
        });
        let search = KeySearch { identity: None, agent: Some(path.clone()), files: Vec::new() };
        let keys = ClientKeys::find(&search).expect("an agent that talks nonsense is passed over");
        assert!(keys.keys().len() * 8 <= bytes.len(), "every key was there");
    });
}

/// A folder in memory, where there is such a thing: much is written.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("there is a place for temporary files")
}

fn secret_file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    let file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(bytes)).expect("the folder is ours");
    path
}

fn armour(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = b"-----BEGIN OPENSSH PRIVATE KEY-----\n".to_vec();
    for three in bytes.chunks(3) {
        let number =
            three.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        let letter = |place: usize| LETTERS[(number >> (18 - 6 * place) & 63) as usize];
        text.extend((0..4).map(|place| if place <= three.len() { letter(place) } else { b'=' }));
    }
    text.extend_from_slice(b"\n-----END OPENSSH PRIVATE KEY-----\n");
    text
}
