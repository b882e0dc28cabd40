//! `sft cp`: copies files and trees to a host or from it.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use sft_client::{
    Durability, LandingMemory, Location, Manner, PublishMode, PullOptions, PushOptions, RemoteLocation,
    RemotePath,
};

use crate::app::App;
use crate::args::RemoteArgs;
use crate::copying::Copying;
use crate::exit::Exit;
use crate::failure::Usage;
use crate::names::shown;
use crate::rate::rate;
use crate::under_way::UnderWay;
use crate::{namesakes, place};

/// Copy files and trees to a host or from it
///
/// Directories are copied whole, links as links, with times and permissions. What is in place already is left alone; a
/// copy that was interrupted goes on when the same command is run again. Sources land inside DST if it is a directory,
/// if it ends with `/`, or if there are several; else DST is the new name. `src/.` copies what is in `src`.
#[derive(Debug, Args)]
pub(crate) struct CpArgs {
    /// Files and directories, all here or all on hosts
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<OsString>,
    /// Where they go: on a host if the sources are here, else here
    #[arg(value_name = "DST")]
    destination: OsString,
    /// Do not replace what is there
    #[arg(short, long)]
    no_clobber: bool,
    /// Compare contents by digest, not by size and time
    #[arg(short, long)]
    checksum: bool,
    /// When an entry counts as copied
    #[arg(long, value_enum, default_value = "commit", value_name = "WHEN")]
    durability: When,
    /// Send no more than this a second, such as 10MB, 500kB or 80Mbit
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit: Option<NonZeroU64>,
    /// Leave the network to others: take what they do not use, and give way when they come. Over UDP alone
    #[arg(long)]
    background: bool,
    /// Let downloaded files keep their set-user-ID and set-group-ID bits
    #[arg(long)]
    keep_setid: bool,
    /// Accepted out of habit: directories are always copied whole
    #[arg(short, long, short_alias = 'R')]
    recursive: bool,
    /// Accepted out of habit: times and permissions are always kept
    #[arg(short)]
    preserve: bool,
    /// Accepted out of habit: what is there gives way unless -n says otherwise
    #[arg(short, conflicts_with = "no_clobber")]
    force: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// When an entry counts as copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// When the system has taken it; a power failure may lose it
    None,
    /// When it is on the disk, flushed in batches
    Commit,
    /// When it is on the disk, flushed one by one
    Each,
}

/// What will be copied, and how.
#[derive(Debug)]
pub(crate) struct Cp {
    way: Way,
    publish: PublishMode,
    checksum: bool,
    durability: Durability,
    keep_setid: bool,
    manner: Manner,
    remote: RemoteArgs,
}

/// From where to where.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Up { sources: Vec<PathBuf>, host: RemoteLocation },
    Down { groups: Vec<Group>, destination: PathBuf },
}

/// Sources on one host.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    host: RemoteLocation,
    paths: Vec<RemotePath>,
}

impl CpArgs {
    /// Finds out what was meant.
    pub(crate) fn resolve(self) -> anyhow::Result<Cp> {
        let sources = self.sources.iter().map(|text| Location::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let sources = namesakes::sorted_out(sources)?;
        let way = Way::new(sources, Location::parse(&self.destination)?)?;
        Ok(Cp {
            way,
            publish: if self.no_clobber { PublishMode::CreateOnly } else { PublishMode::Replace },
            checksum: self.checksum,
            durability: self.durability.into(),
            keep_setid: self.keep_setid,
            manner: Manner { limit: self.limit, background: self.background },
            remote: self.remote,
        })
    }
}

/// Copies.
pub(crate) async fn run(app: &App, cp: Cp) -> anyhow::Result<Exit> {
    match &cp.way {
        Way::Up { sources, host } => push(app, &cp, sources, host).await,
        Way::Down { groups, destination } => pull(app, &cp, groups, destination).await,
    }
}

async fn push(app: &App, cp: &Cp, sources: &[PathBuf], host: &RemoteLocation) -> anyhow::Result<Exit> {
    let Cp { publish, durability, checksum, manner, .. } = *cp;
    let under_way = UnderWay::push(&app.folders, sources, &app.target(host, &cp.remote), &host.path);
    if under_way.recall() {
        app.voice.note(GOING_ON);
    }
    for source in sources {
        if let Some(own) = sft_client::left_out(source) {
            app.voice.note(&format!("{} is left out: sft keeps unfinished files there", shown(own)));
        }
    }
    let client = app.client(host, &cp.remote).await?;
    let (copying, sink) = Copying::new(app.voice);
    let memory: Arc<dyn LandingMemory> = under_way.clone();
    let explain = app.voice.tells_all();
    let options = PushOptions { publish, durability, checksum, manner, memory: Some(memory), explain };
    let copied = copying.run(client.push(sources, &host.path, options, sink)).await?;
    under_way.ended(copied);
    Ok(copied.exit)
}

async fn pull(app: &App, cp: &Cp, groups: &[Group], destination: &Path) -> anyhow::Result<Exit> {
    let Cp { publish, durability, checksum, keep_setid, manner, .. } = *cp;
    let mut exit = Exit::Done;
    for group in groups {
        let target = app.target(&group.host, &cp.remote);
        let under_way = UnderWay::pull(&app.folders, &target, &group.paths, destination);
        if destination.is_dir() && under_way.recall() {
            app.voice.note(GOING_ON);
        }
        let client = app.client(&group.host, &cp.remote).await?;
        let (copying, sink) = Copying::new(app.voice);
        let memory: Arc<dyn LandingMemory> = under_way.clone();
        let (memory, explain) = (Some(memory), app.voice.tells_all());
        let options = PullOptions { publish, durability, checksum, keep_setid, manner, memory, explain };
        let copied = copying.run(client.pull(&group.paths, destination, options, sink)).await?;
        under_way.ended(copied);
        exit = exit.worse(copied.exit);
    }
    Ok(exit)
}

/// Said where the tree lands at its new name once more, though a directory is there now.
const GOING_ON: &str = "this copy was begun before and not finished: going on where it landed";

impl Way {
    fn new(sources: Vec<Location>, destination: Location) -> Result<Self, Usage> {
        match destination {
            Location::Remote(host) => {
                let local = |source| match source {
                    Location::Local(path) => Ok(path),
                    Location::Remote(source) => Err(both_remote(&source, &host)),
                };
                let sources = sources.into_iter().map(local).collect::<Result<_, _>>()?;
                Ok(Self::Up { sources, host })
            }
            Location::Local(destination) => {
                let remote = |source| match source {
                    Location::Remote(source) => Ok(source),
                    Location::Local(source) => Err(both_local(&source, &destination)),
                };
                let sources = sources.into_iter().map(remote).collect::<Result<Vec<_>, _>>()?;
                Ok(Self::down(sources, destination))
            }
        }
    }

