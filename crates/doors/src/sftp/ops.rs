//! One answer for each kind of request, all through the view (spec/doors.md, "SFTP"). Everything here blocks.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use sft_base::{EntryPath, Kind};
use sft_engine::{Moment, OpenFile};
use sft_wire::{Code, WireError};

use super::attributes::FileAttributes;
use super::extensions;
use super::files::{
    Dir, File, FirstWrite, OpenedFile, applied, finished, name_reply, owner_is_left, stat_reply, wanted,
};
use super::packet::Writing;
use super::paths::shown;
use super::request::Request;
use super::session::{Opened, Shared};
use super::status::{Failed, Outcome, Status};

/// Answers a request that names a path, or nothing.
pub(crate) fn answer(shared: &Arc<Shared>, id: u32, request: Request) -> Vec<u8> {
    let paths = &shared.paths;
    let reply = match request {
        Request::Open { path, flags, attributes } => open(shared, id, &path, Flags(flags), &attributes),
        Request::OpenDir { path } => open_dir(shared, id, &path),
        Request::LinkStat { path } => stat(shared, id, &path, false),
        Request::Stat { path } => stat(shared, id, &path, true),
        Request::SetStat { path, attributes } => Ok(finished(id, set_stat(shared, &path, &attributes, true))),
        Request::LinkSetStat { path, attributes } => {
            Ok(finished(id, set_stat(shared, &path, &attributes, false)))
        }
        Request::Remove { path } => Ok(finished(id, remove(shared, &path))),
        Request::MakeDir { path, attributes } => {
            let mode = attributes.permissions.unwrap_or(0o777) & 0o777;
            Ok(finished(id, paths.at(&path, |path| paths.view.make_dir(path, mode)).map_err(Failed::from)))
        }
        Request::RemoveDir { path } => Ok(finished(id, remove_dir(shared, &path))),
        Request::RealPath { path } => real_path(shared, id, &path),
        Request::ExpandPath { path } => real_path(shared, id, without_tilde(&path)),
        Request::HomeDirectory { .. } => Ok(name_reply(id, &shown(paths.home()))),
        Request::Rename { from, to } => Ok(finished(id, rename(shared, &from, &to, false))),
        Request::PosixRename { from, to } => Ok(finished(id, rename(shared, &from, &to, true))),
        Request::HardLink { from, to } => {
            let linked = paths.at(&from, |from| paths.at(&to, |to| paths.view.link(from, to)));
            Ok(finished(id, linked.map_err(Failed::from)))
        }
        Request::ReadLink { path } => {
            let target = paths.at(&path, |path| paths.view.read_link(path));
            target.map(|target| name_reply(id, &target)).map_err(not_a_link)
        }
        Request::MakeLink { target, path } => {
            let made = paths.at(&path, |path| paths.view.make_link(&target, path));
            Ok(finished(id, made.map_err(Failed::from)))
        }
        Request::StatFileSystem { .. } => extensions::space(shared, id),
        Request::Limits => Ok(extensions::limits(id)),
        Request::CheckName { path, check } => {
            let opened = paths.at_target(&path, |path| paths.view.open(path));
            let opened = opened.map(|source| File::Source(source, EntryPath::root()));
            opened.map_err(Failed::from).and_then(|file| extensions::check(shared, id, &file, &check))
        }
        Request::Unknown { name } => {
            Err(Failed::new(Status::Unsupported, format!("{name} is not served here")))
        }
        // Those that name a handle go to its lane.
        _ => Err(Failed::no_handle()),
    };
    reply.unwrap_or_else(|failed| failed.reply(id))
}

/// Answers a request for an open file.
pub(crate) fn answer_file(shared: &Arc<Shared>, file: &Arc<File>, id: u32, request: Request) -> Vec<u8> {
    let reply = match request {
        Request::Read { offset, length, .. } => file.read(id, offset, length),
        Request::Write { offset, content, .. } => Ok(finished(id, file.write(offset, &[&content]))),
        Request::HandleStat { .. } => file.stat().map(|stat| stat_reply(id, &stat)),
        Request::HandleSetStat { attributes, .. } => Ok(finished(id, set_handle(shared, file, &attributes))),
        Request::Sync { .. } => Ok(finished(id, file.sync())),
        Request::Close { .. } => Ok(finished(id, close(shared, file))),
        Request::HandleStatFileSystem { .. } => extensions::space(shared, id),
        Request::CheckHandle { check, .. } => extensions::check(shared, id, file, &check),
        _ => Err(Failed::new(Status::Failure, "this handle is that of a file")),
    };
    reply.unwrap_or_else(|failed| failed.reply(id))
}

