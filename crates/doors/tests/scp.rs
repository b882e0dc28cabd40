//! Promise: the old protocol of scp, and what a hostile client of it cannot do (spec/doors.md, "The old protocol of scp").

mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;

use sft_auth::{Grant, Right, Rights};
use sft_base::EntryPath;
use sft_doors::scp::{Command, serve};
use sft_engine::View;
use sft_store::FsStore;
use support::{folder, names};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a stream came to: how the server ended, and all that it said.
struct Ended {
    served: io::Result<bool>,
    said: String,
}

impl Ended {
    #[track_caller]
    fn well(self) -> String {
        assert!(matches!(self.served, Ok(true)), "{:?}: {:?}", self.served, self.said);
        self.said
    }

    #[track_caller]
    fn badly(self, text: &str) {
        assert!(
            !matches!(self.served, Ok(true)) && self.said.contains(text),
            "{:?}: {:?}",
            self.served,
            self.said
        );
    }
}

async fn run_as(grant: Grant, root: &Path, command: &str, stream: &[u8]) -> Ended {
    let view = View::new(Arc::new(FsStore::open(root).unwrap()), Arc::new(grant));
    let command = Command::parse(command.as_bytes()).unwrap();
    // Long enough for everything that is said in these tests, so that all may be sent at once.
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let server = tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(theirs);
        serve(view, &command, reader, writer).await
    });
    let (mut from, mut to) = tokio::io::split(ours);
    // It may have given up before it has read all.
    let _ = to.write_all(stream).await;
    let _ = to.shutdown().await;
    let mut said = Vec::new();
    from.read_to_end(&mut said).await.unwrap();
    Ended { served: server.await.unwrap(), said: String::from_utf8_lossy(&said).into_owned() }
}

async fn run(root: &Path, command: &str, stream: &[u8]) -> Ended {
    run_as(Grant::owner_local(), root, command, stream).await
}

#[tokio::test]
async fn a_tree_goes_up_with_times_and_modes() {
    use std::os::unix::fs::MetadataExt;
    let dir = folder();
    let stream = b"T1000000000 0 1 0\nD0750 0 d\nT1000000001 0 1 0\nC0640 5 a b\nhello\0C0600 0 empty\n\0E\n";
    assert_eq!(run(dir.path(), "scp -r -p -t .", stream).await.well(), "\0".repeat(9));
    let (d, file) = (dir.path().join("d").metadata().unwrap(), dir.path().join("d/a b"));
    assert_eq!((d.mode() & 0o7777, d.mtime()), (0o750, 1_000_000_000));
    assert_eq!(std::fs::read(&file).unwrap(), b"hello");
    let file = file.metadata().unwrap();
    assert_eq!((file.mode() & 0o7777, file.mtime()), (0o640, 1_000_000_001));
    assert_eq!(names(&dir.path().join("d")), ["a b", "empty"]);
}

#[tokio::test]
async fn a_tree_comes_down() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/f"), "hello").unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("d/loop")).unwrap();
    let given = run(dir.path(), "scp -r -f d", &[0; 20]).await;
    assert!(!given.served.unwrap(), "a loop is not followed");
    assert!(
        given.said.contains("D0755 0 d\n")
            && given.said.contains(" 5 f\nhello\0")
            && given.said.ends_with("E\n")
    );
    run(dir.path(), "scp -f d", &[0; 9]).await.badly("it is a directory");
    run(dir.path(), "scp -f no", &[0; 9]).await.badly("no such entry");
    run(dir.path(), "scp -f ../../../etc/passwd", &[0; 9]).await.badly("no such entry");
    std::fs::write(dir.path().join("a\nC0644 1 b"), "x").unwrap();
    let given = run(dir.path(), "scp -r -f 'd' 'a\nC0644 1 b'", &[0; 20]).await;
    assert!(!given.said.contains("\nC0644 1 b"), "{:?}", given.said);
}

#[tokio::test]
async fn hostile_records_change_nothing() {
    let dir = folder();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    for record in [
        "C0644 1 ../out\nx\0",
        "C0644 1 ..\nx\0",
        "C0644 1 /tmp/out\nx\0",
        "C0644 1 a/b\nx\0",
        "C0644 -1 a\nx\0",
        "C0644 99999999999999999999 a\nx\0",
        "C9999 1 a\nx\0",
        "C-001 1 a\nx\0",
        "Cffff 1 a\nx\0",
        "C0644 1 \nx\0",
        "D0755 0 ..\nC0644 1 out\nx\0E\n",
        "D0755 0 .\nC0644 1 out\nx\0E\n",
        "E\nE\n",
        "T1 2 3\n",
        "rm -rf /\n",
        "\n",
    ] {
        let ended = run(&root, "scp -r -t .", record.as_bytes()).await;
        assert!(!matches!(ended.served, Ok(true)), "{record:?} {:?}", ended.said);
        assert_eq!((names(&root), names(dir.path())), (vec![], vec!["root".to_owned()]), "{record:?}");
    }
    let long = [b"C0644 1 ".as_slice(), &[b'n'; 9000], b"\nx\0"].concat();
    assert!(run(&root, "scp -t .", &long).await.served.is_err());
    run(&root, "scp -t .", b"D0755 0 d\nE\n").await.badly("without -r");
    run(&root, "scp -t .", b"C0644 1 .sft\nx\0").await.badly(".sft");
    run(&root, "scp -d -t no", b"").await.badly("not a directory");
    // What a terminal would obey is not said back to it.
    let said = run(&root, "scp -t 'd/no\x1b[2J'", b"C0644 1 x\x1b[2J\nx\0").await.said;
    assert!(!said.contains('\x1b'), "{said:?}");
    assert_eq!(names(&root), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_not_whole_is_not_there() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "old").unwrap();
    let cut = run(dir.path(), "scp -t .", b"C0644 9 a\nnew").await;
    assert_eq!(cut.served.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    // The other end could not read its file, and has sent zeros.
    run(dir.path(), "scp -t .", b"C0644 3 a\n\0\0\0\x01scp: a: Input/output error\n")
        .await
        .badly("nothing was changed");
    assert!(run(dir.path(), "scp -t .", b"C0644 9223372036854775807 b\nx").await.served.is_err());
    assert_eq!(
        (std::fs::read(dir.path().join("a")).unwrap(), names(dir.path())),
        (b"old".to_vec(), vec!["a".into()])
    );
    assert!(!dir.path().join(".sft").exists(), "nothing is left");
}

#[tokio::test]
async fn one_file_that_cannot_be_taken_does_not_stop_the_others() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    // Nothing of it is sent after the refusal.
    let ended = run(dir.path(), "scp -t .", b"C0644 1 d\nC0644 1 e\nx\0").await;
    assert_eq!(names(dir.path()), ["d", "e"]);
    ended.badly("it is a directory");
}

