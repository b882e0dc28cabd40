//! What people are told about keys, proofs, links and the files about them: each sentence once, with its causes.

use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sft_auth::{
    AgentError, ClientKeys, Fingerprint, FoldersError, Grants, IdentityError, InviteLink, KeyFileError,
    KeySearch, Policy, PrivateKeyError, Proof, PublicKeyError, PublicKeyId, Rights, ServerIdentity,
    ServerKey, ServerName, SignError, SignatureError, Trust, verify_proof,
};
use tempfile::TempDir;

/// An error and its causes, as a person reads them.
fn told(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told += &format!(": {error}");
        cause = error.source();
    }
    told
}

fn told_of<T>(result: Result<T, impl Error + 'static>) -> String {
    told(&result.err().expect("it is refused"))
}

#[track_caller]
fn assert_told(told: impl IntoIterator<Item = String>, expected: &[&str]) {
    let told: Vec<String> = told.into_iter().collect();
    assert_eq!(told, expected, "{told:#?}");
}

/// A file with these bytes and this mode.
fn file(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    path
}

/// Without the folder, which has another name every time.
fn general(dir: &TempDir, told: String) -> String {
    told.replace(dir.path().to_str().unwrap(), "DIR")
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

#[test]
fn of_links_and_names() {
    let pin = "A".repeat(43);
    let links = [
        "http://nas/#k=x&i=y".to_owned(),
        format!("sft://nas/#k={pin}&k={pin}"),
        "sft://nas/#i=AAAA".to_owned(),
        format!("sft://na s/#k={pin}"),
        format!("sft://nas/#k={pin}&i={}&p=%zz", "A".repeat(22)),
        format!("sft://nas/#k={pin}&i={}&p=a/%2e%2e", "A".repeat(22)),
    ];
    assert_told(
        links.map(|link| told_of(link.parse::<InviteLink>())),
        &[
            "an invitation looks like `sft://HOST/#k=...&i=...`; was it copied whole?",
            "the invitation has `k` twice",
            "the invitation is damaged: `k=` is missing or not whole; was it copied to the end?",
            "the invitation names no server: `na s` is not a host: letters, digits, `-`, `_` and dots, or an address, with IPv6 in brackets before a port",
            "the invitation leads to a path that cannot be: a `%` in a path must have two hexadecimal digits after it",
            "the invitation leads to a path that cannot be: `.` and `..` are not names",
        ],
    );
    let others = [
        told_of("nas:70000".parse::<ServerName>()),
        told_of("fly".parse::<Rights>()),
        told_of("MD5:00".parse::<Fingerprint>()),
        told_of("SHA256:short".parse::<Fingerprint>()),
    ];
    assert_told(
        others,
        &[
            "`70000` is not a port: a number from 1 to 65535 is",
            "`fly` is not a right: list, read, fetch, create, replace, remove and share are, and write, drop and all as sets",
            "a fingerprint begins with `SHA256:`",
            "after `SHA256:` a fingerprint has 43 letters, digits, `+` or `/`",
        ],
    );
}

#[test]
fn of_public_keys_and_proofs() {
    let weak =
        [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&[&[0, 0x80][..], &[1; 127]].concat())].concat();
    let keys = [vec![1, 2], vec![0; 3000], [string(b"ssh-dss"), string(b"x")].concat(), weak];
    assert_told(
        keys.map(|blob| told_of(PublicKeyId::from_blob(&blob))),
        &[
            "this is not a well-formed SSH public key",
            "a public key has 3000 bytes, more than 2048",
            "keys of the kind `ssh-dss` are not accepted; use ssh-ed25519",
            "an RSA key of 1024 bits is not accepted: 2048 to 8192 are",
        ],
    );
    let key = ServerKey([1; 32]).blob();
    let sshsig = |version: u32, key: &[u8], namespace: &str, hash: &str, signature: &[u8]| {
        let fields = [key, namespace.as_bytes(), b"", hash.as_bytes(), signature].map(string).concat();
        [&b"SSHSIG"[..], &version.to_be_bytes(), &fields].concat()
    };
    let raw = |kind: &str, len| [string(kind.as_bytes()), string(&vec![0; len])].concat();
    let good = raw("ssh-ed25519", 64);
    let touch = [string(b"sk-ssh-ed25519@openssh.com"), string(&[1; 32]), string(b"ssh:")].concat();
    let untouched = [raw("sk-ssh-ed25519@openssh.com", 64), vec![0; 5]].concat();
    let ours = "sft-auth@sftsrv";
    let cases = [
        (key.clone(), vec![0; 5000]),
        (vec![7], vec![]),
        (key.clone(), vec![]),
        (key.clone(), sshsig(2, &key, ours, "sha512", &good)),
        (key.clone(), sshsig(1, &key, "git", "sha512", &good)),
        (key.clone(), sshsig(1, &key, ours, "sha256", &good)),
        (key.clone(), sshsig(1, &[9], ours, "sha512", &good)),
        (key.clone(), sshsig(1, &key, ours, "sha512", &raw("ssh-rsa", 64))),
        (touch.clone(), sshsig(1, &touch, ours, "sha512", &untouched)),
        (key.clone(), sshsig(1, &key, ours, "sha512", &good)),
    ];
    let told = cases.map(|(public_key, signature)| {
        let proof = Proof { user: "ada".into(), public_key, signature, invitation: None };
        told_of(verify_proof(&proof, &[0; 32], &ServerKey([2; 32])))
    });
    assert_told(
        told,
        &[
            "`signature` of the proof has 5000 bytes, more than 4096",
            "the key of the proof cannot be used: this is not a well-formed SSH public key",
            "the signature of the proof does not hold: the signature is not in SSHSIG format",
            "the signature of the proof does not hold: the signature has SSHSIG version 2; only 1 is known",
            "the signature of the proof does not hold: the signature was made for `git` and not for `sft-auth@sftsrv`",
            "the signature of the proof does not hold: the signature is over a `sha256` hash; sha512 with nothing in the reserved field is required",
            "the signature of the proof does not hold: the key in the signature cannot be used: this is not a well-formed SSH public key",
            "the signature of the proof does not hold: a signature of kind `ssh-rsa` is not accepted for this key",
            "the signature of the proof does not hold: the hardware key signed without anybody touching it",
            "the signature of the proof does not hold: the signature does not match",
        ],
    );
}

