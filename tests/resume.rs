//! Promise: a copy that was cut short at any moment goes on when the same command is run again, and moves only what is
//! missing; meanwhile a name shows the old content or the new, and never anything between.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sft_testkit::{Dice, Fate, Ran, Relay, Running, Tree, World, args, assert_same_tree};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(240);

/// Which end receives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Up,
    Down,
}

/// A file to move, where an older one stands already.
struct Move {
    world: World,
    relay: Relay,
    way: Way,
    source: PathBuf,
    target: PathBuf,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Move {
    fn new(way: Way, size: u64) -> Self {
        let world = World::new(SFT);
        let relay = world.relay("far");
        let (source, target) = match way {
            Way::Up => (world.local("large"), world.served("large")),
            Way::Down => (world.served("large"), world.local("large")),
        };
        let mut dice = Dice::new(size);
        dice.file(&source, size);
        let (old, new) = (dice.bytes(1000), std::fs::read(&source).unwrap());
        std::fs::write(&target, &old).unwrap();
        Self { world, relay, way, source, target, old, new }
    }

    fn start(&self) -> Running {
        self.start_over("auto")
    }

    fn start_over(&self, transport: &str) -> Running {
        let (from, to) = (&self.source, &self.target);
        let places = match self.way {
            Way::Up => args![from, "far:large"],
            Way::Down => args!["far:large", to],
        };
        self.world.start([args!["cp", "--json", "--transport", transport], places].concat())
    }

    /// Whether the target shows the new content; panics if it shows neither.
    fn shows_new(&self) -> bool {
        let shown = std::fs::read(&self.target).unwrap();
        assert!(shown == self.old || shown == self.new, "{} bytes that are neither old nor new", shown.len());
        shown == self.new
    }

    /// Starts a copy at a bounded rate, and ends it at once when so many bytes were acknowledged.
    fn cut_after(&self, bytes: u64) -> u64 {
        self.relay.rate(5 * MIB);
        let mut running = self.start();
        let moved = moved(&mut running, bytes);
        running.kill();
        running.ended();
        assert!(!self.shows_new());
        self.relay.rate(0);
        moved
    }

    fn finish(&self) -> serde_json::Value {
        let ran = self.start().wait(PATIENCE).done();
        assert!(self.shows_new());
        result(&ran)
    }

    /// Waits until nothing is written to the stage any more: what was on its way still came.
    fn until_quiet(&self) {
        let changed = |entry: std::fs::DirEntry| entry.metadata().unwrap().modified().unwrap();
        let latest = || self.stages().read_dir().unwrap().map(|entry| changed(entry.unwrap())).max();
        let mut before = latest();
        loop {
            std::thread::sleep(Duration::from_millis(700));
            let now = latest();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// The receiver's folder of stages.
    fn stages(&self) -> PathBuf {
        self.target.parent().unwrap().join(".sft/stage")
    }
}

/// Waits until so many bytes were acknowledged; how many they are then.
fn moved(running: &mut Running, bytes: u64) -> u64 {
    loop {
        let moved = progress(&running.stdout_so_far());
        if moved >= bytes {
            return moved;
        }
        assert!(!running.is_over(), "it was over before {bytes} bytes: {}", running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn await_connected(running: &mut Running) {
    while !running.stdout_so_far().contains(r#""event":"connected""#) {
        assert!(!running.is_over(), "it never connected: {}", running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn progress(stdout: &str) -> u64 {
    let objects = stdout.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    objects.filter_map(|object| object["bytes_moved"].as_u64()).max().unwrap_or(0)
}

fn result(ran: &Ran) -> serde_json::Value {
    ran.objects().into_iter().find(|object| object["event"] == "result").expect("a copy tells its result")
}

/// Fifty crashes of each end while one file of 256 MiB is on its way.
fn survives_crashes(way: Way) {
    const CRASHES: u32 = 50;
    let mut dice = Dice::thrown();
    let mut copy = Move::new(way, 256 * MIB);
    copy.relay.rate(3 * MIB);
    let (mut client_crashes, mut server_crashes) = (0, 0);
    let mut running = copy.start();
    while client_crashes + server_crashes < 2 * CRASHES {
        let (udp, tcp) = copy.relay.passed();
        if udp + tcp > 200 * MIB {
            // The rest takes longer than all the crashes that are left.
            copy.relay.rate(MIB / 4);
        }
        std::thread::sleep(Duration::from_millis(30 + dice.below(600)));
        assert!(
            !running.is_over(),
            "it was over after {client_crashes} + {server_crashes} crashes: {:?}",
            running.ended()
        );
        let either = dice.below(2) == 0;
        if (either && client_crashes < CRASHES) || server_crashes == CRASHES {
            running.kill();
            running.ended();
            running = copy.start_over(["quic", "tcp", "auto"][dice.below(3) as usize]);
            client_crashes += 1;
        } else {
            // A first connection that fails is not made again.
            await_connected(&mut running);
            copy.world.crash_server();
            copy.world.start_server();
            server_crashes += 1;
        }
        assert!(!copy.shows_new(), "not all of it can have come");
    }
    copy.relay.rate(0);
    running.wait(PATIENCE).done();
    assert!(copy.shows_new());
}

#[test]
fn an_upload_survives_fifty_crashes_of_each_end() {
    survives_crashes(Way::Up);
}

#[test]
fn a_download_survives_fifty_crashes_of_each_end() {
    survives_crashes(Way::Down);
}

#[test]
fn the_same_command_again_moves_only_what_is_missing() {
    for way in [Way::Up, Way::Down] {
        let copy = Move::new(way, 200 * MIB);
        let moved = copy.cut_after(80 * MIB);
        let result = copy.finish();
        let (kept, again) = (result["bytes_kept"].as_u64().unwrap(), result["bytes_moved"].as_u64().unwrap());
        assert!(kept + 8 * MIB >= moved, "{way:?}: {moved} bytes were acknowledged, {kept} were kept");
        assert!(
            again <= 200 * MIB - moved + 8 * MIB,
            "{way:?}: after {moved} bytes {again} were moved again"
        );
        assert!(
            !copy.stages().exists() || copy.stages().read_dir().unwrap().next().is_none(),
            "nothing is left"
        );
    }
}

/// Bytes that the server has read from files since it started; from sockets it receives, which does not count here.
fn read_by_server(world: &mut World) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", world.server().pid())).unwrap();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    read.parse().unwrap()
}

/// A receiver reads what it holds and nothing else, a sender its source and nothing twice: neither hashes the whole again.
#[test]
fn going_on_reads_no_more_than_is_held() {
    const SLACK: u64 = 12 * MIB;
    for way in [Way::Up, Way::Down] {
        let mut copy = Move::new(way, 160 * MIB);
        copy.cut_after(60 * MIB);
        copy.world.crash_server();
        copy.world.start_server();
        let before = read_by_server(&mut copy.world);
        let kept = copy.finish()["bytes_kept"].as_u64().unwrap();
        let read = read_by_server(&mut copy.world) - before;
        let (least, most) = if way == Way::Up { (kept, kept) } else { (160 * MIB, 160 * MIB) };
        assert!(kept > 40 * MIB, "{way:?}: {kept}");
        assert!(
            read + SLACK >= least && read <= most + SLACK,
            "{way:?}: {read} bytes were read, {kept} were held"
        );
    }
}

/// What happens to a file of an interrupted copy.
type Spoil = fn(&Path);

/// Whatever somebody or something did to what an interrupted copy left: it is found out, and never published.
#[test]
fn spoiled_partials_are_thrown_away() {
    let spoil: [(&str, Spoil); 5] = [
        ("a byte of everything is another", |file| flip(file, 3)),
        ("everything is zero", |file| {
            std::fs::write(file, vec![0; file.metadata().unwrap().len() as usize]).unwrap()
        }),
        ("everything is cut short", |file| truncate(file, file.metadata().unwrap().len() / 3)),
        ("everything is empty", |file| truncate(file, 0)),
        ("everything is longer", |file| truncate(file, file.metadata().unwrap().len() + 12345)),
    ];
    for (number, (name, spoil)) in spoil.into_iter().enumerate() {
        let way = if number % 2 == 0 { Way::Up } else { Way::Down };
        let mut copy = Move::new(way, 64 * MIB);
        copy.cut_after(20 * MIB);
        // A server may still have it open, which saves it reading all again; it notices all the same.
        let held = number % 4 == 2;
        if held {
            copy.until_quiet();
        } else {
            copy.world.crash_server();
        }
        let files: Vec<PathBuf> =
            copy.stages().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{way:?}: an interrupted copy leaves a stage");
        files.iter().for_each(|file| spoil(file));
        if !held {
            copy.world.start_server();
        }
        copy.finish();
        assert!(copy.shows_new(), "{way:?}: {name}");
    }
}

#[test]
fn the_partial_of_another_version_is_not_used() {
    let mut copy = Move::new(Way::Up, 64 * MIB);
    copy.cut_after(20 * MIB);
    Dice::new(99).file(&copy.source, 64 * MIB);
    copy.new = std::fs::read(&copy.source).unwrap();
    let result = copy.finish();
    assert_eq!(result["bytes_kept"], 0, "{result}");
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    for place in (at..bytes.len()).step_by(100_000) {
        bytes[place] ^= 0x40;
    }
    std::fs::write(file, bytes).unwrap();
}

fn truncate(file: &Path, size: u64) {
    std::fs::File::options().write(true).open(file).unwrap().set_len(size).unwrap();
}

/// A tree of small files, cut short often: every file that is visible is whole at every moment.
#[test]
fn a_tree_that_is_cut_short_shows_whole_files_only() {
    let mut dice = Dice::thrown();
    let mut world = World::new(SFT);
    let mut tree = Tree::new(world.local("many"));
    tree.many("", 8000, 8000);
    let content: HashMap<PathBuf, Vec<u8>> = files(tree.path())
        .into_iter()
        .map(|(path, bytes)| (path.strip_prefix(tree.path()).unwrap().into(), bytes))
        .collect();
    let relay = world.relay("far");
    relay.rate(2 * MIB);
    let target = world.served("many");
    for round in 0..12 {
        let mut running = world.start(args!["cp", tree.path(), "far:"]);
        std::thread::sleep(Duration::from_millis(100 + dice.below(700)));
        if round % 2 == 0 {
            running.kill();
            running.ended();
        } else {
            world.crash_server();
            drop(running);
            world.start_server();
        }
        for (path, bytes) in files(&target) {
            let name = path.strip_prefix(&target).unwrap();
            assert!(content.get(name) == Some(&bytes), "{} shows something else", name.display());
        }
    }
    relay.rate(0);
    world.sft(args!["cp", tree.path(), "srv:"]).done();
    assert_same_tree(tree.path(), &target);
}

fn files(at: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![at.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = dir.read_dir() else { continue };
        for entry in entries.map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false => found.push((entry.path(), std::fs::read(entry.path()).unwrap())),
            }
        }
    }
    found
}

#[test]
fn a_server_that_is_stopped_says_what_was_under_way_and_the_client_goes_on_when_it_is_back() {
    let mut copy = Move::new(Way::Up, 100 * MIB);
    copy.relay.rate(4 * MIB);
    let mut running = copy.start();
    moved(&mut running, 10 * MIB);
    let stopped = copy.world.stop_server().done();
    let told = stopped.objects().pop().unwrap();
    assert_eq!(
        (&told["event"], &told["sessions"], &told["transfers"]),
        (&"stopped".into(), &1.into(), &1.into())
    );
    std::thread::sleep(Duration::from_secs(2));
    copy.world.start_server();
    copy.relay.rate(0);
    let ran = running.wait(PATIENCE).done();
    assert!(copy.shows_new());
    assert!(ran.objects().iter().any(|object| object["event"] == "reconnected"), "{ran:?}");
}

#[test]
fn a_copy_that_is_interrupted_ends_with_130_and_goes_on_later() {
    let copy = Move::new(Way::Down, 100 * MIB);
    copy.relay.rate(4 * MIB);
    let mut running = copy.start();
    moved(&mut running, 15 * MIB);
    running.interrupt();
    running.wait(PATIENCE).ended(130);
    copy.relay.rate(0);
    assert!(copy.finish()["bytes_kept"].as_u64().unwrap() >= 8 * MIB);
}

/// A reader sees one version or the other whole, whenever it looks, while the file is replaced over and over.
#[test]
fn whoever_reads_while_it_is_replaced_sees_one_version() {
    let world = World::new(SFT);
    let versions: Vec<Vec<u8>> = (0..2).map(|seed| Dice::new(seed).bytes(3 << 20)).collect();
    for (number, version) in versions.iter().enumerate() {
        std::fs::write(world.local(&number.to_string()), version).unwrap();
    }
    let target = world.served("it");
    std::fs::write(&target, &versions[0]).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !over.load(Ordering::Relaxed) {
                let seen = std::fs::read(&target).unwrap();
                assert!(versions.contains(&seen), "{} bytes of neither version", seen.len());
                reads += 1;
            }
            reads
        });
        for round in 1..20 {
            let source = world.local(&(round % 2).to_string());
            world.sft(args!["cp", "--durability", "none", source, "srv:it"]).done();
        }
        over.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 10);
    });
}

/// Two commands for one file at a time: one of them may give way, and what comes out is whole.
#[test]
fn two_copies_of_one_file_at_once_do_no_harm() {
    let copy = Move::new(Way::Up, 60 * MIB);
    copy.relay.rate(20 * MIB);
    let (one, other) = (copy.start(), copy.start());
    std::thread::sleep(Duration::from_millis(300));
    copy.relay.rate(0);
    copy.relay.tcp(Fate::Pass);
    let codes = [one, other].map(|running| running.wait(PATIENCE).code);
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(copy.shows_new());
}
