//! Promise: what somebody types out of habit with `cp`, `scp` and `ls` does what it does there, or says what to type
//! instead; and a failure is told once, in as few lines as it takes.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use sft_testkit::{Ran, Tree, World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");
const PATIENCE: Duration = Duration::from_secs(180);

/// The lines on stderr, but for the last one of a copy, which tells how long it took; with this world's folder as `DIR`.
fn said(world: &World, ran: &Ran) -> Vec<String> {
    let dir = world.root().parent().unwrap().display().to_string();
    let lines = ran.err();
    let lines = lines.lines().filter(|line| !line.contains(" copied"));
    lines.map(|line| line.replace(&dir, "DIR")).collect()
}

fn with_end(path: &Path, end: &str) -> OsString {
    let mut text = path.as_os_str().to_owned();
    text.push(end);
    text
}

#[test]
fn a_source_that_is_missing_does_not_stop_the_others() {
    let world = World::new(SFT);
    Tree::new(world.local("src")).file("a", 1).file("z", 2);
    let up = world.sft(args![
        "cp",
        world.local("src/a"),
        world.local("src/gone"),
        world.local("src/z"),
        "srv:there"
    ]);
    let up = up.ended(1);
    assert_eq!(said(&world, &up), ["sft: DIR/scratch/src/gone: No such file or directory (os error 2)"]);
    assert!(up.err().contains("2 entries copied, 1 FAILED"), "{up:?}");
    assert!(world.served("there/a").is_file() && world.served("there/z").is_file());
    let down =
        world.sft(args!["cp", "srv:there/a", "srv:there/gone", "srv:there/z", world.local("here")]).ended(1);
    assert_eq!(said(&world, &down), ["sft: there/gone: there is no such entry"]);
    assert!(world.local("here/a").is_file() && world.local("here/z").is_file());
    let json = world.sft(args!["cp", "--json", world.local("src/gone"), world.local("src/a"), "srv:"]);
    let json = json.ended(1).objects();
    assert!(
        json.iter().any(|object| object["event"] == "failed" && object["code"] == "not-found"),
        "{json:?}"
    );
    assert_eq!(json.last().unwrap()["failed"], 1);
    // If there is nothing else, nobody is asked.
    world.sft(args!["cp", world.local("src/gone"), "srv:"]).ended(6);
}

#[test]
fn sources_that_would_land_at_one_name_are_refused() {
    let world = World::new(SFT);
    Tree::new(world.local("")).dir("a").dir("b").file("a/f", 1).file("b/f", 2);
    Tree::new(world.root()).dir("a").dir("b").file("a/f", 1).file("b/f", 2);
    let up = world.sft(args!["cp", world.local("a/f"), world.local("b/f"), "srv:to"]).ended(2);
    assert_eq!(
        said(&world, &up),
        [
            "sft: `DIR/scratch/a/f` and `DIR/scratch/b/f` would both land as `f`: copy them one after the other"
        ]
    );
    let down = world.sft(args!["cp", "srv:a/f", "srv:b/f", world.local("to")]).ended(2);
    assert_eq!(
        said(&world, &down),
        ["sft: `srv:a/f` and `srv:b/f` would both land as `f`: copy them one after the other"]
    );
    assert!(!world.served("to").exists() && !world.local("to").exists());
    // The same twice is the same once, and what is in several directories has names of its own.
    let twice = world.sft(args!["cp", "--json", "srv:a/f", "srv:a/f", world.local("to")]).done();
    assert_eq!(twice.objects().last().unwrap()["committed"], 1);
    let (a, b) = (with_end(&world.local("a"), "/."), with_end(&world.local("b"), "/."));
    world.sft(args!["cp", a, b, "srv:merged"]).done();
}

#[test]
fn directories_of_one_name_are_merged() {
    let world = World::new(SFT);
    for root in [world.local(""), world.root().to_owned()] {
        Tree::new(root)
            .dir("a/sub")
            .dir("b/sub")
            .file("a/sub/x", 1)
            .file("b/sub/y", 2)
            .dir("a/none")
            .dir("b/none");
    }
    let (a, b) = (with_end(&world.local("a"), "/."), with_end(&world.local("b"), "/."));
    world.sft(args!["cp", a, b, "srv:new"]).done();
    world.sft(args!["cp", "srv:a/.", "srv:b/.", world.local("new")]).done();
    for new in [world.served("new"), world.local("new")] {
        assert!(new.join("sub/x").is_file() && new.join("sub/y").is_file() && new.join("none").is_dir());
    }
}

