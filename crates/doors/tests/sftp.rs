//! Promise: SFTP version 3 as the draft and OpenSSH have it, and what spec/doors.md says beyond, packet by packet.

mod support;

use std::path::Path;

use sft_auth::{Grant, Right, Rights};
use sft_base::EntryPath;
use support::*;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_there_when_it_is_closed_and_not_before() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "old").unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let old = raw.open("/a", WR | CREAT | TRUNC).await.handle();
    let new = raw.open("/b", WR | CREAT | TRUNC).await.handle();
    raw.write(&old, 4, b"done").await.ok();
    raw.write(&old, 0, b"well").await.ok();
    raw.write(&new, 0, b"x").await.ok();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"old");
    assert_eq!(names(dir.path()), ["a"]);
    assert_eq!(raw.path(STAT, "/a").await.size(), 8, "who writes it sees it");
    assert_eq!(raw.path(STAT, "/b").await.size(), 1);
    raw.close(&old).await.ok();
    raw.close(&new).await.ok();
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"welldone");
    assert_eq!(names(dir.path()), ["a", "b"]);
    assert_eq!(raw.close(&old).await.status(), FAILURE, "it is closed");
    raw.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_leaves_the_old_content() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "old").unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let (old, new) =
        (raw.open("a", WR | CREAT | TRUNC).await.handle(), raw.open("n", WR | CREAT).await.handle());
    raw.write(&old, 0, &[7; 200_000]).await.ok();
    raw.write(&new, 0, &[7; 200_000]).await.ok();
    let _ = raw.lose().await;
    // The lanes end on their own, a moment later.
    let left = || {
        let shards = dir.path().join(".sft/stage").read_dir().into_iter().flatten().flatten();
        let is_empty =
            |path: std::path::PathBuf| path.read_dir().is_ok_and(|mut files| files.next().is_none());
        shards.filter(|entry| !is_empty(entry.path())).count()
    };
    let begun = std::time::Instant::now();
    while left() > 0 {
        assert!(begun.elapsed().as_secs() < 60, "drafts are left behind");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(
        (std::fs::read(dir.path().join("a")).unwrap(), names(dir.path())),
        (b"old".to_vec(), vec!["a".into()])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_written_in_place() {
    let dir = folder();
    let file = dir.path().join("a");
    std::fs::write(&file, "0123456789").unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let handle = raw.open("a", RD | WR).await.handle();
    raw.write(&handle, 2, b"XY").await.ok();
    assert_eq!(std::fs::read(&file).unwrap(), b"01XY456789");
    let reply = raw.read(&handle, 1, 4).await;
    assert_eq!((reply.kind, reply.string(0)), (DATA, &b"1XY4"[..]));
    assert_eq!(raw.read(&handle, 10, 1).await.status(), EOF);
    raw.ask(FSETSTAT, &[&string(&handle), &size(3)]).await.ok();
    assert_eq!(std::fs::read(&file).unwrap(), b"01X");
    let _ = raw.lose().await;
    assert_eq!(std::fs::read(&file).unwrap(), b"01X", "as POSIX says");
    let mut raw = Raw::new(dir.path()).await;
    let append = raw.open("a", WR | APPEND | CREAT).await.handle();
    raw.write(&append, 0, b"+").await.ok();
    raw.write(&append, 0, b"+").await.ok();
    assert_eq!(std::fs::read(&file).unwrap(), b"01X++");
    raw.ask(SETSTAT, &[&string(b"a"), &size(1)]).await.ok();
    assert_eq!(std::fs::read(&file).unwrap(), b"0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_follows_its_flags() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "x").unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::os::unix::fs::symlink("a", dir.path().join("l")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("out")).unwrap();
    let mut raw = Raw::new(dir.path()).await;
    assert_eq!(raw.open("n", RD).await.status(), NO_SUCH_FILE);
    assert_eq!(raw.open("n", WR).await.status(), NO_SUCH_FILE);
    assert_eq!(raw.open("a", WR | CREAT | EXCL).await.status(), FAILURE);
    assert_eq!(raw.open("l", WR | CREAT | EXCL).await.status(), FAILURE);
    assert_eq!(raw.open("d", WR | CREAT | TRUNC).await.status(), FAILURE);
    assert_eq!(raw.open("d", RD).await.status(), FAILURE);
    assert_eq!(raw.open("no/n", WR | CREAT).await.status(), NO_SUCH_FILE);
    assert_eq!(raw.open("out", RD).await.status(), DENIED);
    assert_eq!(raw.open("out", WR | CREAT | TRUNC).await.status(), DENIED);
    assert_eq!(raw.open("../../../etc/passwd", RD).await.status(), NO_SUCH_FILE);
    assert_eq!(raw.open(".sft/x", WR | CREAT).await.status(), DENIED);
    let read = raw.open("l", RD).await.handle();
    assert_eq!(raw.read(&read, 0, 9).await.string(0), b"x");
    assert_eq!(raw.write(&read, 0, b"y").await.status(), DENIED);
    let write = raw.open("l", WR | TRUNC).await.handle();
    assert_eq!(raw.read(&write, 0, 1).await.status(), DENIED);
    raw.write(&write, 0, b"z").await.ok();
    raw.close(&write).await.ok();
    assert!(dir.path().join("l").is_symlink(), "the file behind it was replaced");
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_is_made_where_the_links_on_the_way_lead() {
    let dir = folder();
    std::fs::create_dir_all(dir.path().join("d/e")).unwrap();
    std::os::unix::fs::symlink("d", dir.path().join("l")).unwrap();
    std::os::unix::fs::symlink("/", dir.path().join("out")).unwrap();
    let mut raw = Raw::new(dir.path()).await;
    for path in ["l/a", "l/e/a"] {
        let new = raw.open(path, WR | CREAT | TRUNC).await.handle();
        raw.write(&new, 0, b"new").await.ok();
        assert_eq!(raw.path(STAT, path).await.size(), 3, "who writes it sees it");
        assert_eq!(raw.path(STAT, &path.replace('l', "d")).await.size(), 3);
        raw.close(&new).await.ok();
        assert_eq!(std::fs::read(dir.path().join(path)).unwrap(), b"new");
    }
    assert_eq!(raw.open("out/tmp/a", WR | CREAT).await.status(), DENIED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_before_is_seen_by_its_name() {
    let dir = folder();
    std::fs::write(dir.path().join("there"), "").unwrap();
    let mut raw = Raw::new(dir.path()).await;
    for (path, flags) in [("new", WR | CREAT | EXCL), ("there", WR)] {
        let handle = raw.open(path, flags).await.handle();
        let content = vec![7; 200_000];
        for number in 1..=20_u64 {
            let offset = ((number - 1) * 200_000).to_be_bytes();
            raw.send(WRITE, &[&string(&handle), &offset, &string(&content)]).await;
            let looked = raw.send(LSTAT, &[&string(path.as_bytes())]).await;
            let replies = [raw.reply().await, raw.reply().await];
            let seen = replies.iter().find(|reply| reply.id == looked).unwrap();
            assert_eq!(seen.size(), number * 200_000, "{path}");
        }
        raw.close(&handle).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_that_reads_sets_all_but_the_size() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    let file = dir.path().join("a");
    std::fs::write(&file, "x").unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("l")).unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let read = raw.open("l/a", RD).await.handle();
    raw.ask(FSETSTAT, &[&string(&read), &permissions(0o640)]).await.ok();
    raw.ask(FSETSTAT, &[&string(&read), &permissions(0o500)]).await.ok();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o500);
    assert_eq!(raw.ask(FSETSTAT, &[&string(&read), &size(0)]).await.status(), DENIED);
    std::fs::rename(&file, dir.path().join("b")).unwrap();
    std::fs::write(&file, "another").unwrap();
    let reply = raw.ask(FSETSTAT, &[&string(&read), &permissions(0o777)]).await;
    assert_eq!(reply.status(), FAILURE, "the name has gone to another file");
    assert_ne!(file.metadata().unwrap().permissions().mode() & 0o777, 0o777);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_file_keeps_its_mode_and_a_new_one_has_what_was_asked() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    let mode = |name: &str| dir.path().join(name).metadata().unwrap().permissions().mode() & 0o7777;
    std::fs::write(dir.path().join("a"), "x").unwrap();
    std::fs::set_permissions(dir.path().join("a"), PermissionsExt::from_mode(0o750)).unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let old = raw.open("a", WR | CREAT | TRUNC).await.handle();
    raw.close(&old).await.ok();
    assert_eq!(mode("a"), 0o750);
    let flags = (WR | CREAT).to_be_bytes();
    let new = raw.ask(OPEN, &[&string(b"n"), &flags, &permissions(0o600)]).await.handle();
    raw.close(&new).await.ok();
    assert_eq!(mode("n"), 0o600);
    raw.ask(SETSTAT, &[&string(b"n"), &permissions(0o4711)]).await.ok();
    assert_eq!(mode("n"), 0o4711, "the owner may");
    drop(raw);
    let guest = Grant::owner_local().narrowed(&EntryPath::root(), Rights::WRITE);
    let mut raw = Raw::with(dir.path(), guest).await;
    raw.ask(SETSTAT, &[&string(b"n"), &permissions(0o4755)]).await.ok();
    assert_eq!(mode("n"), 0o755, "a guest may not");
    let owner = [&2u32.to_be_bytes()[..], &[0; 8]].concat();
    assert_eq!(raw.ask(SETSTAT, &[&string(b"n"), &owner]).await.status(), UNSUPPORTED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_made_changed_and_taken_away() {
    let dir = folder();
    let mut raw = Raw::new(dir.path()).await;
    raw.ask(MKDIR, &[&string(b"d"), &NO_ATTRIBUTES]).await.ok();
    assert_eq!(raw.ask(MKDIR, &[&string(b"d"), &NO_ATTRIBUTES]).await.status(), FAILURE);
    std::fs::write(dir.path().join("a"), "a").unwrap();
    std::fs::write(dir.path().join("b"), "b").unwrap();
    let (a, b) = (string(b"a"), string(b"b"));
    assert_eq!(raw.ask(RENAME, &[&a, &b]).await.status(), FAILURE, "version 3 replaces nothing");
    raw.ask(EXTENDED, &[&string(b"posix-rename@openssh.com"), &a, &b]).await.ok();
    assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), b"a");
    raw.ask(EXTENDED, &[&string(b"hardlink@openssh.com"), &b, &string(b"d/h")]).await.ok();
    raw.ask(SYMLINK, &[&string(b"d/h"), &string(b"s")]).await.ok();
    assert_eq!(std::fs::read_link(dir.path().join("s")).unwrap(), Path::new("d/h"));
    assert_eq!(raw.path(READLINK, "s").await.string(4), b"d/h");
    assert_eq!(raw.path(READLINK, "b").await.status(), FAILURE);
    assert_eq!(raw.path(REMOVE, "d").await.status(), FAILURE);
    assert_eq!(raw.path(RMDIR, "d").await.status(), FAILURE, "it is not empty");
    assert_eq!(raw.path(RMDIR, "b").await.status(), FAILURE);
    for name in ["d/h", "s", "b"] {
        raw.path(REMOVE, name).await.ok();
    }
    assert_eq!(raw.path(REMOVE, "b").await.status(), NO_SUCH_FILE);
    raw.path(RMDIR, "d").await.ok();
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_are_those_of_a_tree_of_its_own() {
    let dir = folder();
    std::fs::create_dir_all(dir.path().join("in/deep")).unwrap();
    std::os::unix::fs::symlink("in/deep", dir.path().join("l")).unwrap();
    std::fs::write(dir.path().join("in/deep/f"), "12345").unwrap();
    let mut raw = Raw::new(dir.path()).await;
    for (asked, told) in [
        (".", "/"),
        ("", "/"),
        ("/..", "/"),
        ("in/./deep/..", "/in"),
        ("l", "/in/deep"),
        ("l/new", "/in/deep/new"),
        ("no/such", "/no/such"),
    ] {
        assert_eq!(raw.path(REALPATH, asked).await.string(4), told.as_bytes(), "{asked}");
    }
    assert_eq!(raw.path(STAT, "l/f").await.size(), 5);
    let made = raw.open("l/g", WR | CREAT).await.handle();
    raw.close(&made).await.ok();
    assert!(dir.path().join("in/deep/g").is_file(), "through the link among its parents");
    let expand = string(b"expand-path@openssh.com");
    assert_eq!(raw.ask(EXTENDED, &[&expand, &string(b"~/in")]).await.string(4), b"/in");
    drop(raw);
    let inside = EntryPath::from_typed(b"in").unwrap();
    let mut guest = Raw::with(dir.path(), Grant::owner_local().narrowed(&inside, Rights::WRITE)).await;
    assert_eq!(guest.path(REALPATH, ".").await.string(4), b"/in");
    assert_eq!(guest.path(STAT, "deep/f").await.size(), 5);
    assert_eq!(guest.path(STAT, "/l").await.status(), DENIED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_does_what_was_given_and_no_more() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "secret").unwrap();
    let drop_only = Grant::owner_local().narrowed(&EntryPath::root(), Rights::of([Right::Create]));
    let mut raw = Raw::with(dir.path(), drop_only).await;
    assert_eq!(raw.open("a", RD).await.status(), DENIED);
    assert_eq!(raw.path(OPENDIR, "/").await.status(), DENIED);
    assert_eq!(raw.path(REMOVE, "a").await.status(), DENIED);
    assert_eq!(raw.open("a", WR).await.status(), DENIED);
    assert_eq!(raw.open("a", WR | CREAT | TRUNC).await.status(), DENIED);
    let new = raw.open("n", WR | CREAT | TRUNC).await.handle();
    raw.write(&new, 0, b"given").await.ok();
    raw.close(&new).await.ok();
    assert_eq!(std::fs::read(dir.path().join("n")).unwrap(), b"given");
    drop(raw);
    let reader = Grant::owner_local().narrowed(&EntryPath::root(), Rights::READ);
    let mut raw = Raw::with(dir.path(), reader).await;
    assert_eq!(raw.open("x", WR | CREAT).await.status(), DENIED);
    assert_eq!(raw.ask(MKDIR, &[&string(b"d"), &NO_ATTRIBUTES]).await.status(), DENIED);
    let read = raw.open("a", RD).await.handle();
    assert_eq!(raw.read(&read, 0, 99).await.string(0), b"secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_are_listed_to_their_end() {
    let dir = folder();
    for number in 0..450 {
        std::fs::write(dir.path().join(format!("f{number}")), "").unwrap();
    }
    let mut raw = Raw::new(dir.path()).await;
    let handle = raw.path(OPENDIR, "/").await.handle();
    let mut seen = 0;
    loop {
        let page = raw.ask(READDIR, &[&string(&handle)]).await;
        if page.kind == STATUS {
            assert_eq!(page.status(), EOF);
            break;
        }
        seen += page.u32(0);
        let name = String::from_utf8(page.string(4).to_vec()).unwrap();
        let long = String::from_utf8(page.string(4 + 4 + name.len()).to_vec()).unwrap();
        assert!(long.starts_with("-rw") && long.ends_with(&format!(" {name}")), "{long}");
    }
    assert_eq!(seen, 450);
    raw.close(&handle).await.ok();
    assert_eq!(raw.path(OPENDIR, "f0").await.status(), FAILURE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_to_one_handle_come_in_order_and_a_rename_after_its_close() {
    let dir = folder();
    let mut raw = Raw::new(dir.path()).await;
    let handle = raw.open("part", RD | WR | CREAT).await.handle();
    let h = string(&handle);
    let mut asked = Vec::new();
    for turn in 0u64..200 {
        let at = (turn * 1000).to_be_bytes();
        asked.push(raw.send(WRITE, &[&h, &at, &string(&[turn as u8; 1000])]).await);
        asked.push(raw.send(READ, &[&h, &at, &1000u32.to_be_bytes()]).await);
    }
    asked.push(raw.send(CLOSE, &[&h]).await);
    let rename = raw
        .send(EXTENDED, &[&string(b"posix-rename@openssh.com"), &string(b"part"), &string(b"whole")])
        .await;
    let mut answered = Vec::new();
    for _ in 0..asked.len() {
        let reply = raw.reply().await;
        if reply.kind == DATA {
            let turn = ((reply.id - asked[0]) / 2) as u8;
            assert!(reply.string(0) == [turn; 1000], "what was written before is read");
        } else {
            reply.ok();
        }
        answered.push(reply.id);
    }
    assert_eq!(answered, asked);
    let last = raw.reply().await;
    assert_eq!(last.id, rename);
    last.ok();
    assert_eq!(std::fs::metadata(dir.path().join("whole")).unwrap().len(), 200_000);
    assert_eq!(names(dir.path()), ["whole"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_ask_for_a_whole_file_before_it_takes_a_byte() {
    let dir = folder();
    let content: Vec<u8> = (0..16u32 << 20).map(|i| (i ^ (i >> 9)) as u8).collect();
    std::fs::write(dir.path().join("big"), &content).unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let handle = raw.open("big", RD).await.handle();
    let pieces = content.len() / (32 << 10);
    for piece in 0..pieces as u64 {
        raw.send(
            READ,
            &[&string(&handle), &(piece * (32 << 10)).to_be_bytes(), &(32u32 << 10).to_be_bytes()],
        )
        .await;
    }
    for piece in content.chunks(32 << 10) {
        assert!(raw.reply().await.string(0) == piece);
    }
    assert_eq!(raw.read(&handle, content.len() as u64, 1).await.status(), EOF);
    let longest = raw.read(&handle, 0, u32::MAX).await;
    assert_eq!(longest.string(0).len(), (256 << 10) - 1024, "what limits@openssh.com tells");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_do_what_they_say() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "hello world").unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let limits = raw.ask(EXTENDED, &[&string(b"limits@openssh.com")]).await;
    assert_eq!((limits.kind, limits.u64(0), limits.u64(24)), (EXTENDED_REPLY, 256 << 10, 512));
    let space = raw.ask(EXTENDED, &[&string(b"statvfs@openssh.com"), &string(b"/")]).await;
    assert!(space.kind == EXTENDED_REPLY && space.u64(16) >= space.u64(24) && space.rest.len() == 88);
    let (from, to) = (raw.open("a", RD).await.handle(), raw.open("b", WR | CREAT).await.handle());
    let (h, t) = (string(&from), string(&to));
    let n = |value: u64| value.to_be_bytes();
    raw.ask(EXTENDED, &[&string(b"copy-data"), &h, &n(6), &n(0), &t, &n(1)]).await.ok();
    raw.ask(EXTENDED, &[&string(b"fsync@openssh.com"), &t]).await.ok();
    raw.close(&to).await.ok();
    assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), b"\0world");
    let check = [string(b"md5,sha256"), n(0).to_vec(), n(5).to_vec(), 0u32.to_be_bytes().to_vec()].concat();
    let sum = raw.ask(EXTENDED, &[&string(b"check-file-handle"), &h, &check]).await;
    assert_eq!((sum.string(0), sum.string(14)), (&b"check-file"[..], &b"sha256"[..]));
    assert_eq!(sum.rest[24..28], [0x2c, 0xf2, 0x4d, 0xba], "sha256 of `hello`");
    let check = [string(b"blake3"), n(0).to_vec(), n(0).to_vec(), 0u32.to_be_bytes().to_vec()].concat();
    let sum = raw.ask(EXTENDED, &[&string(b"check-file-name"), &string(b"a"), &check]).await;
    assert_eq!(sum.rest[24..], blake3::hash(b"hello world").as_bytes()[..]);
    let unknown = raw.ask(EXTENDED, &[&string(b"teleport@example.org")]).await;
    assert_eq!(unknown.status(), UNSUPPORTED);
    let lset = [string(b"lsetstat@openssh.com"), string(b"a"), permissions(0o640)];
    raw.ask(EXTENDED, &[&lset[0], &lset[1], &lset[2]]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_can_be_renamed_and_removed_while_it_is_written() {
    let dir = folder();
    let mut raw = Raw::new(dir.path()).await;
    let handle = raw.open("tmp", WR | CREAT | EXCL).await.handle();
    raw.ask(EXTENDED, &[&string(b"posix-rename@openssh.com"), &string(b"tmp"), &string(b"kept")]).await.ok();
    raw.write(&handle, 0, b"k").await.ok();
    raw.close(&handle).await.ok();
    let handle = raw.open("gone", WR | CREAT).await.handle();
    raw.path(REMOVE, "gone").await.ok();
    assert_eq!(raw.path(STAT, "gone").await.status(), NO_SUCH_FILE);
    raw.close(&handle).await.ok();
    assert_eq!(names(dir.path()), ["kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_the_session_or_is_answered_and_never_more() {
    let dir = folder();
    let mut raw = Raw::new(dir.path()).await;
    assert_eq!(raw.ask(READ, &[&[0, 0, 0, 9]]).await.status(), BAD_MESSAGE);
    assert_eq!(raw.ask(99, &[]).await.status(), UNSUPPORTED);
    assert_eq!(raw.read(b"hand", 0, 1).await.status(), FAILURE);
    raw.to.write_all(&[0xff; 64]).await.unwrap();
    let ended = raw.server.await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_on_and_takes_no_reply_is_left() {
    let dir = folder();
    std::fs::write(dir.path().join("big"), vec![7; 256 << 10]).unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let handle = raw.open("big", RD).await.handle();
    let read = [&string(&handle)[..], &[0; 8], &(128u32 << 10).to_be_bytes()].concat();
    let read = [&(read.len() as u32 + 5).to_be_bytes()[..], &[READ, 0, 0, 0, 9], &read].concat();
    let many = read.repeat(1000);
    let ended = async {
        // What was sent before it was left is read to its end, and all that comes after.
        for _ in 0..500 {
            if raw.to.write_all(&many).await.is_err() {
                break;
            }
        }
        raw.server.await.unwrap().unwrap_err()
    };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(120), ended).await.unwrap();
    assert_eq!(ended.kind(), std::io::ErrorKind::InvalidData);
}

/// Sends requests on and on, of which no reply is taken, and sees that the session ends before all of them were.
async fn is_left(mut raw: Raw, kind: u8, fields: &[&[u8]], at_most: usize) {
    let ended = async {
        for _ in 0..at_most {
            let body = fields.concat();
            let packet = [&(body.len() as u32 + 5).to_be_bytes()[..], &[kind, 0, 0, 0, 9], &body].concat();
            if raw.to.write_all(&packet).await.is_err() {
                break;
            }
        }
        raw.server.await.unwrap().unwrap_err()
    };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(120), ended).await.expect("all is taken");
    assert_eq!(ended.kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_at_once_is_not_asked_for_without_end_either() {
    let dir = folder();
    let read = [&string(b"none")[..], &[0; 8], &9u32.to_be_bytes()].concat();
    // Of a handle that was never given; cut off; and the greeting once more.
    for (kind, fields) in [(READ, &read[..]), (STAT, &[0, 0, 0, 9]), (1, &[])] {
        is_left(Raw::new(dir.path()).await, kind, &[fields], 500_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_that_wait_are_counted_by_their_length() {
    let dir = folder();
    std::fs::write(dir.path().join("big"), vec![7; 256 << 10]).unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let handle = string(&raw.open("big", RD | WR).await.handle());
    // What waits for a reply to be taken is followed by a change, and that by all that names a path.
    for _ in 0..40 {
        raw.send(READ, &[&handle, &[0; 8], &(255u32 << 10).to_be_bytes()]).await;
    }
    raw.send(WRITE, &[&handle, &[0; 8], &string(b"x")]).await;
    is_left(raw, STAT, &[&string(&vec![b'a'; 200 << 10])], 2_000).await;
    // Where they do not wait, their replies do, in which they stand again.
    let long = string("a/".repeat(15 << 10).as_bytes());
    is_left(Raw::new(dir.path()).await, REALPATH, &[&long], 20_000).await;
    std::os::unix::fs::symlink("a/".repeat(2_000), dir.path().join("l")).unwrap();
    is_left(Raw::new(dir.path()).await, READLINK, &[&string(b"l")], 500_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_while_files_are_being_opened_leaves_nothing_open() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "x").unwrap();
    for _ in 0..20 {
        let mut raw = Raw::new(dir.path()).await;
        for turn in 0..150u32 {
            let (path, flags) = if turn % 2 == 0 { ("a", RD) } else { ("n", WR | CREAT | TRUNC) };
            raw.send(OPEN, &[&string(path.as_bytes()), &flags.to_be_bytes(), &NO_ATTRIBUTES]).await;
        }
        // It waits until the server has ended too, which it does when all lanes have.
        tokio::time::timeout(std::time::Duration::from_secs(60), raw.finish()).await.unwrap();
    }
    assert_eq!(names(dir.path()), ["a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_have_a_bound() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "x").unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let first = raw.open("a", RD).await.handle();
    for _ in 1..512 {
        raw.open("a", RD).await.handle();
    }
    assert_eq!(raw.open("a", RD).await.status(), FAILURE);
    raw.close(&first).await.ok();
    raw.open("a", RD).await.handle();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_together_are_each_answered_and_each_in_its_place() {
    let dir = folder();
    let mut raw = Raw::new(dir.path()).await;
    let handle = raw.open("f", WR | CREAT | TRUNC).await.handle();
    let mut expected = Vec::new();
    let mut sent = Vec::new();
    for number in 0..300u32 {
        // In rows, with a gap or an overlap between them, and an empty one now and then.
        let content = vec![number as u8; (number % 40 * 100) as usize];
        let at =
            if number % 7 == 0 { expected.len() + 50 - (number % 3 * 50) as usize } else { expected.len() };
        let at = at.min(expected.len() + 50);
        expected.resize(expected.len().max(at + content.len()), 0);
        expected[at..at + content.len()].copy_from_slice(&content);
        sent.push(raw.send(WRITE, &[&string(&handle), &(at as u64).to_be_bytes(), &string(&content)]).await);
    }
    for id in sent {
        let reply = raw.reply().await;
        assert_eq!((reply.id, reply.status()), (id, OK));
    }
    raw.close(&handle).await.ok();
    assert!(std::fs::read(dir.path().join("f")).unwrap() == expected);
    let append = raw.open("f", WR | APPEND).await.handle();
    let ids = [
        raw.send(WRITE, &[&string(&append), &[0; 8], &string(b"one")]).await,
        raw.send(WRITE, &[&string(&append), &3u64.to_be_bytes(), &string(b"two")]).await,
    ];
    for id in ids {
        assert_eq!(raw.reply().await.id, id);
    }
    raw.close(&append).await.ok();
    assert!(std::fs::read(dir.path().join("f")).unwrap() == [&expected[..], b"onetwo"].concat());
}

/// What is written over a file holds that file's content: it is for those who may read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_read_is_not_read_through_what_replaces_it() {
    let dir = folder();
    let file = dir.path().join("a");
    std::fs::write(&file, "secret").unwrap();
    let rights = Rights::of([Right::List, Right::Create, Right::Replace, Right::Remove]);
    let writer = Grant::owner_local().narrowed(&EntryPath::root(), rights);
    let mut raw = Raw::with(dir.path(), writer).await;
    let over = raw.open("a", WR | CREAT).await.handle();
    // As many parts as no draft remembers, after which it is all there.
    for part in 0..1100_u64 {
        raw.write(&over, 10 + 2 * part, b"x").await.ok();
    }
    let again = raw.open("a", RD | WR).await.handle();
    assert_eq!(raw.read(&again, 0, 6).await.status(), DENIED);
    raw.path(REMOVE, "a").await.ok();
    assert_eq!(raw.read(&again, 0, 6).await.status(), DENIED);
    assert_eq!(raw.read(&over, 0, 6).await.status(), DENIED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_is_removed_and_renamed_by_those_who_may() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "old").unwrap();
    let rights = Rights::of([Right::List, Right::Read, Right::Create, Right::Replace]);
    let changer = Grant::owner_local().narrowed(&EntryPath::root(), rights);
    let mut raw = Raw::with(dir.path(), changer).await;
    let draft = raw.open("a", WR | CREAT).await.handle();
    raw.write(&draft, 0, b"new").await.ok();
    assert_eq!(raw.ask(RENAME, &[&string(b"a"), &string(b"b")]).await.status(), DENIED);
    assert_eq!(raw.path(REMOVE, "a").await.status(), DENIED);
    raw.close(&draft).await.ok();
    assert_eq!(names(dir.path()), ["a"]);
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"new", "what was refused changed nothing");
}
