//! Whether two trees are the same, by the word of programs that are not ours: `find`, `diff`, and `rsync`.

use std::path::Path;
use std::process::Command;

/// Panics unless two trees have the same entries: names, kinds, modes, times to the nanosecond, link targets, contents.
#[track_caller]
pub fn assert_same_tree(a: &Path, b: &Path) {
    assert_same_attributes(a, b);
    assert_silent(Command::new("diff").args(["-r", "--no-dereference"]).arg(a).arg(b));
    let inside = |path: &Path| path.join("");
    let mut rsync = Command::new("rsync");
    rsync.args(["-naHi", "--checksum", "--delete", "--omit-link-times"]);
    // Who owns what is not copied.
    rsync.args(["--no-owner", "--no-group"]).arg(inside(a)).arg(inside(b));
    assert_silent(&mut rsync);
}

/// The same for trees that are too deep for `diff` and `rsync`: contents are compared by `sha256sum`, run by `find` where
/// each file lies.
#[track_caller]
pub fn assert_same_tree_by_find(a: &Path, b: &Path) {
    assert_same_attributes(a, b);
    let sums = |path: &Path| {
        let mut find = Command::new("find");
        find.arg(".")
            .args(["-type", "f", "-printf", "%p ", "-execdir", "sha256sum", "{}", ";"])
            .current_dir(path);
        let mut lines: Vec<Vec<u8>> = output(&mut find).split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    };
    assert!(sums(a) == sums(b), "contents differ between {} and {}", a.display(), b.display());
}

/// Panics unless two files, or two trees, have the same names and contents: modes and times are not every client's business.
#[track_caller]
pub fn assert_same_content(a: &Path, b: &Path) {
    assert_silent(Command::new("diff").arg("-rq").args([a, b]));
}

/// Every entry of a tree with its kind, mode, time, and size or target, sorted: what `find` says.
pub fn snapshot(path: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    find.arg(".").args(["-type", "f", "-printf", "%p\\tfile %m %T@ %s\\0", "-o"]);
    find.args(["-type", "l", "-printf", "%p\\tlink %T@ %l\\0", "-o"]);
    find.args(["-type", "d", "-printf", "%p\\tdir %m %T@\\0", "-o", "-printf", "%p\\tother %y\\0"]);
    let entries = output(find.current_dir(path));
    let mut lines: Vec<String> = entries
        .split(|&b| b == 0)
        .filter(|entry| !entry.is_empty())
        .map(|entry| entry.escape_ascii().to_string())
        .collect();
    lines.sort();
    lines
}

#[track_caller]
fn assert_same_attributes(a: &Path, b: &Path) {
    let (left, right) = (snapshot(a), snapshot(b));
    if left == right {
        return;
    }
    let lacking: Vec<_> = left.iter().filter(|line| right.binary_search(line).is_err()).take(SHOWN).collect();
    let surplus: Vec<_> = right.iter().filter(|line| left.binary_search(line).is_err()).take(SHOWN).collect();
    panic!(
        "{} and {} differ\nonly in the first: {lacking:#?}\nonly in the second: {surplus:#?}",
        a.display(),
        b.display()
    );
}

#[track_caller]
fn assert_silent(command: &mut Command) {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&ran.stdout);
    let complained = String::from_utf8_lossy(&ran.stderr);
    let all_well = ran.status.success() && said.is_empty() && complained.is_empty();
    assert!(all_well, "{command:?} finds differences:\n{said}\n{complained}");
}

fn output(command: &mut Command) -> Vec<u8> {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    ran.stdout
}

const SHOWN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tree;

    fn two(change: impl Fn(&Path)) -> std::thread::Result<()> {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = Tree::new(dir.path().join("a"));
        tree.odd_entries().odd_names();
        let copied = Command::new("cp").args(["-a", "a", "b"]).current_dir(dir.path()).status().unwrap();
        assert!(copied.success());
        change(&dir.path().join("b"));
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let compared = std::panic::catch_unwind(|| assert_same_tree(&a, &b));
        let deep = std::panic::catch_unwind(|| assert_same_tree_by_find(&a, &b));
        assert_eq!(compared.is_ok(), deep.is_ok(), "both comparers agree");
        compared
    }

    #[test]
    fn a_faithful_copy_is_the_same_and_the_least_difference_is_not() {
        use std::os::unix::fs::PermissionsExt;
        two(|_| {}).unwrap();
        two(|b| std::fs::write(b.join("a/b/c/f"), "xyz").unwrap()).unwrap_err();
        two(|b| std::fs::set_permissions(b.join("empty"), PermissionsExt::from_mode(0o700)).unwrap())
            .unwrap_err();
        two(|b| std::fs::remove_file(b.join("dangling")).unwrap()).unwrap_err();
        two(|b| std::fs::write(b.join("more"), "").unwrap()).unwrap_err();
        two(|b| {
            let file = std::fs::File::open(b.join("case")).unwrap();
            let time = file.metadata().unwrap().modified().unwrap();
            file.set_modified(time + std::time::Duration::from_nanos(1)).unwrap();
        })
        .unwrap_err();
    }
}