#[test]
fn of_key_files() {
    let dir = tempfile::tempdir().unwrap();
    let find = |path: &Path| {
        let search = KeySearch { identity: Some(path.into()), agent: None, files: Vec::new() };
        general(&dir, told_of(ClientKeys::find(&search)))
    };
    let armour = |text: &str| {
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n")
    };
    let public = format!("{} note\n", PublicKeyId::from_blob(&ServerKey([1; 32]).blob()).unwrap().to_line());
    let told = [
        find(&dir.path().join("gone")),
        find(dir.path()),
        find(&file(&dir, "pem", "-----BEGIN RSA PRIVATE KEY-----\n", 0o600)),
        find(&file(&dir, "torn", armour("AAAA"), 0o600)),
        find(&file(&dir, "open", armour("AAAA"), 0o644)),
        find(&file(&dir, "id.pub", &public, 0o644)),
        find(&file(&dir, "long", vec![b'x'; 70_000], 0o600)),
        find(&file(&dir, "text", "what is this", 0o600)),
        told_of(ClientKeys::generate(&dir.path().join("text"), "", None))
            .replace(dir.path().to_str().unwrap(), "DIR"),
    ];
    assert_told(
        told,
        &[
            "cannot open DIR/gone: No such file or directory (os error 2)",
            "DIR is not a regular file",
            "DIR/pem is not in OpenSSH's key format; run `ssh-keygen -p -f DIR/pem` to convert it",
            "DIR/torn is not a key that can be used: it is not a whole private key in OpenSSH's format",
            "DIR/open can be read by others (mode 0644); run `chmod 600 DIR/open` and try again",
            "DIR/id.pub is a public key, and the ssh-agent does not hold its private half",
            "DIR/long has more than 65536 bytes, which is too much for such a file",
            "the key in DIR/text cannot be used: this is not a well-formed SSH public key",
            "DIR/text is there already; a key is never overwritten",
        ],
    );
}

#[test]
fn of_files_about_servers_and_guests() {
    let dir = tempfile::tempdir().unwrap();
    let pin = format!("SHA256:{}", "A".repeat(43));
    let twice = format!("nas:1303 {pin}\nNAS:1303 {pin}\n");
    let trust = |path: PathBuf| general(&dir, told_of(Trust::open(&path)));
    let grants = |text: &[u8]| {
        file(&dir, "grants.toml", text, 0o600);
        let told = general(&dir, told_of(Grants::open(dir.path()).unwrap().given(SystemTime::now())));
        told.lines().next().unwrap().to_owned()
    };
    let identity = |bytes: &[u8]| {
        file(&dir, "identity", bytes, 0o600);
        general(&dir, told_of(ServerIdentity::load_or_create(dir.path())))
    };
    let told = [
        trust(file(&dir, "wrong", "# mine\nnonsense\n", 0o600)),
        trust(file(&dir, "twice", twice, 0o600)),
        trust(file(&dir, "shared", "", 0o666)),
        grants(b"[[key]]\nkey = \"x\"\npath = \"/\"\nrights = \"list\"\n"),
        grants(b"[[key]]\nexpieres = \"soon\"\n"),
        grants(b"# f\xfcr G\xe4ste\n"),
        identity(b"no key"),
    ];
    assert_told(
        told,
        &[
            "line 2 of DIR/wrong is not `HOST:PORT SHA256:...`; put it right or remove it, no server is trusted until then",
            "DIR/twice pins two keys for nas:1303; remove the wrong one",
            "DIR/shared can be changed by others (mode 0666); run `chmod go-w DIR/shared` and try again",
            "DIR/grants.toml cannot be understood; put it right, or move it away to begin with none: `key = \"x\"` of key 1 is not understood",
            "DIR/grants.toml cannot be understood; put it right, or move it away to begin with none: TOML parse error at line 2, column 1",
            "DIR/grants.toml cannot be understood; put it right, or move it away to begin with none: it is not UTF-8, as a text file has to be: invalid utf-8 sequence of 1 bytes from index 3",
            "DIR/identity is not an Ed25519 key in OpenSSH's format without a passphrase; put back the one this server had, or move it away to start with a new identity that every client must be told of",
        ],
    );
}