    fn down(sources: Vec<RemoteLocation>, destination: PathBuf) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for source in sources {
            match groups.iter_mut().find(|group| place::same_host(&group.host, &source)) {
                Some(group) => group.paths.push(source.path),
                None => groups.push(Group { paths: vec![source.path.clone()], host: source }),
            }
        }
        // What comes from several hosts lands inside, as it does from one.
        let destination = if groups.len() > 1 { destination.join("") } else { destination };
        Self::Down { groups, destination }
    }
}

fn both_remote(source: &RemoteLocation, destination: &RemoteLocation) -> Usage {
    if place::same_host(source, destination) {
        return Usage(format!(
            "`{source}` and `{destination}` are on the same host, where sft cannot copy yet: `sft mv` renames there"
        ));
    }
    Usage(format!(
        "`{source}` and `{destination}` are both on hosts: copy to this machine first, or run sft on one of them"
    ))
}

fn both_local(source: &Path, destination: &Path) -> Usage {
    let (source, destination) = (shown(source), shown(destination));
    Usage(format!(
        "`{source}` and `{destination}` are both on this machine: use `cp -r`, or write `host:path` for one of them"
    ))
}

impl From<When> for Durability {
    fn from(when: When) -> Self {
        match when {
            When::None => Self::None,
            When::Commit => Self::Commit,
            When::Each => Self::Each,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(sources: &[&str], destination: &str) -> Result<Way, String> {
        let parse = |text: &str| Location::parse(text.as_ref()).unwrap();
        Way::new(sources.iter().map(|text| parse(text)).collect(), parse(destination))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn sources_of_one_host_are_fetched_together() {
        let Ok(Way::Down { groups, destination }) = way(&["h:a", "k:b", "h:c"], "d") else { panic!() };
        assert_eq!(groups.iter().map(|group| group.paths.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(destination.as_os_str(), "d/", "several hosts land inside");
        let Ok(Way::Down { groups, destination }) = way(&["h:a", "h:c"], "d") else { panic!() };
        assert_eq!((groups.len(), destination.as_os_str()), (1, "d".as_ref()));
    }

    #[test]
    fn one_end_is_here_and_the_other_is_not() {
        assert!(matches!(way(&["a", "./b:c"], "h:d"), Ok(Way::Up { sources, .. }) if sources.len() == 2));
        let cases = [
            (
                &["a"][..],
                "b",
                "`a` and `b` are both on this machine: use `cp -r`, or write `host:path` for one of them",
            ),
            (
                &["h:a"],
                "k:b",
                "`h:a` and `k:b` are both on hosts: copy to this machine first, or run sft on one of them",
            ),
            (
                &["h:a"],
                "h:b",
                "`h:a` and `h:b` are on the same host, where sft cannot copy yet: `sft mv` renames there",
            ),
            (
                &["h:a", "b"],
                "c",
                "`b` and `c` are both on this machine: use `cp -r`, or write `host:path` for one of them",
            ),
        ];
        for (sources, destination, message) in cases {
            assert_eq!(way(sources, destination), Err(message.to_owned()));
        }
    }
}
