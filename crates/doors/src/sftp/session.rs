//! One SFTP session over any stream: requests in, replies out (spec/doors.md, "SFTP").
//!
//! Every handle has a lane of its own, a queue worked off in order by one job at a time; requests that name paths share
//! one. So replies overtake each other between handles and never within one. A request that names a path waits for all
//! changes by handles, their closing among them, that were asked for before it: clients look at what they have just
//! written by its name. Whatever blocks runs in batches, on the blocking pool or, when it is short, at once (`at_once.rs`).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::BytesMut;
use sft_base::EntryPath;
use sft_engine::{Leftovers, OpenFile, View};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::credit::{Cost, Credit, TooMuch};
use super::files::{Dir, File};
use super::packet::{DATA_BYTES_MAX, read_packet};
use super::paths::Paths;
use super::request::{Check, Malformed, Request, decode};
use super::status::{Failed, Status};
use super::{extensions, ops};
use crate::at_once::{at_once_if, in_pool, long_place};
use crate::unread::while_unread;

/// What the lanes of a session share.
pub(crate) struct Shared {
    pub(crate) paths: Paths,
    pub(crate) leftovers: Arc<Leftovers>,
    handles: Mutex<Handles>,
    /// Drafts that are open, by what they are to be: the session that writes one sees it.
    drafts: Mutex<HashMap<EntryPath, Weak<OpenFile>>>,
    /// What the client was told last to be begun, the latest at the end. It goes by the sizes of these.
    told: Mutex<VecDeque<EntryPath>>,
    replies: mpsc::UnboundedSender<Reply>,
    /// Bytes of content that may wait in replies.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Handles {
    open: HashMap<u32, Handle>,
    next: u32,
    /// The client has ended its side: what it asked for is finished, and nothing new is opened.
    ended: bool,
}

struct Handle {
    jobs: mpsc::UnboundedSender<Job>,
    file: Option<Arc<File>>,
    /// When the last change that was asked for is over, and with it all before it.
    changing: Option<oneshot::Receiver<()>>,
}

/// What a handle is to stand for.
pub(crate) enum Opened {
    File(File),
    Dir(Dir),
}

struct Job {
    id: u32,
    task: Task,
    cost: Cost,
    /// What has to be over before.
    after: Vec<oneshot::Receiver<()>>,
    /// Dropped when this is over.
    _over: Option<oneshot::Sender<()>>,
}

enum Task {
    Request(Request),
    /// A copy or a check needs another handle than its lane's.
    Copy {
        source: Arc<File>,
        offset: u64,
        length: u64,
        to_offset: u64,
    },
}

struct Reply {
    packet: Vec<u8>,
    _cost: Cost,
    _room: Option<OwnedSemaphorePermit>,
}

/// Serves a client until it ends its side, and then finishes what it has asked for, but for digests.
///
/// - Errors: what reading or writing failed with, or [`io::ErrorKind::InvalidData`] for what is no SFTP.
pub async fn serve(
    view: View,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    serve_resuming(view, Arc::default(), reader, writer).await
}

