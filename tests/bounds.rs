//! Promise: neither end takes more than 128 MiB of memory, however large the file, however many the files, however many the
//! clients. `SFT_TEST_FULL=1` takes the sizes of the promise: 100 GiB and a million files; without it, smaller ones.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sft_testkit::{Dice, Ran, Running, Tree, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const BOUND_KIB: u64 = 128 << 10;
const PATIENCE: Duration = Duration::from_secs(3600);

/// One number by default, another for the whole promise.
fn sized(default: u64, full: u64) -> u64 {
    let is_full = std::env::var_os("SFT_TEST_FULL").is_some_and(|value| value == "1");
    if is_full { full } else { default }
}

/// Waits for all of them, looking at the server's memory meanwhile; what it took at most.
fn watch(world: &mut World, clients: Vec<Running>) -> (Vec<Ran>, u64) {
    let mut clients: Vec<Running> = clients;
    let (begun, mut peak) = (Instant::now(), 0);
    loop {
        peak = peak.max(world.server().peak_kib());
        let mut over = true;
        for client in &mut clients {
            client.peak_kib();
            over &= client.is_over();
        }
        if over {
            let ended =
                clients.into_iter().map(|client| client.wait(Duration::from_secs(1)).done()).collect();
            return (ended, peak);
        }
        assert!(begun.elapsed() < PATIENCE, "it takes too long: {clients:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Panics unless both ends stayed below the bound; says what they took.
#[track_caller]
fn assert_bounded(what: &str, clients: &[Ran], server_kib: u64) {
    let client_kib = clients.iter().map(|ran| ran.peak_kib).max().unwrap_or(0);
    let line = format!("{what}: server {server_kib} KiB, client {client_kib} KiB at most\n");
    // The runner shows it with `--nocapture`, and when the test fails.
    print_line(&line);
    assert!(server_kib > 0 && client_kib > 0, "nothing was measured");
    assert!(server_kib < BOUND_KIB && client_kib < BOUND_KIB, "{line}");
}

fn print_line(line: &str) {
    print!("{line}");
}

#[test]
fn a_huge_file_takes_little_memory() {
    let mut world = World::new(SFT);
    let size = sized(3 << 30, 100 << 30);
    Tree::new(world.local("")).sparse("huge", size);
    for (line, copy) in [
        (args!["cp", world.local("huge"), "srv:huge"], world.served("huge")),
        (args!["cp", "srv:huge", world.local("back")], world.local("back")),
    ] {
        let client = world.start(line);
        let (ran, peak) = watch(&mut world, vec![client]);
        assert_eq!(copy.metadata().unwrap().len(), size);
        assert_bounded("one huge file", &ran, peak);
    }
    assert_same_ends(&world.local("huge"), &world.local("back"), size);
}

/// What is data in a file of [`Tree::sparse`]; the rest was verified on the way, and comparing holes here takes long.
#[track_caller]
fn assert_same_ends(a: &Path, b: &Path, size: u64) {
    use std::os::unix::fs::FileExt;
    let read = |path: &Path, at: u64| {
        let mut bytes = vec![0; 4096];
        fs::File::open(path).unwrap().read_exact_at(&mut bytes, at).unwrap();
        bytes
    };
    for at in [0, size / 2, size - 4096] {
        let bytes = read(a, at);
        assert!(bytes == read(b, at) && bytes.iter().any(|&byte| byte != 0), "at {at}");
    }
}

#[test]
fn many_files_take_little_memory() {
    let mut world = World::new(SFT);
    let files = sized(20_000, 1_000_000);
    Tree::new(world.local("src")).many("f", files, 100);
    for line in [args!["cp", world.local("src"), "srv:dst"], args!["cp", "srv:dst", world.local("back")]] {
        let mut counted = line;
        counted.push("--json".into());
        let client = world.start(counted);
        let (ran, peak) = watch(&mut world, vec![client]);
        let result = ran[0].objects().pop().unwrap();
        assert!(result["committed"].as_u64().unwrap() >= files, "{result}");
        assert_bounded("many files", &ran, peak);
    }
    // The last of a folder stands for it: each was verified on the way.
    for number in (0..files).step_by(997) {
        let name = format!("f/{:04}/{number:07}", number / 1000);
        let read = |folder: &str| fs::read(world.local(folder).join(&name)).unwrap();
        assert!(read("src") == read("back"), "{name}");
    }
}

#[test]
fn many_clients_at_once_take_little_memory() {
    const CLIENTS: usize = 64;
    const SIZE: u64 = 8 << 20;
    let mut world = World::new(SFT);
    Dice::new(7).file(&world.served("down"), SIZE);
    Tree::new(world.local("src")).file("large", SIZE - 700_000).many("f", 200, 5_000);
    let clients = (0..CLIENTS).map(|number| match number % 2 {
        0 => world.start(args!["cp", world.local("src"), format!("srv:up-{number}")]),
        _ => world.start(args!["cp", "srv:down", world.local(&format!("down-{number}"))]),
    });
    let clients: Vec<Running> = clients.collect();
    let (ran, peak) = watch(&mut world, clients);
    assert_bounded("64 clients at once", &ran, peak);
    for number in 0..CLIENTS {
        let (copy, source) = match number % 2 {
            0 => (world.served(&format!("up-{number}/large")), world.local("src/large")),
            _ => (world.local(&format!("down-{number}")), world.served("down")),
        };
        assert!(fs::read(copy).unwrap() == fs::read(source).unwrap(), "client {number}");
    }
}
