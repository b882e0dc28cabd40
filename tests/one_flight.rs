//! Promise: what is asked of a server that is not connected yet costs the round trips of the handshake and one more; it
//! is asked again when a key is refused, and again when the session is lost before the answer. Once it is answered, no
//! further round trip is waited for.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use sft_auth::{ClientKeys, KeySearch};
use sft_client::{
    Client, ConnectError, ConnectOptions, EntryPath, Location, RequestError, Target, Transport,
};
use sft_testkit::{Fate, Gatekeeper, Ran, Tree, World, args};
use sft_wire::message::frame;

const SFT: &str = env!("CARGO_BIN_EXE_sft");

/// A gatekeeper before the server of a small tree; the client calls it `gate`.
struct Gated {
    world: World,
    keeper: Gatekeeper,
    transport: &'static str,
}

impl Gated {
    fn new(transport: &'static str) -> Self {
        let world = World::new(SFT);
        Tree::new(world.root()).dir("e").dir("d").file("d/in", 1).file("f", 300_000);
        let over = if transport == "quic" { Transport::Quic } else { Transport::Tcp };
        let keeper = Gatekeeper::start(world.address(), over, &world.client.key(), &world.local("gate"));
        world.client.names("gate", keeper.port());
        world.client.trusts(keeper.port(), &keeper.fingerprint());
        Self { world, keeper, transport }
    }

    /// Runs a verb through the gatekeeper.
    fn asks(&self, words: &[&str]) -> Ran {
        let mut line: Vec<OsString> = words.iter().map(OsString::from).collect();
        line.extend(args!["--transport", self.transport]);
        self.world.sft(line).done()
    }
}

/// What only reads, or is harmless when it is done twice; the answers are the same every time.
const QUESTIONS: [&[&str]; 8] = [
    &["ls", "gate:"],
    &["ls", "gate:f"],
    &["ls", "-a", "gate:d"],
    &["stat", "gate:f"],
    &["hash", "gate:f"],
    &["cat", "gate:f"],
    &["df", "--json", "gate:"],
    &["mkdir", "-p", "gate:a/b"],
];

fn questions_leave_with_the_proof(transport: &'static str) {
    let gated = Gated::new(transport);
    // Data does not pass this gatekeeper.
    let (new, dir) = (gated.world.local("new"), gated.world.local("dir"));
    std::fs::create_dir(&dir).unwrap();
    for mut line in [args!["cp", "gate:e", &new], args!["cp", "gate:e", &dir], args!["cp", &dir, "gate:up"]] {
        line.extend(args!["--transport", transport]);
        gated.world.sft(line.clone()).done();
        let unasked = gated.keeper.unasked();
        assert_eq!(unasked[..3], [frame::HELLO, frame::PROOF, frame::REQUEST], "{line:?}: {unasked:?}");
    }
    assert!(new.is_dir() && dir.join("e").is_dir() && gated.world.served("up/e").is_dir());
    for words in QUESTIONS {
        gated.asks(words);
        assert_eq!(gated.keeper.unasked(), [frame::HELLO, frame::PROOF, frame::REQUEST], "{words:?}");
    }
    assert!(gated.world.served("a/b").is_dir());
}

#[test]
fn questions_leave_with_the_proof_over_quic() {
    questions_leave_with_the_proof("quic");
}

#[test]
fn questions_leave_with_the_proof_over_tcp() {
    questions_leave_with_the_proof("tcp");
}

#[test]
fn what_followed_a_refused_proof_is_sent_again() {
    for transport in ["quic", "tcp"] {
        let gated = Gated::new(transport);
        gated.world.sft(args!["key", "new"]).done();
        gated.keeper.refuse(1);
        assert_eq!(gated.asks(&["ls", "gate:"]).out(), "d\ne\nf\n");
        let flights = [frame::HELLO, frame::PROOF, frame::REQUEST, frame::PROOF, frame::REQUEST];
        assert_eq!(gated.keeper.unasked(), flights);
    }
}

#[test]
fn what_has_no_answer_is_asked_again_in_another_session() {
    for transport in ["quic", "tcp"] {
        let gated = Gated::new(transport);
        for words in QUESTIONS {
            let undisturbed = gated.asks(words);
            gated.keeper.lose(2);
            gated.keeper.unasked();
            let ran = gated.asks(words);
            // How much room there is changes at any time.
            assert!(ran.stdout == undisturbed.stdout || words[0] == "df", "{words:?}: {ran:?}");
            assert_eq!(gated.keeper.unasked().len(), 9, "three openings: {words:?}");
        }
    }
}

/// And yet the server hears that the client has gone.
#[test]
fn nobody_waits_for_the_farewell() {
    for transport in ["quic", "tcp"] {
        let mut world = World::new(SFT);
        Tree::new(world.root()).file("f", 1);
        let relay = world.relay("far");
        let one_way = Duration::from_millis(500);
        relay.udp(Fate::Delay(one_way));
        relay.tcp(Fate::Delay(one_way));
        let mut running = world.start(args!["ls", "--transport", transport, "far:"]);
        while running.stdout_so_far().is_empty() {
            assert!(!running.is_over(), "{}", running.stderr_so_far());
            std::thread::sleep(Duration::from_millis(1));
        }
        let printed = Instant::now();
        assert_eq!(running.wait(Duration::from_secs(60)).done().out(), "f\n");
        let took = printed.elapsed();
        assert!(took < one_way, "{took:?} after the answer, over {transport}");
        std::thread::sleep(4 * one_way);
        let stopped = world.stop_server().objects().pop().unwrap();
        assert_eq!((&stopped["event"], &stopped["sessions"]), (&"stopped".into(), &0.into()), "{transport}");
    }
}

#[test]
fn a_client_that_has_too_many_keys_is_told_so() {
    let world = World::new(SFT);
    let files: Vec<_> = (0..7).map(|number| world.local(&format!("key-{number}"))).collect();
    for file in &files {
        ClientKeys::generate(file, "nobody", None).unwrap();
    }
    let keys = ClientKeys::find(&KeySearch { identity: None, agent: None, files }).unwrap();
    let options = ConnectOptions::new(keys, world.client.config().join("trusted"));
    let Location::Remote(place) = Location::parse(format!("sft://{}/", world.address()).as_ref()).unwrap()
    else {
        panic!("a link is no local name");
    };
    let client = Client::prepare(Target::of(&place), options).unwrap();
    let asked = tokio::runtime::Runtime::new().unwrap().block_on(client.list(&EntryPath::root()));
    match asked.unwrap_err() {
        RequestError::Connect(ConnectError::Denied { tried, .. }) => assert_eq!(tried.len(), 6),
        error => panic!("{error}"),
    }
}
