//! What OpenSSH makes we take, and what we make OpenSSH takes: keys, fingerprints, signatures, agents.
//!
//! These tests run `ssh-keygen`, `ssh-agent` and `ssh-add`, and fail where OpenSSH's client is not installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use sft_auth::{
    ClientKey, ClientKeys, KeyFileError, KeySearch, KeySource, NAMESPACE, Proof, ProofError, PublicKeyError,
    PublicKeyId, ServerIdentity, ServerKey, SignError, SignatureError, prove, verify_proof,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

const EXPORTER: [u8; 32] = [0x21; 32];
const SERVER: ServerKey = ServerKey([0x42; 32]);
const KINDS: [(&str, &str); 5] =
    [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("rsa", "2048"), ("rsa", "3072")];

#[test]
fn keys_of_every_kind_sign_and_openssh_agrees() {
    let dir = TempDir::new().unwrap();
    for (kind, bits) in KINDS {
        for passphrase in ["", "open sesame"] {
            let path = keygen(&dir, kind, bits, passphrase);
            let mut asked = 0;
            let proof = prove(&key_in(&path), "ana", &EXPORTER, &SERVER, None, &mut |_| {
                asked += 1;
                Some(Zeroizing::new(passphrase.to_owned()))
            });
            let proof = proof.unwrap();
            assert_eq!(asked, usize::from(!passphrase.is_empty()), "{kind} {bits}");
            let public = public_key(&path);
            assert_eq!(verify_proof(&proof, &EXPORTER, &SERVER), Ok(public.clone()), "{kind} {bits}");
            openssh_verifies(&dir, &public, &proof);
        }
    }
}

#[test]
fn signatures_of_openssh_prove_a_key() {
    let dir = TempDir::new().unwrap();
    for (kind, bits) in KINDS {
        let path = keygen(&dir, kind, bits, "");
        let public = public_key(&path);
        let signed = |namespace: &str| Proof {
            user: "ana".into(),
            public_key: public.blob().to_vec(),
            signature: openssh_signs(&dir, &path, namespace, &message("ana", &public)),
            invitation: None,
        };
        let good = signed(NAMESPACE);
        assert_eq!(verify_proof(&good, &EXPORTER, &SERVER), Ok(public.clone()), "{kind} {bits}");
        assert!(verify_proof(&good, &[0; 32], &SERVER).is_err(), "another connection");
        assert!(verify_proof(&good, &EXPORTER, &ServerKey([0; 32])).is_err(), "another server");
        for namespace in ["git", "file"] {
            let refused = Err(ProofError::Signature(SignatureError::Namespace(namespace.into())));
            assert_eq!(verify_proof(&signed(namespace), &EXPORTER, &SERVER), refused, "{kind} {bits}");
        }
    }
}

#[test]
fn an_agent_signs_and_spares_the_passphrase() {
    let dir = TempDir::new().unwrap();
    let agent = Agent::start(&dir);
    for (kind, bits) in KINDS {
        let path = keygen(&dir, kind, bits, "");
        agent.add(&path);
        run("ssh-keygen", &["-q", "-p", "-P", "", "-N", "locked away", "-f"], &path);
    }
    let paths: Vec<_> = KINDS.iter().map(|(kind, bits)| dir.path().join(format!("{kind}-{bits}"))).collect();
    let search =
        KeySearch { agent: Some(agent.socket.clone()), files: paths.clone(), ..KeySearch::default() };
    let found = ClientKeys::find(&search).unwrap();
    assert_eq!(found.keys().len(), KINDS.len(), "each key once");
    for (key, path) in found.keys().iter().zip(&paths) {
        assert_eq!(key.source(), KeySource::Agent(agent.socket.clone()));
        assert_eq!(*key.public(), public_key(path));
        assert!(!key.comment().is_empty() && !key.needs_passphrase());
        let proof =
            prove(key, "", &EXPORTER, &SERVER, None, &mut |_| panic!("the agent needs none")).unwrap();
        assert_eq!(verify_proof(&proof, &EXPORTER, &SERVER).as_ref(), Ok(key.public()));
    }

    // The key that the user named goes first, also when only its public half is named.
    for named in [paths[3].clone(), paths[3].with_extension("pub")] {
        let search = KeySearch { identity: Some(named), ..search.clone() };
        let found = ClientKeys::find(&search).unwrap();
        assert_eq!(found.keys()[0].source(), KeySource::Agent(agent.socket.clone()));
        assert_eq!(*found.keys()[0].public(), public_key(&paths[3]));
        assert_eq!(found.keys().len(), KINDS.len());
    }

    agent.forget_all();
    let refused = found.keys()[0].sign(b"m", &mut |_| None);
    assert!(matches!(refused, Err(SignError::Agent(sft_auth::AgentError::Refused { .. }))), "{refused:?}");
    let found = ClientKeys::find(&search).unwrap();
    assert!(found.keys().iter().all(ClientKey::needs_passphrase), "back to the files");
    let socket = agent.socket.clone();
    drop(agent);
    let found = ClientKeys::find(&search).unwrap();
    assert_eq!(found.skipped().len(), 1, "nobody at {}", socket.display());
}

