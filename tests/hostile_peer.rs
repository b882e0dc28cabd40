//! Promise: whoever comes to the port, and whatever they say, harms nobody: an honest transfer beside them goes on, the
//! server's memory stays bounded, and nothing is read or written that was not granted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sft_base::{EntryPath, Time, limits, node_cv};
use sft_lane::Choice;
use sft_testkit::{Dice, Fate, Person, RawPeer, Relay, Running, Tree, World, args, snapshot};
use sft_wire::message::{
    Body, Durability, Entry, EntryKind, Hello, Offer, Op, PackHeader, PackedFile, PieceHeader, Place,
    PublishMode, Pull, PullSource, Push, Reply, Request, Window, frame,
};
use sft_wire::{Code, ControlMessage, encode_pack, encode_piece};
use tokio::net::TcpSocket;

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(240);
const DEADLINE: Duration = Duration::from_millis(limits::AUTH_DEADLINE_MS);
/// One deadline and what a busy machine adds; two of them would be more.
const LET_GO_MAX: Duration = DEADLINE.saturating_mul(9).checked_div(5).unwrap();

/// Someone who copies a file over a slow network while others misbehave.
struct Honest {
    running: Running,
    relay: Relay,
    source: PathBuf,
    copy: PathBuf,
}

impl Honest {
    /// Starts, and waits until the data flows. It would take minutes: `arrives` makes an end of it.
    fn start(world: &World, transport: &str) -> Self {
        let relay = world.relay("slow");
        relay.rate(1 << 20);
        Tree::new(world.local("")).file("honest", 144 << 20);
        let (source, copy) = (world.local("honest"), world.served("honest"));
        let running = world.start(args!["cp", "--transport", transport, source, "slow:honest"]);
        let begun = Instant::now();
        while relay.passed().0 + relay.passed().1 < 1 << 20 {
            assert!(begun.elapsed() < PATIENCE, "the honest transfer does not begin: {running:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self { running, relay, source, copy }
    }

    /// Panics unless all arrives.
    #[track_caller]
    fn arrives(mut self) {
        assert!(!self.running.is_over(), "it was to be beside the others all the time");
        self.relay.rate(0);
        self.running.wait(PATIENCE).done();
        assert!(std::fs::read(self.source).unwrap() == std::fs::read(self.copy).unwrap());
    }
}

/// Panics unless the server lives, answers and has kept its memory small.
#[track_caller]
fn is_well(world: &mut World) {
    world.sft(args!["ls", "srv:"]).done();
    let peak = world.server().peak_kib();
    assert!(peak < 128 << 10, "the server took {peak} KiB");
}

fn path(text: &str) -> EntryPath {
    EntryPath::from_typed(text.as_bytes()).unwrap()
}

fn file(name: &str, size: u64) -> Entry {
    let meta = sft_base::Meta {
        kind: sft_base::Kind::File,
        size,
        modified: Time { secs: 1, nanos: 0 },
        mode: 0o644,
    };
    Entry::new(path(name), &meta)
}

fn push_to(path: EntryPath) -> Op {
    let (publish, durability) = (PublishMode::Replace, Durability::None);
    Op::Push(Push { path, place: Place::Into, publish, durability, checksum: false })
}

/// Begins a push into a folder, and hears the windows.
async fn begin_push(peer: &mut RawPeer, into: &str) -> Window {
    match peer.ask(1, push_to(path(into))).await.body {
        Body::Accepted { window, .. } => window,
        other => panic!("{other:?} is no acceptance"),
    }
}

async fn offer(peer: &mut RawPeer, first: u64, entries: Vec<Entry>) {
    peer.say(Offer { transfer: 1, first, entries, failures: Vec::new(), last: false }).await;
}

/// Sends a data unit; a server that has closed does not get it.
async fn send(peer: &RawPeer, ty: u64, header: Vec<u8>, content: Vec<u8>) {
    let lane = &peer.parts.data.as_ref().expect("a QUIC connection has a lane").0;
    let _ = lane.send(ty, header.into(), content.into(), 0).await;
}

fn piece(entry: u64, unit: u64, offset: u64, content: &[u8]) -> Vec<u8> {
    encode_piece(&PieceHeader { transfer: 1, unit, entry, offset, cv: node_cv(offset, content) })
}

#[test]
fn garbage_on_both_transports_harms_nobody() {
    let mut world = World::new(SFT);
    let honest = Honest::start(&world, "auto");
    let mut dice = Dice::thrown();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for number in 0..4000 {
        let size = dice.below(1400) as usize;
        let mut bytes = dice.bytes(size);
        if number % 2 == 0 && size > 5 {
            // It looks like the first packet of a connection.
            bytes[0] = 0xc0 | bytes[0] & 0x0f;
            bytes[1..5].copy_from_slice(&[0, 0, 0, number as u8 % 3]);
        }
        udp.send_to(&bytes, world.address()).unwrap();
    }
    let hellos: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_10.0\r\n",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
        b"\x16\x03\x03\x00\x00",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x80",
        b"",
    ];
    for number in 0..400 {
        let mut stream = TcpStream::connect(world.address()).unwrap();
        let size = dice.below(40_000) as usize;
        let _ = stream.write_all(hellos[number % hellos.len()]);
        let _ = stream.write_all(&dice.bytes(size));
        drop(stream);
    }
    honest.arrives();
    is_well(&mut world);
}

/// How long a TCP connection lives on which `byte(n)` is sent in its second `n`.
fn life_of_a_slow_connection(server: SocketAddr, byte: impl Fn(u64) -> Option<u8>) -> Duration {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    for second in 0..30 {
        let _ = byte(second).map(|byte| stream.write_all(&[byte]));
        match stream.read(&mut [0; 100]) {
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Ok(_) | Err(_) => {}
        }
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_takes_too_long_is_let_go() {
    let mut world = World::new(SFT);
    let server = world.address();
    let late = Relay::start(server);
    late.tcp(Fate::Delay(Duration::from_millis(2500)));
    let honest = Honest::start(&world, "tcp");
    let silent = std::thread::spawn(move || life_of_a_slow_connection(server, |_| None));
    let slow = std::thread::spawn(move || {
        let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        life_of_a_slow_connection(server, |second| Some(*hello.get(second as usize).unwrap_or(&7)))
    });
    let mut peers = tokio::task::JoinSet::new();
    for (address, choice, chatty) in [
        (server, Choice::Tcp, false),
        (server, Choice::Tcp, true),
        (server, Choice::Quic, false),
        (server, Choice::Quic, true),
        // The handshake alone takes 7.5 s, and the last words 2.5 s: if either had a time of its own, it were 20 s.
        ((Ipv4Addr::LOCALHOST, late.port()).into(), Choice::Tcp, true),
    ] {
        peers.spawn(async move {
            let begun = Instant::now();
            let mut peer = RawPeer::dial(address, choice).await;
            if chatty {
                peer.say(Hello { versions: vec![1], agent: "slow".into() }).await;
            }
            let last = peer.hear_the_end().await;
            let took = begun.elapsed();
            assert!(took > DEADLINE * 9 / 10 && took < LET_GO_MAX, "{choice:?} {chatty}: {took:?}");
            let told = Code::TIMEOUT.because("no proof of a key came within 10 s; try again");
            assert!(!chatty || last == Some(told), "{choice:?}");
        });
    }
    while let Some(done) = peers.join_next().await {
        done.unwrap();
    }
    for took in [silent, slow].map(|thread| thread.join().unwrap()) {
        assert!(took > DEADLINE * 9 / 10 && took < LET_GO_MAX, "{took:?}");
    }
    honest.arrives();
    is_well(&mut world);
}

/// Opens so many connections from an address and says nothing; those that the server keeps.
async fn flood(from: Ipv4Addr, server: SocketAddr, count: usize) -> Vec<tokio::net::TcpStream> {
    let mut opened = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        opened.push(socket.connect(server).await.unwrap());
    }
    // What the server has closed can be read to its end. It closes those above the bound at once, others at the deadline.
    let begun = Instant::now();
    while opened.len() > limits::EARLY_CONNECTIONS_PER_ADDRESS && begun.elapsed() < DEADLINE * 8 / 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        opened.retain(|stream| {
            stream.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
    }
    opened
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_connections_is_bounded_and_does_not_stop_others() {
    let mut world = World::new(SFT);
    let honest = Honest::start(&world, "quic");
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let far = flood(elsewhere, world.address(), 300).await;
    assert_eq!(far.len(), limits::EARLY_CONNECTIONS_PER_ADDRESS, "from another address");
    let begun = Instant::now();
    world.sft(args!["ls", "srv:"]).done();
    assert!(begun.elapsed() < DEADLINE, "the others are let in as ever");
    // From the address of the honest client too: its session is open and goes on.
    let near = flood(Ipv4Addr::LOCALHOST, world.address(), 300).await;
    assert_eq!(near.len(), limits::EARLY_CONNECTIONS_PER_ADDRESS, "from the same address");
    assert!(RawPeer::try_dial(world.address(), Choice::Quic).await.is_err(), "both transports count as one");
    honest.arrives();
    drop((far, near));
    is_well(&mut world);
}

/// One way to break the protocol in an open session: what is done, and the codes that may answer it.
type Misdeed = (&'static str, &'static [Code]);

const MISDEEDS: [Misdeed; 13] = [
    ("a control frame larger than the bound", &[Code::PROTOCOL]),
    ("a frame of no known type", &[Code::PROTOCOL]),
    ("a control frame of random bytes", &[Code::PROTOCOL, Code::UNSUPPORTED]),
    ("an answer where requests belong", &[Code::PROTOCOL]),
    ("a path with `..` in it", &[Code::PROTOCOL]),
    ("the number of a transfer twice", &[Code::PROTOCOL]),
    ("offers with a gap in their numbers", &[Code::PROTOCOL]),
    ("more offers than the window allows", &[Code::PROTOCOL, Code::LIMIT]),
    ("a piece of a file that was not offered", &[Code::PROTOCOL]),
    ("a pack that nobody wanted", &[Code::PROTOCOL]),
    ("a piece beyond the end of its file", &[Code::PROTOCOL]),
    ("a data frame larger than the bound", &[Code::PROTOCOL]),
    ("data of random bytes", &[Code::PROTOCOL]),
];

async fn commit_misdeed(peer: &mut RawPeer, number: usize) {
    let packed = |size| PackedFile { entry: 0, size, digest: Some(sft_base::Digest::of(&[])), error: None };
    match number {
        0 => peer.say_frame(frame::OFFER, &vec![0; limits::CONTROL_FRAME_BYTES_MAX + 1]).await,
        1 => peer.say_frame(0x3f, b"\xa0").await,
        2 => peer.say_frame(frame::REQUEST, &Dice::thrown().bytes(500)).await,
        3 => peer.say(Reply { id: 1, more: false, body: Body::Ok {} }).await,
        4 => {
            let good =
                ControlMessage::from(Request { id: 1, op: Op::Stat { path: path("xx/secret") } }).encode();
            let at = good.windows(2).position(|two| two == b"xx").unwrap();
            let mut bad = good.clone();
            bad[at..at + 2].copy_from_slice(b"..");
            peer.say_frame(frame::REQUEST, &bad).await;
        }
        5 => {
            begin_push(peer, "in").await;
            peer.say(Request { id: 1, op: push_to(path("in")) }).await;
        }
        6 => {
            begin_push(peer, "in").await;
            offer(peer, 5, vec![file("f", 1)]).await;
        }
        7 => {
            let window = begin_push(peer, "in").await;
            let pages = window.entries / limits::PAGE_ENTRIES_MAX as u64 + 2;
            for page in 0..pages {
                let first = page * limits::PAGE_ENTRIES_MAX as u64;
                let entries =
                    (0..limits::PAGE_ENTRIES_MAX).map(|n| file(&format!("{page}-{n}"), 1)).collect();
                offer(peer, first, entries).await;
            }
        }
        8 => {
            begin_push(peer, "in").await;
            send(peer, frame::PIECE, piece(0, 0, 0, &[1; 1000]), vec![1; 1000]).await;
        }
        9 => {
            begin_push(peer, "in").await;
            let header = PackHeader { transfer: 1, unit: 0, files: vec![packed(1000)] };
            send(peer, frame::PACK, encode_pack(&header), vec![1; 1000]).await;
        }
        10 => {
            begin_push(peer, "in").await;
            offer(peer, 0, vec![file("f", 2 << 20)]).await;
            wanted(peer).await;
            let offset = 2 << 20;
            send(peer, frame::PIECE, piece(0, 0, offset, &[1; 1000]), vec![1; 1000]).await;
        }
        11 => {
            begin_push(peer, "in").await;
            send(peer, frame::PIECE, piece(0, 0, 0, &[1]), vec![1; limits::DATA_FRAME_BYTES_MAX + 1]).await;
        }
        _ => {
            begin_push(peer, "in").await;
            send(peer, frame::PACK, Dice::thrown().bytes(300), Vec::new()).await;
        }
    }
}

/// Waits until the receiver says what it wants.
async fn wanted(peer: &mut RawPeer) {
    loop {
        match peer.hear().await {
            Some(ControlMessage::Want(_)) => return,
            Some(_) => {}
            None => panic!("the server ends instead of wanting"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_breaks_the_protocol_is_let_go_and_told_why() {
    let mut world = World::new(SFT);
    Tree::new(world.root()).dir("in").file("secret", 10);
    let honest = Honest::start(&world, "quic");
    for (number, (what, codes)) in MISDEEDS.into_iter().enumerate() {
        let mut peer = RawPeer::open(world.address(), Choice::Quic, &world.client.key()).await;
        commit_misdeed(&mut peer, number).await;
        let error = peer.hear_the_end().await;
        assert!(error.as_ref().is_some_and(|error| codes.contains(&error.code)), "{what}: {error:?}");
    }
    honest.arrives();
    assert_eq!(snapshot(&world.served("in")).len(), 1, "nothing of it is seen");
    is_well(&mut world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn data_beyond_the_window_takes_no_memory() {
    let mut world = World::new(SFT);
    let honest = Honest::start(&world, "tcp");
    let mut peer = RawPeer::open(world.address(), Choice::Quic, &world.client.key()).await;
    let window = begin_push(&mut peer, "in").await;
    let pieces = 8 * window.bytes.div_ceil(1 << 20);
    offer(&mut peer, 0, vec![file("f", pieces << 20)]).await;
    wanted(&mut peer).await;
    let content = vec![0; 1 << 20];
    let lane = peer.parts.data.as_ref().expect("a QUIC connection has a lane").0.clone();
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..pieces {
        let header = piece(0, number, number << 20, &content);
        let (lane, content) = (lane.clone(), content.clone());
        sending.spawn(async move { lane.send(frame::PIECE, header.into(), content.into(), 0).await });
    }
    // Whether the server takes them as fast as they come or lets the peer go, it keeps no more than it granted.
    while sending.join_next().await.is_some() {}
    drop(peer);
    honest.arrives();
    is_well(&mut world);
}

/// Someone with all rights in a folder and none elsewhere.
fn guest(world: &World, folder: &str) -> Person {
    let guest = world.newcomer("guest");
    let host = format!("127.0.0.1:{}", world.port());
    let invited = args!["invite", "--path", folder, "--rights", "all", "--host", host];
    let link = world.owner.sft(invited).done().out().trim().to_owned();
    world.introduce(&guest, "srv", world.port());
    guest.sft(args!["join", link]).done();
    guest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_reaches_what_was_not_granted() {
    let mut world = World::new(SFT);
    Tree::new(world.root())
        .dir("theirs")
        .file("theirs/own", 5)
        .file("secret", 10)
        .dir("closed")
        .file("closed/f", 9);
    let guest = guest(&world, "theirs");
    guest.sft(args!["cat", "srv:theirs/own"]).done();
    let before = snapshot(world.root());
    let mut peer = RawPeer::open(world.address(), Choice::Tcp, &guest.key()).await;
    let [secret, own, outside] = ["secret", "theirs/own", "new"].map(path);
    let operations = [
        Op::List { path: EntryPath::root() },
        Op::List { path: path("closed") },
        Op::Stat { path: secret.clone() },
        Op::Read { path: secret.clone(), offset: 0, length: 100 },
        Op::Hash { path: secret.clone() },
        Op::ReadLink { path: secret.clone() },
        Op::MakeDir { path: outside.clone(), parents: true },
        Op::Remove { path: secret.clone(), recursive: true },
        Op::Remove { path: path("theirs-not"), recursive: true },
        Op::Rename { from: own.clone(), to: outside, replace: true },
        Op::Rename { from: secret.clone(), to: own.clone(), replace: true },
        Op::SetAttributes { path: secret.clone(), modified: None, mode: Some(0o777) },
        Op::Space {},
    ];
    for (id, op) in operations.into_iter().enumerate() {
        let shown = format!("{op:?}");
        match peer.ask(id as u64 + 100, op).await.body {
            Body::Failed { error } => assert_eq!(error.code, Code::DENIED, "{shown}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    let window = Window { bytes: 1 << 20, entries: 100 };
    let sources = vec![PullSource { path: secret, contents: false }];
    peer.say(Request {
        id: 2,
        op: Op::Pull(Pull { sources, checksum: false, window, limit: None, background: false }),
    })
    .await;
    let offered = loop {
        if let ControlMessage::Offer(offer) = peer.hear().await.expect("the server goes on") {
            break offer;
        }
    };
    assert!(offered.entries.is_empty() && offered.failures[0].error.code == Code::DENIED, "{offered:?}");
    begin_push(&mut peer, "theirs").await;
    offer(&mut peer, 0, vec![file("mine", 1)]).await;
    wanted(&mut peer).await;
    Tree::new(guest.home()).file("f", 3);
    guest.sft(args!["cp", "f", "srv:secret"]).ended(4);
    guest.sft(args!["cp", "f", "srv:closed/f"]).ended(4);
    guest.sft(args!["cp", "srv:secret", "stolen"]).ended(4);
    assert!(!guest.home().join("stolen").exists());
    drop(peer);
    let stays = |entries: &[String]| {
        entries.iter().filter(|line| !line.contains("/.sft")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(stays(&snapshot(world.root()))[1..], stays(&before)[1..], "all is as it was");
    is_well(&mut world);
}

#[test]
fn planted_links_lead_nowhere() {
    let mut world = World::new(SFT);
    Tree::new(world.root()).dir("theirs").file("theirs/own", 5).file("secret", 10);
    Tree::new(world.local("outside")).file("f", 7);
    let guest = guest(&world, "theirs");
    let outside = world.local("outside");
    Tree::new(guest.home()).file("f", 3).dir("links");
    for (name, target) in [
        ("up", ".."),
        ("root", "../.."),
        ("far", "../../.."),
        ("abs", outside.to_str().unwrap()),
        ("file", "../../secret"),
    ] {
        symlink(target, guest.home().join("links").join(name)).unwrap();
    }
    // Links are copied as what they are.
    guest.sft(args!["cp", "links", "srv:theirs/"]).done();
    assert_eq!(std::fs::read_link(world.served("theirs/links/abs")).unwrap(), outside);
    let through = ["root/secret", "root/theirs/own", "up/own", "far/served/secret", "abs/f", "file"];
    for name in through.map(|name| format!("srv:theirs/links/{name}")) {
        for line in [
            args!["cat", name],
            args!["hash", name],
            args!["cp", name, "stolen"],
            args!["cp", "f", format!("{name}/planted")],
            args!["mkdir", format!("{name}/made")],
            args!["ls", format!("{name}/.")],
        ] {
            let ran = guest.sft(line.clone());
            // A link as the last name is an entry like others.
            let copied_link = name.ends_with("/file") && line[1] == *name && line[0] == "cp";
            assert!(ran.code != Some(0) || copied_link, "{ran:?}");
        }
    }
    // Not even the owner gets out.
    for name in ["far/served/secret", "abs/f"].map(|name| format!("srv:theirs/links/{name}")) {
        assert_ne!(world.sft(args!["cat", name]).code, Some(0));
        assert_ne!(world.sft(args!["rm", name]).code, Some(0));
        assert_ne!(world.sft(args!["cp", world.local("outside/f"), format!("{name}-planted")]).code, Some(0));
    }
    assert_eq!(snapshot(&outside).len(), 2, "nothing came or went outside");
    assert_eq!(world.served("secret").metadata().unwrap().len(), 10);
    assert_eq!(world.served("theirs/own").metadata().unwrap().len(), 5);
    is_well(&mut world);
}

#[test]
fn links_swapped_in_while_a_tree_is_copied_lead_nowhere() {
    let mut world = World::new(SFT);
    let mut tree = Tree::new(world.local("src"));
    tree.many("d", 3000, 200);
    Tree::new(world.local("outside"));
    Tree::new(world.served("src/d/0001"));
    let (dir, aside) = (world.served("src/d/0001"), world.served("aside"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                std::fs::rename(&dir, &aside).unwrap();
                // Where the copy finds nothing, it makes a directory, as it should.
                if symlink(world.local("outside"), &dir).is_ok() {
                    std::thread::sleep(Duration::from_millis(1));
                    std::fs::remove_file(&dir).unwrap();
                }
                if std::fs::rename(&aside, &dir).is_err() {
                    // The copy may be about to put something into it, as it had it open.
                    while std::fs::remove_dir_all(&aside).is_err() {}
                }
            }
        });
        let codes: Vec<_> = (0..3).map(|_| world.sft(args!["cp", "-c", tree.path(), "srv:"]).code).collect();
        over.store(true, Ordering::Relaxed);
        assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?}");
    });
    assert_eq!(snapshot(&world.local("outside")).len(), 1, "nothing was written outside");
    is_well(&mut world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_stores_own_folder_has_no_name() {
    let mut world = World::new(SFT);
    Tree::new(world.root()).file("f", 4).dir(".sft").file(".sft/secret", 5);
    let mut peer = RawPeer::open(world.address(), Choice::Tcp, &world.client.key()).await;
    let [own, secret, stage, named] = [".sft", ".sft/secret", ".sft/stage", "f"].map(path);
    let operations = [
        Op::List { path: own.clone() },
        Op::Stat { path: own.clone() },
        Op::Stat { path: secret.clone() },
        Op::Read { path: secret.clone(), offset: 0, length: 9 },
        Op::Hash { path: secret.clone() },
        Op::MakeDir { path: stage.clone(), parents: true },
        Op::Remove { path: own.clone(), recursive: true },
        Op::Remove { path: secret.clone(), recursive: false },
        Op::Rename { from: secret.clone(), to: path("out"), replace: true },
        Op::Rename { from: named, to: secret.clone(), replace: true },
        Op::SetAttributes { path: own.clone(), modified: None, mode: Some(0o777) },
        push_to(stage),
    ];
    for (id, op) in operations.into_iter().enumerate() {
        let shown = format!("{op:?}");
        match peer.ask(id as u64 + 1, op).await.body {
            Body::Failed { error } => assert_eq!(error.code, Code::NAME_NOT_ALLOWED, "{shown}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    begin_push_of_own(&mut peer).await;
    assert_eq!(world.served(".sft/secret").metadata().unwrap().len(), 5);
    assert!(world.served("f").exists());
    is_well(&mut world);
}

/// Offers the folder itself, and what would lie in it.
async fn begin_push_of_own(peer: &mut RawPeer) {
    assert!(matches!(peer.ask(77, push_to(EntryPath::root())).await.body, Body::Accepted { .. }));
    let folder = Entry { kind: EntryKind::Dir, size: 0, ..file(".sft", 0) };
    let entries = vec![folder, file(".sft/secret", 1), file(".sft/stage/x", 1)];
    peer.say(Offer { transfer: 77, first: 0, entries, failures: Vec::new(), last: true }).await;
    let mut failed = 0;
    while failed < 3 {
        match peer.hear().await.expect("the server goes on") {
            ControlMessage::Commit(commit) => {
                assert!(commit.committed.is_empty() && commit.unchanged.is_empty(), "{commit:?}");
                assert!(commit.failed.iter().all(|failure| failure.error.code == Code::NAME_NOT_ALLOWED));
                failed += commit.failed.len();
            }
            ControlMessage::Want(want) => panic!("{want:?}"),
            _ => {}
        }
    }
}
