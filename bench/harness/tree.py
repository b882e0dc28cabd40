"""A real tree: a kernel's source as Debian packs it, downloaded by apt and unpacked. Nothing is installed."""

import re
import shutil
import tempfile
from pathlib import Path

from harness.process import Failed, run_quietly

PACKAGE = re.compile(r"^linux-source-[0-9.]+")


def unpack(folder: Path) -> None:
    """Puts the newest kernel's source that apt knows into `folder`, as one tree."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        # apt downloads as a user of its own, unless it may not write here; then it warns and does it as root.
        package = newest(run_quietly(["apt-cache", "search", "--names-only", "^linux-source-[0-9.]+$"]))
        print(f"bench: downloading {package}", flush=True)
        run_quietly(["apt-get", "download", "-q", package], cwd=place)
        deb = next(Path(place).glob("*.deb"))
        run_quietly(["dpkg-deb", "--extract", str(deb), place])
        packed = next(Path(place, "usr/src").rglob("linux-source-*.tar.*"))
        run_quietly(["tar", "-C", str(folder), "--no-same-owner", "-xf", str(packed)])
    found = list(folder.iterdir())
    if len(found) != 1:
        shutil.rmtree(folder)
        raise Failed(f"{package} holds {len(found)} things instead of one tree")
    found[0].rename(folder / "linux")


def newest(searched: str) -> str:
    """The package with the highest version, in what `apt-cache search` printed."""
    names = [found.group() for line in searched.splitlines() if (found := PACKAGE.match(line))]
    if not names:
        raise Failed("apt knows no package linux-source-*; run apt-get update, or leave the tree out")
    return max(names, key=lambda name: [int(part) for part in name.rpartition("-")[2].split(".")])