#[test]
fn a_slash_after_a_name_means_a_directory_on_a_host_too() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 1).dir("d").file("d/in", 1).link("link", "d");
    for name in ["f", "link"] {
        let ran = world.sft(args!["cp", format!("srv:{name}/"), world.local("here")]).ended(1);
        assert_eq!(
            said(&world, &ran),
            [format!(
                "sft: the server refused: {name}: it is not a directory, as the `/` after its name says"
            )]
        );
        assert!(world.local("here").symlink_metadata().is_err());
    }
    world.sft(args!["cp", "srv:d/", world.local("here")]).done();
    assert!(world.local("here/in").is_file());
    world.sft(args!["cp", "srv:gone/", world.local("here")]).ended(1).says("there is no such entry");
}

#[test]
fn a_destination_that_is_no_directory_is_told_as_such() {
    let world = World::new(SFT);
    Tree::new(world.local("src")).file("a", 1).file("b", 1);
    Tree::new(world.root()).file("f", 1);
    let (a, b) = (world.local("src/a"), world.local("src/b"));
    for line in [args!["cp", a, b, "srv:f"], args!["cp", a, "srv:f/"]] {
        let ran = world.sft(line).ended(1);
        let sentence = "f is not a directory, and what was named can only be put into one";
        assert_eq!(said(&world, &ran), [format!("sft: the server refused: {sentence}")]);
    }
}

#[test]
fn what_follows_from_a_failure_is_counted_and_not_told() {
    let world = World::new(SFT);
    Tree::new(world.local("d")).file("a", 1).dir("b").file("b/c", 1);
    Tree::new(world.root()).dir("at").file("at/d", 1);
    let line = |more: &[&str]| {
        let mut line = args!["cp", world.local("d"), "srv:at"];
        line.extend(more.iter().map(OsString::from));
        line
    };
    let ran = world.sft(line(&[])).ended(1);
    assert_eq!(
        said(&world, &ran),
        [
            "sft: at/d: something that is not a directory is in the way; remove it or choose another place",
            "sft: 3 more entries failed, which lie below",
        ]
    );
    assert_eq!(said(&world, &world.sft(line(&["-q"])).ended(1)), said(&world, &ran));
    let all = world.sft(line(&["-v"])).ended(1).err();
    assert_eq!(all.lines().filter(|line| line.starts_with("sft: at/d")).count(), 4, "{all}");
    let json = world.sft(line(&["--json"])).ended(1).objects();
    assert_eq!(json.iter().filter(|object| object["event"] == "failed").count(), 4);
}

#[test]
fn wildcards_and_names_without_a_host_are_explained() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("a.txt", 1);
    let hint = "there is no such entry; names on a host are taken as they stand, `*` and `?` too";
    let cases = [
        (args!["ls", "srv:*.txt"], 1, format!("sft: srv:*.txt: {hint}")),
        (args!["cp", "srv:*.txt", world.local("")], 1, format!("sft: *.txt: {hint}")),
        (
            args!["ls", "srv"],
            2,
            "sft: `srv` is on this machine, and `sft ls` works on a host: write `srv:` for the host `srv`, or `host:srv`"
                .into(),
        ),
        (
            args!["rm", "./x"],
            2,
            "sft: `./x` is on this machine, and `sft rm` works on a host: write `host:x`".into(),
        ),
    ];
    for (line, code, sentence) in cases {
        let ran = world.sft(line).ended(code);
        assert_eq!(said(&world, &ran), [sentence]);
    }
}

#[test]
fn flags_of_habit_are_taken() {
    let world = World::new(SFT);
    Tree::new(world.root()).file("f", 3000).file("g", 1);
    assert_eq!(world.sft(args!["ls", "-1", "srv:"]).done().out(), "f\ng\n");
    let long = world.sft(args!["ls", "-lh", "srv:"]).done().out();
    assert!(long.contains(" 3.0K ") && long.contains(" 1 "), "{long}");
    assert!(world.sft(args!["ls", "--help"]).done().out().contains("Usage: sft ls"));
    world.sft(args!["cp", "-f", "srv:f", world.local("f")]).done();
    world.sft(args!["mv", "-f", "srv:f", "srv:g"]).done();
    assert_eq!(world.served("g").metadata().unwrap().len(), 3000);
}

#[test]
fn a_folder_of_sft_that_is_left_out_is_named() {
    let world = World::new(SFT);
    Tree::new(world.local("d")).file("f", 1).dir(".sft").file(".sft/x", 1);
    for end in ["/.", "/"] {
        let source = with_end(&world.local("d"), end);
        let ran = world.sft(args!["cp", source, format!("srv:to{}", end.len())]).done();
        let sentence = "DIR/scratch/d/.sft is left out: sft keeps unfinished files there";
        assert_eq!(said(&world, &ran), [sentence]);
    }
    assert!(world.served("to2/f").is_file() && !world.served("to2/.sft").exists());
}

