//! `sft doctor`: why does it not work, why is it slow; here, and on the way to a host.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use sft_client::{Client, RemoteLocation, Target, TransportChoice};

use crate::app::App;
use crate::args::RemoteArgs;
use crate::checkup::{Finding, Level};
use crate::checkup_here::{Clocks, Here};
use crate::checkup_there::{self, Facts};
use crate::copy_speed::{self, Measured};
use crate::exit::Exit;
use crate::failure::Interrupted;
use crate::{columns, disk_speed, failure, place, probe};

/// Find out why it does not work, or why it is slow
///
/// Without a HOST, looks at whether this machine can serve: whether the port is free, and who has it if not; the server's
/// identity and who is let in; what the system allows of buffers, congestion control and open files; the clock. With --disk
/// DIR, also how much room there is and how fast the disk writes and flushes: 256 MiB, a tenth of the room, or two seconds, in a file that has no
/// name and is gone afterwards whatever happens. Nothing is changed.
///
/// With a HOST, goes the way of a copy step by step: where the name leads, what each address answers over UDP and TCP,
/// whether its key is trusted and yours is known, how long an answer takes, what the path loses, and how much goes each way over
/// each transport from memory to memory, for a second and a half each; on a long path over TCP also with twice as many
/// connections, which shows whether their windows limit. With --copy, a file of up
/// to 256 MiB is copied to HOST:DIR and back over each transport, from disk to disk, for about two seconds each, and
/// removed at both ends; that says what limits: a disk, a processor or the network. What a run that was killed or cut off has
/// left at both ends, the next one with --copy to the same host removes.
///
/// Each line is `ok`, a `warning` (it works, and might work better) or a `problem` (it does not work), and under it stands
/// what to type to mend it. The last line is the verdict.
#[derive(Debug, Args)]
#[command(
    after_help = "sft ends with 0 if nothing prevents it, whatever could be better. Without a HOST, it ends with 6 if this machine \
    cannot serve; with one, with 3 if nothing gets through, with 4 if the key is not trusted or nobody is let in, and with 1 \
    if the copies failed."
)]
pub(crate) struct DoctorArgs {
    /// A host, or with --copy a directory of one
    #[arg(value_name = "HOST[:DIR]")]
    host: Option<String>,
    /// A directory that is to be served here: look at its disk as well
    #[arg(long, value_name = "DIR", conflicts_with = "host")]
    disk: Option<PathBuf>,
    /// Where the server's identity and grants are kept
    #[arg(long, value_name = "DIR", conflicts_with = "host")]
    state: Option<PathBuf>,
    /// Copy something to the directory of the host and back
    #[arg(long, requires = "host")]
    copy: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Examines.
pub(crate) async fn run(app: &App, typed: DoctorArgs) -> anyhow::Result<Exit> {
    match typed.host.clone() {
        Some(host) => there(app, &host, &typed).await,
        None => here(app, typed).await,
    }
}

async fn there(app: &App, host: &str, typed: &DoctorArgs) -> anyhow::Result<Exit> {
    let text = if host.contains(':') { host.to_owned() } else { format!("{host}:") };
    let place = place::remote(text.as_ref(), "doctor")?;
    let reach = app.config.reach(&place, &typed.remote.typed());
    let (name, port) = (reach.target.host.clone(), reach.target.port);
    let named = reach.port_named.then_some(port);
    if name != place.host {
        tell(app, &Finding::ok("name", format!("{} is {name} by your configuration file", place.host)))?;
    }
    let found = checkup_there::whereabouts(&name, named).await;
    found.findings.iter().try_for_each(|finding| tell(app, finding))?;
    let mut facts = Facts { port, nowhere: found.addresses.is_empty(), ..Facts::default() };
    for address in &found.addresses {
        let answers = probe::ask(&name, *address, true, true).await;
        let answered = checkup_there::answered(*address, &answers, &mut facts);
        answered.iter().try_for_each(|finding| tell(app, finding))?;
    }
    let mut exit = if facts.udp || facts.tcp { Exit::Done } else { Exit::Connect };
    let mut best: [Option<Measured>; 2] = [None, None];
    for (over, transport, is_there) in
        [("QUIC", TransportChoice::Quic, facts.udp), ("TCP", TransportChoice::Tcp, facts.tcp)]
    {
        if !is_there {
            continue;
        }
        let client = app.client(&place, &typed.remote.over(transport)).await?;
        let (finding, failed) = checkup_there::session(&client, over).await;
        tell(app, &finding)?;
        if let Some(failed) = failed {
            exit = exit.worse(failed);
            continue;
        }
        facts.session = true;
        checkup_there::path(&client, over, &mut facts)
            .await
            .iter()
            .try_for_each(|finding| tell(app, finding))?;
        let remote = typed.remote.over(transport);
        let wider = async |lanes| app.client(&place, &remote.with_lanes(lanes)).await;
        checkup_there::memory(&client, over, &mut facts, wider)
            .await
            .iter()
            .try_for_each(|finding| tell(app, finding))?;
        if typed.copy {
            exit = exit.worse(copy(app, &client, &place, &reach.target, over, &mut best).await?);
        }
        client.close().await;
    }
    if facts.session && exit != Exit::SomeFailed {
        // Over one transport is enough.
        exit = Exit::Done;
    }
    let limit =
        |measured: &Option<Measured>| measured.as_ref().and_then(|measured| measured.attributed.most());
    (facts.up, facts.down) = (limit(&best[0]), limit(&best[1]));
    tell_verdict(app, &checkup_there::verdict(&facts), exit)?;
    Ok(exit)
}

/// Copies over one transport; the quicker ones of all are kept.
async fn copy(
    app: &App,
    client: &Client,
    place: &RemoteLocation,
    host: &Target,
    over: &str,
    best: &mut [Option<Measured>; 2],
) -> anyhow::Result<Exit> {
    let (up, down) = match copy_speed::measure(app, client, place, host, over).await {
        Ok(measured) => measured,
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => {
            tell(app, &Finding::problem(&format!("copy over {over}"), failure::sentence(&error)))?;
            return Ok(Exit::SomeFailed);
        }
    };
    for (at, (way, measured)) in [("up", up), ("down", down)].into_iter().enumerate() {
        tell(app, &measured.finding(way, over))?;
        if best[at].as_ref().is_none_or(|best| best.rate() < measured.rate()) {
            best[at] = Some(measured);
        }
    }
    Ok(Exit::Done)
}

async fn here(app: &App, typed: DoctorArgs) -> anyhow::Result<Exit> {
    let clocks = Clocks::now();
    let here = Here {
        port: typed.remote.typed().port.unwrap_or(sft_auth::DEFAULT_PORT),
        state: typed.state.unwrap_or_else(|| app.folders.state.clone()),
        authorized_keys: app.folders.authorized_keys(),
    };
    let mut worst = Level::Ok;
    let mut tell_all = |findings: Vec<Finding>| {
        worst = findings.iter().map(|finding| finding.level).fold(worst, Level::max);
        findings.iter().try_for_each(|finding| tell(app, finding))
    };
    tell_all(tokio::task::spawn_blocking(move || here.examine()).await?)?;
    let disk = if typed.disk.is_none() { DISK_NOT_ASKED } else { "" };
    if let Some(dir) = typed.disk {
        tell_all(tokio::task::spawn_blocking(move || disk_speed::examine(&dir)).await?)?;
    }
    tell_all(vec![clocks.examine()])?;
    let (exit, verdict) = match worst {
        Level::Ok => (Exit::Done, format!("this machine can serve{disk}")),
        Level::Warning => {
            (Exit::Done, format!("this machine can serve; what might be better is said above{disk}"))
        }
        Level::Problem => {
            (Exit::Local, "this machine cannot serve before the problems above are mended".to_owned())
        }
    };
    tell_verdict(app, &verdict, exit)?;
    Ok(exit)
}

fn tell(app: &App, finding: &Finding) -> anyhow::Result<()> {
    if app.voice.json() {
        return app.voice.object(finding.object());
    }
    let row = finding.row(width(app));
    app.voice.write(|out| out.write_all(row.as_bytes()))
}

fn tell_verdict(app: &App, verdict: &str, exit: Exit) -> anyhow::Result<()> {
    if app.voice.json() {
        let object = json!({ "event": "verdict", "text": verdict, "exit": exit.code() });
        return app.voice.write(|out| writeln!(out, "{object}"));
    }
    let paragraph = columns::paragraph("verdict", verdict, width(app));
    app.voice.write(|out| write!(out, "\n{paragraph}"))
}

fn width(app: &App) -> Option<usize> {
    app.voice.stdout_terminal().then(columns::terminal_width).flatten()
}

const DISK_NOT_ASKED: &str = "; with --disk DIR, room and speed of a disk are looked at too";
