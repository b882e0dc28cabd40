//! `sft serve`: serve a directory until told to stop.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};
use sft_doors::{Doors, ServeOptions, Server, StopReport};

use crate::announce::{Announced, Announcement};
use crate::app::App;
use crate::exit::Exit;
use crate::stop::StopSignals;
use crate::{names, served_port};

/// Serve a directory on UDP and TCP port 1303
///
/// The keys in your ~/.ssh/authorized_keys own what is served; nobody else has any right until you `sft invite` them.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// What is served
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// UDP and TCP port; 0 for any that is free
    #[arg(long, default_value_t = 1303)]
    port: u16,
    /// Address to listen on, instead of every address of this machine; may be given again
    #[arg(long, value_name = "ADDRESS")]
    bind: Vec<IpAddr>,
    /// Let nobody change anything
    #[arg(long)]
    read_only: bool,
    /// Protocols to serve: native, ssh, or both with a comma between them
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["native", "ssh"], value_name = "DOORS")]
    doors: Vec<Door>,
    /// Do not tell the local network that this server is there
    #[arg(long)]
    no_announce: bool,
    /// Where the server's identity and grants are kept
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// A protocol that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Door {
    /// What `sft` speaks, over UDP and TCP
    Native,
    /// SFTP, for every other client, over TCP
    Ssh,
}

fn doors(typed: &[Door]) -> Doors {
    Doors { native: typed.contains(&Door::Native), ssh: typed.contains(&Door::Ssh) }
}

/// Serves until a signal comes; a second one ends the process at once.
pub(crate) fn run(app: &App, typed: ServeArgs) -> anyhow::Result<Exit> {
    crate::memory::give_back_large_buffers();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start: the system gives no threads")?;
    let report = runtime.block_on(serve(app, typed));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    tell_end(app, report?)?;
    Ok(Exit::Done)
}

/// Raises the number of files that may be open as far as it goes: a connection over SSH takes five, and many come.
fn allow_many_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // A refusal leaves the bound as it was.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

async fn serve(app: &App, typed: ServeArgs) -> anyhow::Result<StopReport> {
    let root = std::path::absolute(&typed.dir).context("the current directory cannot be named")?;
    // By its plain name, if it has one; that it cannot be served is said later.
    let root = root.canonicalize().unwrap_or(root);
    let authorized_keys = app.folders.authorized_keys();
    let state = typed.state.clone().unwrap_or_else(|| app.folders.state.clone());
    let options = ServeOptions {
        root: root.clone(),
        addresses: typed.bind.iter().map(|ip| SocketAddr::new(*ip, typed.port)).collect(),
        port: typed.port,
        state: state.clone(),
        authorized_keys: authorized_keys.clone(),
        read_only: typed.read_only,
        doors: doors(&typed.doors),
    };
    let stop = stop_signal()?;
    allow_many_files();
    let server = Server::bind(options).await?;
    let (addresses, fingerprint) = (server.addresses(), server.key().to_string());
    let announcement = announce(app, &typed, &addresses, &fingerprint);
    let started = Started {
        root,
        addresses,
        fingerprint,
        announced: announcement.as_ref().map(|announcement| announcement.name().to_owned()),
        owners: server.owner_keys().map_err(anyhow::Error::from),
        authorized_keys,
        read_only: typed.read_only,
        doors: doors(&typed.doors),
        state: typed.state,
    };
    if let Err(error) = served_port::write(&state, started.port()) {
        app.voice.warn(&format!(
            "`sft invite` will not know this port by itself: {}: {error}",
            names::shown(&state)
        ));
    }
    started.tell(app)?;
    let report = server.run(stop).await;
    if let Some(announcement) = announcement {
        announcement.stop();
    }
    Ok(report)
}

/// Lets the local network know, unless that was declined or nobody could connect by this protocol. A network without
/// multicast is no reason not to serve.
fn announce(
    app: &App,
    typed: &ServeArgs,
    addresses: &[SocketAddr],
    fingerprint: &str,
) -> Option<Announcement> {
    let machine = machine();
    let announced = Announced { machine: &machine, addresses, fingerprint };
    if typed.no_announce || !doors(&typed.doors).native || !announced.reaches_others() {
        return None;
    }
    Announcement::start(&announced)
        .inspect_err(|error| app.voice.detail(&format!("not announced on the local network: {error}")))
        .ok()
}

