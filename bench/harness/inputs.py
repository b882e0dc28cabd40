"""What is copied: one large file that cannot be compressed, and a tree of small files. The same bytes for every tool."""

import os
import random
from dataclasses import dataclass
from pathlib import Path

SMALL_BYTES = 4096
MIB = 1 << 20


@dataclass(frozen=True)
class Profile:
    """How much of everything. `slow_once` lets a rival run once where it takes far longer than all others together; who
    takes longer than `run_max_s` hangs."""

    name: str
    large_bytes: int
    files: int
    dirs: int
    rounds: int
    slow_once: bool
    run_max_s: int


PROFILES = {
    "full": Profile("full", 4 << 30, 100_000, 1_000, 3, False, 900),
    "quick": Profile("quick", 1 << 30, 20_000, 200, 3, True, 300),
    "smoke": Profile("smoke", 8 * MIB, 200, 10, 1, True, 20),
}


@dataclass(frozen=True)
class Input:
    """One thing to copy: `amount` of `unit` are in it."""

    name: str
    title: str
    path: Path
    amount: float
    unit: str
    bytes: int
    entries: int

    def is_copied_to(self, place: Path, thoroughly: bool) -> bool:
        """Whether the copy in the directory `place` is whole; with `thoroughly`, every byte is compared."""
        copy = place / self.path.name
        if self.path.is_file():
            return copy.is_file() and copy.stat().st_size == self.bytes and (not thoroughly or same(self.path, copy))
        if not thoroughly:
            return copy.is_dir()
        found = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
        if len(found) != self.entries:
            return False
        return all((self.path / name).read_bytes() == (copy / name).read_bytes() for name in found)


def make(profile: Profile, place: Path) -> list[Input]:
    """Makes both inputs in `place`; what was read or written here is in the page cache afterwards."""
    return [make_large(profile, place / "large.bin"), make_small(profile, place / "small")]


def make_large(profile: Profile, path: Path) -> Input:
    with open(path, "wb") as file:
        for _ in range(profile.large_bytes // MIB):
            file.write(os.urandom(MIB))
    title = f"One file of {amount_of(profile.large_bytes)}"
    return Input("large", title, path, profile.large_bytes / 1e6, "MB/s", profile.large_bytes, 1)


def make_small(profile: Profile, path: Path) -> Input:
    numbers = random.Random(1303)
    per_dir = profile.files // profile.dirs
    for at in range(profile.dirs):
        directory = path / f"d{at:04}"
        directory.mkdir(parents=True)
        for number in range(per_dir):
            (directory / f"f{number:04}").write_bytes(numbers.randbytes(SMALL_BYTES))
    files = per_dir * profile.dirs
    title = f"{files:,} files of 4 KiB in {profile.dirs:,} directories"
    return Input("small", title, path, files, "files/s", files * SMALL_BYTES, files)


def warm(inputs: list[Input]) -> None:
    """Reads everything once, so that no tool pays for the disk that another one gets for nothing."""
    for one in inputs:
        files = [one.path] if one.path.is_file() else [path for path in one.path.rglob("*") if path.is_file()]
        for path in files:
            with open(path, "rb", buffering=0) as file:
                while file.read(MIB):
                    pass


def same(left: Path, right: Path) -> bool:
    with open(left, "rb") as a, open(right, "rb") as b:
        while True:
            one, other = a.read(MIB), b.read(MIB)
            if one != other:
                return False
            if not one:
                return True


def amount_of(size: int) -> str:
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
