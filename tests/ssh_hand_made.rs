//! Promise: what no well-behaved client of SSH would send gets nobody in (spec/doors.md, "The SSH door"): a key announced
//! as what it is not, a signature with SHA-1, another's certificate, keys without end. Each is sent by paramiko's transport
//! with requests made by hand, beside one that differs in nothing else and is let in.

use std::time::Duration;

use sft_testkit::World;

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

#[track_caller]
fn run(world: &World, script: &str) {
    let owner = world.owner.home();
    let script = format!("OWNER = {owner:?}\n{REQUESTS}{script}print('fine')\n");
    assert_eq!(world.start_python(&script).wait(PATIENCE).done().out(), "fine\n");
}

/// `Asker` speaks up to authentication; `ask` sends one request and gives the number of the answer, with the ways that a
/// refusal names: 51 refuses, 52 lets in, 60 says that a key that was offered may sign.
const REQUESTS: &str = r#"
import base64, hashlib, os, queue, subprocess, sys, paramiko
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

def strings(*parts):
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

class Asker:
    def __init__(self):
        self.answers = queue.Queue()
        self._handler_table = {n: lambda self, m, n=n: self.answers.put((n, m)) for n in (6, 51, 52, 60)}
        self.transport = paramiko.Transport(("127.0.0.1", int(sys.argv[1])))
        self.transport.start_client(timeout=60)
        self.transport.auth_handler = self
        self.send(b"\x05" + strings(b"ssh-userauth"))
        assert self.answer()[0] == 6

    def is_authenticated(self):
        return False

    def abort(self):
        self.answers.put((None, None))

    def send(self, payload):
        message = paramiko.Message()
        message.add_bytes(payload)
        self.transport._send_message(message)

    def answer(self):
        number, message = self.answers.get(timeout=60)
        return number, message.get_list() if number == 51 else []

    def ask(self, algorithm, blob, sign=None):
        payload = b"\x32" + strings(b"x", b"ssh-connection", b"publickey") + bytes([sign is not None])
        payload += strings(algorithm, blob)
        if sign is not None:
            payload += strings(sign(strings(self.transport.session_id) + payload))
        self.send(payload)
        return self.answer()

def asked(*request):
    asker = Asker()
    number, _ = asker.ask(*request)
    asker.transport.close()
    return number

def own(blob, options=""):
    kind = blob[4:4 + int.from_bytes(blob[:4], "big")].decode()
    with open(OWNER + "/.ssh/authorized_keys", "a") as f:
        f.write(f"{options}{kind} {base64.b64encode(blob).decode()}\n")

def ed25519_pair():
    key = ed25519.Ed25519PrivateKey.generate()
    return key, key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

# What a key is told that nobody knows, with its signature.
def stranger(asker):
    key, point = ed25519_pair()
    return asker.ask(b"ssh-ed25519", strings(b"ssh-ed25519", point), lambda data: strings(b"ssh-ed25519", key.sign(data)))

WAYS = (51, ["publickey", "password"])

def certificate(blob, *options):
    # Of the authority `ca`, which is made and named at the first time.
    kind = blob[4:4 + int.from_bytes(blob[:4], "big")].decode()
    if not os.path.exists("ca"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "ca"], check=True)
        own(base64.b64decode(open("ca.pub").read().split()[1]), 'cert-authority,principals="ana" ')
    with open("certified.pub", "w") as f:
        f.write(f"{kind} {base64.b64encode(blob).decode()}\n")
    subprocess.run(["ssh-keygen", "-q", "-s", "ca", "-I", "x", "-n", "ana", "certified.pub"], check=True)
    return base64.b64decode(open("certified-cert.pub").read().split()[1])
"#;

#[test]
fn a_key_on_hardware_is_refused_whatever_it_is_announced_as() {
    let world = World::new(SFT);
    run(&world, HARDWARE);
}

/// Keys as a FIDO authenticator has them, which sign without having been touched.
const HARDWARE: &str = r#"
def untouched(data):
    return hashlib.sha256(b"ssh:").digest() + bytes(5) + hashlib.sha256(data).digest()

edwards, point = ed25519_pair()
def by_edwards(data):
    return edwards.sign(untouched(data)) + bytes(5)

nist = ec.generate_private_key(ec.SECP256R1())
def by_nist(data):
    r, s = utils.decode_dss_signature(nist.sign(untouched(data), ec.ECDSA(hashes.SHA256())))
    return strings(b"\0" + r.to_bytes(32, "big"), b"\0" + s.to_bytes(32, "big")) + bytes(5)