/// What this machine calls itself.
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What a server says when it is up.
struct Started {
    root: PathBuf,
    addresses: Vec<SocketAddr>,
    fingerprint: String,
    /// The name under which `sft find` shows it.
    announced: Option<String>,
    owners: anyhow::Result<usize>,
    authorized_keys: PathBuf,
    read_only: bool,
    doors: Doors,
    /// Where `sft invite` has to look, if it was typed.
    state: Option<PathBuf>,
}

impl Started {
    fn tell(&self, app: &App) -> anyhow::Result<()> {
        if app.voice.json() {
            return app.voice.object(self.object());
        }
        app.voice.write(|out| out.write_all(self.text().as_bytes()))
    }

    fn object(&self) -> Map<String, Value> {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let mut object = Map::new();
        object.insert("event".into(), "serving".into());
        names::put_path(&mut object, self.root.as_os_str().as_encoded_bytes());
        object.insert("addresses".into(), json!(addresses));
        object.insert("port".into(), json!(self.port()));
        object.insert("fingerprint".into(), json!(self.fingerprint));
        object.insert("owner_keys".into(), json!(self.owners.as_ref().copied().unwrap_or(0)));
        object.insert("announced".into(), json!(self.announced));
        object.insert("read_only".into(), json!(self.read_only));
        let open = [("native", self.doors.native), ("ssh", self.doors.ssh)];
        let open: Vec<_> = open.iter().filter(|(_, open)| *open).map(|(name, _)| *name).collect();
        object.insert("doors".into(), json!(open));
        object
    }

    fn text(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let kind = if self.read_only { "Serving, read-only," } else { "Serving" };
        let mut text = format!("{kind} {}\n", names::shown(&self.root));
        let transports = if self.doors.native { "UDP and TCP" } else { "TCP" };
        text += &format!("  listening    {}, {transports}\n", addresses.join(" and "));
        text += &format!("  fingerprint  {}\n", self.fingerprint);
        if let Some(name) = &self.announced {
            text += &format!("  announced    as {} on the local network\n", names::shown(name));
        }
        text += &format!("  owners       {}\n\n", self.owners_text());
        text += "On the other machine:\n";
        if self.doors.native {
            let remote = self.remote();
            text += &format!("  sft ls {remote}\n  sft cp FILE {remote}\n");
        }
        if self.doors.ssh {
            text += &format!("  sftp -P {} {}\n", self.port(), self.host());
        }
        text + &format!("\nLet in someone without a key here:\n  {}\n", self.invite())
    }

    fn owners_text(&self) -> String {
        let file = names::shown(&self.authorized_keys);
        match &self.owners {
            Ok(0) => format!("none: {file} names no key that may come in"),
            Ok(1) => format!("1 key of {file}"),
            Ok(count) => format!("{count} keys of {file}"),
            Err(error) => format!("none: {error:#}"),
        }
    }

    /// What to type here to let somebody in.
    fn invite(&self) -> String {
        match &self.state {
            None => "sft invite".into(),
            Some(state) => format!("sft invite --state {}", names::shown(state)),
        }
    }

    /// How the served directory is named elsewhere.
    fn remote(&self) -> String {
        let host = self.host();
        match self.port() {
            1303 => format!("{host}:"),
            port => format!("sft://{host}:{port}/"),
        }
    }

    fn host(&self) -> String {
        match self.addresses.first() {
            Some(address) if !address.ip().is_unspecified() => match address.ip() {
                IpAddr::V6(ip) => format!("[{ip}]"),
                IpAddr::V4(ip) => ip.to_string(),
            },
            _ => machine(),
        }
    }

    fn port(&self) -> u16 {
        self.addresses.first().map_or(0, SocketAddr::port)
    }
}

fn tell_end(app: &App, report: StopReport) -> anyhow::Result<()> {
    if app.voice.json() {
        let object =
            json!({ "event": "stopped", "sessions": report.sessions, "transfers": report.transfers });
        return app.voice.write(|out| writeln!(out, "{object}"));
    }
    app.voice.note(&end_text(report));
    Ok(())
}