#[tokio::test]
async fn rights_are_those_of_the_grant() {
    let dir = folder();
    std::fs::write(dir.path().join("a"), "old").unwrap();
    let reader = || Grant::owner_local().narrowed(&EntryPath::root(), Rights::READ);
    run_as(reader(), dir.path(), "scp -t a", b"C0644 1 a\nx\0").await.badly("");
    run_as(reader(), dir.path(), "scp -t n", b"C0644 1 n\nx\0").await.badly("");
    let dropper = Grant::owner_local().narrowed(&EntryPath::root(), Rights::of([Right::Create].into_iter()));
    run_as(dropper, dir.path(), "scp -t n", b"C4755 1 n\nx\0").await.well();
    let dropper = Grant::owner_local().narrowed(&EntryPath::root(), Rights::of([Right::Create].into_iter()));
    run_as(dropper, dir.path(), "scp -f a", &[0; 9]).await.badly("");
    assert_eq!(
        (std::fs::read(dir.path().join("a")).unwrap(), names(dir.path())),
        (b"old".to_vec(), vec!["a".into(), "n".into()])
    );
}

#[tokio::test]
async fn a_client_that_sends_on_and_takes_nothing_is_left() {
    let dir = folder();
    std::fs::write(dir.path().join("big"), vec![7; 1 << 20]).unwrap();
    for (command, begin) in [("scp -f big", &b"\0\0"[..]), ("scp -t .", b"C0644 5 a\nhello\0")] {
        let view = View::new(Arc::new(FsStore::open(dir.path()).unwrap()), Arc::new(Grant::owner_local()));
        let command = Command::parse(command.as_bytes()).unwrap();
        // Smaller than one answer to what takes files, or full of a file that is given.
        let (ours, theirs) = tokio::io::duplex(1);
        let server = tokio::spawn(async move {
            let (reader, writer) = tokio::io::split(theirs);
            serve(view, &command, reader, writer).await
        });
        // It never reads.
        let (_from, mut to) = tokio::io::split(ours);
        let _ = to.write_all(begin).await;
        let sent = to.write_all(&[0; 1 << 20]);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(60), sent).await.expect("it is read");
        drop((_from, to));
        let ended = server.await.unwrap().unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::InvalidData);
    }
}

#[tokio::test]
async fn what_comes_while_something_is_sent_is_kept_for_later() {
    let dir = folder();
    let view = View::new(Arc::new(FsStore::open(dir.path()).unwrap()), Arc::new(Grant::owner_local()));
    let command = Command::parse(b"scp -t .").unwrap();
    // Every answer waits until the one before it was taken, which happens only in the end.
    let (mut ours, theirs) = tokio::io::duplex(1);
    let server = tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(theirs);
        serve(view, &command, reader, writer).await
    });
    ours.write_all(b"C0644 5 a\nhello\0C0600 40000 b\n").await.unwrap();
    ours.write_all(&[b'b'; 40_000]).await.unwrap();
    ours.write_all(b"\0").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut said = Vec::new();
    ours.read_to_end(&mut said).await.unwrap();
    assert!(matches!(server.await.unwrap(), Ok(true)));
    assert_eq!(said, [0; 5]);
    assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"hello");
    assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), [b'b'; 40_000]);
}

#[tokio::test]
async fn a_tree_has_a_depth_to_which_it_is_copied() {
    let dir = folder();
    let up = |depth: usize| ["D0755 0 d\n".repeat(depth), "E\n".repeat(depth)].concat();
    run(dir.path(), "scp -r -t .", up(256).as_bytes()).await.well();
    let given = run(dir.path(), "scp -r -f d", &[0; 1000]).await;
    assert!(!given.served.unwrap());
    assert_eq!(given.said.matches(" 0 d\n").count(), 128);
    assert!(given.said.contains("128 directories deep") && given.said.ends_with(&"E\n".repeat(128)));
    std::fs::remove_dir_all(dir.path().join("d")).unwrap();
    run(dir.path(), "scp -r -t .", up(257).as_bytes()).await.badly("more than 256 deep");
}
