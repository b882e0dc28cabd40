//! The native door as a client meets it: a session opens, a tree goes up and comes back, on either transport.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sft_auth::{ClientKeys, Grant, KeySearch, ServerKey};
use sft_base::{EntryPath, limits};
use sft_doors::{Doors, ServeOptions, Server, StopReport};
use sft_engine::{
    EventSink, Link, Manner, ReceiveJob, Reception, Role, SendJob, SendSource, SessionEvent, Summary, View,
    send,
};
use sft_lane::{Choice, ConnectOptions, Connection, Dialer, Parts, Pin, Transport, into_data};
use sft_store::FsStore;
use sft_wire::message::{
    Attach, Body, Durability, Hello, Op, PackHeader, PackedFile, Place, Proof, PublishMode, Pull, PullSource,
    Push, Reply, Request, Welcome, Window, frame,
};
use sft_wire::{Code, ControlMessage, WireError, attach_mac, encode_pack};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

struct Served {
    home: TempDir,
    address: SocketAddr,
    key: ServerKey,
    keys: ClientKeys,
    stop: oneshot::Sender<()>,
    running: JoinHandle<StopReport>,
}

async fn serve() -> Served {
    let home = tempfile::tempdir().unwrap();
    let key_file = home.path().join("id");
    let public = ClientKeys::generate(&key_file, "tester", None).unwrap();
    drop(public);
    fs::copy(key_file.with_extension("pub"), home.path().join("authorized_keys")).unwrap();
    fs::create_dir(home.path().join("served")).unwrap();
    let options = ServeOptions {
        root: home.path().join("served"),
        addresses: vec![(Ipv4Addr::LOCALHOST, 0).into()],
        port: 0,
        state: home.path().join("state"),
        authorized_keys: home.path().join("authorized_keys"),
        read_only: false,
        doors: Doors::default(),
    };
    let server = Server::bind(options).await.unwrap();
    let (address, key) = (server.addresses()[0], server.key());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async { drop(stopped.await) }));
    let search = KeySearch { identity: Some(key_file), agent: None, files: Vec::new() };
    let keys = ClientKeys::find(&search).unwrap();
    Served { home, address, key, keys, stop, running }
}

struct Session {
    link: Link,
    replies: mpsc::Receiver<SessionEvent>,
}

async fn connect(served: &Served, choice: Choice) -> Session {
    let dialer = Dialer::new();
    let options = ConnectOptions { choice, ..ConnectOptions::default() };
    let pin = Pin::Any;
    let raced = dialer.connect(&[served.address], "localhost", pin, &options).await.unwrap();
    let (mut parts, welcome) = open(raced.first, served).await;
    let data = parts.data.take();
    let (link, replies) = Link::start(parts.reader, parts.writer, parts.handle, Role::Client);
    match data {
        Some((sender, receiver)) => link.add_lane(Transport::Quic, sender, receiver),
        None => {
            for _ in 0..2 {
                let lane = dialer.dial_data(served.address, "localhost", pin, &options).await.unwrap();
                let mac = attach_mac(&welcome.attach_secret, &lane.exporter());
                let mut parts = lane.split();
                write(&mut parts, Attach { session: welcome.session, mac }.into()).await;
                assert!(matches!(read(&mut parts).await, ControlMessage::Attached(_)));
                let (sender, receiver) = into_data(parts.reader, parts.writer).unwrap();
                link.add_lane(Transport::Tcp, sender, receiver);
            }
        }
    }
    Session { link, replies }
}

async fn open(connection: Connection, served: &Served) -> (Parts, Welcome) {
    let exporter = connection.exporter();
    assert_eq!(connection.peer_key(), Some(served.key.0));
    let mut parts = connection.split();
    write(&mut parts, Hello { versions: vec![1], agent: "test".into() }.into()).await;
    write(&mut parts, proof(served, &exporter).into()).await;
    match read(&mut parts).await {
        ControlMessage::Welcome(welcome) => (parts, welcome),
        other => panic!("{other:?} is no welcome"),
    }
}

