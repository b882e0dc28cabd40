//! Promise: the manual page is one that `man` takes without a complaint, and says what the help says.

use std::io::Write;
use std::process::{Command, Stdio};

use sft_testkit::{World, args};

const SFT: &str = env!("CARGO_BIN_EXE_sft");

#[test]
fn the_page_is_sound_and_reads_as_a_page() {
    let page = World::new(SFT).sft(args!["help", "man"]).done().stdout;
    let set = |how: &[&str]| {
        let mut groff = Command::new("groff")
            .args(["-man", "-ww", "-Kutf8"])
            .args(how)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("groff is installed by tests/run");
        groff.stdin.take().unwrap().write_all(&page).unwrap();
        groff.wait_with_output().unwrap()
    };
    let warned = set(&["-Tutf8", "-z"]);
    assert!(
        warned.status.success() && warned.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&warned.stderr)
    );
    let shown = String::from_utf8(set(&["-Tascii", "-P-cbou"]).stdout).unwrap();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let shown = words.join(" ");
    for text in [
        "NAME sft - A simple, fast",
        "SFT DOCTOR sft doctor",
        "EXIT STATUS 0 All done.",
        "~/.config/sft/config.toml",
    ] {
        assert!(shown.contains(text), "`{text}` is not in {shown}");
    }
}
