//! Promise: every verb does what its namesake of the system does, tells names and contents byte for byte, and is quiet
//! otherwise.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sft_base::Digest;
use sft_testkit::{Running, Tree, World, args, snapshot};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a script of bash as the client, with `sft` as `$SFT`; its standard output.
fn bash(world: &World, script: &str) -> sft_testkit::Ran {
    let mut command: Command = world.client.command(Path::new("bash"));
    command.env("SFT", SFT).args(["-c", script]);
    Running::start(command).wait(PATIENCE)
}

#[test]
fn ls_shows_names_sorted_and_those_with_a_dot_on_demand() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.file("b", 10).file("a", 2_000_000).file(".hidden", 1).dir("D").file("D/in", 1).link("link", "a");
    tree.file(OsStr::from_bytes(b"n\xff\n"), 0);
    for name in ["a", "b", ".hidden"] {
        tree.mode(name, 0o640).time(name, 1_800_000_000, 7);
    }
    tree.time("D", 1_800_000_000, 0).mode("D", 0o755);
    assert_eq!(world.sft(args!["ls", "srv:"]).done().stdout, b"D\na\nb\nlink\nn\xff\n\n");
    assert_eq!(world.sft(args!["ls", "-a", "srv:."]).done().stdout, b".hidden\nD\na\nb\nlink\nn\xff\n\n");
    assert_eq!(world.sft(args!["ls", "srv:D/"]).done().out(), "in\n");
    let long = world.sft(args!["ls", "-l", "srv:"]).done().out();
    let lines: Vec<&str> = long.lines().collect();
    assert_eq!(lines[0], "drwxr-xr-x       0 2027-01-15 08:00 D");
    assert_eq!(lines[1], "-rw-r----- 2000000 2027-01-15 08:00 a");
    assert_eq!(lines[2], "-rw-r-----      10 2027-01-15 08:00 b");
    assert!(lines[3].starts_with("lrwxrwxrwx ") && lines[3].ends_with(" link -> a"), "{long}");
    let objects = world.sft(args!["ls", "--json", "-a", "srv:"]).done().objects();
    assert_eq!(objects.len(), 6);
    assert_eq!((&objects[0]["path"], &objects[0]["size"]), (&".hidden".into(), &1.into()));
    assert_eq!((&objects[1]["path"], &objects[1]["kind"]), (&"D".into(), &"directory".into()));
    assert_eq!((&objects[2]["mode"], &objects[2]["kind"]), (&"0640".into(), &"file".into()));
    assert_eq!(objects[2]["modified"], "2027-01-15T08:00:00.000000007Z");
    assert_eq!((&objects[4]["kind"], &objects[4]["target"]["path"]), (&"link".into(), &"a".into()));
    assert_eq!(objects[5]["path_hex"], "6eff0a", "a name that is not UTF-8 is told byte for byte");
}

#[test]
fn ls_takes_files_and_several_places_and_goes_on_after_one_that_fails() {
    let world = World::new(SFT);
    Tree::new(world.root()).dir("d").file("d/in", 1).file("d/.dot", 1).file("f", 3).file(".hidden", 4);
    assert_eq!(world.sft(args!["ls", "srv:f"]).done().out(), "f\n");
    assert_eq!(world.sft(args!["ls", "srv:.hidden"]).done().out(), ".hidden\n", "what is named is shown");
    assert_eq!(world.sft(args!["ls", "srv:d/.dot"]).done().out(), "d/.dot\n");
    world.sft(args!["ls", "srv:f/"]).ended(1).says("not a directory");
    let both = world
        .sft(args!["ls", "srv:gone", "srv:d", "srv:f"])
        .ended(1)
        .says("sft: srv:gone: there is no such entry");
    assert!(both.out().contains("srv:d:\nin\n") && both.out().contains("srv:f:\nf\n"), "{both:?}");
}

#[test]
fn ls_of_many_names_tells_each_once() {
    let world = World::new(SFT);
    Tree::new(world.root()).dir("many");
    for number in 0..5000 {
        std::fs::write(world.served(&format!("many/name-{number:05}")), "").unwrap();
    }
    let expected: String = (0..5000).map(|number| format!("name-{number:05}\n")).collect();
    assert!(world.sft(args!["ls", "srv:many"]).done().out() == expected);
}

