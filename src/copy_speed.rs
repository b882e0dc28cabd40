//! How fast content goes to a directory of a host and back, from disk to disk, and what limits it: a file is made, copied up,
//! copied back, and removed at both ends. How large it is follows from how fast a small one went.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sft_base::{EntryPath, Name};
use sft_client::{Client, Ending, Event, EventSink, PullOptions, PushOptions, RemotePath, Shares};

use crate::amount::{Bytes, Rate};
use crate::attributed::Attributed;
use crate::checkup::Finding;

/// One copy that was measured.
pub(crate) struct Measured {
    pub bytes: u64,
    pub took: Duration,
    pub attributed: Attributed,
}

/// Copies up and back over one session; what is left behind is removed, but for a process that is killed meanwhile.
pub(crate) async fn measure(
    client: &Client,
    dir: &EntryPath,
    over: &str,
) -> anyhow::Result<(Measured, Measured)> {
    let name = format!("sft-doctor-{}-{over}", std::process::id());
    let there = RemotePath { entry: dir.join(&Name::new(name.as_bytes())?)?, ending: Ending::Name };
    let here = Scratch(std::env::temp_dir().join(&name));
    let back = Scratch(std::env::temp_dir().join(format!("{name}-back")));
    let measured = up_and_down(client, &there, &here.0, &back.0).await;
    // What was never there need not go.
    let removed = client.remove(&there.entry, false).await;
    let measured = measured?;
    removed?;
    Ok(measured)
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
    there: &RemotePath,
    here: &Path,
    back: &Path,
) -> anyhow::Result<(Measured, Measured)> {
    make(here, BYTES_FIRST, 0).await?;
    let first = up(client, here, there).await?;
    let size = (first.rate() * SECONDS) as u64;
    make(here, size.clamp(BYTES_FIRST, BYTES_MAX), 1).await?;
    let up = up(client, here, there).await?;
    let down = down(client, there, back).await?;
    Ok((up, down))
}

async fn up(client: &Client, from: &Path, to: &RemotePath) -> anyhow::Result<Measured> {
    let (sink, mut events) = EventSink::new();
    let bytes = std::fs::metadata(from)?.len();
    let begun = Instant::now();
    let options = PushOptions { explain: true, ..PushOptions::default() };
    let summary = client.push(&[from.to_owned()], to, options, sink.clone()).await?;
    let took = begun.elapsed();
    failed(&summary)?;
    Ok(Measured { bytes, took, attributed: attributed(&sink, &mut events) })
}

async fn down(client: &Client, from: &RemotePath, to: &Path) -> anyhow::Result<Measured> {
    let (sink, mut events) = EventSink::new();
    let begun = Instant::now();
    let options = PullOptions { explain: true, ..PullOptions::default() };
    let summary = client.pull(std::slice::from_ref(from), to, options, sink.clone()).await?;
    let took = begun.elapsed();
    failed(&summary)?;
    let bytes = std::fs::metadata(to)?.len();
    Ok(Measured { bytes, took, attributed: attributed(&sink, &mut events) })
}

/// The one entry failed.
fn failed(summary: &sft_client::Summary) -> anyhow::Result<()> {
    match summary.failures.first() {
        Some((_, error)) => Err(sft_client::RequestError::Failed(error.clone()).into()),
        None => Ok(()),
    }
}

fn attributed(sink: &EventSink, events: &mut tokio::sync::mpsc::Receiver<Event>) -> Attributed {
    let mut far: Option<Shares> = None;
    while let Ok(event) = events.try_recv() {
        if let Event::FarTimes { shares } = event {
            far = Some(shares);
        }
    }
    Attributed::of(&sink.counters().times.shares(), far.as_ref())
}

/// Content that nothing on the way can make smaller, and that differs with the seed.
async fn make(path: &Path, bytes: u64, seed: u64) -> anyhow::Result<()> {
    let path = path.to_owned();
    Ok(tokio::task::spawn_blocking(move || write(&path, bytes, seed)).await??)
}

fn write(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut content = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut file = File::create(path)?;
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

/// A file that goes with this.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that was never made is gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

const BYTES_FIRST: u64 = 4 << 20;
const BYTES_MAX: u64 = 256 << 20;
/// How long the large one should take.
const SECONDS: f64 = 2.0;