on_curve = nist.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
for blob, sign in [
    (strings(b"sk-ssh-ed25519@openssh.com", point, b"ssh:"), by_edwards),
    (strings(b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", on_curve, b"ssh:"), by_nist),
]:
    own(blob)
    kind = blob[4:4 + int.from_bytes(blob[:4], "big")]
    for algorithm in (kind, b"rsa-sha2-512", b"rsa-sha2-256", b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"x@y"):
        signed = lambda data: strings(algorithm, sign(data))
        if algorithm == kind:
            signed = lambda data: strings(algorithm, sign(data)[:-5]) + bytes(5)
        answers = asked(algorithm, blob, signed), asked(algorithm, blob)
        # Signatures that are too long for their algorithm end the connection.
        assert answers in ((51, 51), (None, 51)), (algorithm, answers)
# The same pair as a key in software may sign.
own(strings(b"ssh-ed25519", point))
signed = lambda data: strings(b"ssh-ed25519", edwards.sign(data))
assert asked(b"ssh-ed25519", strings(b"ssh-ed25519", point), signed) == 52
assert asked(b"rsa-sha2-512", strings(b"ssh-ed25519", point)) == 51
"#;

#[test]
fn sha_1_is_refused_with_a_certificate_and_without() {
    let world = World::new(SFT);
    run(&world, SHA_1);
}

const SHA_1: &str = r#"
pair = rsa.generate_private_key(65537, 2048)
n = pair.public_key().public_numbers().n
blob = strings(b"ssh-rsa", b"\1\0\1", b"\0" + n.to_bytes(256, "big"))
def signed(name, digest):
    return lambda data: strings(name, pair.sign(data, padding.PKCS1v15(), digest))

own(blob)
certified = certificate(blob)
ways = [(b"ssh-rsa", hashes.SHA1(), 51), (b"rsa-sha2-256", hashes.SHA256(), 52), (b"rsa-sha2-512", hashes.SHA512(), 52)]
for name, digest, answer in ways:
    assert asked(name, blob, signed(name, digest)) == answer, name
    assert asked(name + b"-cert-v01@openssh.com", certified, signed(name, digest)) == answer, name
# What is announced is not what has signed.
assert asked(b"rsa-sha2-512", blob, signed(b"ssh-rsa", hashes.SHA1())) == 51
assert asked(b"rsa-sha2-512", blob, signed(b"rsa-sha2-512", hashes.SHA1())) == 51
"#;

#[test]
fn a_certificate_is_good_for_its_own_key_alone() {
    let world = World::new(SFT);
    run(&world, STOLEN);
}

const STOLEN: &str = r#"
certified, point = ed25519_pair()
blob = certificate(strings(b"ssh-ed25519", point))
algorithm = b"ssh-ed25519-cert-v01@openssh.com"
thief, _ = ed25519_pair()
signed_by = lambda key: lambda data: strings(b"ssh-ed25519", key.sign(data))
assert asked(algorithm, blob, signed_by(thief)) == 51
assert asked(algorithm, blob, signed_by(certified)) == 52
"#;

#[test]
fn keys_are_not_offered_without_end() {
    let world = World::new(SFT);
    run(&world, OFFERS);
}

/// While there is an authority, each key may be one with a certificate, and is told that it may sign.
const OFFERS: &str = r#"
_, point = ed25519_pair()
certificate(strings(b"ssh-ed25519", point))
mine, point = ed25519_pair()
blob = strings(b"ssh-ed25519", point)
own(blob)
asker = Asker()
for _ in range(31):
    assert asker.ask(b"ssh-ed25519", strings(b"ssh-ed25519", ed25519_pair()[1]))[0] == 60
assert asker.ask(b"ssh-ed25519", blob)[0] == 60
assert asker.ask(b"ssh-ed25519", blob, lambda data: strings(b"ssh-ed25519", mine.sign(data)))[0] == 52
asker = Asker()
answers = []
while len(answers) < 100 and None not in answers:
    answers.append(asker.ask(b"ssh-ed25519", blob)[0])
assert answers == [60] * 32 + [51] * 6 + [None], answers
"#;

#[test]
fn passwords_are_told_of_to_clients_that_begin_with_a_key() {
    let world = World::new(SFT);
    run(&world, "asker = Asker()\nassert stranger(asker) == (51, ['publickey'])\n");
    world.owner.sft(sft_testkit::args!["invite", "--password"]).done();
    run(&world, "asker = Asker()\nfor _ in range(3): assert stranger(asker) == WAYS\n");
    // While there is an authority, the key is refused after it has signed.
    run(
        &world,
        "certificate(strings(b'ssh-ed25519', ed25519_pair()[1]))\nassert stranger(Asker()) == WAYS\n",
    );
}