fn proof(served: &Served, exporter: &[u8; 32]) -> Proof {
    let key = &served.keys.keys()[0];
    let proof = sft_auth::prove(key, "", exporter, &served.key, None, &mut |_| None).unwrap();
    let sft_auth::Proof { user, public_key, signature, .. } = proof;
    Proof { user, public_key, signature, invitation: None }
}

async fn write(parts: &mut Parts, message: ControlMessage) {
    parts.writer.write_frame(message.frame_type(), &message.encode()).await.unwrap();
}

async fn read(parts: &mut Parts) -> ControlMessage {
    let frame = parts.reader.read_frame(1 << 18).await.unwrap().expect("there is a frame");
    ControlMessage::decode(frame.ty, &frame.payload).unwrap().expect("it is no extension")
}

async fn reply(session: &mut Session) -> Body {
    match session.replies.recv().await.unwrap() {
        SessionEvent::Reply(reply) => reply.body,
        other @ SessionEvent::Request(..) => panic!("{other:?} is no reply"),
    }
}

fn view(root: &Path) -> View {
    View::new(Arc::new(FsStore::open(root).unwrap()), Arc::new(Grant::owner_local()))
}

fn path(text: &str) -> EntryPath {
    EntryPath::from_typed(text.as_bytes()).unwrap()
}

async fn push(session: &mut Session, root: &Path, name: &str) -> Summary {
    push_to(session, root, name, "").await.0
}

/// The summary, and the bytes that were moved.
async fn push_to(session: &mut Session, root: &Path, name: &str, to: &str) -> (Summary, u64) {
    let port = session.link.transfer(1);
    let op = Push {
        path: path(to),
        place: Place::Auto,
        publish: PublishMode::Replace,
        durability: Durability::Commit,
        checksum: false,
    };
    session.link.send(Request { id: 1, op: Op::Push(op) }).await;
    let (accepted, window) = oneshot::channel();
    let sources = vec![SendSource { view: view(root), path: path(name), landing: path(name) }];
    let job = SendJob { sources, checksum: false, manner: Manner::default(), window: Err(window) };
    let sink = EventSink::new().0;
    let sending = tokio::spawn(send(port, job, sink.clone()));
    match reply(session).await {
        // A transfer without data may be over before its acceptance is looked at.
        Body::Accepted { window, .. } => drop(accepted.send(Ok(window))),
        other => panic!("{other:?} is no acceptance"),
    }
    let summary = tokio::time::timeout(Duration::from_secs(60), sending).await.unwrap().unwrap().unwrap();
    (summary, sink.counters().bytes_moved.load(Ordering::Relaxed))
}

async fn pull(session: &mut Session, name: &str, root: &Path) -> Summary {
    let port = session.link.transfer(2);
    let job = ReceiveJob {
        view: view(root),
        path: EntryPath::root(),
        place: Place::Into,
        publish: PublishMode::Replace,
        durability: Durability::Commit,
        keep_set_id: true,
    };
    let reception = Reception::prepare(job).await.unwrap();
    let window = reception.window();
    let receiving = tokio::spawn(reception.receive(port, EventSink::new().0));
    let sources = vec![PullSource { path: path(name), contents: false }];
    session
        .link
        .send(Request {
            id: 2,
            op: Op::Pull(Pull { sources, checksum: false, window, limit: None, background: false }),
        })
        .await;
    assert!(matches!(reply(session).await, Body::Accepted { .. }));
    tokio::time::timeout(Duration::from_secs(60), receiving).await.unwrap().unwrap().unwrap()
}

