"""Where everything rests on the disk: inputs that are kept, and copies that are not.

    DIR/sft-bench/inputs    made once, kept for the next benchmark
    DIR/sft-bench/tools     rivals that no package manager brought
    DIR/sft-bench/run-PID   copies, removed at the end

ext4 makes files up to ten times as slowly right after a large tree was removed, so trees are removed at the very end, or
when the disk is nearly full; then a pause follows.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from harness.process import Failed, is_alive

# ext4 hands out a removed file's inode again only after 5 to 35 seconds, and searches long until then.
PAUSE_S = 36
MANY_ENTRIES = 5_000


class Place:
    """The benchmark's folder on the disk that is meant."""

    def __init__(self, directory: Path):
        self.root = directory.resolve() / "sft-bench"
        self.inputs = self.root / "inputs"
        self.tools = self.root / "tools"
        self.run = self.root / f"run-{os.getpid()}"
        self.full_trees: list[Path] = []
        self.entries_kept = 0

    def __enter__(self) -> "Place":
        for folder in (self.inputs, self.tools, self.run):
            folder.mkdir(parents=True, exist_ok=True)
        self.remove_stale()
        return self

    def __exit__(self, *_) -> None:
        remove([self.run])

    def fresh(self, name: str) -> Path:
        """A directory that was not there before."""
        into = self.run / name.replace("/", "-").replace(" ", "-").replace(",", "")
        number = 0
        while into.exists():
            number += 1
            into = into.with_name(f"{into.name.rstrip('0123456789~')}~{number}")
        into.mkdir(parents=True)
        return into

    def done_with(self, into: Path, entries: int) -> None:
        """Takes back a directory: small ones go at once, trees when there is time for it."""
        if entries < MANY_ENTRIES:
            shutil.rmtree(into)
        else:
            self.full_trees.append(into)
            self.entries_kept += entries

    def make_room(self, size: int, entries: int) -> None:
        """Sees to it that a copy of `size` bytes in `entries` files fits. Fails when it cannot."""
        if self.fits(size, entries):
            return
        if self.full_trees:
            print(f"bench: removing {self.entries_kept:,} files that were copied", flush=True)
            remove(self.full_trees)
            self.full_trees, self.entries_kept = [], 0
            os.sync()
            time.sleep(PAUSE_S)
        if not self.fits(size, entries):
            raise Failed(f"{self.root} has no room for {size >> 20:,} MiB in {entries:,} files; name another with --dir")

    def fits(self, size: int, entries: int) -> bool:
        disk = os.statvfs(self.root)
        free = disk.f_bavail * disk.f_frsize
        # Twice the copy, for a temporary one beside it, and a tenth of the disk for everybody else.
        needed = 2 * (size + 4096 * entries) + disk.f_blocks * disk.f_frsize // 20
        return free > needed and (disk.f_files == 0 or disk.f_favail > 2 * entries)

    def remove_stale(self) -> None:
        """Removes what a benchmark that was killed could not."""
        old = [path for path in self.root.glob("run-*") if not is_alive(int(path.name.removeprefix("run-")))]
        if old:
            remove(old)


def remove(trees: list[Path]) -> None:
    """Removes trees, several folders at once."""
    folders = [path for tree in trees if tree.is_dir() for path in tree.iterdir()]
    if folders:
        names = "\0".join(str(path) for path in folders) + "\0"
        subprocess.run(["xargs", "-0", "-n", "1", "-P", "4", "rm", "-rf", "--"], input=names, text=True, check=True,
                       start_new_session=True)
    for tree in trees:
        shutil.rmtree(tree, ignore_errors=True)


def file_system(place: Path) -> str:
    """The type of the file system that a path is on, as it is mounted."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [(point, kind) for point, kind in mounts if place.resolve().is_relative_to(point)]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else "unknown file system"
