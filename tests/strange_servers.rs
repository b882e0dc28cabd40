//! Promise: of a server that turns away, breaks off or speaks nonsense a user is told what happened and what to do, each
//! sentence whole.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use sft_auth::{ClientKeys, KeySearch, ServerIdentity};
use sft_client::{Client, ConnectOptions, EventSink, Location, PushOptions, Target};
use sft_lane::{Accepted, BindOptions, Listener};
use sft_testkit::{RawPeer, Tree, World, args};
use sft_wire::message::{Body, Close, Ping, Reply, Request, Welcome, Window};
use sft_wire::{Code, ControlMessage};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

const SFT: &str = env!("CARGO_BIN_EXE_sft");

/// What a server does, in the place of what it should.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Says of a proof that it is too busy.
    TurnAway,
    /// Says nothing to a proof, and ends its side.
    FallSilent,
    /// Answers a proof with a ping's answer.
    Pong,
    /// Ends its side when it is asked for something.
    BreakOff,
    /// Says that something was removed, whatever was asked for.
    AnswerAnything,
    /// Takes a transfer, and then closes the session.
    GiveUp,
    /// Takes a transfer, and does nothing more.
    Wait,
    /// Lets no connection join, and closes the session at the second attempt.
    LetNoneJoin,
}

/// A server written by hand, which the client of a world calls `odd`, until it is dropped.
struct Strange {
    port: u16,
    /// What it is told in its sessions.
    heard: mpsc::UnboundedReceiver<ControlMessage>,
    runtime: Runtime,
}

/// One connection of it.
struct Host {
    peer: RawPeer,
    deed: Deed,
    heard: mpsc::UnboundedSender<ControlMessage>,
    /// How many connections were not let join.
    turned_away: Arc<watch::Sender<u32>>,
}

impl Strange {
    fn start(world: &World, deed: Deed) -> Self {
        let state = world.local(&format!("state-{deed:?}"));
        let identity = ServerIdentity::load_or_create(&state).unwrap();
        let mut options = BindOptions::new(identity.pkcs8_der().to_vec());
        options.addresses = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(Listener::bind(options)).unwrap();
        let port = listener.local_addresses()[0].port();
        world.client.names("odd", port);
        world.client.trusts(port, &identity.key().fingerprint().to_string());
        let (say, heard) = mpsc::unbounded_channel();
        let turned_away = Arc::new(watch::Sender::new(0));
        runtime.spawn(async move {
            while let Some(accepted) = listener.accept().await {
                if let Accepted::Native(connection, guard) = accepted {
                    guard.authenticated();
                    let (heard, turned_away) = (say.clone(), turned_away.clone());
                    let host = Host { peer: connection.into(), deed, heard, turned_away };
                    tokio::spawn(host.receive());
                }
            }
        });
        Self { port, heard, runtime }
    }

    /// Runs a line of the client and compares what it says on stderr, and how it ends.
    #[track_caller]
    fn says(&self, world: &World, line: &str, code: i32, sentence: &str) {
        let ran = world.sft(line.split(' ').map(Into::into).collect());
        let said = ran.err().replace(&format!(":{}", self.port), ":PORT");
        assert_eq!((ran.code, said), (Some(code), format!("sft: {sentence}\n")), "{ran:?}");
    }
}

impl Host {
    /// A guest, to the end of their visit.
    async fn receive(mut self) -> Option<()> {
        match self.hear().await? {
            ControlMessage::Attach(_) => {
                self.close(Code::BUSY.because("there is no room")).await;
                self.turned_away.send_modify(|count| *count += 1);
            }
            _ => self.misbehave().await?,
        }
        while self.hear().await.is_some() {}
        Some(())
    }

    async fn misbehave(&mut self) -> Option<()> {
        while !matches!(self.hear().await?, ControlMessage::Proof(_)) {}
        match self.deed {
            Deed::TurnAway => return self.close(Code::BUSY.because("it is too busy; try again later")).await,
            Deed::FallSilent => return self.peer.parts.writer.finish().await.ok(),
            Deed::Pong => return self.say(ControlMessage::Pong(Ping { number: 1 })).await,
            _ => {}
        }
        let (session, attach_secret) = ([1; 16], [2; 32]);
        let (agent, identity) = ("strange".into(), "owner".into());
        self.say(Welcome { version: 1, agent, session, attach_secret, identity, rights: 127, lanes_max: 1 })
            .await;
        let id = loop {
            if let ControlMessage::Request(Request { id, .. }) = self.hear().await? {
                break id;
            }
        };
        let accepted = Body::Accepted { window: Window { bytes: 1 << 20, entries: 100 }, into: false };
        match self.deed {
            Deed::BreakOff => return self.peer.parts.writer.finish().await.ok(),
            Deed::AnswerAnything => {
                self.say(Reply { id, more: false, body: Body::Removed { entries: 1 } }).await
            }
            _ => self.say(Reply { id, more: false, body: accepted }).await,
        };
        match self.deed {
            Deed::GiveUp => self.close(Code::DENIED.because("your time is over")).await,
            Deed::LetNoneJoin => {
                // Who tries again has noted how the first attempt ended.
                let mut turned_away = self.turned_away.subscribe();
                turned_away.wait_for(|count| *count > 1).await.ok()?;
                self.close(Code::DENIED.because("you cannot join")).await
            }
            _ => Some(()),
        }
    }