#[test]
fn stat_tells_what_an_entry_is() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.dir("d").file("d/f", 1234).mode("d/f", 0o4755).time("d/f", 1_800_000_000, 5).link("l", "d/f");
    let block = "    name: d/f\n    kind: file\n    size: 1234\n    mode: 4755 -rwsr-xr-x\n\
                 modified: 2027-01-15 08:00:00.000000005 +0000\n";
    assert_eq!(world.sft(args!["stat", "srv:d/f"]).done().out(), block);
    let link = world.sft(args!["stat", "srv:l"]).done().out();
    assert!(link.contains("kind: link\n  target: d/f\n"), "a link is told of itself: {link}");
    let objects = world.sft(args!["stat", "--json", "srv:d/f", "srv:d"]).done().objects();
    assert_eq!((&objects[0]["size"], &objects[1]["kind"]), (&1234.into(), &"directory".into()));
    let ran = world.sft(args!["stat", "srv:gone", "srv:d"]).ended(1).says("srv:gone: there is no such entry");
    assert!(ran.out().contains("kind: directory"), "the others are told: {ran:?}");
}

#[test]
fn mkdir_makes_one_or_with_p_all_that_are_missing() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 1);
    world.sft(args!["mkdir", "srv:a", "srv:b"]).done();
    assert!(world.served("a").is_dir() && world.served("b").is_dir());
    world.sft(args!["mkdir", "srv:a"]).ended(1).says("exists already");
    world.sft(args!["mkdir", "srv:x/y"]).ended(1).says("-p makes it too");
    assert!(!world.served("x").exists());
    world.sft(args!["mkdir", "-p", "srv:x/y/z", "srv:a"]).done();
    assert!(world.served("x/y/z").is_dir());
    world.sft(args!["mkdir", "-p", "srv:x/y/z"]).done();
    world.sft(args!["mkdir", "-p", "srv:f/under"]).ended(1);
    world.sft(args!["mkdir", "srv:f", "srv:after"]).ended(1);
    assert!(world.served("after").is_dir(), "it goes on after one that fails");
}

#[test]
fn rm_removes_what_is_named_and_follows_no_link() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.file("f", 1).dir("empty").dir("full/deep").file("full/deep/in", 1).file("kept", 5);
    tree.link("to-full", "full").link("dangling", "nowhere");
    world.sft(args!["rm", "srv:f", "srv:to-full", "srv:dangling"]).done();
    assert!(!world.served("f").exists() && world.served("to-full").symlink_metadata().is_err());
    assert!(world.served("full/deep/in").exists());
    world.sft(args!["rm", "srv:full"]).ended(1).says("-r removes it");
    assert!(world.served("full/deep/in").exists());
    std::os::unix::fs::symlink("../../kept", world.served("full/deep/link")).unwrap();
    world.sft(args!["rm", "-r", "srv:full", "srv:empty"]).done();
    assert!(
        !world.served("full").exists() && !world.served("empty").exists() && world.served("kept").exists()
    );
    world.sft(args!["rm", "srv:gone"]).ended(1).says("srv:gone: there is no such entry");
    world.sft(args!["rm", "-f", "srv:gone"]).done();
    world.sft(args!["rm", "-rf", "srv:"]).ended(2).says("all that the host serves");
    world.sft(args!["rm", "srv:gone", "srv:kept"]).ended(1);
    assert!(!world.served("kept").exists(), "it goes on after one that fails");
}

#[test]
fn mv_renames_and_moves_and_replaces_unless_told_not_to() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.file("a", 1).file("b", 2).file("c", 3).dir("d").dir("e").file("e/in", 4).link("l", "a");
    let size = |path: &str| world.served(path).symlink_metadata().map(|meta| meta.len()).ok();
    world.sft(args!["mv", "srv:a", "srv:a2"]).done();
    assert_eq!((size("a"), size("a2")), (None, Some(1)));
    world.sft(args!["mv", "-n", "srv:a2", "srv:b"]).ended(1).says("exists already");
    assert_eq!((size("a2"), size("b")), (Some(1), Some(2)));
    world.sft(args!["mv", "srv:a2", "srv:b"]).done();
    assert_eq!((size("a2"), size("b")), (None, Some(1)));
    world.sft(args!["mv", "srv:b", "srv:c", "srv:l", "srv:d"]).done();
    assert_eq!((size("d/b"), size("d/c")), (Some(1), Some(3)));
    assert!(world.served("d/l").symlink_metadata().unwrap().is_symlink());
    world.sft(args!["mv", "srv:e", "srv:d/"]).done();
    assert_eq!(size("d/e/in"), Some(4));
    world.sft(args!["mv", "srv:d/e/in", "srv:"]).done();
    assert_eq!(size("in"), Some(4));
    world.sft(args!["mv", "srv:in", "srv:gone/"]).ended(2);
    world.sft(args!["mv", "srv:gone", "srv:there"]).ended(1);
    world.sft(args!["mv", "srv:d", "srv:d/e/d"]).ended(1);
    world.sft(args!["mv", "srv:in", "other:in"]).ended(2).says("different hosts");
    assert_eq!(size("in"), Some(4));
}

