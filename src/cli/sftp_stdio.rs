//! `sft sftp-stdio`: SFTP on standard input and output, for an SSH server that has let somebody in already.

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::fs::File;

use crate::app::App;
use crate::exit::Exit;

/// Serve SFTP on standard input and output, for another SSH server
///
/// As in sshd_config: `Subsystem sftp /usr/bin/sft sftp-stdio`. Whoever that server lets in can do what this user can,
/// below the directory.
#[derive(Debug, Args)]
pub(crate) struct SftpStdioArgs {
    /// The directory to serve
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Let nobody change anything
    #[arg(long)]
    read_only: bool,
}

/// Serves until standard input ends.
pub(crate) async fn run(_: &App, typed: SftpStdioArgs) -> anyhow::Result<Exit> {
    let root = std::path::absolute(&typed.dir).context("the current directory cannot be named")?;
    // As files, because they may be pipes, sockets or files, and are all read and written alike.
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("standard input cannot be read")?;
    let stdout =
        std::io::stdout().as_fd().try_clone_to_owned().context("standard output cannot be written")?;
    let (stdin, stdout) = (File::from_std(stdin.into()), File::from_std(stdout.into()));
    sft_doors::sftp::serve_local(&root, typed.read_only, stdin, stdout).await?;
    Ok(Exit::Done)
}