/// A tree with something of everything; the number of its entries, ends of directories not counted.
fn plant(root: &Path) -> u64 {
    let tree = root.join("tree");
    fs::create_dir_all(tree.join("sub/deeper")).unwrap();
    fs::create_dir(tree.join("empty")).unwrap();
    for i in 0..700 {
        fs::write(tree.join(format!("sub/f{i}")), vec![i as u8; i * 7]).unwrap();
    }
    for (name, size) in [("mib", 1 << 20), ("more", (1 << 20) + 1), ("large", 9_999_999), ("none", 0)] {
        let content: Vec<u8> = (0..size).map(|i: usize| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect();
        fs::write(tree.join("sub/deeper").join(name), content).unwrap();
    }
    std::os::unix::fs::symlink("../nowhere", tree.join("link")).unwrap();
    4 + 700 + 4 + 1
}

fn assert_same(a: &Path, b: &Path) {
    let diff =
        std::process::Command::new("diff").args(["-r", "--no-dereference"]).arg(a).arg(b).output().unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

async fn there_and_back(choice: Choice) {
    let served = serve().await;
    let local = served.home.path().join("local");
    let entries = plant(&local);
    let mut session = connect(&served, choice).await;
    let up = push(&mut session, &local, "tree").await;
    assert_eq!((up.committed, up.unchanged, up.failed), (entries, 0, 0), "{:?}", up.failures);
    assert_same(&local.join("tree"), &served.home.path().join("served/tree"));
    let again = push(&mut session, &local, "tree").await;
    assert_eq!((again.committed, again.unchanged), (0, entries), "nothing is copied again");
    let back = served.home.path().join("back");
    fs::create_dir(&back).unwrap();
    let down = pull(&mut session, "tree", &back).await;
    assert_eq!((down.committed, down.failed), (entries, 0), "{:?}", down.failures);
    assert_same(&local.join("tree"), &back.join("tree"));
    assert!(!back.join(".sft").exists(), "nothing of the transfer is left behind");
    session.link.close(None).await;
    served.stop.send(()).unwrap();
    let report = tokio::time::timeout(Duration::from_secs(60), served.running).await.unwrap().unwrap();
    assert_eq!(report.transfers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_goes_up_and_comes_back_over_tcp() {
    there_and_back(Choice::Tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_goes_up_and_comes_back_over_quic() {
    there_and_back(Choice::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_another_connection_is_worth_nothing() {
    let served = serve().await;
    let options = ConnectOptions { choice: Choice::Tcp, ..ConnectOptions::default() };
    let dial = || async {
        Dialer::new().connect(&[served.address], "localhost", Pin::Any, &options).await.unwrap().first
    };
    let (first, second) = (dial().await, dial().await);
    let stolen = proof(&served, &first.exporter());
    let mut parts = second.split();
    write(&mut parts, Hello { versions: vec![1], agent: "thief".into() }.into()).await;
    write(&mut parts, stolen.into()).await;
    match read(&mut parts).await {
        ControlMessage::Denied(denied) => assert_eq!(denied.error.code, Code::UNAUTHENTICATED),
        other => panic!("{other:?} answers a stolen proof"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_attaches_without_the_secret() {
    let served = serve().await;
    let session = connect(&served, Choice::Quic).await;
    let options = ConnectOptions { choice: Choice::Tcp, ..ConnectOptions::default() };
    let lane = Dialer::new().dial_data(served.address, "localhost", Pin::Any, &options).await.unwrap();
    let mut parts = lane.split();
    write(&mut parts, Attach { session: [0; 16], mac: [0; 32] }.into()).await;
    match read(&mut parts).await {
        ControlMessage::Close(close) => {
            let error = Code::NO_SESSION.because("there is no such session, or it takes no more lanes");
            assert_eq!(close.error, Some(error));
        }
        other => panic!("{other:?} answers an intruder"),
    }
    session.link.close(None).await;
}

/// Packs without content weigh nothing in a window, and their headers take memory all the same.
#[tokio::test(flavor = "multi_thread")]
async fn data_for_a_transfer_that_takes_none_is_not_kept() {
    let served = serve().await;
    fs::write(served.home.path().join("served/file"), vec![7; 3_000_000]).unwrap();
    let options = ConnectOptions { choice: Choice::Quic, ..ConnectOptions::default() };
    let raced = Dialer::new().connect(&[served.address], "localhost", Pin::Any, &options).await.unwrap();
    let (mut parts, _) = open(raced.first, &served).await;
    let sources = vec![PullSource { path: path("file"), contents: false }];
    let window = Window { bytes: 1 << 20, entries: 1 };
    write(
        &mut parts,
        Request {
            id: 5,
            op: Op::Pull(Pull { sources, checksum: false, window, limit: None, background: false }),
        }
        .into(),
    )
    .await;
    let accepted = loop {
        if let ControlMessage::Reply(reply) = read(&mut parts).await {
            break reply;
        }
    };
    assert!(matches!(accepted, Reply { id: 5, body: Body::Accepted { .. }, .. }), "{accepted:?}");
    let empty = PackedFile { entry: 0, size: 0, digest: Some(sft_base::Digest::of(b"")), error: None };
    let header = encode_pack(&PackHeader { transfer: 5, unit: 0, files: vec![empty] });
    let lane = &parts.data.as_ref().unwrap().0;
    lane.send(frame::PACK, header.into(), Vec::new().into(), 0).await.unwrap();
    let error = loop {
        match tokio::time::timeout(Duration::from_secs(30), read(&mut parts)).await {
            Ok(ControlMessage::Close(close)) => break close.error.unwrap(),
            Ok(_) => {}
            Err(_) => panic!("the server keeps what a sender cannot use"),
        }
    };
    assert_eq!(error, Code::LIMIT.because("data came beyond the window that was granted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_destination_is_told_before_data_moves() {
    let served = serve().await;
    let local = served.home.path().join("local");
    fs::create_dir(&local).unwrap();
    fs::write(local.join("file"), vec![7; 3_000_000]).unwrap();
    let mut session = connect(&served, Choice::Tcp).await;
    let (summary, moved) = push_to(&mut session, &local, "file", "no/such/place").await;
    assert_eq!((summary.committed, summary.failed, moved), (0, 1, 0));
    assert_eq!(summary.failures[0].1.code, Code::NOT_FOUND);
    assert!(
        summary.failures[0].1.text.starts_with("no/such: there is no such directory"),
        "{:?}",
        summary.failures
    );
    session.link.close(None).await;
}

/// A session over TCP, whose messages a test writes and reads by hand.
async fn by_hand(served: &Served) -> Parts {
    let options = ConnectOptions { choice: Choice::Tcp, ..ConnectOptions::default() };
    let raced = Dialer::new().connect(&[served.address], "localhost", Pin::Any, &options).await.unwrap();
    open(raced.first, served).await.0
}

/// What is said of a request that fails, whatever else is said meanwhile.
async fn refusal(parts: &mut Parts) -> (u64, WireError) {
    loop {
        match tokio::time::timeout(Duration::from_secs(60), read(parts)).await.expect("it answers") {
            ControlMessage::Reply(Reply { id, body: Body::Failed { error }, .. }) => return (id, error),
            ControlMessage::Close(close) => panic!("it closes: {close:?}"),
            _ => {}
        }
    }
}

fn push_into(name: &str) -> Op {
    let (publish, durability) = (PublishMode::Replace, Durability::None);
    Op::Push(Push { path: path(name), place: Place::Into, publish, durability, checksum: false })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_or_not_known_is_refused_in_words() {
    let served = serve().await;
    fs::create_dir(served.home.path().join("served/d")).unwrap();
    let mut parts = by_hand(&served).await;
    // Request 5, with an operation of a version to come.
    parts.writer.write_frame(frame::REQUEST, b"\xa2\x00\x05\x01\x82\x0f\xa0").await.unwrap();
    let error = "this server does not know that operation; it may be older than the client";
    assert_eq!(refusal(&mut parts).await, (5, Code::UNSUPPORTED.because(error)));
    write(&mut parts, Request { id: 6, op: Op::Times { transfer: 5 } }.into()).await;
    let error = "that is no transfer of this session, or it began long ago";
    assert_eq!(refusal(&mut parts).await, (6, Code::NOT_FOUND.because(error)));
    for id in 1..=limits::TRANSFERS_OPEN_MAX as u64 + 1 {
        write(&mut parts, Request { id, op: push_into("d") }.into()).await;
    }
    let error = "16 transfers are under way in this session already; wait until one has ended";
    assert_eq!(refusal(&mut parts).await, (17, Code::LIMIT.because(error)));
    // Listings that nobody reads are not answered, and more than may wait cannot be on their way.
    for number in 0..3000 {
        fs::write(served.home.path().join(format!("served/d/{}{number:04}", "x".repeat(240))), "").unwrap();
    }
    for id in 100..400 {
        write(&mut parts, Request { id, op: Op::List { path: path("d") } }.into()).await;
    }
    let error = "too many requests of this session wait for an answer; ask again when some have one";
    assert_eq!(refusal(&mut parts).await.1, Code::LIMIT.because(error));
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_are_bounded_in_number_and_one_at_a_time() {
    let served = serve().await;
    let mut parts = by_hand(&served).await;
    let up = |bytes, millis| Op::Measure { down: false, bytes, millis };
    // Nothing is sent: it ends by itself, half a second after its time.
    write(&mut parts, Request { id: 1, op: up(1 << 20, 500) }.into()).await;
    let replies = |message| match message {
        ControlMessage::Reply(Reply { id, more, body }) => Some((id, more, body)),
        _ => None,
    };
    assert_eq!(replies(read(&mut parts).await), Some((1, true, Body::Ok {})));
    write(&mut parts, Request { id: 2, op: up(1, 1) }.into()).await;
    let (id, error) = refusal(&mut parts).await;
    assert_eq!((id, error.code), (2, Code::BUSY));
    let mut other = by_hand(&served).await;
    write(&mut other, Request { id: 1, op: up(1, 1) }.into()).await;
    let (_, error) = refusal(&mut other).await;
    assert_eq!(error.code, Code::BUSY, "an identity has one at a time, in whatever session");
    let measured = loop {
        if let Some((1, false, Body::Measured { bytes, .. })) = replies(read(&mut parts).await) {
            break bytes;
        }
    };
    assert_eq!(measured, 0);
    for id in 3..=limits::MEASURES_MAX + 1 {
        // No lane is up, over which anything could go: by_hand leaves QUIC's own out.
        write(&mut parts, Request { id, op: Op::Measure { down: true, bytes: 1, millis: 1 } }.into()).await;
        while replies(read(&mut parts).await)
            .is_none_or(|(_, _, body)| !matches!(body, Body::Measured { .. }))
        {}
    }
    write(&mut parts, Request { id: 100, op: up(1, 1) }.into()).await;
    let (id, error) = refusal(&mut parts).await;
    assert_eq!((id, error.code), (100, Code::LIMIT));

    // Who reads no answers keeps no place.
    fs::create_dir(served.home.path().join("served/d")).unwrap();
    for number in 0..3000 {
        fs::write(served.home.path().join(format!("served/d/{}{number:04}", "x".repeat(240))), "").unwrap();
    }
    let mut deaf = by_hand(&served).await;
    for id in 1..limits::REQUESTS_OPEN_MAX as u64 {
        write(&mut deaf, Request { id, op: Op::List { path: path("d") } }.into()).await;
    }
    write(&mut deaf, Request { id: 100, op: up(1 << 20, 1) }.into()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let free = async {
        for id in 2.. {
            write(&mut other, Request { id, op: up(1, 1) }.into()).await;
            if replies(read(&mut other).await).is_some_and(|(_, more, _)| more) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // Before its session is held for lost, which would free the place too.
    let in_time = Duration::from_millis(limits::SILENCE_MAX_MS - 5_000);
    tokio::time::timeout(in_time, free).await.expect("the place is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_order_of_a_session_is_told_how() {
    let served = serve().await;
    let misdeeds = [
        (
            vec![Request { id: 1, op: push_into("d") }.into(), Request { id: 1, op: push_into("d") }.into()],
            "a request has the number of a transfer that is under way",
        ),
        (
            vec![Hello { versions: vec![1], agent: "again".into() }.into()],
            "this message has no place in an open session",
        ),
    ];
    for (messages, sentence) in misdeeds {
        let mut parts = by_hand(&served).await;
        for message in messages {
            write(&mut parts, message).await;
        }
        let close = loop {
            if let ControlMessage::Close(close) = read(&mut parts).await {
                break close;
            }
        };
        assert_eq!(close.error, Some(Code::PROTOCOL.because(sentence)));
    }
}
