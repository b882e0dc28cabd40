//! Promise: an upload that is cut off before it is closed can be gone on with by whoever began it, and what a name shows is
//! never a part of a file (spec/doors.md, "Uploads that are cut off").

mod support;

use std::sync::Arc;

use sft_auth::{Grant, Rights};
use sft_base::EntryPath;
use sft_engine::Leftovers;
use support::*;

/// One server that clients come back to.
struct Door {
    dir: tempfile::TempDir,
    leftovers: Arc<Leftovers>,
}

impl Door {
    fn new() -> Self {
        Self { dir: folder(), leftovers: Arc::default() }
    }

    async fn client(&self) -> Raw {
        Raw::among(self.dir.path(), Grant::owner_local(), self.leftovers.clone()).await
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Begins an upload and loses the connection.
    async fn cut_off(&self, name: &str, flags: u32, content: &[u8]) {
        let mut raw = self.client().await;
        let handle = raw.open(name, flags).await.handle();
        raw.write(&handle, 0, content).await.ok();
        let _ = raw.lose().await;
        self.settled().await;
    }

    /// Waits until sessions that were lost have let go of this.
    async fn settled(&self) {
        while Arc::strong_count(&self.leftovers) > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn what_was_begun_is_told_to_whoever_began_it_and_shown_to_nobody() {
    let door = Door::new();
    door.cut_off("f", WR | CREAT | TRUNC, b"0123456789").await;
    assert!(names(door.dir.path()).is_empty());
    let mut raw = door.client().await;
    for stat in [STAT, LSTAT] {
        assert_eq!(raw.path(stat, "f").await.size(), 9, "less than has come: it is never taken for complete");
    }
    assert_eq!(raw.open("f", RD).await.status(), NO_SUCH_FILE);
    let dir = raw.path(OPENDIR, "/").await.handle();
    assert_eq!(raw.ask(READDIR, &[&string(&dir)]).await.status(), EOF);
    assert_eq!(raw.path(RMDIR, "f").await.status(), NO_SUCH_FILE);
    drop(raw);
    let guest = Grant::owner_local().narrowed(&EntryPath::root(), Rights::READ);
    let mut guest = Raw::among(door.dir.path(), guest, door.leftovers.clone()).await;
    let append = (WR | APPEND).to_be_bytes();
    let denied = guest.ask(OPEN, &[&string(b"f"), &append, &NO_ATTRIBUTES]).await;
    assert_eq!(denied.status(), DENIED, "what may be written is asked again");
}

#[tokio::test]
async fn every_way_of_going_on_ends_in_the_whole_file() {
    // reput; lftp; psftp and curl; paramiko's "ab", which asks the handle.
    for flags in [WR | CREAT | APPEND, WR | CREAT, WR, RD | WR, WR | CREAT | APPEND | RD] {
        let door = Door::new();
        door.cut_off("f", WR | CREAT | TRUNC, b"01234").await;
        let mut raw = door.client().await;
        let size = raw.path(STAT, "f").await.size();
        let handle = raw.open("f", flags).await.handle();
        assert_eq!(raw.ask(FSTAT, &[&string(&handle)]).await.size(), size);
        raw.write(&handle, size, &b"0123456789"[size as usize..]).await.ok();
        assert!(names(door.dir.path()).is_empty());
        raw.close(&handle).await.ok();
        assert_eq!(std::fs::read(door.path("f")).unwrap(), b"0123456789", "{flags:x}");
        drop(raw);
        door.settled().await;
        assert!(!door.path(".sft").exists(), "nothing is left");
    }
}

#[tokio::test]
async fn it_may_be_cut_off_again_and_again() {
    let door = Door::new();
    door.cut_off("f", WR | CREAT | TRUNC, b"abc").await;
    let content = b"abcdefghij";
    for _ in 0..3 {
        let mut raw = door.client().await;
        let size = raw.path(STAT, "f").await.size() as usize;
        let handle = raw.open("f", WR | CREAT | APPEND).await.handle();
        raw.write(&handle, size as u64, &content[size..size + 3]).await.ok();
        let _ = raw.lose().await;
        door.settled().await;
    }
    let mut raw = door.client().await;
    assert_eq!(raw.path(STAT, "f").await.size(), 8);
    // Nothing was written by this one: it is not complete, and nothing of it is lost.
    let handle = raw.open("f", WR | CREAT).await.handle();
    assert_eq!(raw.close(&handle).await.status(), FAILURE);
    assert!(!door.path("f").exists());
    let size = raw.path(STAT, "f").await.size() as usize;
    // What is sent behind a gap does not become a file that has it, whatever else comes.
    let handle = raw.open("f", WR | CREAT).await.handle();
    assert_eq!(raw.write(&handle, size as u64 + 1, b"behind a gap").await.status(), FAILURE);
    assert_eq!(raw.write(&handle, size as u64, &content[size..]).await.status(), FAILURE);
    assert_eq!(raw.close(&handle).await.status(), FAILURE);
    // A WRITE of nothing is no beginning.
    let handle = raw.open("f", WR | CREAT).await.handle();
    raw.write(&handle, size as u64, b"").await.ok();
    assert_eq!(raw.close(&handle).await.status(), FAILURE);
    assert!(!door.path("f").exists());
    let size = raw.path(STAT, "f").await.size() as usize;
    let handle = raw.open("f", WR | CREAT).await.handle();
    raw.write(&handle, 0, b"").await.ok();
    raw.write(&handle, size as u64, &content[size..]).await.ok();
    raw.close(&handle).await.ok();
    assert_eq!(std::fs::read(door.path("f")).unwrap(), content);
}

#[tokio::test]
async fn whoever_begins_anew_has_nothing_of_the_old_beginning() {
    let door = Door::new();
    for flags in [WR | CREAT | TRUNC, WR | CREAT, WR | CREAT | EXCL] {
        door.cut_off("f", WR | CREAT, b"the old beginning").await;
        let mut raw = door.client().await;
        let handle = raw.open("f", flags).await.handle();
        raw.write(&handle, 0, b"new").await.ok();
        raw.close(&handle).await.ok();
        assert_eq!(std::fs::read(door.path("f")).unwrap(), b"new", "{flags:x}");
        raw.path(REMOVE, "f").await.ok();
    }
    door.cut_off("f", WR | CREAT, b"the old beginning").await;
    let mut raw = door.client().await;
    raw.path(REMOVE, "f").await.ok();
    assert_eq!(raw.path(STAT, "f").await.status(), NO_SUCH_FILE);
}

#[tokio::test]
async fn only_what_came_without_a_gap_counts() {
    let door = Door::new();
    let mut raw = door.client().await;
    let handle = raw.open("f", WR | CREAT).await.handle();
    raw.write(&handle, 6, b"678").await.ok();
    raw.write(&handle, 0, b"012").await.ok();
    raw.ask(FSETSTAT, &[&string(&handle), &size(100)]).await.ok();
    let _ = raw.lose().await;
    door.settled().await;
    assert_eq!(door.client().await.path(STAT, "f").await.size(), 2);
}

/// What is there is complete, and not what the client has begun: more at its end would make a mixture.
#[tokio::test]
async fn nothing_is_added_to_what_a_cut_upload_was_to_replace() {
    let door = Door::new();
    std::fs::write(door.path("f"), "old!").unwrap();
    for flags in [WR | CREAT | APPEND, WR | CREAT, WR, RD | WR] {
        door.cut_off("f", WR | CREAT | TRUNC, b"0123456").await;
        let mut raw = door.client().await;
        assert_eq!(raw.path(STAT, "f").await.size(), 4);
        let handle = raw.open("f", flags).await.handle();
        let refused = raw.write(&handle, 4, b"456789").await;
        assert_eq!(refused.status(), FAILURE, "{flags:x}");
        assert!(String::from_utf8_lossy(refused.string(4)).contains("send the whole file again"));
        assert_eq!(raw.write(&handle, 0, b"more").await.status(), FAILURE);
        let cut = raw.ask(FSETSTAT, &[&string(&handle), &size(0)]).await;
        assert_eq!(cut.status(), FAILURE, "the OpenSSH client does so then");
        raw.close(&handle).await.status();
        assert_eq!(std::fs::read(door.path("f")).unwrap(), b"old!", "{flags:x}");
    }
    // What is no going on is done: changing what is there, and sending all of it.
    let mut raw = door.client().await;
    let handle = raw.open("f", RD | WR).await.handle();
    raw.write(&handle, 0, b"OLD").await.ok();
    raw.write(&handle, 4, b"?").await.ok();
    raw.close(&handle).await.ok();
    let handle = raw.open("f", WR | CREAT).await.handle();
    raw.write(&handle, 0, b"whole").await.ok();
    raw.close(&handle).await.ok();
    let handle = raw.open("f", WR | APPEND).await.handle();
    raw.write(&handle, 0, b"+").await.ok();
    assert_eq!(std::fs::read(door.path("f")).unwrap(), b"whole+");
}

/// The client comes back before the server knows that its connection is lost.
#[tokio::test]
async fn nothing_is_added_to_what_another_session_is_replacing() {
    let door = Door::new();
    std::fs::write(door.path("f"), "old!").unwrap();
    for flags in [WR | CREAT | TRUNC, WR | CREAT] {
        let mut lost = door.client().await;
        let begun = lost.open("f", flags).await.handle();
        lost.write(&begun, 0, b"0123456").await.ok();
        let mut raw = door.client().await;
        assert_eq!(raw.path(STAT, "f").await.size(), 4);
        let handle = raw.open("f", WR | CREAT | APPEND).await.handle();
        assert_eq!(raw.write(&handle, 4, b"456789").await.status(), FAILURE);
        raw.close(&handle).await.status();
        assert_eq!(std::fs::read(door.path("f")).unwrap(), b"old!");
        // When it was given up there is nothing to be taken for one's own.
        lost.path(REMOVE, "f").await.ok();
        std::fs::write(door.path("f"), "old!").unwrap();
        let handle = raw.open("f", WR | APPEND).await.handle();
        raw.write(&handle, 4, b"?").await.ok();
        raw.close(&handle).await.ok();
        std::fs::write(door.path("f"), "old!").unwrap();
    }
}

#[tokio::test]
async fn a_close_that_fails_leaves_what_a_lost_connection_does() {
    let door = Door::new();
    // Further than any file reaches.
    let nowhere = 1 << 62;
    let fail = async |raw: &mut Raw, handle: &[u8]| {
        assert_eq!(raw.write(handle, nowhere, b"7").await.status(), FAILURE);
        assert_eq!(raw.close(handle).await.status(), FAILURE);
    };
    // Nothing is kept of what is new and found no room; what was begun before is.
    let mut raw = door.client().await;
    let handle = raw.open("f", WR | CREAT | TRUNC).await.handle();
    raw.write(&handle, 0, b"0123456").await.ok();
    fail(&mut raw, &handle).await;
    assert_eq!(raw.path(STAT, "f").await.status(), NO_SUCH_FILE);
    drop(raw);
    door.settled().await;
    door.cut_off("f", WR | CREAT | TRUNC, b"0123456").await;
    let mut raw = door.client().await;
    assert_eq!(raw.path(STAT, "f").await.size(), 6);
    let handle = raw.open("f", WR | CREAT).await.handle();
    raw.write(&handle, 6, b"67").await.ok();
    fail(&mut raw, &handle).await;
    assert_eq!(raw.path(STAT, "f").await.size(), 7);
    // What has the name is not gone on with.
    for flags in [WR | CREAT | TRUNC, WR | CREAT] {
        raw.path(REMOVE, "f").await.status();
        std::fs::write(door.path("f"), "old!").unwrap();
        let handle = raw.open("f", flags).await.handle();
        raw.write(&handle, 0, b"0123456").await.ok();
        fail(&mut raw, &handle).await;
        assert_eq!(raw.path(STAT, "f").await.size(), 4);
        let handle = raw.open("f", WR | CREAT).await.handle();
        assert_eq!(raw.write(&handle, 4, b"456789").await.status(), FAILURE);
        raw.close(&handle).await.status();
        assert_eq!(std::fs::read(door.path("f")).unwrap(), b"old!");
    }
}

/// It has expired, or another session has taken it or removed it.
#[tokio::test]
async fn the_end_of_what_is_gone_does_not_become_a_file() {
    let door = Door::new();
    for flags in [WR | CREAT | APPEND, WR | CREAT] {
        door.cut_off("f", WR | CREAT | TRUNC, b"0123456").await;
        let mut raw = door.client().await;
        assert_eq!(raw.path(STAT, "f").await.size(), 6);
        door.client().await.path(REMOVE, "f").await.ok();
        let refused = raw.open("f", flags).await;
        assert_eq!(refused.status(), FAILURE, "{flags:x}");
        assert!(String::from_utf8_lossy(refused.string(4)).contains("send the whole file again"));
        std::fs::write(door.path("f"), "theirs, and longer").unwrap();
        assert_eq!(raw.open("f", flags).await.status(), FAILURE, "{flags:x}");
        assert_eq!(std::fs::read(door.path("f")).unwrap(), b"theirs, and longer");
        std::fs::remove_file(door.path("f")).unwrap();
        assert_eq!(raw.path(STAT, "f").await.status(), NO_SUCH_FILE, "now it knows");
        let handle = raw.open("f", flags).await.handle();
        raw.write(&handle, 0, b"whole").await.ok();
        raw.close(&handle).await.ok();
        raw.path(REMOVE, "f").await.ok();
    }
}

/// For want of a handle, or of the directory.
#[tokio::test]
async fn an_open_that_fails_leaves_what_was_there_to_be_gone_on_with() {
    let door = Door::new();
    std::fs::create_dir(door.path("d")).unwrap();
    std::fs::write(door.path("o"), "other").unwrap();
    door.cut_off("d/f", WR | CREAT | TRUNC, b"0123456").await;
    let mut raw = door.client().await;
    let mut handles = Vec::new();
    loop {
        let opened = raw.open("o", RD).await;
        if opened.kind == STATUS {
            break;
        }
        handles.push(opened.handle());
    }
    for flags in [WR | CREAT, WR | CREAT | TRUNC] {
        assert_eq!(raw.open("d/f", flags).await.status(), FAILURE);
    }
    raw.close(&handles[0]).await.ok();
    std::fs::rename(door.path("d"), door.path("e")).unwrap();
    assert_eq!(raw.open("d/f", WR | CREAT).await.status(), NO_SUCH_FILE);
    std::fs::rename(door.path("e"), door.path("d")).unwrap();
    assert_eq!(raw.path(STAT, "d/f").await.size(), 6);
    let handle = raw.open("d/f", WR | CREAT).await.handle();
    raw.write(&handle, 6, b"6789").await.ok();
    raw.close(&handle).await.ok();
    assert_eq!(std::fs::read(door.path("d/f")).unwrap(), b"0123456789");
}

#[tokio::test]
async fn what_somebody_else_put_there_meanwhile_stays_as_it_is() {
    let door = Door::new();
    door.cut_off("f", WR | CREAT | TRUNC, b"0123456").await;
    std::fs::write(door.path("f"), "theirs").unwrap();
    let mut raw = door.client().await;
    assert_eq!(raw.path(STAT, "f").await.size(), 6);
    let handle = raw.open("f", WR | CREAT | APPEND).await.handle();
    assert_eq!(raw.write(&handle, 6, b"6789").await.status(), FAILURE);
    raw.close(&handle).await.status();
    assert_eq!(std::fs::read(door.path("f")).unwrap(), b"theirs");
    std::fs::remove_file(door.path("f")).unwrap();
    assert_eq!(raw.path(STAT, "f").await.size(), 6, "it is as it was before");
}

/// So scp writes over a file: without emptying it, from the beginning to the end, and cuts it off there.
#[tokio::test]
async fn a_file_that_is_written_over_shows_the_old_content_until_it_is_closed() {
    let door = Door::new();
    std::fs::write(door.path("f"), "the old content").unwrap();
    let mut raw = door.client().await;
    let handle = raw.open("f", WR | CREAT).await.handle();
    raw.write(&handle, 0, b"THE").await.ok();
    assert_eq!(std::fs::read(door.path("f")).unwrap(), b"the old content");
    assert_eq!(raw.ask(FSTAT, &[&string(&handle)]).await.size(), 15);
    raw.close(&handle).await.ok();
    assert_eq!(std::fs::read(door.path("f")).unwrap(), b"THE old content", "as in place");
    let handle = raw.open("f", WR | CREAT).await.handle();
    raw.write(&handle, 0, b"short").await.ok();
    raw.ask(FSETSTAT, &[&string(&handle), &size(5)]).await.ok();
    raw.close(&handle).await.ok();
    assert_eq!(std::fs::read(door.path("f")).unwrap(), b"short");
    drop(raw);
    door.cut_off("f", WR | CREAT, b"new").await;
    assert_eq!(std::fs::read(door.path("f")).unwrap(), b"short");
}
