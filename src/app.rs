//! What every verb needs: a voice, the configuration, ways to hosts, and an end when the user says so.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context as _;
use sft_auth::{ClientKeys, Folders, KeySearch, Trust};
use sft_client::{Client, ConnectOptions, InviteLink, Locate, RemoteLocation, Target};

use tokio::sync::watch;

use crate::args::RemoteArgs;
use crate::ask;
use crate::config::{Config, Reach};
use crate::exit::Exit;
use crate::failure::Interrupted;
use crate::known_paths::PathsFile;
use crate::near;
use crate::srv::{self, Told};
use crate::stop::StopSignals;
use crate::voice::Voice;
use crate::whereabouts;

/// One run of `sft`.
#[derive(Debug)]
pub(crate) struct App {
    /// How it speaks.
    pub voice: Voice,
    /// Where the user's files of sft lie.
    pub folders: Folders,
    pub(crate) config: Config,
    /// Clients: one for each way to a host with so many lanes, and all are told when the run ends.
    clients: Mutex<Vec<(Reach, Option<usize>, Client)>>,
    /// What is known of the paths to hosts.
    paths: PathsFile,
    /// Whether the user has interrupted the run.
    stopping: watch::Sender<bool>,
    /// Held by whoever must clear up before the run may end.
    clearing: tokio::sync::Mutex<()>,
}

/// While it lives, the run does not end when the user interrupts it: who holds it is told, and clears up.
pub(crate) struct Clearing<'a> {
    stopping: watch::Receiver<bool>,
    _held: tokio::sync::MutexGuard<'a, ()>,
}

impl Clearing<'_> {
    /// Waits until the user interrupts the run.
    pub(crate) async fn interrupted(&mut self) {
        if self.stopping.wait_for(|stopping| *stopping).await.is_err() {
            std::future::pending().await
        }
    }
}

impl App {
    /// Reads what the user has configured.
    pub(crate) fn new(voice: Voice) -> anyhow::Result<Self> {
        let folders = Folders::find()?;
        let config = Config::load(&folders.config.join("config.toml"), &folders.home)?;
        let paths = PathsFile::read(&folders.state);
        let (clients, stopping, clearing) = Default::default();
        Ok(Self { voice, folders, config, clients, paths, stopping, clearing })
    }

    /// Runs a verb to its end, or until the user interrupts it. A second interrupt ends the process at once.
    pub(crate) fn run(&self, verb: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.context("cannot start: the system gives no threads")?;
        let outcome = runtime.block_on(async {
            tokio::select! {
                outcome = verb => outcome,
                () = self.interrupted() => Err(Interrupted::Other.into()),
            }
        });
        runtime.block_on(self.close_clients());
        // Threads that read or write files are not waited for: what they leave is a stage, which is meant to be left.
        runtime.shutdown_timeout(SHUTDOWN_WAIT);
        outcome
    }

    async fn interrupted(&self) {
        interrupted().await;
        self.stopping.send_replace(true);
        let _ = self.clearing.lock().await;
    }

