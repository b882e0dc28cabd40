//! Promise: a copy to a new name that was cut short goes on where it landed when the same command is run again, though by
//! then that name is a directory; a copy that came to its end, or another one, lands inside it as with `cp -r`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sft_testkit::{Dice, Ran, Relay, Running, Tree, World, args, assert_same_content, assert_same_tree};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// A tree, and a name where nothing is.
struct Copy {
    world: World,
    relay: Relay,
    line: Vec<OsString>,
    source: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn up() -> Self {
        Self::of(
            |world| (world.local("dir"), world.served("new")),
            |source, _| args!["cp", source, "far:new"],
        )
    }

    fn down() -> Self {
        Self::of(
            |world| (world.served("dir"), world.local("new")),
            |_, target| args!["cp", "far:dir", target],
        )
    }

    fn of(
        places: impl Fn(&World) -> (PathBuf, PathBuf),
        line: impl Fn(&PathBuf, &PathBuf) -> Vec<OsString>,
    ) -> Self {
        let world = World::new(SFT);
        let relay = world.relay("far");
        let (source, target) = places(&world);
        Tree::new(&source).many("a", 300, 2000).dir("b");
        Dice::new(7).file(&source.join("b/large"), 24 << 20);
        let line = line(&source, &target);
        Self { world, relay, line, source, target }
    }

    fn start(&self, more: &[&str]) -> Running {
        let mut line = self.line.clone();
        line.extend(more.iter().map(OsString::from));
        self.world.start(line)
    }

    /// Runs it and ends it as a crash does, as soon as something is there.
    fn cut_when(&self, is_there: impl Fn() -> bool) {
        self.relay.rate(1 << 20);
        let (mut running, begun) = (self.start(&[]), Instant::now());
        while !is_there() {
            assert!(!running.is_over() && begun.elapsed() < PATIENCE, "{}", running.stderr_so_far());
            std::thread::sleep(Duration::from_millis(1));
        }
        running.kill();
        assert_eq!(running.ended().signal, Some(9));
        self.relay.rate(0);
    }

    fn again(&self) -> Ran {
        self.start(&[]).wait(PATIENCE).done()
    }

    /// All of it is there. Directories are not looked at: a server may still put in place what had reached it of a copy that was
    /// killed, after the next one has set their times.
    fn arrived(&self) {
        assert_same_content(&self.source, &self.target);
    }

    fn there(&self, name: &str) -> bool {
        self.target.join(name).exists()
    }

    /// Notes of copies that are under way.
    fn notes(&self) -> Vec<PathBuf> {
        let notes = fs::read_dir(self.world.client.state().join("under-way")).into_iter().flatten();
        notes.map(|note| note.unwrap().path()).collect()
    }
}

const SAID: &str = "this copy was begun before and not finished: going on where it landed";

#[test]
fn it_goes_on_where_it_landed() {
    for copy in [Copy::up(), Copy::down()] {
        copy.cut_when(|| copy.there("a/0000/0000100"));
        let ran = copy.start(&["--json"]).wait(PATIENCE).done();
        let result = ran.objects().pop().unwrap();
        copy.arrived();
        assert!(result["unchanged"].as_u64().unwrap() > 100, "{result}");
        assert!(copy.notes().is_empty());
        // It is done: the next one is another copy, as with `cp -r`.
        let ran = copy.again();
        assert!(!ran.err().contains(SAID), "{ran:?}");
        assert_same_tree(&copy.source, &copy.target.join("dir"));
    }
}

#[test]
fn what_never_began_goes_on_nowhere() {
    let world = World::new(SFT);
    Tree::new(world.root()).dir("dir").file("dir/f", 1);
    let target = world.local("new");
    world.sft(args!["cp", "--wait", "0", "--port", "1", "srv:dir", &target]).ended(3);
    Tree::new(&target).file("mine", 2);
    let ran = world.sft(args!["cp", "srv:dir", &target]).done();
    assert!(!ran.err().contains(SAID), "{ran:?}");
    assert!(target.join("dir/f").is_file());
}

/// However early and however often it is cut short.
#[test]
fn it_goes_on_from_the_first_moment() {
    for copy in [Copy::up(), Copy::down()] {
        copy.cut_when(|| copy.target.exists());
        copy.cut_when(|| copy.there("a/0000"));
        copy.cut_when(|| copy.there("a/0000/0000000"));
        let ran = copy.again();
        assert!(ran.err().contains(SAID), "{ran:?}");
        copy.arrived();
    }
}

#[test]
fn another_command_lands_as_ever() {
    for copy in [Copy::up(), Copy::down()] {
        copy.cut_when(|| copy.there("a/0000/0000000"));
        let other = copy.source.with_file_name("other");
        Tree::new(&other).file("f", 3);
        let name = |name: &str| copy.source.with_file_name(name).into_os_string();
        let line: Vec<OsString> = match copy.line[1] == name("dir") {
            true => args!["cp", name("other"), "far:new"],
            false => args!["cp", "far:other", copy.target],
        };
        copy.world.sft(line).done();
        assert!(copy.there("other/f") && copy.notes().len() == 1);
        fs::remove_dir_all(copy.target.join("other")).unwrap();
        copy.again();
        copy.arrived();
    }
}

/// A file at the name is replaced, and one that was cut short leaves nothing that leads elsewhere.
#[test]
fn a_file_lands_inside_a_directory_that_was_made_since() {
    for mut copy in [Copy::up(), Copy::down()] {
        let file = copy.source.join("b/large");
        copy.line[1] = match copy.line[1] == *copy.source {
            true => file.clone().into(),
            false => "far:dir/b/large".into(),
        };
        copy.relay.rate(1 << 20);
        let (udp, tcp) = copy.relay.passed();
        let (mut running, begun) = (copy.start(&[]), Instant::now());
        while copy.relay.passed().0 + copy.relay.passed().1 < udp + tcp + (2 << 20) {
            assert!(!running.is_over() && begun.elapsed() < PATIENCE, "{}", running.stderr_so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
        running.kill();
        running.ended();
        copy.relay.rate(0);
        fs::create_dir(&copy.target).unwrap();
        copy.again();
        assert!(fs::read(copy.target.join("large")).unwrap() == fs::read(&file).unwrap());
    }
}

#[test]
fn a_copy_of_which_nothing_landed_is_not_remembered() {
    for mut copy in [Copy::up(), Copy::down()] {
        // There is no directory to hold the name, or something is in the way of the tree.
        match copy.line[1] == *copy.source {
            true => *copy.line.last_mut().unwrap() = "far:gone/new".into(),
            false => fs::write(&copy.target, "in the way").unwrap(),
        }
        copy.start(&[]).wait(PATIENCE).ended(1);
        assert!(copy.notes().is_empty());
    }
}

#[test]
fn a_memory_that_cannot_be_kept_stops_no_copy() {
    let copy = Copy::up();
    fs::create_dir_all(copy.world.client.state()).unwrap();
    fs::write(copy.world.client.state().join("under-way"), "in the way").unwrap();
    copy.again();
    assert_same_tree(&copy.source, &copy.target);
}

#[test]
fn the_same_command_twice_at_once_does_no_harm() {
    let copy = Copy::up();
    let both = [copy.start(&[]), copy.start(&[])];
    let codes = both.map(|running| running.wait(PATIENCE).code);
    assert!(codes.contains(&Some(0)), "{codes:?}");
    let large = |at: &Path| fs::read(at.join("b/large")).unwrap();
    assert!(large(&copy.target) == large(&copy.source));
    copy.again();
    assert!(large(&copy.target) == large(&copy.source));
}
