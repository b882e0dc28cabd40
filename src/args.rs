//! What can be typed: the verbs, and the flags that several of them share.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use sft_client::TransportChoice;

use crate::cli;
use crate::config::Typed;
use crate::lifetime::Lifetime;
use crate::voice::Tone;

/// A simple, fast, secure file transfer service
///
/// A remote name is `host:path`, `user@host:path`, `[address]:path` or `sft://[user@]host[:port]/path`. What has a `/`
/// before its first `:` is local, so `./a:b` is how a local name with a colon is written.
#[derive(Debug, Parser)]
#[command(name = "sft", version, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(after_help = "How sft ends is told by `sft help exit-codes`.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub tone: Tone,
    #[command(subcommand)]
    pub verb: Verb,
}

/// One for each file in `cli/`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Serve(cli::serve::ServeArgs),
    Cp(cli::cp::CpArgs),
    Ls(cli::ls::LsArgs),
    Stat(cli::stat::StatArgs),
    Mkdir(cli::mkdir::MkdirArgs),
    Rm(cli::rm::RmArgs),
    Mv(cli::mv::MvArgs),
    Df(cli::df::DfArgs),
    Cat(cli::cat::CatArgs),
    Hash(cli::hash::HashArgs),
    Key(cli::key::KeyArgs),
    Invite(cli::invite::InviteArgs),
    Join(cli::join::JoinArgs),
    Trust(cli::trust::TrustArgs),
    SftpStdio(cli::sftp_stdio::SftpStdioArgs),
    Find(cli::find::FindArgs),
    Port(cli::port::PortArgs),
    Doctor(cli::doctor::DoctorArgs),
    Help(cli::help::HelpArgs),
}

/// How to reach a host.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct RemoteArgs {
    /// UDP and TCP port of the host [default: 1303]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Transports that may be used: quic, tcp or auto [default: auto]
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportChoice>,
    /// TCP connections that carry data, 0 for none; by default as many as the path needs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=sft_base::limits::LANES_MAX as u64))]
    lanes: Option<u64>,
    /// How long a lost connection is tried again, such as 30s, 10m or 12h; 0 for not at all [default: 90s]
    #[arg(long, value_name = "TIME", value_parser = wait)]
    wait: Option<Duration>,
    /// Key file that proves who you are, tried before all others
    #[arg(short, long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl RemoteArgs {
    /// What goes before names and the configuration file.
    pub(crate) fn typed(&self) -> Typed {
        Typed { port: self.port, transport: self.transport, identity: self.identity.clone() }
    }

    /// The same over one transport alone, whatever was typed, and giving up at once.
    pub(crate) fn over(&self, transport: TransportChoice) -> Self {
        Self { transport: Some(transport), wait: Some(Duration::ZERO), ..self.clone() }
    }

    /// The same with so many TCP connections, whatever was typed.
    pub(crate) fn with_lanes(&self, lanes: usize) -> Self {
        Self { lanes: Some(lanes as u64), ..self.clone() }
    }

    /// How long a lost connection is tried again, if that was typed.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// How many TCP connections carry data, if that was typed.
    pub(crate) fn lanes(&self) -> Option<usize> {
        self.lanes.map(|lanes| lanes as usize)
    }
}

/// A time with a unit, or 0.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    let time = || text.parse::<Lifetime>().ok().and_then(|time| time.0);
    let time = if text == "0" { Some(Duration::ZERO) } else { time() };
    time.ok_or_else(|| "write a number and a unit, such as 30s, 10m or 12h, or 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_declarations_are_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn shared_flags_stand_before_and_after_the_verb() {
        for line in [["sft", "-q", "ls", "h:"], ["sft", "ls", "-q", "h:"], ["sft", "ls", "h:", "-q"]] {
            assert!(Arguments::try_parse_from(line).unwrap().tone.quiet, "{line:?}");
        }
        assert!(Arguments::try_parse_from(["sft", "ls", "-q", "-v", "h:"]).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        let wrong = [
            &["sft", "ls", "h:", "--port", "0"][..],
            &["sft", "ls", "h:", "--transport", "udp"],
            &["sft", "ls", "h:", "--lanes", "17"],
            &["sft", "ls", "h:", "--wait", "5"],
            &["sft", "ls", "h:", "--wait", "never"],
            &["sft", "cp", "a"],
            &["sft", "rm"],
            &["sft", "fly"],
        ];
        for line in wrong {
            assert_eq!(Arguments::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
    #[test]
    fn waits() {
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        assert_eq!(wait("12h"), Ok(Duration::from_secs(43_200)));
        assert!(wait("never").is_err() && wait("90").is_err());
    }
}
