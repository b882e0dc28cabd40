//! What an SFTP client is told of what cannot be done: each sentence of `ops` once.

mod support;

use sft_auth::{Grant, Right, Rights};
use sft_base::EntryPath;
use support::*;

#[track_caller]
fn told(reply: &Reply, status: u32, sentence: &str) {
    assert_eq!((reply.status(), std::str::from_utf8(reply.string(4)).unwrap()), (status, sentence));
}

#[tokio::test]
async fn of_names_that_are_taken() {
    let dir = folder();
    std::fs::write(dir.path().join("old"), "x").unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let taken = "old: an entry of this name exists already";
    told(&raw.open("old", WR | CREAT | EXCL).await, FAILURE, taken);
    let draft = raw.open("new", WR | CREAT).await.handle();
    let sentence = "new: it is being written already, by this client";
    told(&raw.open("new", WR | CREAT | EXCL).await, FAILURE, sentence);
    told(&raw.ask(RENAME, &[&string(b"new"), &string(b"old")]).await, FAILURE, taken);
    raw.close(&draft).await.ok();
    raw.finish().await;
}

#[tokio::test]
async fn of_places_where_no_file_can_be() {
    let dir = folder();
    std::os::unix::fs::symlink("gone", dir.path().join("link")).unwrap();
    let mut raw = Raw::new(dir.path()).await;
    let sentence = "link: it is a link that leads to no directory that is served";
    told(&raw.open("link/new", WR | CREAT).await, DENIED, sentence);
    raw.finish().await;
    // Who may look at nothing learns of the root alone what it is.
    let drop_only = Grant::owner_local().narrowed(&EntryPath::root(), Rights::of([Right::Create]));
    let mut raw = Raw::with(dir.path(), drop_only).await;
    told(&raw.open("/", WR | CREAT).await, FAILURE, "/: it is a directory");
    raw.finish().await;
}