/// Answers a request for a directory being listed.
pub(crate) fn answer_dir(shared: &Arc<Shared>, dir: &mut Dir, id: u32, request: Request) -> Vec<u8> {
    let reply = match request {
        Request::ReadDir { .. } => dir.read(id),
        Request::Close { .. } => Ok(finished(id, Ok(()))),
        Request::HandleStatFileSystem { .. } => extensions::space(shared, id),
        _ => Err(Failed::new(Status::Failure, "this handle is that of a directory")),
    };
    reply.unwrap_or_else(|failed| failed.reply(id))
}

/// How a file is to be opened (draft, section 6.3).
#[derive(Clone, Copy)]
struct Flags(u32);

impl Flags {
    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

const READ: u32 = 0x01;
const WRITE: u32 = 0x02;
const APPEND: u32 = 0x04;
const CREATE: u32 = 0x08;
const TRUNCATE: u32 = 0x10;
const EXCLUSIVE: u32 = 0x20;

fn open(
    shared: &Arc<Shared>,
    id: u32,
    path: &[u8],
    flags: Flags,
    attributes: &FileAttributes,
) -> Outcome<Vec<u8>> {
    shared.check_room()?;
    let paths = &shared.paths;
    let open = |path: &EntryPath| open_at(shared, path, flags, attributes);
    // A new file is never made through a link that stands in its place.
    let exclusive = flags.has(CREATE) && flags.has(EXCLUSIVE);
    let file = if exclusive { paths.at(path, open) } else { paths.at_target(path, open) }?;
    let draft = match &file {
        File::Open(OpenedFile { file, began_draft: Some(since), .. }) => Some((file.clone(), *since)),
        _ => None,
    };
    // The session has ended meanwhile: no lane leaves what this one had.
    handle(shared, id, Opened::File(file)).inspect_err(|_| {
        if let Some((draft, since)) = draft {
            leave_draft(shared, &draft, since);
        }
    })
}

fn open_at(
    shared: &Arc<Shared>,
    path: &EntryPath,
    flags: Flags,
    attributes: &FileAttributes,
) -> Result<File, WireError> {
    let view = &shared.paths.view;
    if !flags.has(WRITE | APPEND | CREATE | TRUNCATE) && shared.draft(path).is_none() {
        return view.open(path).map(|source| File::Source(source, path.clone()));
    }
    let (mut first, mut flushes) = (FirstWrite::Plain, false);
    let (file, began_draft) = match shared.draft(path) {
        Some(_) if flags.has(EXCLUSIVE) => {
            return Err(
                Code::ALREADY_EXISTS.because(format!("{path}: it is being written already, by this client"))
            );
        }
        Some(draft) => {
            if flags.has(TRUNCATE) {
                draft.set_size(0)?;
            }
            (draft, None)
        }
        None => {
            let now = shared.leftovers.now();
            let begun = begin(shared, path, flags, attributes)?;
            let file = Arc::new(begun.file);
            (first, flushes) = (begun.first, begun.replaces);
            if file.is_draft() {
                shared.add_draft(path.clone(), &file);
            }
            let began_draft = file.is_draft().then_some(now);
            (file, began_draft)
        }
    };
    Ok(File::Open(OpenedFile {
        file,
        path: path.clone(),
        reads: flags.has(READ),
        appends: flags.has(APPEND),
        began_draft,
        resumed: first == FirstWrite::Resuming,
        first: Mutex::new(first),
        set_id: view.grant().set_id(),
        flushes: AtomicBool::new(flushes),
    }))
}

/// A file opened for writing.
struct Begun {
    file: OpenFile,
    first: FirstWrite,
    /// Whether it is a draft of what is to take the place of something.
    replaces: bool,
}

/// Opens for writing: what is made anew, emptied, or written over from end to end is a draft until it is closed; what is
/// there is otherwise written in place.
fn begin(
    shared: &Arc<Shared>,
    path: &EntryPath,
    flags: Flags,
    attributes: &FileAttributes,
) -> Result<Begun, WireError> {
    let (view, leftovers) = (&shared.paths.view, &shared.leftovers);
    let exclusive = flags.has(CREATE) && flags.has(EXCLUSIVE);
    let mode = attributes.permissions.unwrap_or(0o666) & 0o777;
    let plain = |file| Begun { file, first: FirstWrite::Plain, replaces: false };
    match view.stat(path) {
        Ok(_) if exclusive => Err(Code::ALREADY_EXISTS.because(exists(path))),
        Ok(stat) if stat.meta.kind == Kind::Dir => {
            Err(Code::IS_A_DIRECTORY.because(format!("{path}: it is a directory")))
        }
        Ok(stat) if flags.has(TRUNCATE) => {
            // Opened to see that it may be written; it is not touched.
            view.open_in_place(path)?;
            let draft = view.draft(path, 0o600, false)?;
            keep_mode(shared, &draft, &stat)?;
            // Not before, because it guards what is there.
            leftovers.forget(view, path);
            shared.tell_begun(path, false);
            Ok(Begun { replaces: true, ..plain(draft) })
        }
        Ok(stat) => {
            let in_place = view.open_in_place(path)?;
            check_not_gone(shared, path)?;
            let is_misled = leftovers.was_cut_off(view, path);
            let first = if is_misled { FirstWrite::Misled } else { FirstWrite::Plain };
            // So scp begins to write a file over. What may not be read is not copied, and cannot be kept where nothing is written.
            let is_over = flags.has(CREATE) && !flags.has(READ | APPEND);
            match is_over.then(|| view.draft_over(path)).and_then(Result::ok) {
                Some(draft) => {
                    keep_mode(shared, &draft, &stat)?;
                    Ok(Begun { file: draft, first, replaces: true })
                }
                None => Ok(Begun { first, ..plain(in_place) }),
            }
        }
        Err(error) if error.code == Code::NOT_FOUND && !exclusive && !flags.has(TRUNCATE) => {
            check_parent(shared, path)?;
            match leftovers.resume(view, path)? {
                Some(file) => {
                    shared.tell_begun(path, false);
                    Ok(Begun { first: FirstWrite::Resuming, ..plain(file) })
                }
                None => {
                    check_not_gone(shared, path)?;
                    if flags.has(CREATE) { view.draft(path, mode, exclusive).map(plain) } else { Err(error) }
                }
            }
        }
        // What may not be looked at may perhaps be made.
        Err(error) if flags.has(CREATE) && (error.code == Code::NOT_FOUND || error.code == Code::DENIED) => {
            check_parent(shared, path)?;
            leftovers.forget(view, path);
            shared.tell_begun(path, false);
            view.draft(path, mode, exclusive).map(plain)
        }
        Err(error) if error.code == Code::DENIED => view.open_in_place(path).map(plain),
        Err(error) => Err(error),
    }
}

/// Who was told of a beginning means to send the end alone: what that would make is refused when the beginning is gone.
fn check_not_gone(shared: &Shared, path: &EntryPath) -> Result<(), WireError> {
    if !shared.was_told_begun(path) {
        return Ok(());
    }
    Err(Code::CHANGED.because(format!(
        "{path}: what had come of it is not there any more; ask for its size again, or send the whole file again"
    )))
}

fn keep_mode(shared: &Shared, draft: &OpenFile, of: &sft_store::Stat) -> Result<(), WireError> {
    let bits = if shared.paths.view.grant().set_id() { 0o7777 } else { 0o777 };
    let kept = sft_store::Attributes { modified: None, mode: Some(of.meta.mode & bits) };
    draft.set_attributes(&kept).map(|_| ())
}

/// A file that could not be published for want of a directory is better refused at once.
fn check_parent(shared: &Shared, path: &EntryPath) -> Result<(), WireError> {
    let Some(parent) = path.parent() else {
        return Err(Code::IS_A_DIRECTORY.because("/: it is a directory"));
    };
    match shared.paths.view.stat(&parent) {
        // Where it leads, whoever knows of links tries next; this is told if that is nowhere.
        Ok(stat) if stat.meta.kind == Kind::Link => Err(Code::LEADS_OUTSIDE
            .because(format!("{parent}: it is a link that leads to no directory that is served"))),
        Ok(stat) if stat.meta.kind != Kind::Dir => {
            Err(Code::NOT_A_DIRECTORY.because(format!("{parent}: it is not a directory")))
        }
        Ok(_) => Ok(()),
        Err(error) if error.code == Code::DENIED => Ok(()),
        Err(error) => Err(error),
    }
}

fn exists(path: &EntryPath) -> String {
    format!("{path}: an entry of this name exists already")
}

fn open_dir(shared: &Arc<Shared>, id: u32, path: &[u8]) -> Outcome<Vec<u8>> {
    let paths = &shared.paths;
    let listing = paths.at_target(path, |path| paths.view.list(path))?;
    handle(shared, id, Opened::Dir(Dir { listing }))
}

fn handle(shared: &Arc<Shared>, id: u32, opened: Opened) -> Outcome<Vec<u8>> {
    let handle = shared.open(opened)?;
    Ok(Writing::reply(HANDLE, id).string(&handle.to_be_bytes()).done())
}

/// A draft becomes what it was begun for.
fn close(shared: &Shared, file: &File) -> Outcome<()> {
    let File::Open(opened) = file else { return Ok(()) };
    let Some(since) = opened.began_draft else { return Ok(()) };
    shared.take_draft(&opened.path);
    let (view, leftovers) = (&shared.paths.view, &shared.leftovers);
    let first = *opened.first();
    if first == FirstWrite::Refused {
        opened.file.give_up_draft();
        leftovers.closed(&opened.file);
        return Ok(());
    }
    if matches!(first, FirstWrite::Resuming | FirstWrite::BehindGap) {
        leave_draft(shared, &opened.file, since);
        let text = format!("{}: only the beginning of it has come, and nothing was added", opened.path);
        return Err(Failed::new(Status::Failure, text));
    }
    let was_draft = opened.file.is_draft();
    // Whoever goes on after that failed would take for theirs what has the name.
    opened.file.publish().inspect_err(|error| {
        if error.code == Code::NO_SPACE && !opened.resumed {
            // The room is given back. What had come before stays, because it was promised.
            opened.file.drop_content();
        }
        leave_draft(shared, &opened.file, since);
    })?;
    if was_draft {
        leftovers.published(view, &opened.path);
    }
    leftovers.closed(&opened.file);
    Ok(())
}

/// What is left of a file that was not closed when the session ended.
pub(crate) fn leave(shared: &Shared, file: &File) {
    if let File::Open(OpenedFile { file, began_draft: Some(since), .. }) = file {
        leave_draft(shared, file, *since);
    }
}

fn leave_draft(shared: &Shared, draft: &Arc<OpenFile>, since: Moment) {
    shared.leftovers.leave(&shared.paths.view, draft, since);
    // Only now, so that it is known of at any time.
    shared.leftovers.closed(draft);
}

fn stat(shared: &Shared, id: u32, path: &[u8], follow: bool) -> Outcome<Vec<u8>> {
    let paths = &shared.paths;
    let stat = |path: &EntryPath| {
        shared.tell_begun(path, false);
        match shared.draft(path) {
            Some(draft) => draft.stat(),
            None => paths.view.stat(path).or_else(|error| match draft_behind_links(shared, path) {
                Some(draft) => draft.stat(),
                None if error.code == Code::NOT_FOUND => begun_before(shared, path).ok_or(error),
                None => Err(error),
            }),
        }
    };
    let stat = if follow { paths.at_target(path, stat) } else { paths.at(path, stat) }?;
    Ok(stat_reply(id, &stat))
}

/// What there is of a file that an earlier session has not finished.
fn begun_before(shared: &Shared, path: &EntryPath) -> Option<sft_store::Stat> {
    let (paths, leftovers) = (&shared.paths, &shared.leftovers);
    if leftovers.is_empty() {
        return None;
    }
    let begun = |path: &EntryPath| {
        let stat = leftovers.stat(&paths.view, path)?;
        shared.tell_begun(path, true);
        Some(stat)
    };
    begun(path).or_else(|| begun(&paths.real(path, false).ok()?))
}

/// A draft is known by its path without links.
fn draft_behind_links(shared: &Shared, path: &EntryPath) -> Option<Arc<OpenFile>> {
    if !shared.has_drafts() {
        return None;
    }
    shared.draft(&shared.paths.real(path, false).ok()?)
}

fn set_stat(shared: &Shared, path: &[u8], asked: &FileAttributes, follow: bool) -> Outcome<()> {
    let paths = &shared.paths;
    let attributes = wanted(asked, paths.view.grant().set_id());
    let set = |path: &EntryPath| {
        let draft = shared.draft(path);
        if let Some(size) = asked.size {
            match &draft {
                Some(draft) => draft.set_size(size)?,
                None => paths.view.open_in_place(path)?.set_size(size)?,
            }
        }
        match draft {
            _ if attributes == sft_store::Attributes::default() => Ok(Vec::new()),
            Some(draft) => draft.set_attributes(&attributes),
            None => paths.view.set_attributes(path, &attributes),
        }
    };
    let unapplied = if follow { paths.at_target(path, set) } else { paths.at(path, set) }?;
    applied(&unapplied)?;
    owner_is_left(asked)
}

/// Attributes may be set by a handle that only reads; the size may not. As long as the file has its name, that is.
fn set_handle(shared: &Shared, file: &File, asked: &FileAttributes) -> Outcome<()> {
    let (File::Source(source, path), None) = (file, asked.size) else { return file.set(asked) };
    let opened = source.stat().map_err(|e| Failed::from(sft_engine::wire_error(&e)))?;
    if shared.paths.view.stat(path)?.version != opened.version {
        return Err(Failed::new(Status::Failure, format!("{path}: it is not the file that was opened")));
    }
    set_stat(shared, &shown(path), asked, false)
}

fn remove(shared: &Shared, path: &[u8]) -> Outcome<()> {
    let paths = &shared.paths;
    let remove = |path: &EntryPath| {
        if paths.view.stat(path).is_ok_and(|stat| stat.meta.kind == Kind::Dir) {
            return Err(Code::IS_A_DIRECTORY.because(format!("{path}: it is a directory")));
        }
        // First, so that nothing is given up by whoever may not, or without what has the name.
        let removed = paths.view.remove(path, false).map(|_| ());
        if removed.as_ref().is_err_and(|error| error.code != Code::NOT_FOUND) {
            return removed;
        }
        let draft = shared.take_draft(path);
        if let Some(draft) = &draft {
            draft.give_up_draft();
            shared.leftovers.closed(draft);
        }
        shared.tell_begun(path, false);
        let was_begun = shared.leftovers.forget(&paths.view, path) || draft.is_some();
        // What was only a draft is gone with it.
        if was_begun { Ok(()) } else { removed }
    };
    Ok(paths.at(path, remove)?)
}

fn remove_dir(shared: &Shared, path: &[u8]) -> Outcome<()> {
    let paths = &shared.paths;
    let remove = |path: &EntryPath| match paths.view.stat(path) {
        Ok(stat) if stat.meta.kind != Kind::Dir => {
            Err(Code::NOT_A_DIRECTORY.because(format!("{path}: it is not a directory")))
        }
        _ => paths.view.remove(path, false).map(|_| ()),
    };
    Ok(paths.at(path, remove)?)
}

fn rename(shared: &Shared, from: &[u8], to: &[u8], replace: bool) -> Outcome<()> {
    let paths = &shared.paths;
    let rename = |from: &EntryPath, to: &EntryPath| {
        let Some(draft) = shared.draft(from) else {
            paths.view.rename(from, to, replace)?;
            shared.leftovers.published(&paths.view, to);
            shared.tell_begun(to, false);
            return Ok(());
        };
        if !replace && paths.view.stat(to).is_ok() {
            return Err(Code::ALREADY_EXISTS.because(exists(to)));
        }
        // What had the name until now goes with it, and is replaced when the draft is complete; whether that may be is asked
        // in any case.
        match paths.view.rename(from, to, replace) {
            Err(error) if error.code == Code::NOT_FOUND => {}
            renamed => renamed?,
        }
        draft.rename_draft(to, replace)?;
        shared.take_draft(from);
        shared.add_draft(to.clone(), &draft);
        shared.tell_begun(to, false);
        Ok(())
    };
    Ok(paths.at(from, |from| paths.at(to, |to| rename(from, to)))?)
}

fn real_path(shared: &Shared, id: u32, path: &[u8]) -> Outcome<Vec<u8>> {
    let meant = shared.paths.meant(path)?;
    // A path that leads nowhere is told as it is meant: clients ask for those they are about to make.
    let real = shared.paths.real(&meant, true).unwrap_or(meant);
    Ok(name_reply(id, &shown(&real)))
}

/// `~` is where a client begins; there are no other users' homes.
fn without_tilde(path: &[u8]) -> &[u8] {
    match path {
        b"~" => b"",
        [b'~', b'/', rest @ ..] => {
            let slashes = rest.iter().take_while(|&&b| b == b'/').count();
            &rest[slashes..]
        }
        path => path,
    }
}

/// The store's word for this is about directories.
fn not_a_link(error: WireError) -> Failed {
    let status = if error.code == Code::NOT_A_DIRECTORY {
        Status::Failure
    } else {
        Failed::from(error.clone()).status
    };
    Failed::new(status, error.text)
}

const HANDLE: u8 = 102;
