//! Walks the sources of a transfer and finds what to offer, on a thread of its own, no faster than it is taken.

use std::ops::ControlFlow;

use sft_base::{EntryPath, Kind, Name, limits};
use sft_store::Stat;
use sft_wire::message::{Entry, EntryKind, SourceFailure};
use sft_wire::{Code, WireError};
use tokio::sync::mpsc;

use crate::error::source_error;
use crate::send::SendSource;

/// Something to offer, or something that cannot be.
#[derive(Debug)]
pub(crate) enum Found {
    Entry {
        entry: Entry,
        /// Which of the sources, and where below its store's root.
        source: usize,
        path: EntryPath,
        stat: Stat,
    },
    Failed(SourceFailure),
}

/// Begins the walk; what is found comes in batches, and the channel closes at the end.
pub(crate) fn start(sources: Vec<SendSource>, checksum: bool) -> mpsc::Receiver<Vec<Found>> {
    let (out, found) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut scan = Scan { sources: &sources, checksum, batch: Vec::new(), out };
        // A break means that nobody wants more.
        let _ = scan.run();
    });
    found
}

struct Scan<'a> {
    sources: &'a [SendSource],
    checksum: bool,
    batch: Vec<Found>,
    out: mpsc::Sender<Vec<Found>>,
}

/// A directory on the way down: what is left to visit in it, and what it was when it was entered.
struct Level {
    path: EntryPath,
    landing: EntryPath,
    stat: Stat,
    dirs: Vec<(Name, Stat)>,
}

type Flow = ControlFlow<()>;

impl Scan<'_> {
    fn run(&mut self) -> Flow {
        for source in 0..self.sources.len() {
            self.walk(source)?;
        }
        self.flush()
    }

    fn walk(&mut self, source: usize) -> Flow {
        let SendSource { view, path, landing, .. } = &self.sources[source];
        let stat = match view.stat(path) {
            Ok(stat) => stat,
            Err(error) => return self.fail(landing.clone(), error),
        };
        if stat.meta.kind != Kind::Dir {
            if landing.is_root() {
                let text = format!("{path}: it is not a directory, so that nothing is in it");
                return self.fail(landing.clone(), Code::NOT_A_DIRECTORY.because(text));
            }
            return self.leaf(source, path.clone(), landing.clone(), stat);
        }
        let mut levels = Vec::new();
        self.enter(source, &mut levels, path.clone(), landing.clone(), stat)?;
        while let Some(level) = levels.last_mut() {
            match level.dirs.pop() {
                Some((name, stat)) => {
                    let below = level.path.join(&name).and_then(|p| Ok((p, level.landing.join(&name)?)));
                    match below {
                        Ok((path, landing)) => self.enter(source, &mut levels, path, landing, stat)?,
                        Err(error) => {
                            let landing = level.landing.clone();
                            let text = format!("what is below `{name}` is too deep: {error}");
                            self.fail(landing, Code::NAME_NOT_ALLOWED.because(text))?;
                        }
                    }
                }
                None => {
                    let Some(level) = levels.pop() else { break };
                    let mut entry = Entry::new(level.landing, &level.stat.meta);
                    entry.kind = EntryKind::DirEnd;
                    self.put_dir(Found::Entry { entry, source, path: level.path, stat: level.stat })?;
                }
            }
        }
        Flow::Continue(())
    }

    /// Offers a directory and all in it that is not a directory, and keeps the directories for later.
    fn enter(
        &mut self,
        source: usize,
        levels: &mut Vec<Level>,
        path: EntryPath,
        landing: EntryPath,
        stat: Stat,
    ) -> Flow {
        let view = &self.sources[source].view;
        let mut listing = match view.list(&path) {
            Ok(listing) => listing,
            Err(error) => return self.fail(landing, error),
        };
        let entry = Entry::new(landing.clone(), &stat.meta);
        self.put_dir(Found::Entry { entry, source, path: path.clone(), stat })?;
        let mut dirs = Vec::new();
        loop {
            let batch = match listing.next_batch(LIST_BATCH) {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => batch,
                Err(error) => {
                    self.fail(landing.clone(), source_error(&error))?;
                    break;
                }
            };
            for (name, stat) in batch {
                if stat.meta.kind == Kind::Dir {
                    dirs.push((name, stat));
                    continue;
                }
                match path.join(&name).and_then(|p| Ok((p, landing.join(&name)?))) {
                    Ok((path, landing)) => self.leaf(source, path, landing, stat)?,
                    Err(error) => {
                        self.fail(landing.clone(), Code::NAME_NOT_ALLOWED.because(error.to_string()))?
                    }
                }
            }
        }
        // Taken from the end: the first by name is visited first, so that two walks of one tree are alike.
        dirs.sort_by(|a, b| b.0.cmp(&a.0));
        levels.push(Level { path, landing, stat, dirs });
        Flow::Continue(())
    }

    fn leaf(&mut self, source: usize, path: EntryPath, landing: EntryPath, stat: Stat) -> Flow {
        let view = &self.sources[source].view;
        let mut entry = Entry::new(landing, &stat.meta);
        match stat.meta.kind {
            Kind::Other => {
                let text = format!("{path}: a pipe, socket or device is not transferred");
                return self.fail(entry.path, Code::SPECIAL_FILE.because(text));
            }
            Kind::Link => match view.read_link(&path) {
                Ok(target) => entry.target = Some(target),
                Err(error) => return self.fail(entry.path, error),
            },
            Kind::File if self.checksum => match view.hash(&path) {
                Ok(digest) => entry.digest = Some(digest),
                Err(error) => return self.fail(entry.path, error),
            },
            Kind::File | Kind::Dir => {}
        }
        let has_holes = entry.size > limits::PIECE_BYTES && stat.occupied < entry.size;
        entry.occupied = has_holes.then_some(stat.occupied);
        self.put(Found::Entry { entry, source, path, stat })
    }

    fn fail(&mut self, path: EntryPath, error: WireError) -> Flow {
        self.put(Found::Failed(SourceFailure { path, error }))
    }

    /// Offers a directory, but for one whose contents go without it: that is the destination, and stands already.
    fn put_dir(&mut self, found: Found) -> Flow {
        match &found {
            Found::Entry { entry, .. } if entry.path.is_root() => Flow::Continue(()),
            _ => self.put(found),
        }
    }

    fn put(&mut self, found: Found) -> Flow {
        self.batch.push(found);
        if self.batch.len() >= SCAN_BATCH { self.flush() } else { Flow::Continue(()) }
    }

    fn flush(&mut self) -> Flow {
        let batch = std::mem::take(&mut self.batch);
        match self.out.blocking_send(batch) {
            Ok(()) => Flow::Continue(()),
            Err(_) => Flow::Break(()),
        }
    }
}

