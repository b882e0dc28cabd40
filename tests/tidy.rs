//! Promise: the house stays tidy. What lints cannot see: which room may name which, and what every file owes its reader.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may name (ARCHITECTURE.md): its arrows all point one way.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("store", &["base"]),
    ("auth", &["base"]),
    ("lane", &["base", "wire", "store", "auth"]),
    ("engine", &["base", "wire", "store", "auth", "lane"]),
    ("client", &["base", "wire", "store", "auth", "lane", "engine"]),
    ("doors", &["base", "wire", "store", "auth", "lane", "engine"]),
    ("ports", &[]),
    ("testkit", &["base", "wire", "store", "auth", "lane"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the project with one of these endings, but for what is built.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in dir.read_dir().unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    dirs.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "nothing ends with {endings:?}");
    found.sort();
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The rooms that a manifest depends on; those it needs for its tests alone do not count.
fn rooms_named(manifest: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut rooms = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            // `[dependencies.sft-base]`
            if let Some((kind, name)) = section.rsplit_once('.')
                && kind.ends_with("dependencies")
                && !kind.contains("dev-")
            {
                rooms.extend(name.strip_prefix("sft-").map(str::to_owned));
            }
        } else if section.ends_with("dependencies")
            && !section.contains("dev-")
            && !section.starts_with("workspace")
        {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            rooms.extend(name.strip_prefix("sft-").map(str::to_owned));
        }
    }
    rooms
}

#[test]
fn crates_name_only_those_they_stand_on() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut seen = 0;
    for dir in root().join("crates").read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        let manifest = dir.join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let room = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let may =
            allowed.get(room.as_str()).unwrap_or_else(|| panic!("the room `{room}` has no row in this test"));
        let wrong: Vec<_> =
            rooms_named(&text(&manifest)).into_iter().filter(|name| !may.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "crates/{room} names {wrong:?}, and may name {may:?} alone");
        seen += 1;
    }
    assert_eq!(seen, ARROWS.len(), "every room has a row, and every row a room");
}

#[test]
fn manifests_are_understood() {
    let manifest = "[dependencies]\nsft-a.workspace = true\nsft-b = { path = \"x\" }\nserde = \"1\"\n\
                    [dev-dependencies]\nsft-c.workspace = true\n[dependencies.sft-d]\npath = \"y\"\n\
                    [target.'cfg(unix)'.dependencies]\nsft-e.workspace = true\n";
    assert_eq!(rooms_named(manifest), ["a", "b", "d", "e"].map(String::from).into());
}

#[test]
fn the_root_needs_the_testkit_for_tests_alone() {
    assert!(!rooms_named(&text(&root().join("Cargo.toml"))).contains("testkit"));
}

#[test]
fn every_file_says_first_what_it_is() {
    let silent: Vec<_> = files(&[".rs"]).into_iter().filter(|path| !opens_with_words(&text(path))).collect();
    assert!(
        silent.is_empty(),
        "these do not open with `//!`: {:?}",
        silent.iter().map(|p| shown(p)).collect::<Vec<_>>()
    );
}

/// Before it only attributes of the whole file may stand, as fuzz targets need them.
fn opens_with_words(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.starts_with("//! ") && line.len() > 10)
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let long = files(&[".rs"]).into_iter().map(|path| (text(&path).lines().count(), path));
    let long: Vec<_> = long
        .filter(|(lines, _)| *lines > 600)
        .map(|(lines, path)| format!("{} has {lines}", shown(&path)))
        .collect();
    assert!(long.is_empty(), "two nouns in one room? {long:?}");
}

#[test]
fn only_the_binary_prints_and_exits() {
    let words = ["println!(", "print!(", "dbg!(", "process::exit(", "todo!(", "unimplemented!("];
    let mut wrong = Vec::new();
    for path in files(&[".rs"]) {
        let name = shown(&path);
        if !name.starts_with("crates/") || !name.contains("/src/") {
            continue;
        }
        for (number, line) in text(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if words.iter().any(|word| code.contains(word)) {
                wrong.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn no_crate_speaks_anyhow_and_the_machine_does_no_io() {
    for path in files(&["Cargo.toml"]).iter().filter(|path| shown(path).starts_with("crates/")) {
        assert!(!text(path).contains("anyhow"), "{}", shown(path));
    }
    let impure = ["std::net", "std::fs", "std::thread", "std::time", "tokio", "SystemTime", "Instant::now"];
    for path in files(&[".rs"]).iter().filter(|path| shown(path).starts_with("crates/wire/src")) {
        let found: Vec<_> = impure.iter().filter(|word| text(path).contains(**word)).collect();
        assert!(found.is_empty(), "{} names {found:?}", shown(path));
    }
}

#[test]
fn nothing_names_the_place_where_it_was_written() {
    // Put together here, so that this file does not name it either.
    let places = [["/wo", "rk/"], ["/ro", "ot/.cargo"], ["/ho", "me/runner"]].map(|halves| halves.concat());
    let mut wrong = Vec::new();
    for path in files(&[".rs", ".md", ".toml", ".txt", ".cddl", ".py", ".sh", "run"]) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        wrong.extend(
            places
                .iter()
                .filter(|place| text.contains(*place))
                .map(|place| format!("{}: {place}", shown(&path))),
        );
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn what_is_promised_is_not_left_out() {
    let words = [["#[ig", "nore"], ["should_panic(ex", "pected = \"\")"]].map(|halves| halves.concat());
    for path in files(&[".rs"]) {
        let text = text(&path);
        assert!(!words.iter().any(|word| text.contains(word)), "{} leaves a test out", shown(&path));
    }
}