/// For the log of a server alone: whoever is not let in does not learn it.
#[test]
fn of_files_that_keep_everybody_out() {
    let dir = tempfile::tempdir().unwrap();
    ClientKeys::generate(&dir.path().join("k"), "", None).unwrap();
    let search = KeySearch { identity: Some(dir.path().join("k")), ..KeySearch::default() };
    let keys = ClientKeys::find(&search).unwrap();
    let key = keys.keys()[0].public();
    let owners = file(&dir, "authorized_keys", "", 0o666);
    let policy = Policy::open(dir.path(), owners.clone(), false).unwrap();
    let refused = || {
        let log = policy.admit_proven(key, SystemTime::now()).unwrap_err().log_text();
        general(&dir, log.replace(&key.to_string(), "KEY"))
    };
    let shared = refused();
    fs::set_permissions(&owners, PermissionsExt::from_mode(0o600)).unwrap();
    file(&dir, "grants.toml", b"\xff", 0o600);
    assert_told(
        [shared, refused()],
        &[
            "key KEY was not let in: the key is not enrolled, and whether it is the owner's cannot be said: the owner's keys are not used: DIR/authorized_keys can be changed by others (mode 0666); run `chmod go-w DIR/authorized_keys` and try again",
            "key KEY was not let in: nobody but the owner is let in: DIR/grants.toml cannot be understood; put it right, or move it away to begin with none: it is not UTF-8, as a text file has to be: invalid utf-8 sequence of 1 bytes from index 0",
        ],
    );
}

/// What it takes other hardware, another system or another person to bring about.
#[test]
fn of_what_is_rare() {
    let path = || PathBuf::from("K");
    let errors: [Box<dyn Error>; 20] = [
        Box::new(AgentError::Io { path: path(), source: io::Error::other("why") }),
        Box::new(AgentError::Malformed { path: path() }),
        Box::new(AgentError::Refused { path: path() }),
        Box::new(SignError::NoPassphrase { path: path() }),
        Box::new(SignError::WrongPassphrase { path: path() }),
        Box::new(SignError::Damaged { path: path() }),
        Box::new(SignError::UserTooLong(300)),
        Box::new(KeyFileError::Hardware { path: path() }),
        Box::new(KeyFileError::Kind { path: path(), source: PublicKeyError::Malformed }),
        Box::new(PrivateKeyError::Cipher("rot13".into())),
        Box::new(PrivateKeyError::Passphrase),
        Box::new(PrivateKeyError::Mismatch),
        Box::new(PrivateKeyError::Random),
        Box::new(SignatureError::Wrong),
        Box::new(IdentityError::Generate(PrivateKeyError::Random)),
        Box::new(FoldersError),
        Box::new(sft_auth::GrantsError::TooMany("keys")),
        Box::new(sft_auth::GrantsError::TooLong { path: path() }),
        Box::new(sft_auth::GrantsError::Random),
        Box::new(sft_auth::FileError::Foreign { path: path(), owner: 7, us: 8 }),
    ];
    assert_told(
        errors.iter().map(|error| told(&**error)),
        &[
            "cannot talk to the ssh-agent at K: why",
            "the ssh-agent at K answered with something that is not its protocol",
            "the ssh-agent at K would not sign with this key: is it locked, or was the question denied?",
            "K needs its passphrase; add it to an ssh-agent with `ssh-add K` or run this on a terminal",
            "wrong passphrase for K",
            "the key in K is damaged and cannot sign",
            "a user name of 300 bytes is too long: 255 is the most",
            "K is a hardware key, which is used through ssh-agent: run `ssh-add K`",
            "the key in K cannot be used: this is not a well-formed SSH public key",
            "it is encrypted with `rot13`, which is not known; run `ssh-keygen -p` on it to encrypt it anew",
            "the passphrase is wrong, or the key is damaged",
            "its private half does not belong to its public half",
            "the system gives no random numbers",
            "the signature does not match",
            "cannot make a key: the system gives no random numbers",
            "cannot tell where this user's files belong: set HOME, or XDG_STATE_HOME and XDG_CONFIG_HOME",
            "there are 10000 keys already, which is the most; remove some",
            "K would be longer than 4194304 bytes, which is the most; remove some of what is in it",
            "the system gives no random numbers",
            "K belongs to user number 7, and not to this user (number 8) or root",
        ],
    );
}
