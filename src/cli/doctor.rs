//! `sft doctor`: why does it not work, why is it slow; here, and on the way to a host.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::app::App;
use crate::checkup::{Finding, Level};
use crate::checkup_here::{Clocks, Here};
use crate::columns;
use crate::disk_speed;
use crate::exit::Exit;

/// Find out why it does not work, or why it is slow
///
/// Looks at whether this machine can serve: whether the port is free, and who has it if not; the server's identity and who is
/// let in; what the system allows of buffers, congestion control and open files; the clock. With --disk DIR, also how much
/// room there is and how fast the disk writes and flushes: 256 MiB or two seconds, in a file that has no name and is gone
/// afterwards whatever happens.
///
/// Each line is `ok`, a `warning` (it works, and might work better) or a `problem` (it does not work), and under it stands
/// what to type to mend it. Nothing is changed.
#[derive(Debug, Args)]
#[command(
    after_help = "sft ends with 0 if nothing prevents it from serving, whatever could be better; with 6 if something does."
)]
pub(crate) struct DoctorArgs {
    /// The port that is to be served
    #[arg(long, default_value_t = sft_auth::DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// A directory that is to be served: look at its disk as well
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
    /// Where the server's identity and grants are kept
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Examines.
pub(crate) async fn run(app: &App, typed: DoctorArgs) -> anyhow::Result<Exit> {
    here(app, typed).await
}

async fn here(app: &App, typed: DoctorArgs) -> anyhow::Result<Exit> {
    let clocks = Clocks::now();
    let here = Here {
        port: typed.port,
        state: typed.state.unwrap_or_else(|| app.folders.state.clone()),
        authorized_keys: app.folders.authorized_keys(),
    };
    let mut worst = Level::Ok;
    let mut tell_all = |findings: Vec<Finding>| {
        worst = findings.iter().map(|finding| finding.level).fold(worst, Level::max);
        findings.iter().try_for_each(|finding| tell(app, finding))
    };
    tell_all(tokio::task::spawn_blocking(move || here.examine()).await?)?;
    if let Some(dir) = typed.disk {
        tell_all(tokio::task::spawn_blocking(move || disk_speed::examine(&dir)).await?)?;
    }
    tell_all(vec![clocks.examine()])?;
    let (exit, verdict) = match worst {
        Level::Ok => (Exit::Done, "this machine can serve"),
        Level::Warning => (Exit::Done, "this machine can serve; what might be better is said above"),
        Level::Problem => (Exit::Local, "this machine cannot serve before the problems above are mended"),
    };
    tell_verdict(app, verdict, exit)?;
    Ok(exit)
}

fn tell(app: &App, finding: &Finding) -> anyhow::Result<()> {
    if app.voice.json() {
        return app.voice.object(finding.object());
    }
    let width = if app.voice.stdout_terminal() { columns::terminal_width() } else { None };
    let row = finding.row(width);
    app.voice.write(|out| out.write_all(row.as_bytes()))
}

fn tell_verdict(app: &App, verdict: &str, exit: Exit) -> anyhow::Result<()> {
    if app.voice.json() {
        let object = json!({ "event": "verdict", "text": verdict, "exit": exit.code() });
        return app.voice.write(|out| writeln!(out, "{object}"));
    }
    app.voice.write(|out| writeln!(out, "\n{verdict}"))
}