#[test]
fn every_cipher_of_openssh_is_opened() {
    let dir = TempDir::new().unwrap();
    let ciphers = [
        "aes128-cbc",
        "aes256-cbc",
        "aes128-ctr",
        "aes256-ctr",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
    ];
    for cipher in ciphers {
        let path = dir.path().join(cipher);
        run("ssh-keygen", &["-q", "-t", "ed25519", "-Z", cipher, "-a", "2", "-N", "sesame", "-f"], &path);
        let key = key_in(&path);
        let wrong = key.sign(b"m", &mut |_| Some(Zeroizing::new("barley".into())));
        assert!(matches!(wrong, Err(SignError::WrongPassphrase { .. })), "{cipher}");
        key.sign(b"m", &mut |_| Some(Zeroizing::new("sesame".into())))
            .unwrap_or_else(|e| panic!("{cipher}: {e}"));
    }
}

#[test]
fn a_key_whose_number_begins_with_zeros_is_a_key() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("k");
    fs::write(&path, SHORT_SCALAR).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let proof = prove(&key_in(&path), "ana", &EXPORTER, &SERVER, None, &mut |_| None).unwrap();
    let public = verify_proof(&proof, &EXPORTER, &SERVER).unwrap();
    openssh_verifies(&dir, &public, &proof);
}

#[test]
fn openssh_reads_what_we_make() {
    let dir = TempDir::new().unwrap();
    for (name, passphrase) in [("plain", None), ("locked", Some("open sesame"))] {
        let path = dir.path().join(name);
        let public = ClientKeys::generate(&path, "ana@laptop", passphrase).unwrap();
        let said = run("ssh-keygen", &["-y", "-P", passphrase.unwrap_or(""), "-f"], &path);
        assert_eq!(PublicKeyId::from_line(&said), Ok((public.clone(), "ana@laptop")));
        let said = run("ssh-keygen", &["-l", "-f"], &path.with_extension("pub"));
        assert!(said.contains(&format!(" {} ana@laptop ", public.fingerprint())), "{said}");
    }
    let state = dir.path().join("state");
    let identity = ServerIdentity::load_or_create(&state).unwrap();
    let line = run("ssh-keygen", &["-y", "-f"], &state.join("identity"));
    assert_eq!(PublicKeyId::from_line(&line).unwrap().0.blob(), identity.key().blob());
    let said = run("ssh-keygen", &["-l", "-f"], &state.join("identity"));
    assert!(said.contains(&identity.key().to_string()), "{said}");
}

#[test]
fn an_identity_that_openssh_made_is_taken() {
    let dir = TempDir::new().unwrap();
    let path = keygen(&dir, "ed25519", "256", "");
    fs::rename(&path, dir.path().join("identity")).unwrap();
    let identity = ServerIdentity::load_or_create(dir.path()).unwrap();
    assert_eq!(identity.key().blob(), public_key(&path).blob());
}

#[test]
fn weak_and_foreign_keys_are_refused_with_a_reason() {
    let dir = TempDir::new().unwrap();
    let kind = |bits: &str, kind: &str| {
        let path = keygen(&dir, kind, bits, "");
        ClientKeys::find(&KeySearch { identity: Some(path), ..KeySearch::default() }).unwrap_err()
    };
    let weak = kind("1024", "rsa");
    assert!(matches!(weak, KeyFileError::Kind { source: PublicKeyError::RsaBits(1024), .. }), "{weak:?}");
    let curve = kind("521", "ecdsa");
    assert!(matches!(curve, KeyFileError::Kind { source: PublicKeyError::Kind(_), .. }), "{curve:?}");
    let old = keygen(&dir, "rsa", "2048", "");
    run("ssh-keygen", &["-q", "-p", "-P", "", "-N", "", "-m", "PEM", "-f"], &old);
    let refused =
        ClientKeys::find(&KeySearch { identity: Some(old.clone()), ..KeySearch::default() }).unwrap_err();
    let said = refused.to_string();
    assert!(said.ends_with(&format!("run `ssh-keygen -p -f {}` to convert it", old.display())), "{said}");
    run("ssh-keygen", &["-q", "-p", "-P", "", "-N", "", "-f"], &old);
    assert!(
        ClientKeys::find(&KeySearch { identity: Some(old), ..KeySearch::default() }).is_ok(),
        "as it said"
    );
}