#[test]
fn df_tells_what_the_file_system_tells() {
    let world = World::new(SFT);
    let object = world.sft(args!["df", "--json", "srv:"]).done().objects().remove(0);
    let mut df = Command::new("df");
    df.args(["-B1", "--output=size,avail"]).arg(world.root());
    let said = String::from_utf8(df.output().unwrap().stdout).unwrap();
    let numbers: Vec<u64> =
        said.lines().nth(1).unwrap().split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(object["total"].as_u64(), Some(numbers[0]));
    let available = object["available"].as_u64().unwrap();
    assert!(available.abs_diff(numbers[1]) < numbers[0] / 10 + (8 << 30), "{available} {numbers:?}");
    let table = world.sft(args!["df", "srv:"]).done().out();
    assert!(table.starts_with("Host ") && table.contains(&numbers[0].to_string()), "{table}");
    let human = world.sft(args!["df", "-h", "srv:"]).done().out();
    assert!(!human.contains(&numbers[0].to_string()) && human.contains('%'), "{human}");
}

#[test]
fn cat_writes_contents_byte_for_byte() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.file("large", (9 << 20) + 17).file("empty", 0).file("small", 3).dir("d").link("l", "small");
    let content = |name: &str| std::fs::read(world.served(name)).unwrap();
    for transport in ["quic", "tcp"] {
        let ran = world.sft(args!["cat", "--transport", transport, "srv:large"]).done();
        assert!(ran.stdout == content("large") && ran.stderr.is_empty());
    }
    let ran = world.sft(args!["cat", "srv:small", "srv:empty", "srv:large"]).done();
    assert!(ran.stdout == [content("small"), content("large")].concat());
    let ran = world.sft(args!["cat", "srv:gone", "srv:d", "srv:small"]).ended(1);
    assert_eq!(ran.stdout, content("small"), "it goes on after one that fails");
    assert_eq!(ran.err(), "sft: srv:gone: there is no such entry\nsft: srv:d: it is a directory\n");
}

#[test]
fn a_reader_that_has_enough_ends_the_command_without_a_word() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.file("large", 20 << 20).many("many", 1000, 0);
    for line in
        ["cat srv:large", "ls srv:many/0000", "ls -l srv:many/0000", "help", "ls --json srv:many/0000"]
    {
        let ran = bash(
            &world,
            &format!("set -o pipefail; $SFT {line} | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"),
        );
        assert_eq!((ran.out().as_str(), ran.err().as_str()), ("0\n", ""), "{line}: {ran:?}");
    }
    let full = bash(&world, "$SFT cat srv:large >/dev/full").ended(6);
    assert!(full.err().starts_with("sft: cannot write the output: No space left"), "{full:?}");
}

#[test]
fn hash_prints_what_b3sum_prints() {
    let world = World::new(SFT);
    let mut tree = Tree::new(world.root());
    tree.file("small", 5).file("empty", 0).file("large", (5 << 20) + 3).file("back\\slash", 7).dir("d");
    let line = |name: &str, shown: &str| {
        let digest = Digest::of(&std::fs::read(world.served(name)).unwrap());
        format!("{digest}  {shown}\n")
    };
    let ran = world.sft(args!["hash", "srv:small", "srv:empty", "srv:large"]).done();
    let expected =
        [line("small", "srv:small"), line("empty", "srv:empty"), line("large", "srv:large")].concat();
    assert_eq!(ran.out(), expected);
    let local = world.served("large");
    let shown = local.display().to_string();
    assert_eq!(world.sft(args!["hash", local]).done().out(), line("large", &shown));
    let escaped = format!("\\{}", line("back\\slash", "srv:back\\\\slash"));
    assert_eq!(world.sft(args!["hash", "srv:back\\slash"]).done().out(), escaped);
    let object = world.sft(args!["hash", "--json", "srv:small"]).done().objects().remove(0);
    let small = Digest::of(&std::fs::read(world.served("small")).unwrap());
    assert_eq!((&object["path"], &object["digest"]), (&"srv:small".into(), &small.to_string().into()));
    let ran = world.sft(args!["hash", "srv:gone", "srv:d", world.local("gone"), "srv:small"]).ended(1);
    assert_eq!(ran.out(), line("small", "srv:small"), "it goes on after those that fail: {ran:?}");
    assert_eq!(ran.err().lines().count(), 3, "{ran:?}");
}

