//! Whether tests may do what only root can.

/// Whether this process is root's. If it is not, and the environment does not say that this is known (`SFT_TEST_NOT_ROOT=1`),
/// the test fails: a promise must not go untested unnoticed. `what` ends the sentence "only root can".
#[track_caller]
pub fn is_root_or_known_not(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    let known = std::env::var_os("SFT_TEST_NOT_ROOT").is_some_and(|value| value == "1");
    assert!(root || known, "only root can {what}; set SFT_TEST_NOT_ROOT=1 to go without this test");
    root
}
