//! How fast content goes to a directory of a host and back, from disk to disk, and what limits it: a file is made, copied up,
//! copied back, and removed at both ends. How large it is follows from how fast a small one went. No name is used that
//! anybody else may have used, and nothing is removed that was not made here.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use sft_base::{EntryPath, Name};
use sft_client::{
    Client, Ending, Event, EventSink, PublishMode, PullOptions, PushOptions, RemoteLocation, RemotePath,
    Shares, Target,
};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use crate::amount::{Bytes, Rate};
use crate::app::App;
use crate::attributed::Attributed;
use crate::checkup::Finding;
use crate::failure::Interrupted;
use crate::left_there::{self, LeftThere, PREFIX};

/// One copy that was measured.
pub(crate) struct Measured {
    pub bytes: u64,
    pub took: Duration,
    pub attributed: Attributed,
}

/// Copies up and back over one session; what was made is removed, also when the user interrupts it meanwhile. What is left
/// because the process is killed or the host is out of reach is noted, and removed by the next call, here and there.
///
/// - Errors: also if something stays on the host because it cannot be removed; they name it.
pub(crate) async fn measure(
    app: &App,
    client: &Client,
    place: &RemoteLocation,
    host: &Target,
    over: &str,
) -> anyhow::Result<(Measured, Measured)> {
    let earlier = LeftThere::of_earlier_runs(&app.folders.state, host);
    let earlier = timeout(EARLIER_MAX, clear(client, earlier)).await;
    if let Err(error) = earlier.unwrap_or_else(|_| Err(anyhow!("it takes too long to remove"))) {
        app.voice.note(&format!("an earlier run left something there: {error:#}"));
    }
    // What is noted can wait for the next run: until here an interrupt ends this one at once.
    let mut clearing = app.clearing().await;
    let chance = RandomState::new().build_hasher().finish();
    let scratch = Scratch::make(&left_there::scratch(&format!("{chance:016x}")))?;
    let there = |what: &str| -> anyhow::Result<EntryPath> {
        let name = format!("{PREFIX}{chance:016x}-{over}-{what}");
        Ok(place.path.entry.join(&Name::new(name.as_bytes())?)?)
    };
    let there = [there("first")?, there("second")?];
    let mut made = Made { app, host, files: Vec::new() };
    let measured = {
        let mut copying = pin!(up_and_down(client, there, &scratch, &mut made));
        tokio::select! {
            measured = &mut copying => measured,
            () = clearing.interrupted() => {
                app.voice.note(CLEARING);
                // A source that changes makes its copy fail, and the host throws away what it has staged.
                scratch.spoil();
                let _ = timeout(CLEAR_MAX, copying).await;
                Err(Interrupted::Other.into())
            }
        }
    };
    let is_interrupted = measured.as_ref().is_err_and(|error| error.is::<Interrupted>());
    let patience = if is_interrupted { CLEAR_MAX } else { REMOVE_MAX };
    let mut removing = pin!(remove(client, made.files));
    let (measured, removed) = tokio::select! {
        removed = timeout(patience, &mut removing) => (measured, removed),
        () = clearing.interrupted(), if !is_interrupted => {
            app.voice.note(CLEARING);
            (Err(Interrupted::Other.into()), timeout(CLEAR_MAX, removing).await)
        }
    };
    let removed = removed.unwrap_or_else(|_| Err(anyhow!(OUT_OF_REACH)));
    match (measured, removed) {
        (Err(error), Err(left)) => {
            app.voice.note(&format!("{left:#}"));
            Err(error)
        }
        (measured, removed) => removed.and(measured),
    }
}

/// What may have been made on the host.
struct Made<'a> {
    app: &'a App,
    host: &'a Target,
    files: Vec<LeftThere>,
}

/// Removes what earlier runs have left, on the host and here.
async fn clear(client: &Client, mut files: Vec<LeftThere>) -> anyhow::Result<()> {
    let folders: BTreeSet<_> = files.iter().filter_map(LeftThere::scratch).collect();
    for left in &mut files {
        left.complete(client).await;
    }
    remove(client, files).await?;
    folders.into_iter().map(Scratch).for_each(drop);
    Ok(())
}

/// Tries all of them, and tells of the first that stays.
async fn remove(client: &Client, files: Vec<LeftThere>) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for left in files {
        let entry = left.entry.clone();
        let removed = left.remove(client).await;
        let removed = removed.with_context(|| format!("{entry} stays on the host: remove it when you may"));
        outcome = outcome.and(removed);
    }
    outcome
}

