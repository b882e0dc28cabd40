//! Promise: whom an authority certifies, by an OpenSSH certificate, gets in by the clients that people have
//! (spec/auth.md, "Certificates"). What makes a certificate good or bad is in `crates/auth/tests/certificates.rs`;
//! what those clients would not send, in `tests/ssh_hand_made.rs`.

use std::path::Path;
use std::time::Duration;

use sft_testkit::{Person, Ran, Running, World};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// A world whose owner trusts an authority to say who `ana` is; and a guest with a key that nobody knows.
fn world() -> (World, Person) {
    let world = World::new(SFT);
    keygen(&world.owner, &["-t", "ed25519", "-N", "", "-f", "ca"]);
    let authority = std::fs::read_to_string(world.owner.home().join("ca.pub")).unwrap();
    world.owner.authorize(&format!("cert-authority,principals=\"ana\" {authority}"));
    let guest = world.stranger("guest");
    guest.names_for_ssh("srv", world.port());
    (world, guest)
}

fn keygen(person: &Person, args: &[&str]) {
    let mut keygen = person.command(Path::new("ssh-keygen"));
    keygen.arg("-q").args(args);
    Running::start(keygen).wait(PATIENCE).done();
}

/// Has the authority certify a person's key; the certificate lies beside it, where OpenSSH looks for it.
fn certify(world: &World, person: &Person, options: &[&str]) {
    let key = person.home().join(".ssh/id_ed25519.pub");
    keygen(&world.owner, &[&["-s", "ca", "-I", "a guest"], options, &[key.to_str().unwrap()]].concat());
}

fn list(person: &Person) -> Ran {
    std::fs::write(person.home().join("batch"), "ls -1\n").unwrap();
    Running::start(person.openssh("sftp", &["-b", "batch", "srv"])).wait(PATIENCE)
}

#[test]
fn a_certificate_lets_in_and_its_key_alone_does_not() {
    let (world, guest) = world();
    std::fs::write(world.served("shown"), "x").unwrap();
    assert!(list(&guest).ended(255).err().contains("Permission denied"), "without a certificate");
    certify(&world, &guest, &["-n", "ana", "-V", "-5m:+1h"]);
    assert!(list(&guest).done().out().contains("shown"));
    for options in
        [["-n", "bob", "-V", "-5m:+1h"], ["-n", "ana", "-V", "-2h:-1h"], ["-n", "ana", "-V", "+1h:+2h"]]
    {
        certify(&world, &guest, &options);
        assert!(list(&guest).ended(255).err().contains("Permission denied"), "{options:?}");
    }
    certify(&world, &guest, &["-n", "ana", "-O", "source-address=192.0.2.1"]);
    assert!(list(&guest).ended(255).err().contains("Permission denied"), "from elsewhere");
    certify(&world, &guest, &["-n", "ana", "-O", "source-address=127.0.0.0/8,::1"]);
    assert!(list(&guest).done().out().contains("shown"));
}

#[test]
fn keys_of_the_owner_get_in_beside_an_authority_and_others_do_not() {
    let (world, guest) = world();
    world.client.names_for_ssh("srv", world.port());
    list(&world.client).done();
    assert!(list(&guest).ended(255).err().contains("Permission denied"));
}

#[test]
fn rsa_keys_are_certified_too() {
    let (world, guest) = world();
    for file in ["id_ed25519", "id_ed25519.pub"] {
        std::fs::remove_file(guest.home().join(".ssh").join(file)).unwrap();
    }
    keygen(&guest, &["-t", "rsa", "-N", "", "-f", ".ssh/id_ed25519"]);
    certify(&world, &guest, &["-n", "ana"]);
    list(&guest).done();
}