fn end_text(report: StopReport) -> String {
    match report {
        StopReport { sessions: 0, .. } => "Stopped; nobody was connected.".to_owned(),
        StopReport { sessions: 1, transfers: 0 } => "Stopped; one session was open and idle.".to_owned(),
        StopReport { sessions, transfers: 0 } => format!("Stopped; {sessions} sessions were open and idle."),
        StopReport { transfers: 1, .. } => {
            "Stopped; one transfer was under way. What was verified is kept: it goes on when the server is back.".to_owned()
        }
        StopReport { transfers, .. } => format!(
            "Stopped; {transfers} transfers were under way. What was verified is kept: they go on when the server is back."
        ),
    }
}

/// Done when it is asked to stop; the second time ends the process at once.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut stop = StopSignals::listen().context("signals cannot be received")?;
    Ok(async move {
        stop.next().await;
        tokio::spawn(async move {
            stop.next().await;
            std::process::exit(Exit::Interrupted.code().into());
        });
    })
}

/// Threads that read, hash and write: enough to keep several disks busy, few enough for their stacks not to count.
const BLOCKING_THREADS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn started(address: &str, owners: anyhow::Result<usize>) -> Started {
        Started {
            root: "/srv/files".into(),
            addresses: vec![address.parse().unwrap()],
            fingerprint: "SHA256:abc".into(),
            announced: None,
            owners,
            authorized_keys: "/home/a/.ssh/authorized_keys".into(),
            read_only: false,
            doors: Doors::default(),
            state: None,
        }
    }

    #[test]
    fn it_says_what_to_type_elsewhere() {
        let text = started("192.0.2.1:1303", Ok(2)).text();
        assert!(
            text.starts_with("Serving /srv/files\n  listening    192.0.2.1:1303, UDP and TCP\n"),
            "{text}"
        );
        assert!(text.contains("\n  owners       2 keys of /home/a/.ssh/authorized_keys\n"), "{text}");
        assert!(text.contains("\n  sft cp FILE 192.0.2.1:\n  sftp -P 1303 192.0.2.1\n\n"), "{text}");
        let mut announced = started("192.0.2.1:1303", Ok(1));
        announced.announced = Some("nas".into());
        let text = announced.text();
        assert!(text.contains("\n  announced    as nas on the local network\n  owners "), "{text}");
        let mut ssh_alone = started("192.0.2.1:1303", Ok(1));
        ssh_alone.doors.native = false;
        let text = ssh_alone.text();
        assert!(text.contains("192.0.2.1:1303, TCP\n") && !text.contains("sft cp"), "{text}");
        assert_eq!(started("[2001:db8::1]:4000", Ok(1)).remote(), "sft://[2001:db8::1]:4000/");
    }

    #[test]
    fn it_says_where_to_invite() {
        let mut started = started("192.0.2.1:1303", Ok(1));
        assert!(started.text().ends_with("\n  sft invite\n"));
        started.state = Some("/var/lib/sft".into());
        assert!(started.text().ends_with("\n  sft invite --state /var/lib/sft\n"));
    }

    #[test]
    fn it_says_what_was_under_way() {
        let cases = [
            ((0, 0), "Stopped; nobody was connected."),
            ((1, 0), "Stopped; one session was open and idle."),
            ((2, 0), "Stopped; 2 sessions were open and idle."),
            (
                (2, 1),
                "Stopped; one transfer was under way. What was verified is kept: it goes on when the server is back.",
            ),
            (
                (2, 3),
                "Stopped; 3 transfers were under way. What was verified is kept: they go on when the server is back.",
            ),
        ];
        for ((sessions, transfers), text) in cases {
            assert_eq!(end_text(StopReport { sessions, transfers }), text);
        }
    }

    #[test]
    fn it_says_that_nobody_may_come_in() {
        let text = started("192.0.2.1:1303", Ok(0)).text();
        assert!(text.contains("none: /home/a/.ssh/authorized_keys names no key that may come in"), "{text}");
        let text = started("192.0.2.1:1303", Err(anyhow::anyhow!("it can be written by others"))).text();
        assert!(text.contains("none: it can be written by others"), "{text}");
    }
}