/// As a service manager or `timeout` does.
#[test]
fn a_client_that_is_asked_to_stop_says_so() {
    let world = World::new(SFT);
    let relay = world.relay("slow");
    relay.rate(2 << 20);
    Tree::new(world.root()).file("f", 24 << 20);
    let goes_on = "sft: interrupted; what was copied stays, and the same command goes on from there\n";
    for (line, sentence) in
        [(args!["cp", "slow:f", world.local("f")], goes_on), (args!["cat", "slow:f"], "sft: interrupted\n")]
    {
        let before = relay.passed();
        let mut running = world.start([line, args!["--transport", "tcp"]].concat());
        let begun = Instant::now();
        while relay.passed().1 < before.1 + (2 << 20) {
            assert!(!running.is_over() && begun.elapsed() < PATIENCE, "{}", running.stderr_so_far());
            std::thread::sleep(Duration::from_millis(5));
        }
        running.terminate();
        assert_eq!(running.wait(PATIENCE).ended(130).err(), sentence);
    }
}

#[test]
fn whoever_comes_in_is_told_what_to_type() {
    let world = World::new(SFT);
    Tree::new(world.root()).dir("box");
    for (number, (rights, verb)) in
        [("drop", "cp FILE "), ("fetch", "cat "), ("read", "ls ")].into_iter().enumerate()
    {
        let line = args!["invite", "-q", "--host", "127.0.0.1", "--path", "box", "--rights", rights];
        let link = world.owner.sft(line).done().out().trim_end().to_owned();
        let guest = world.keyless(&format!("guest-{number}"));
        let joined = guest.sft(args!["join", link]).done().err();
        let name = if rights == "read" { "" } else { "/NAME" };
        let try_this = format!("Try:\n    sft {verb}sft://127.0.0.1:{}/box{name}\n", world.port());
        assert!(joined.ends_with(&try_this), "{joined}");
        // As it says, with names in the place of words.
        Tree::new(guest.home()).file("mine", 1);
        let typed = try_this.rsplit_once("sft ").unwrap().1.trim_end();
        let typed = typed.replace("FILE", "mine").replace("NAME", if number == 0 { "new" } else { "seen" });
        Tree::new(world.served("box")).file("seen", 3);
        guest.sft(typed.split(' ').map(OsString::from).collect()).done();
        if rights == "drop" {
            let into_it = format!("sft://127.0.0.1:{}/box/", world.port());
            guest.sft(args!["cp", guest.home().join("mine"), into_it]).done();
            assert!(world.served("box/mine").is_file(), "a box takes what keeps its name");
        }
    }
    assert!(world.served("box/new").is_file());
}

#[test]
fn a_key_that_is_passed_over_is_named_where_it_is_missed() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(SFT);
    let careless = world.stranger("careless");
    std::fs::set_permissions(careless.key(), PermissionsExt::from_mode(0o644)).unwrap();
    let ran = careless.sft(args!["ls", "srv:"]).ended(4);
    assert!(said(&world, &ran)[0].contains("can be read by others (mode 0644); run `chmod 600 "), "{ran:?}");
}

#[test]
fn an_invitation_to_a_server_that_never_ran_says_so() {
    let world = World::new(SFT);
    let invite = |state: &Path| world.owner.sft(args!["invite", "--host", "h", "--state", state]).done();
    let known = world.owner.state();
    assert!(!invite(&known).err().contains("no `sft serve` has run"));
    assert!(invite(&world.local("new")).err().contains("no `sft serve` has run with this state folder yet"));
}

#[test]
fn what_is_missing_is_an_object_for_programs_wherever_it_is_missed() {
    let world = World::new(SFT);
    let here = world.local("gone");
    let lines = [
        args!["hash", "--json", &here],
        args!["hash", "--json", "srv:gone"],
        args!["cat", "--json", "srv:gone"],
        args!["stat", "--json", "srv:gone"],
        args!["ls", "--json", "srv:gone"],
        args!["rm", "--json", "srv:gone"],
        args!["mv", "--json", "srv:gone", "srv:new"],
        args!["cp", "--json", "srv:gone", world.local("new")],
    ];
    for line in lines {
        let ran = world.sft(line).ended(1);
        let failed: Vec<_> = ran.objects().into_iter().filter(|object| object["event"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{ran:?}");
        assert_eq!(
            (&failed[0]["code"], &failed[0]["retry"]),
            (&"not-found".into(), &false.into()),
            "{ran:?}"
        );
        assert!(failed[0]["path"].as_str().unwrap().ends_with("gone"), "{ran:?}");
    }
    let plain = world.sft(args!["hash", &here]).ended(1);
    assert_eq!(said(&world, &plain), ["sft: DIR/scratch/gone: No such file or directory (os error 2)"]);
}
