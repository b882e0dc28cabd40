//! Certificates that OpenSSH makes let in whom sshd would let in, and nobody else (spec/auth.md, "Certificates").
//!
//! These tests run `ssh-keygen`, and fail where OpenSSH's client is not installed.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Encoding};
use sft_auth::{AuthError, Grant, Policy, PublicKeyId, Rights};
use tempfile::TempDir;

/// A server whose owner trusts the authority `ca`, and the keys `ca`, `user` and `other`.
struct House {
    dir: TempDir,
    policy: Policy,
}

impl House {
    fn new() -> Self {
        Self::of("ed25519", "ed25519")
    }

    fn of(authority: &str, user: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let policy =
            Policy::open(&dir.path().join("state"), dir.path().join("authorized_keys"), false).unwrap();
        let house = Self { dir, policy };
        for (name, kind) in [("ca", authority), ("user", user), ("other", "ed25519")] {
            house.keygen(&["-q", "-t", kind, "-N", "", "-C", name, "-f", &house.at(name)]);
        }
        house
    }

    /// What the owner's file says of the authority.
    fn trusting(self, options: &str) -> Self {
        let line = format!("{options} {}", fs::read_to_string(self.at("ca.pub")).unwrap());
        fs::write(self.at("authorized_keys"), line).unwrap();
        self
    }

    /// A certificate of `ca` for `user`, good for `ana` and five minutes around now, but for what `options` say.
    fn certificate(&self, options: &[&str]) -> Vec<u8> {
        self.signed_by("ca", options)
    }

    fn signed_by(&self, authority: &str, options: &[&str]) -> Vec<u8> {
        let has = |flag: &str| options.contains(&flag);
        let mut all = vec!["-q", "-I", "ana's laptop"];
        let authority = self.at(authority);
        all.extend(["-s", &authority]);
        if !has("-n") {
            all.extend(["-n", "ana"]);
        }
        if !has("-V") {
            all.extend(["-V", "-5m:+5m"]);
        }
        // No principals at all are no `-n` at all.
        let options = if options == ["-n", ""] { &[] } else { options };
        all.extend(options);
        let user = self.at("user.pub");
        all.push(&user);
        self.keygen(&all);
        let line = fs::read_to_string(self.at("user-cert.pub")).unwrap();
        Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap()
    }

    fn enter(&self, certificate: &[u8]) -> Result<Grant, AuthError> {
        self.enter_from(certificate, "192.0.2.7")
    }

    fn enter_from(&self, certificate: &[u8], address: &str) -> Result<Grant, AuthError> {
        let address: IpAddr = address.parse().unwrap();
        self.policy.admit_certified(certificate, address, SystemTime::now())
    }

    fn refused(&self, certificate: &[u8], why: &str) {
        let refused = self.enter(certificate).expect_err(why);
        assert!(refused.log_text().contains(why), "{} (wanted: {why})", refused.log_text());
        assert!(refused.to_string().starts_with("not authorised (with the key SHA256:"), "{refused}");
    }

    fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn keygen(&self, args: &[&str]) {
        let ran = Command::new("ssh-keygen").args(args).stdin(Stdio::null()).output();
        let ran = ran.expect("ssh-keygen must be installed (openssh-client)");
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

const FOR_ANA: &str = "cert-authority,principals=\"ops,ana\"";

#[test]
fn certificates_of_every_kind_make_their_key_the_owners() {
    for (authority, user) in
        [("ed25519", "ed25519"), ("rsa", "ecdsa"), ("ecdsa", "rsa"), ("ed25519", "rsa"), ("rsa", "ed25519")]
    {
        let house = House::of(authority, user).trusting(FOR_ANA);
        let grant = house.enter(&house.certificate(&[])).unwrap();
        assert_eq!((grant.identity(), grant.rights()), ("owner", Rights::ALL), "{authority} {user}");
        assert_eq!(grant.label(), "owner (ana\\'s laptop by ca)");
        let left = grant.expires().unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(left <= Duration::from_secs(300), "it ends with the certificate: {left:?}");
    }
}

#[test]
fn an_authority_lets_nobody_in_itself_and_only_whom_it_certifies() {
    let house = House::new().trusting(FOR_ANA);
    for name in ["ca", "user"] {
        let line = fs::read_to_string(house.path(&format!("{name}.pub"))).unwrap();
        let (key, _) = PublicKeyId::from_line(&line).unwrap();
        assert!(house.policy.admit_proven(&key, SystemTime::now()).is_err(), "{name} without a certificate");
    }
    assert!(house.policy.takes_certificates());
    house.refused(&house.signed_by("other", &[]), "authorized_keys does not name its authority, SHA256:");
    let house = House::new().trusting("");
    house.refused(&house.certificate(&[]), "authorized_keys does not name its authority");
    assert!(!house.policy.takes_certificates(), "a plain key is no authority");
}

#[test]
fn a_certificate_has_its_time() {
    let house = House::new().trusting(FOR_ANA);
    house.refused(&house.certificate(&["-V", "-10m:-5m"]), "it has expired");
    house.refused(&house.certificate(&["-V", "+5m:+10m"]), "it is not valid yet");
    let for_ever = house.certificate(&["-V", "always:forever"]);
    assert_eq!(house.enter(&for_ever).unwrap().expires(), None);
    let until = |secs: u64| UNIX_EPOCH + Duration::from_secs(secs);
    let exact = house.certificate(&["-V", "20300101000000Z:20300102000000Z"]);
    let enter = |now| house.policy.admit_certified(&exact, "::1".parse().unwrap(), now);
    assert!(enter(until(1_893_455_999)).is_err() && enter(until(1_893_542_400)).is_err(), "to the second");
    assert_eq!(enter(until(1_893_456_000)).unwrap().expires(), Some(until(1_893_542_400)));
    assert!(enter(until(1_893_542_399)).is_ok());
    let house = house.trusting("cert-authority,principals=\"ana\",expiry-time=\"20200101Z\"");
    house.refused(&house.certificate(&[]), "the `expiry-time` of the key has passed");
}

#[test]
fn a_certificate_is_for_those_it_names() {
    let house = House::new().trusting(FOR_ANA);
    assert!(house.enter(&house.certificate(&["-n", "bob,ops"])).is_ok());
    house.refused(&house.certificate(&["-n", "bob"]), "none of its principals is wanted: it has [\"bob\"]");
    house.refused(&house.certificate(&["-n", "Ana"]), "none of its principals is wanted");
    // Without principals it would be for anybody.
    house.refused(&house.certificate(&["-n", ""]), "none of its principals is wanted: it has []");
    let house = house.trusting("cert-authority");
    let account = fs::read_to_string("/etc/passwd").unwrap();
    let uid = rustix::process::geteuid().as_raw().to_string();
    let account = account.lines().find(|line| line.split(':').nth(2) == Some(&uid)).unwrap();
    let account = account.split(':').next().unwrap();
    assert!(house.enter(&house.certificate(&["-n", account])).is_ok(), "the account that serves");
    house.refused(&house.certificate(&["-n", "somebody-else"]), "none of its principals is wanted");
}

#[test]
fn what_a_certificate_demands_is_carried_out_or_it_is_refused() {
    let house = House::new().trusting(FOR_ANA);
    let near = house.certificate(&["-O", "source-address=192.0.2.0/24,2001:db8::/32"]);
    for (address, is_let_in) in [
        ("192.0.2.7", true),
        ("::ffff:192.0.2.7", true),
        ("2001:db8::1", true),
        ("192.0.3.7", false),
        ("2001:db9::1", false),
    ] {
        assert_eq!(house.enter_from(&near, address).is_ok(), is_let_in, "{address}");
    }
    house.refused(&house.certificate(&["-O", "force-command=/bin/true"]), "it demands `force-command`");
    house.refused(&house.certificate(&["-O", "verify-required"]), "it demands `verify-required`");
    house.refused(&house.certificate(&["-O", "critical:new@example.org=x"]), "it demands `new@example.org`");
    // Extensions demand nothing, known or not.
    assert!(house.enter(&house.certificate(&["-O", "extension:new@example.org=x"])).is_ok());
    assert!(house.enter(&house.certificate(&["-O", "clear"])).is_ok());
    let house = house.trusting("cert-authority,principals=\"ana\",from=\"198.51.100.0/24\"");
    house.refused(&house.certificate(&[]), "it does not hold for a client at 192.0.2.7");
    assert!(house.enter_from(&house.certificate(&[]), "198.51.100.1").is_ok());
}

#[test]
fn certificates_for_hosts_and_lines_that_are_not_carried_out_let_nobody_in() {
    let house = House::new().trusting(FOR_ANA);
    house.refused(&house.certificate(&["-h"]), "it is no certificate for a user");
    for options in
        ["cert-authority,no-pty", "restrict,cert-authority", "cert-authority,from=\"*.example.org\""]
    {
        let house = House::new().trusting(options);
        house.refused(&house.certificate(&[]), "names its authority and gives it no access: line 1:");
        assert!(!house.policy.takes_certificates(), "{options}");
    }
}

#[test]
fn what_was_changed_or_cut_off_is_worth_nothing() {
    let house = House::new().trusting(FOR_ANA);
    let good = house.certificate(&[]);
    assert!(house.enter(&good).is_ok());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(house.enter(&bad).is_err(), "byte {at}");
        assert!(house.enter(&good[..at]).is_err(), "cut off at {at}");
    }
    let longer = [&good[..], &[0]].concat();
    house.refused(&longer, "it is not a well-formed certificate");
    house.refused(&vec![0; 1 << 20], "it is not a well-formed certificate");
}