impl Measured {
    /// Bytes a second.
    pub(crate) fn rate(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// As a finding.
    pub(crate) fn finding(&self, way: &str, over: &str) -> Finding {
        let text = format!("{} ({}): {}", Rate(self.rate()), Bytes(self.bytes), self.attributed.line());
        Finding::ok(&format!("copy {way} over {over}"), text)
    }
}

async fn up_and_down(
    client: &Client,
    there: [EntryPath; 2],
    scratch: &Scratch,
    made: &mut Made<'_>,
) -> anyhow::Result<(Measured, Measured)> {
    let [first, second] = ["first", "second"].map(|name| scratch.0.join(name));
    let there = there.map(|entry| RemotePath { entry, ending: Ending::Name });
    make(&first, BYTES_FIRST, 0).await?;
    let quick = up(client, &first, &there[0], made).await?;
    let size = (quick.rate() * SECONDS) as u64;
    make(&second, size.clamp(BYTES_FIRST, BYTES_MAX), 1).await?;
    let up = up(client, &second, &there[1], made).await?;
    let down = down(client, &there[1], &scratch.0.join("back")).await?;
    Ok((up, down))
}

async fn up(client: &Client, from: &Path, to: &RemotePath, made: &mut Made<'_>) -> anyhow::Result<Measured> {
    let (sink, mut events) = EventSink::new();
    let bytes = std::fs::metadata(from)?.len();
    let begun = Instant::now();
    let publish = PublishMode::CreateOnly;
    let options = PushOptions { publish, explain: true, ..PushOptions::default() };
    made.files.push(LeftThere::note(&made.app.folders.state, made.host, to.entry.clone()));
    let pushed = client.push(&[from.to_owned()], to, options, sink.clone()).await;
    if let Some(left) = made.files.last_mut() {
        left.pushed(&pushed);
    }
    failed(&pushed?)?;
    Ok(measured(bytes, begun, &sink, &mut events))
}

async fn down(client: &Client, from: &RemotePath, to: &Path) -> anyhow::Result<Measured> {
    let (sink, mut events) = EventSink::new();
    let begun = Instant::now();
    let options = PullOptions { explain: true, ..PullOptions::default() };
    let summary = client.pull(std::slice::from_ref(from), to, options, sink.clone()).await?;
    failed(&summary)?;
    Ok(measured(std::fs::metadata(to)?.len(), begun, &sink, &mut events))
}

/// The one entry failed.
fn failed(summary: &sft_client::Summary) -> anyhow::Result<()> {
    match summary.failures.first() {
        Some((_, error)) => Err(sft_client::RequestError::Failed(error.clone()).into()),
        None => Ok(()),
    }
}

fn measured(bytes: u64, begun: Instant, sink: &EventSink, events: &mut Receiver<Event>) -> Measured {
    let (mut over, mut far): (Option<Instant>, Option<Shares>) = (None, None);
    while let Ok(event) = events.try_recv() {
        match event {
            Event::Over { at } => over = Some(at),
            Event::FarTimes { shares } => far = Some(shares),
            _ => {}
        }
    }
    let took = over.unwrap_or_else(Instant::now).saturating_duration_since(begun);
    Measured { bytes, took, attributed: Attributed::of(&sink.counters().times.shares(), far.as_ref()) }
}

/// Content that nothing on the way can make smaller, and that differs with the seed.
async fn make(path: &Path, bytes: u64, seed: u64) -> anyhow::Result<()> {
    let path = path.to_owned();
    Ok(tokio::task::spawn_blocking(move || write(&path, bytes, seed)).await??)
}

fn write(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut content = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut file = File::create_new(path)?;
    let mut block = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        content.fill(&mut block);
        let part = left.min(block.len() as u64);
        file.write_all(&block[..part as usize])?;
        left -= part;
    }
    Ok(())
}

/// A directory that nobody else can enter, and that goes with this.
struct Scratch(PathBuf);

impl Scratch {
    /// Fails if there is anything of this name, so that nobody can have prepared it.
    fn make(path: &Path) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(path)?;
        Ok(Self(path.to_owned()))
    }

    /// Empties the files in it.
    fn spoil(&self) {
        for file in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            // Who reads it as it was goes on for a while, and is not waited for.
            let _ = File::options().write(true).open(file.path()).and_then(|file| file.set_len(0));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in a temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How long a host may take to hear that a copy is given up, and to remove what came.
const CLEAR_MAX: Duration = Duration::from_secs(5);
/// How long it may take to go on with what was cut off, which is no more than a few seconds' worth, and to remove it.
const EARLIER_MAX: Duration = Duration::from_secs(30);
/// How long it may take to remove two files where nobody waits for the end.
const REMOVE_MAX: Duration = Duration::from_secs(60);
const CLEARING: &str = "removing what was copied; interrupt again to stop at once";
const OUT_OF_REACH: &str = "the host does not answer, and what was copied may stay there; the next `sft doctor --copy` of it removes that";
const BYTES_FIRST: u64 = 4 << 20;
const BYTES_MAX: u64 = 256 << 20;
/// How long the large one should take.
const SECONDS: f64 = 2.0;
