"""What is copied. The same bytes for every tool and on every machine, made once and kept.

`large` cannot be compressed; `small` is many equal files; `mixed` has log-normal sizes; `empty` is bookkeeping alone;
`tree` is a real one, a kernel's source (tree.py).
"""

import os
import random
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from harness import tree

SMALL_BYTES = 4096
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SEED = 1303


@dataclass(frozen=True)
class Recipe:
    """What an input is made by. Two recipes with one name are the same bytes."""

    name: str
    title: str
    unit: str
    make: Callable[[Path], None]

    def get(self, place: Path) -> "Input":
        """Takes the input from the cache, or makes it. `place` is the folder of inputs."""
        folder = place / self.name
        done = folder.with_name(f"{self.name}.done")
        if not done.exists():
            print(f"bench: making the input `{self.name}`: {self.title}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            self.make(folder)
            done.touch()
        found = [path for path in folder.iterdir()]
        assert len(found) == 1, "a recipe makes one file or one tree"
        count = count_of(found[0])
        return Input(self.name, self.title, found[0], self.unit, count.bytes, count.entries)


@dataclass(frozen=True)
class Count:
    """How much is in a tree: bytes of its files, and how many entries that are no directories."""

    bytes: int
    entries: int


@dataclass(frozen=True)
class Input:
    """One thing to copy. `unit` says what its speed is told in: MB/s or files/s."""

    name: str
    title: str
    path: Path
    unit: str
    bytes: int
    entries: int

    @property
    def is_file(self) -> bool:
        return self.path.is_file()

    @property
    def has_links(self) -> bool:
        return self.name == "tree"

    @property
    def amount(self) -> float:
        """How many of `unit` are in it, times a second."""
        return self.bytes / 1e6 if self.unit == "MB/s" else self.entries

    def warm(self) -> None:
        """Reads everything once, so that no tool pays for the disk that another one gets for nothing."""
        if self.bytes == 0:
            count_of(self.path)
            return
        for path in [self.path] if self.is_file else files_of(self.path):
            with open(path, "rb", buffering=0) as file:
                while file.read(MIB):
                    pass

    def is_copied_to(self, copy: Path, thoroughly: bool) -> bool:
        """Whether `copy` has every file, by names and sizes; with `thoroughly`, every byte is compared as well.

        What became of links is not looked at: some rivals follow them, some leave them out.
        """
        files = [self.path] if self.is_file else files_of(self.path)
        pairs = [(path, copy / path.relative_to(self.path)) for path in files]
        return all(has_size_of(path, other) for path, other in pairs) and not (
            thoroughly and any(not same(path, other) for path, other in pairs))


def large(size: int) -> Recipe:
    def make(folder: Path) -> None:
        numbers = random.Random(SEED)
        with open(folder / "large.bin", "wb") as file:
            for _ in range(size // MIB):
                file.write(numbers.randbytes(MIB))

    return Recipe(f"large-{size // MIB}m", f"One file of {amount_of(size)}", "MB/s", make)


def small(files: int, per_folder: int = 100) -> Recipe:
    def make(folder: Path) -> None:
        numbers = random.Random(SEED)
        for path in many(folder / "small", files, per_folder):
            path.write_bytes(numbers.randbytes(SMALL_BYTES))

    title = f"{files:,} files of 4 KiB in {max(1, files // per_folder):,} folders"
    return Recipe(f"small-{files}", title, "files/s", make)


def empty(files: int, per_folder: int = 1000) -> Recipe:
    def make(folder: Path) -> None:
        for path in many(folder / "empty", files, per_folder):
            path.touch()

    return Recipe(f"empty-{files}", f"{files:,} empty files in {max(1, files // per_folder):,} folders", "files/s", make)


def mixed(files: int, biggest: int = GIB) -> Recipe:
    def make(folder: Path) -> None:
        numbers = random.Random(SEED)
        sizes = mixed_sizes(files, biggest)
        for path, size in zip(many(folder / "mixed", files, 50), sizes):
            with open(path, "wb") as file:
                for at in range(0, size, MIB):
                    file.write(numbers.randbytes(min(MIB, size - at)))

    return Recipe(f"mixed-{files}-{biggest // MIB}m", f"{files:,} files of 1 B to {amount_of(biggest)}, log-normal sizes",
                  "MB/s", make)


def source_tree() -> Recipe:
    return Recipe("tree", "A Linux kernel's source", "files/s", tree.unpack)


def mixed_sizes(files: int, biggest: int) -> list[int]:
    """Sizes with a median of 32 KiB, most of their bytes in a few large files; the smallest and the biggest are there."""
    numbers = random.Random(SEED + 1)
    sizes = [max(1, min(biggest, int(numbers.lognormvariate(10.4, 2.4)))) for _ in range(files - 2)]
    return [1, *sizes, biggest]


def many(top: Path, files: int, per_folder: int):
    """Paths of `files` files in numbered folders, which are made."""
    for number in range(files):
        folder = top / f"d{number // per_folder:04}"
        if number % per_folder == 0:
            folder.mkdir(parents=True)
        yield folder / f"f{number % per_folder:04}"


def count_of(top: Path) -> Count:
    if not top.is_dir():
        return Count(top.stat().st_size, 1)
    size = entries = 0
    todo = [os.fspath(top)]
    while todo:
        with os.scandir(todo.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                else:
                    entries += 1
                    size += entry.stat(follow_symlinks=False).st_size
    return Count(size, entries)


def files_of(top: Path) -> list[Path]:
    """All plain files; links are not followed."""
    return [Path(folder, name) for folder, _, names in os.walk(top) for name in names
            if not os.path.islink(os.path.join(folder, name))]


def has_size_of(path: Path, copy: Path) -> bool:
    try:
        found = copy.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == path.lstat().st_size


def same(left: Path, right: Path) -> bool:
    with open(left, "rb") as a, open(right, "rb") as b:
        while True:
            one, other = a.read(MIB), b.read(MIB)
            if one != other:
                return False
            if not one:
                return True


def amount_of(size: int) -> str:
    for name, unit in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= unit:
            return f"{size / unit:g} {name}"
    return f"{size} B"