/// Entries read from a directory at once.
const LIST_BATCH: usize = 1024;
/// Finds handed on at once.
const SCAN_BATCH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use sft_auth::Grant;
    use sft_store::FsStore;

    use crate::View;

    /// The offered paths of one source in their order, directories' ends with `!`, failures with `?`.
    fn scan(root: &std::path::Path, path: &str, landing: &str) -> Vec<String> {
        let entry = |text: &str| EntryPath::from_typed(text.as_bytes()).unwrap();
        let view = View::new(Arc::new(FsStore::open(root).unwrap()), Arc::new(Grant::owner_local()));
        let sources = [SendSource { view, path: entry(path), landing: entry(landing) }];
        let (out, mut found) = mpsc::channel(64);
        let mut scan = Scan { sources: &sources, checksum: false, batch: Vec::new(), out };
        assert!(scan.run().is_continue());
        drop(scan);
        let mut paths = Vec::new();
        while let Ok(batch) = found.try_recv() {
            paths.extend(batch.iter().map(|found| match found {
                Found::Entry { entry, .. } if entry.kind == EntryKind::DirEnd => format!("{}!", entry.path),
                Found::Entry { entry, .. } => entry.path.to_string(),
                Found::Failed(failure) => format!("{}?", failure.path),
            }));
        }
        paths
    }

    #[test]
    fn contents_are_offered_without_the_directory_that_holds_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("d/e")).unwrap();
        std::fs::write(dir.path().join("d/f"), "x").unwrap();
        assert_eq!(scan(dir.path(), "d", "d"), ["d", "d/f", "d/e", "d/e!", "d!"]);
        assert_eq!(scan(dir.path(), "d", ""), ["f", "e", "e!"]);
        assert_eq!(scan(dir.path(), "d/f", "f"), ["f"]);
        assert_eq!(scan(dir.path(), "d/f", ""), [".?"], "a file has no contents in this sense");
        assert_eq!(scan(dir.path(), "missing", "missing"), ["missing?"]);
    }
}