    /// Keeps the run from ending before what is being done is cleared up.
    pub(crate) async fn clearing(&self) -> Clearing<'_> {
        Clearing { _held: self.clearing.lock().await, stopping: self.stopping.subscribe() }
    }

    /// The server that a location means.
    pub(crate) fn target(&self, host: &RemoteLocation, typed: &RemoteArgs) -> Target {
        self.config.reach(host, &typed.typed()).target
    }

    /// A client of the host of a location, which connects with its first request.
    pub(crate) async fn client(&self, host: &RemoteLocation, typed: &RemoteArgs) -> anyhow::Result<Client> {
        let reach = self.config.reach(host, &typed.typed());
        let is_same = |known: &Reach, lanes: Option<usize>| *known == reach && lanes == typed.lanes();
        if let Some((_, _, client)) = self.clients().iter().find(|(known, lanes, _)| is_same(known, *lanes)) {
            return Ok(client.clone());
        }
        let mut options = self.options(&reach).await?;
        options.lanes = typed.lanes();
        options.redial = typed.wait().unwrap_or(options.redial);
        self.keep(reach, options).await
    }

    /// A client of the host of an invitation, which it redeems.
    pub(crate) async fn join(
        &self,
        link: InviteLink,
        host: &RemoteLocation,
        typed: &RemoteArgs,
    ) -> anyhow::Result<Client> {
        // The link says where the server is: no alias stands in for that.
        let reach = Config::default().reach(host, &typed.typed());
        let mut options = self.options(&reach).await?;
        options.invitation = Some(link);
        let client = self.keep(reach, options).await?;
        client.open().await?;
        Ok(client)
    }

    async fn keep(&self, reach: Reach, mut options: ConnectOptions) -> anyhow::Result<Client> {
        let mut target = reach.target.clone();
        // An invitation says on which port its server is, as who types one does.
        let near = if reach.port_named || options.invitation.is_some() {
            near::locate(&target.host, Some(target.port)).await
        } else if near::may_be_near(&target.host) {
            near::locate_known(&target.host, &self.ports_met(&target)?).await?
        } else {
            None
        };
        if let Some(near) = near {
            target.port = near.port;
            options.locate = Some(whereabouts::of_near(target.host.clone(), near));
        } else if !reach.port_named {
            options.locate = self.locate_by_dns(&target).await?;
        }
        let lanes = options.lanes;
        let client = Client::prepare(target, options)?;
        self.clients().push((reach, lanes, client.clone()));
        Ok(client)
    }

    async fn locate_by_dns(&self, target: &Target) -> anyhow::Result<Option<Locate>> {
        let host = &target.host;
        Ok(match srv::locate(host).await? {
            Told::At(found) => Some(whereabouts::of_srv(host.clone(), found)),
            Told::Nothing => None,
            Told::NoAnswer => {
                self.voice
                    .note(&format!("DNS did not say whether other hosts serve {host}; trying {target}"));
                None
            }
        })
    }

    /// The ports of a host under which keys are pinned.
    fn ports_met(&self, target: &Target) -> anyhow::Result<Vec<u16>> {
        let name = target.name()?;
        let known = Trust::open(&self.folders.trusted())?.list()?;
        Ok(known
            .iter()
            .filter(|known| known.server.host() == name.host())
            .map(|known| known.server.port())
            .collect())
    }

    fn clients(&self) -> MutexGuard<'_, Vec<(Reach, Option<usize>, Client)>> {
        self.clients.lock().expect("no holder of this lock panics")
    }

    async fn options(&self, reach: &Reach) -> anyhow::Result<ConnectOptions> {
        let search = KeySearch::usual(&self.folders, reach.identity.clone());
        let keys = tokio::task::spawn_blocking(move || ClientKeys::find(&search)).await??;
        for skipped in keys.skipped() {
            let text = format!("passed over: {skipped}");
            // Who has no other key is about to hear that there is none at all.
            if keys.keys().is_empty() { self.voice.warn(&text) } else { self.voice.detail(&text) }
        }
        let mut options = ConnectOptions::new(keys, self.folders.trusted());
        options.transport = reach.transport;
        options.paths = self.paths.paths();
        if self.voice.can_ask() {
            options.on_unknown = Some(Arc::new(ask::trust));
            options.on_passphrase = Some(Arc::new(ask::passphrase));
        }
        Ok(options)
    }

    async fn close_clients(&self) {
        let clients = std::mem::take(&mut *self.clients());
        for (_, _, client) in clients {
            let _ = tokio::time::timeout(CLOSE_WAIT, client.close()).await;
        }
        self.paths.keep();
    }
}

/// Waits until the user, or whoever started this, asks to stop; from then on a second time ends the process.
async fn interrupted() {
    let Ok(mut stop) = StopSignals::listen() else {
        // Without handlers the system's own stay, which end the process: nothing is lost.
        return std::future::pending().await;
    };
    stop.next().await;
    tokio::spawn(async move {
        stop.next().await;
        std::process::exit(Exit::Interrupted.code().into());
    });
}

const CLOSE_WAIT: Duration = Duration::from_secs(1);
const SHUTDOWN_WAIT: Duration = Duration::from_millis(500);