/// The message of spec/auth.md, "The proof", written down here once more.
fn message(user: &str, key: &PublicKeyId) -> Vec<u8> {
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let server = [string(b"ssh-ed25519"), string(&SERVER.0)].concat();
    let parts = [
        &b"sft/1 client proof\0"[..],
        &EXPORTER,
        &string(&server),
        &string(user.as_bytes()),
        &string(key.blob()),
    ];
    parts.concat()
}

fn keygen(dir: &TempDir, kind: &str, bits: &str, passphrase: &str) -> PathBuf {
    let path =
        dir.path().join(format!("{kind}-{bits}{}", if passphrase.is_empty() { "" } else { "-locked" }));
    run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", passphrase, "-C", "a comment", "-f"], &path);
    path
}

fn key_in(path: &Path) -> ClientKey {
    let found = ClientKeys::find(&KeySearch { identity: Some(path.into()), ..KeySearch::default() });
    found.unwrap().into_iter().next().unwrap()
}

fn public_key(path: &Path) -> PublicKeyId {
    let line = fs::read_to_string(format!("{}.pub", path.display())).unwrap();
    PublicKeyId::from_line(&line).unwrap().0
}

fn openssh_signs(dir: &TempDir, key: &Path, namespace: &str, message: &[u8]) -> Vec<u8> {
    let file = dir.path().join("message");
    fs::write(&file, message).unwrap();
    let armoured = dir.path().join("message.sig");
    let _ = fs::remove_file(&armoured);
    run("ssh-keygen", &["-q", "-Y", "sign", "-n", namespace, "-f", key.to_str().unwrap()], &file);
    let text = fs::read_to_string(armoured).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    Base64::decode_vec(&base64).unwrap()
}

fn openssh_verifies(dir: &TempDir, key: &PublicKeyId, proof: &Proof) {
    let (signers, signature) = (dir.path().join("signers"), dir.path().join("signature"));
    fs::write(&signers, format!("ana namespaces=\"{NAMESPACE}\" {}\n", key.to_line())).unwrap();
    let base64 = Base64::encode_string(&proof.signature);
    let lines: Vec<_> = base64.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let armoured =
        format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"));
    fs::write(&signature, armoured).unwrap();
    let file = dir.path().join("to-verify");
    fs::write(&file, message("ana", key)).unwrap();
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-I", "ana", "-n", NAMESPACE, "-f"]).arg(signers).arg("-s").arg(signature);
    finished("ssh-keygen -Y verify", command.stdin(fs::File::open(file).unwrap()).output());
}

/// Runs a program of OpenSSH with `path` as its last argument; what it printed.
fn run(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).stdin(Stdio::null()).output();
    finished(program, output)
}

fn finished(what: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|e| panic!("{what} must be installed (openssh-client): {e}"));
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {said}{complained}");
    said.into_owned()
}

/// An ssh-agent that ends with its test.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(dir: &TempDir) -> Self {
        let socket = dir.path().join("agent");
        let mut command = Command::new("ssh-agent");
        command
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let agent =
            Self { child: command.spawn().expect("ssh-agent must be installed (openssh-client)"), socket };
        let patience = Instant::now() + Duration::from_secs(60);
        while !agent.socket.exists() {
            assert!(Instant::now() < patience, "ssh-agent opens its socket");
            std::thread::sleep(Duration::from_millis(10));
        }
        agent
    }

    fn add(&self, key: &Path) {
        self.ssh_add(&["-q", key.to_str().unwrap()]);
    }

    fn forget_all(&self) {
        self.ssh_add(&["-q", "-D"]);
    }

    fn ssh_add(&self, arguments: &[&str]) {
        let mut command = Command::new("ssh-add");
        command.args(arguments).env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null());
        finished("ssh-add", command.output());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A key that ssh-keygen made for this test: its scalar has 31 bytes and not 32, as that of one key in 512.
const SHORT_SCALAR: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQRqZuZO/Hm3RA1e6FD5FbNHcbLQP/Pb
8fxO+LWBzeiOOhjkE1tftIMXwckB4gW17jDlf4jqbm5Z7momZFEbm/g3AAAAmCmfoyIpn6
MiAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGpm5k78ebdEDV7o
UPkVs0dxstA/89vx/E74tYHN6I46GOQTW1+0gxfByQHiBbXuMOV/iOpublnuaiZkURub+D
cAAAAfUb8hBiYirMl9n9RJTx3/qR2ibcUTsBEMguH48eGmqgAAAAAB
-----END OPENSSH PRIVATE KEY-----
";