/// The same, with what earlier sessions have left; what this one leaves is put there.
pub async fn serve_resuming(
    view: View,
    leftovers: Arc<Leftovers>,
    mut reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    let (replies, to_write) = mpsc::unbounded_channel();
    let credit = Arc::new(Credit::default());
    let room = Arc::new(Semaphore::new(ROOM_BYTES));
    let shared = Arc::new(Shared {
        paths: Paths::new(view),
        leftovers,
        handles: Mutex::default(),
        drafts: Mutex::default(),
        told: Mutex::default(),
        replies,
        room: room.clone(),
    });
    let mut writing = tokio::spawn(write_replies(to_write, writer, credit.clone(), room));
    let ended = tokio::select! {
        ended = read_requests(&shared, &mut reader, &credit) => Some(ended),
        _ = &mut writing => None,
    };
    shared.end();
    drop(shared);
    match ended {
        Some(ended) => {
            // Nobody takes the replies then.
            let is_in_vain =
                matches!(&ended, Err(error) if error.get_ref().is_some_and(|e| e.is::<TooMuch>()));
            if is_in_vain {
                writing.abort();
            }
            match while_unread(&mut reader, writing).await {
                Ok(written) => ended.and(written),
                Err(error) if error.is_cancelled() => ended,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

async fn read_requests(
    shared: &Arc<Shared>,
    reader: &mut (impl AsyncRead + Unpin),
    credit: &Arc<Credit>,
) -> io::Result<()> {
    let (paths, jobs) = mpsc::unbounded_channel();
    tokio::spawn(run_lane(shared.clone(), Lane::Paths, jobs));
    let mut closing: Vec<oneshot::Receiver<()>> = Vec::new();
    let mut greeted = false;
    while let Some(packet) = read_packet(reader).await? {
        // Whatever comes is answered, and an answer waits for whoever takes it: nothing is free.
        let cost = credit.take(packet.len().saturating_sub(SMALL_PACKET_BYTES)).await;
        let cost = cost.map_err(|too_much| io::Error::new(io::ErrorKind::InvalidData, too_much))?;
        let (id, request) = match decode(packet) {
            Ok(decoded) => decoded,
            Err(Malformed { id: Some(id) }) => {
                shared.refuse(id, Failed::new(Status::BadMessage, "the request is cut off"), cost);
                continue;
            }
            Err(Malformed { id: None }) => return Err(invalid("a packet that is no SFTP request")),
        };
        if let Request::Init { .. } = request {
            shared.reply(extensions::version(), cost, None);
            greeted = true;
            continue;
        }
        if !greeted {
            return Err(invalid("an SFTP session begins with INIT"));
        }
        match lane_of(&request) {
            Some(handle) => shared.to_handle(handle, id, request, cost, &mut closing),
            None => {
                let mut after = std::mem::take(&mut closing);
                after.extend(shared.changes());
                // The lane lives as long as this sender.
                let _ = paths.send(Job { id, task: Task::Request(request), cost, after, _over: None });
            }
        }
    }
    Ok(())
}

/// The handle whose lane a request belongs to; none for one that names a path.
fn lane_of(request: &Request) -> Option<u32> {
    match request {
        Request::Close { handle }
        | Request::Read { handle, .. }
        | Request::Write { handle, .. }
        | Request::HandleStat { handle }
        | Request::HandleSetStat { handle, .. }
        | Request::ReadDir { handle }
        | Request::Sync { handle }
        | Request::HandleStatFileSystem { handle }
        | Request::CheckHandle { handle, .. }
        | Request::Copy { to: handle, .. } => Some(*handle),
        _ => None,
    }
}

impl Shared {
    /// Gives what was opened a handle, and a lane.
    pub(crate) fn open(self: &Arc<Self>, opened: Opened) -> Result<u32, Failed> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let (lane, file) = match opened {
            Opened::File(file) => {
                let file = Arc::new(file);
                (Lane::File(file.clone()), Some(file))
            }
            Opened::Dir(dir) => (Lane::Dir(dir), None),
        };
        let mut handles = self.handles();
        if handles.ended {
            return Err(Failed::new(Status::Failure, "the session has ended"));
        }
        if handles.open.len() >= HANDLES_MAX {
            return Err(too_many_handles());
        }
        let handle = handles.next;
        handles.next = (handle + 1) % super::packet::NO_HANDLE;
        handles.open.insert(handle, Handle { jobs, file, changing: None });
        drop(handles);
        tokio::spawn(run_lane(self.clone(), lane, queue));
        Ok(handle)
    }

    /// Whether there is room for one more; to be asked before anything is done for it. One lane alone opens.
    pub(crate) fn check_room(&self) -> Result<(), Failed> {
        if self.handles().open.len() < HANDLES_MAX { Ok(()) } else { Err(too_many_handles()) }
    }

    /// Lets every lane end when its queue is empty; drafts that were not closed are dropped with them.
    fn end(&self) {
        let mut handles = self.handles();
        // A handle that came after this would keep its lane, and the lane the session, for ever.
        handles.ended = true;
        handles.open.clear();
    }

    /// Whether the client has ended its side.
    pub(crate) fn has_ended(&self) -> bool {
        self.handles().ended
    }

    /// The draft that this session writes for a path.
    pub(crate) fn draft(&self, path: &EntryPath) -> Option<Arc<OpenFile>> {
        let drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        drafts.get(path).and_then(Weak::upgrade).filter(|draft| draft.is_draft())
    }

    /// Whether this session writes any draft.
    pub(crate) fn has_drafts(&self) -> bool {
        !self.drafts.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Notes that a draft is to be `path`; forgets those that are over.
    pub(crate) fn add_draft(&self, path: EntryPath, draft: &Arc<OpenFile>) {
        let mut drafts = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        drafts.retain(|_, draft| draft.upgrade().is_some_and(|draft| draft.is_draft()));
        self.leftovers.opened(&self.paths.view, &path, draft);
        drafts.insert(path, Arc::downgrade(draft));
    }

    /// Notes whether the client was told last that a path is begun.
    pub(crate) fn tell_begun(&self, path: &EntryPath, is_begun: bool) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|told| told != path);
        if is_begun {
            told.push_back(path.clone());
        }
        if told.len() > TOLD_MAX {
            told.pop_front();
        }
    }

    /// Whether the client was told last that a path is begun.
    pub(crate) fn was_told_begun(&self, path: &EntryPath) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    /// Forgets a draft of a path, which has another fate now.
    pub(crate) fn take_draft(&self, path: &EntryPath) -> Option<Arc<OpenFile>> {
        let draft = self.draft(path)?;
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        Some(draft)
    }

    fn to_handle(
        &self,
        handle: u32,
        id: u32,
        request: Request,
        cost: Cost,
        closing: &mut Vec<oneshot::Receiver<()>>,
    ) {
        let mut handles = self.handles();
        let source = match &request {
            Request::Copy { from, .. } => handles.open.get(from).and_then(|handle| handle.file.clone()),
            _ => None,
        };
        let closes = matches!(request, Request::Close { .. });
        let changes = matches!(
            request,
            Request::Write { .. }
                | Request::HandleSetStat { .. }
                | Request::Copy { .. }
                | Request::Close { .. }
        );
        let task = match (request, source) {
            (Request::Copy { offset, length, to_offset, .. }, Some(source)) => {
                Task::Copy { source, offset, length, to_offset }
            }
            (Request::Copy { .. }, None) => return self.refuse(id, Failed::no_handle(), cost),
            (request, _) => Task::Request(request),
        };
        let Some(open) = handles.open.get_mut(&handle) else {
            return self.refuse(id, Failed::no_handle(), cost);
        };
        let (over, is_over) = changes.then(oneshot::channel).unzip();
        // The lane lives as long as its sender.
        let _ = open.jobs.send(Job { id, task, cost, after: Vec::new(), _over: over });
        if closes {
            handles.open.remove(&handle);
            closing.retain_mut(|is_over| is_over.try_recv() == Err(oneshot::error::TryRecvError::Empty));
            closing.extend(is_over);
        } else if changes {
            open.changing = is_over;
        }
    }

    /// The changes by handles that are open which were asked for since this was called last.
    fn changes(&self) -> Vec<oneshot::Receiver<()>> {
        self.handles().open.values_mut().filter_map(|handle| handle.changing.take()).collect()
    }

    fn refuse(&self, id: u32, failed: Failed, mut cost: Cost) {
        cost.content_is_done();
        self.reply(failed.reply(id), cost, None);
    }

    fn reply(&self, packet: Vec<u8>, cost: Cost, room: Option<OwnedSemaphorePermit>) {
        // Nobody listens any more when the client has gone.
        let _ = self.replies.send(Reply { packet, _cost: cost, _room: room });
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What answers the requests of a queue.
enum Lane {
    Paths,
    File(Arc<File>),
    Dir(Dir),
}

async fn run_lane(shared: Arc<Shared>, mut lane: Lane, mut queue: mpsc::UnboundedReceiver<Job>) {
    while let Some(first) = queue.recv().await {
        let mut batch = vec![first];
        let mut bytes = batch[0].reply_bytes();
        while batch.len() < BATCH_JOBS && bytes < BATCH_BYTES {
            let Ok(next) = queue.try_recv() else { break };
            bytes += next.reply_bytes();
            batch.push(next);
        }
        for after in batch.iter_mut().flat_map(|job| job.after.drain(..)) {
            // An error says the same: it is over.
            let _ = after.await;
        }
        // Closed when nobody takes replies any more; then what was asked for is done all the same.
        let room = shared.room.clone().acquire_many_owned(bytes.min(ROOM_BYTES) as u32).await.ok();
        let place = if batch.iter().any(Job::is_long) { Some(long_place().await) } else { None };
        let together = shared.clone();
        let is_short = batch.len() <= SHORT_JOBS && batch.iter().all(|job| job.is_short(&lane));
        lane = at_once_if(is_short, move || {
            let (mut room, _place) = (room, place);
            let mut jobs = batch.into_iter().peekable();
            while let Some(job) = jobs.next() {
                let mut run = vec![job];
                while let Some(next) =
                    jobs.next_if(|next| run.last().is_some_and(|last| next.goes_on_from(last)))
                {
                    run.push(next);
                }
                lane.answer_run(&together, run, &mut room);
            }
            lane
        })
        .await;
    }
    if let Lane::File(file) = lane {
        // What is left of a draft may be large, and others use this thread.
        in_pool(move || ops::leave(&shared, &file)).await;
    }
}

impl Lane {
    /// Answers a request, or WRITEs that go on from each other: those are one for the file system.
    fn answer_run(&mut self, shared: &Arc<Shared>, run: Vec<Job>, room: &mut Option<OwnedSemaphorePermit>) {
        let parts: Vec<_> = run.iter().filter_map(Job::content).collect();
        let (Self::File(file), Some(&(offset, _)), true) = (&*self, parts.first(), run.len() > 1) else {
            return run.into_iter().for_each(|job| self.answer(shared, job, room));
        };
        let written = file.write(offset, &parts.iter().map(|(_, content)| *content).collect::<Vec<_>>());
        for mut job in run {
            job.cost.content_is_done();
            shared.reply(super::files::finished(job.id, written.clone()), job.cost, None);
        }
    }

    fn answer(&mut self, shared: &Arc<Shared>, mut job: Job, room: &mut Option<OwnedSemaphorePermit>) {
        let share = room.as_mut().and_then(|room| room.split(job.reply_bytes()));
        let writes = job.content().is_some();
        let packet = match (&mut *self, job.task) {
            (Self::Paths, Task::Request(request)) => ops::answer(shared, job.id, request),
            (Self::File(file), Task::Request(request)) => ops::answer_file(shared, file, job.id, request),
            (Self::File(file), Task::Copy { source, offset, length, to_offset }) => {
                extensions::copy(job.id, &source, offset, length, file, to_offset)
            }
            (Self::Dir(dir), Task::Request(request)) => ops::answer_dir(shared, dir, job.id, request),
            (Self::Paths | Self::Dir(_), Task::Copy { .. }) => Failed::no_handle().reply(job.id),
        };
        // What else is long in a request, a path, may be in the reply again.
        if writes {
            job.cost.content_is_done();
        }
        shared.reply(packet, job.cost, share);
    }
}

impl Job {
    /// Where it writes what.
    fn content(&self) -> Option<(u64, &[u8])> {
        match &self.task {
            Task::Request(Request::Write { offset, content, .. }) => Some((*offset, content)),
            _ => None,
        }
    }

    /// Whether it writes where another ends.
    fn goes_on_from(&self, last: &Self) -> bool {
        let (Some((offset, _)), Some((before, content))) = (self.content(), last.content()) else {
            return false;
        };
        before.checked_add(content.len() as u64) == Some(offset)
    }

    /// Whether it most often takes microseconds: what touches few blocks, and flushes and frees none, as a rule.
    fn is_short(&self, lane: &Lane) -> bool {
        let Task::Request(request) = &self.task else { return false };
        match (request, lane) {
            (Request::Close { .. }, Lane::File(file)) => file.closes_at_once(),
            // A large file is read ahead of by the pool, while what was read is encrypted.
            (Request::Read { offset, .. }, _) => *offset < SHORT_BYTES,
            (Request::Write { offset, content, .. }, _) => {
                offset.saturating_add(content.len() as u64) <= SHORT_BYTES
            }
            (
                Request::SetStat { attributes, .. }
                | Request::LinkSetStat { attributes, .. }
                | Request::HandleSetStat { attributes, .. },
                _,
            ) => attributes.size.is_none(),
            (request, _) => request.is_short(),
        }
    }

    /// Whether it goes through all of a file.
    fn is_long(&self) -> bool {
        match &self.task {
            Task::Copy { .. } => true,
            Task::Request(request) => {
                matches!(request, Request::CheckName { .. } | Request::CheckHandle { .. })
            }
        }
    }

    /// How much content its reply may hold.
    fn reply_bytes(&self) -> usize {
        match &self.task {
            Task::Request(Request::Read { length, .. }) => (*length as usize).min(DATA_BYTES_MAX),
            Task::Request(Request::ReadDir { .. }) => DIR_BYTES,
            Task::Request(Request::ReadLink { .. }) => TARGET_BYTES,
            Task::Request(Request::CheckHandle { check: Check { block_size: 1.., .. }, .. }) => DIR_BYTES,
            _ => 0,
        }
    }
}

/// Writes replies as they come, small ones together.
async fn write_replies(
    mut replies: mpsc::UnboundedReceiver<Reply>,
    mut writer: impl AsyncWrite + Unpin,
    credit: Arc<Credit>,
    room: Arc<Semaphore>,
) -> io::Result<()> {
    let mut together = BytesMut::new();
    while let Some(first) = replies.recv().await {
        let mut held = vec![first];
        while held.len() < TOGETHER_MAX
            && let Ok(next) = replies.try_recv()
        {
            held.push(next);
        }
        credit.set_writing(true);
        let written = write_some(&mut writer, &held, &mut together).await;
        credit.set_writing(false);
        if let Err(error) = written {
            // Lanes that wait for room have nobody to wait for.
            room.close();
            return Err(error);
        }
    }
    // All was taken; a client that has closed its side already hears no end.
    let _ = writer.shutdown().await;
    Ok(())
}

async fn write_some(
    writer: &mut (impl AsyncWrite + Unpin),
    replies: &[Reply],
    together: &mut BytesMut,
) -> io::Result<()> {
    for reply in replies {
        if reply.packet.len() < SMALL_BYTES {
            together.extend_from_slice(&reply.packet);
            continue;
        }
        if !together.is_empty() {
            writer.write_all(&together.split()).await?;
        }
        writer.write_all(&reply.packet).await?;
    }
    if !together.is_empty() {
        writer.write_all(&together.split()).await?;
    }
    writer.flush().await
}

fn too_many_handles() -> Failed {
    Failed::new(Status::Failure, format!("{HANDLES_MAX} handles are open; close some first"))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Handles of one session; what `limits@openssh.com` tells.
pub(crate) const HANDLES_MAX: usize = 512;
/// More than there is of one identity.
const TOLD_MAX: usize = 64;
/// Content that waits in replies: what the usual client asks for at once.
const ROOM_BYTES: usize = 2 << 20;
/// Requests that one blocking job answers.
const BATCH_JOBS: usize = 64;
/// And content, so that the first of it is on its way while the next is read.
const BATCH_BYTES: usize = 512 << 10;
/// What a page of a listing takes at most.
const DIR_BYTES: usize = 128 << 10;
/// What the target of a link takes in a reply at most, where it stands twice.
const TARGET_BYTES: usize = 9 << 10;
const SMALL_BYTES: usize = 4 << 10;
/// What there is of a request beside content and long paths.
const SMALL_PACKET_BYTES: usize = 64;
/// Of a file, from its beginning on, what is read and written at once.
const SHORT_BYTES: u64 = 64 << 10;
/// Requests of one lane that came together and are answered at once: few, so that other lanes have their turn.
const SHORT_JOBS: usize = 4;
const TOGETHER_MAX: usize = 64;