#[test]
fn key_makes_a_key_that_lets_in_and_shows_it() {
    let world = World::new(SFT);
    let person = world.keyless("fresh");
    world.introduce(&person, "srv", world.port());
    assert_eq!(person.sft(args!["key"]).done().says("sft key new").out(), "");
    let made = person.sft(args!["key", "new"]).done();
    assert!(made.out().starts_with("ssh-ed25519 ") && made.out().lines().count() == 1, "{made:?}");
    let path = person.config().join("id_ed25519");
    let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let before = std::fs::read(&path).unwrap();
    person.sft(args!["key", "new"]).ended(6).says("a key is never overwritten");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let mut keygen = Command::new("ssh-keygen");
    keygen.arg("-lf").arg(&path);
    let theirs = String::from_utf8(keygen.output().unwrap().stdout).unwrap();
    let fingerprint = theirs.split(' ').nth(1).unwrap();
    let shown = person.sft(args!["key", "show"]).done();
    assert!(shown.out().starts_with(&format!("# {fingerprint} from {}\n", path.display())), "{shown:?}");
    assert!(shown.out().ends_with(&made.out()), "{shown:?}");
    assert_eq!(person.sft(args!["key", "show", "--json"]).done().objects()[0]["fingerprint"], fingerprint);
    person.sft(args!["ls", "srv:"]).ended(4);
    // The whole can be appended to authorized_keys.
    world.owner.authorize(&shown.out());
    person.sft(args!["ls", "srv:"]).done();
    let asked = world.keyless("asked");
    asked.sft(args!["key", "new", "--passphrase"]).ended(2).says("only be asked for on a terminal");
    assert!(!asked.config().join("id_ed25519").exists());
}

#[test]
fn a_key_that_is_named_goes_before_all_others() {
    let world = World::new(SFT);
    let stranger = world.stranger("stranger");
    let mine = OsString::from(world.client.key());
    assert!(world.client.key().exists());
    stranger.sft(args!["ls", "srv:"]).ended(4);
    stranger.sft(args!["ls", "-i", mine, "srv:"]).done();
    stranger.sft(args!["ls", "-i", world.local("gone"), "srv:"]).ended(6);
}

#[test]
fn serve_says_where_it_listens_and_who_owns_it() {
    let mut world = World::new(SFT);
    let said: Vec<serde_json::Value> =
        world.server().stdout_so_far().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["event"], "serving");
    assert_eq!(said[0]["path"], world.root().to_str().unwrap());
    assert_eq!(said[0]["addresses"], serde_json::json!([world.address().to_string()]));
    assert_eq!(said[0]["port"], world.port());
    assert_eq!(said[0]["owner_keys"], 1);
    assert_eq!(said[0]["read_only"], false);
    // The fingerprint is that of the key in the state folder, as OpenSSH tells it.
    let mut keygen = Command::new("ssh-keygen");
    keygen.arg("-lf").arg(world.owner.state().join("identity"));
    let theirs = String::from_utf8(keygen.output().unwrap().stdout).unwrap();
    assert_eq!(said[0]["fingerprint"].as_str(), theirs.split(' ').nth(1));
    world.sft(args!["ls", "srv:"]).done();
    let stopped = world.stop_server().done().objects().pop().unwrap();
    assert_eq!((&stopped["event"], &stopped["transfers"]), (&"stopped".into(), &0.into()));
    let before = snapshot(world.root());
    world.start_server();
    let again: serde_json::Value =
        serde_json::from_str(world.server().stdout_so_far().lines().next().unwrap()).unwrap();
    assert_eq!(again["fingerprint"], said[0]["fingerprint"], "it stays who it is");
    assert_eq!(snapshot(world.root()), before);
}

#[test]
fn serve_says_what_prevents_it() {
    let world = World::new(SFT);
    let other = world.newcomer("other");
    let port = world.port().to_string();
    let taken = other.sft(args!["serve", world.root(), "--bind", "127.0.0.1", "--port", port]);
    assert!(matches!(taken.code, Some(1..)) && taken.err().contains(&port), "{taken:?}");
    let nowhere = other.sft(args!["serve", world.local("gone"), "--bind", "127.0.0.1", "--port", "0"]);
    assert!(matches!(nowhere.code, Some(1..)) && nowhere.err().contains("gone"), "{nowhere:?}");
    let file = Tree::new(world.local("t")).file("f", 1).path().join("f");
    let no_dir = other.sft(args!["serve", file, "--bind", "127.0.0.1", "--port", "0"]);
    assert!(matches!(no_dir.code, Some(1..)), "{no_dir:?}");
}