    async fn hear(&mut self) -> Option<ControlMessage> {
        let message = self.peer.hear().await?;
        // Nobody may want to know.
        let _ = self.heard.send(message.clone());
        Some(message)
    }

    async fn say(&mut self, message: impl Into<ControlMessage>) -> Option<()> {
        self.peer.say(message).await;
        Some(())
    }

    async fn close(&mut self, error: sft_wire::WireError) -> Option<()> {
        self.say(Close { error: Some(error) }).await
    }
}

#[test]
fn servers_with_which_there_is_no_session() {
    let world = World::new(SFT);
    let cases = [
        (Deed::TurnAway, "no session with 127.0.0.1:PORT was opened: it is too busy; try again later"),
        (
            Deed::FallSilent,
            "no session with 127.0.0.1:PORT was opened: it ended the connection without a word; its log may say why",
        ),
        (
            Deed::Pong,
            "127.0.0.1:PORT does not keep to the protocol: it answered a proof with something else; bring both ends \
             to the same version of sft",
        ),
    ];
    for (deed, sentence) in cases {
        Strange::start(&world, deed).says(&world, "ls odd:", 3, sentence);
    }
}

#[test]
fn servers_that_break_off_or_talk_nonsense() {
    let world = World::new(SFT);
    Tree::new(world.client.home()).file("f", 3_000_000);
    Strange::start(&world, Deed::BreakOff).says(
        &world,
        "mkdir odd:d",
        3,
        "odd:d: the connection was lost before the answer came (the other side ended it without a word); whether it was \
         carried out is unknown: look before you try again",
    );
    let nonsense = Strange::start(&world, Deed::AnswerAnything);
    for (line, what) in [("cp f odd:f", "push"), ("cp odd:f g", "pull")] {
        let sentence = format!(
            "the server refused: its answer is none that a {what} can have; bring both ends to the same version of sft"
        );
        nonsense.says(&world, line, 1, &sentence);
    }
    Strange::start(&world, Deed::GiveUp).says(
        &world,
        "cp f odd:f",
        4,
        "the server gave the transfer up, and what was copied stays: your time is over",
    );
}

#[test]
fn connections_that_may_not_join_are_in_the_log() {
    let world = World::new(SFT);
    Tree::new(world.client.home()).file("f", 3_000_000);
    let _strange = Strange::start(&world, Deed::LetNoneJoin);
    let ran = world.sft(args!["-vv", "cp", "--transport", "tcp", "--lanes", "1", "f", "odd:f"]).ended(4);
    assert!(ran.err().contains("the server did not let it join: there is no room"), "{ran:?}");
}

/// A program that drops what it awaits tells the server.
#[test]
fn a_transfer_that_is_dropped_is_called_off() {
    let world = World::new(SFT);
    Tree::new(world.client.home()).file("f", 3_000_000);
    let mut strange = Strange::start(&world, Deed::Wait);
    let search = KeySearch { identity: Some(world.client.key()), ..KeySearch::default() };
    let options =
        ConnectOptions::new(ClientKeys::find(&search).unwrap(), world.client.config().join("trusted"));
    let link = format!("sft://127.0.0.1:{}/f", strange.port);
    let Location::Remote(place) = Location::parse(link.as_ref()).unwrap() else {
        panic!("a link is no local name");
    };
    let client = Client::prepare(Target::of(&place), options).unwrap();
    let file = world.client.home().join("f");
    let pushing_client = client.clone();
    let pushing = strange.runtime.spawn(async move {
        let (events, _told) = EventSink::new();
        pushing_client.push(&[file], &place.path, PushOptions::default(), events).await
    });
    let heard = &mut strange.heard;
    let told = strange.runtime.block_on(async {
        let told = async {
            loop {
                match heard.recv().await.expect("the server lives") {
                    ControlMessage::Offer(_) => pushing.abort(),
                    ControlMessage::Cancel(cancel) => return cancel.error,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), told).await.expect("the server is told")
    });
    assert_eq!(told, Code::CANCELLED.because("the client gave the transfer up"));
}
