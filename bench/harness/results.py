"""What was measured, kept in a file that grows by a line with each run: an interrupted benchmark loses nothing."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from harness.inputs import Input
from harness.measure import Cost
from harness.paths import PathSpec
from harness.place import file_system
from harness.tool import Tool

RUNS = "runs.jsonl"


@dataclass(frozen=True)
class Key:
    """What one figure is of. `kernel` is the congestion control, empty where it does not matter; `again` means that all of
    it was there before. `way` is `up`, `down`, `local` (no network) or `greet`."""

    path: str
    input: str
    way: str
    tool: str
    kernel: str = ""
    again: bool = False

    @property
    def label(self) -> str:
        return f"{self.tool}, {self.kernel}" if self.kernel else self.tool


@dataclass
class Results:
    """The runs of one benchmark, in `folder`. `about` tells profile, machine, versions; paths, inputs and tools by name."""

    folder: Path
    about: dict
    paths: dict[str, dict]
    inputs: dict[str, dict]
    tools: dict[str, dict]
    runs: dict[Key, list[dict]]
    failures: list[str]

    @classmethod
    def begin(cls, folder: Path, about: dict) -> "Results":
        folder.mkdir(parents=True)
        made = cls(folder, {}, {}, {}, {}, {}, [])
        made.write({"about": about})
        return made

    @classmethod
    def load(cls, folder: Path) -> "Results":
        """Reads what an earlier benchmark left. A last line that was cut short does not count."""
        made = cls(folder, {}, {}, {}, {}, {}, [])
        for line in (folder / RUNS).read_text().splitlines():
            try:
                made.take(json.loads(line))
            except json.JSONDecodeError:
                continue
        return made

    def take(self, record: dict) -> None:
        if "run" in record:
            self.runs.setdefault(Key(**record["key"]), []).append(record["run"])
        elif "failure" in record:
            self.failures.append(record["failure"])
        elif "about" in record:
            self.about |= record["about"]
        else:
            for kind in ("paths", "inputs", "tools"):
                getattr(self, kind).update(record.get(kind, {}))

    def write(self, record: dict) -> None:
        self.take(record)
        with open(self.folder / RUNS, "a") as file:
            file.write(json.dumps(record) + "\n")

    def describe(self, path: PathSpec, what: Input, tool: Tool) -> None:
        """Notes what the names in keys mean, once each."""
        spec = asdict(path) | {"title": path.title, "limit_mb_s": path.limit_mb_s}
        told = {"title": what.title, "unit": what.unit, "bytes": what.bytes, "entries": what.entries}
        used = {"kind": tool.kind, "durable": tool.durable}
        for kind, name, meaning in (("paths", path.name, spec), ("inputs", what.name, told), ("tools", tool.name, used)):
            if name not in getattr(self, kind):
                self.write({kind: {name: meaning}})

    def add(self, key: Key, cost: Cost) -> None:
        self.write({"key": asdict(key), "run": asdict(cost)})

    def fail(self, words: str) -> None:
        self.write({"failure": words})

    def is_enough(self, key: Key, rounds: int, once_above_s: float) -> bool:
        """Whether a figure has its runs: slow ones have one."""
        runs = self.runs.get(key, [])
        return len(runs) >= rounds or any(run["stopped"] or run["seconds"] > once_above_s for run in runs)


def newest(results: Path, profile: str) -> Path:
    """The folder of the last benchmark of a profile."""
    found = sorted(path.parent for path in results.glob(f"*-{profile}/{RUNS}"))
    if not found:
        raise SystemExit(f"bench: there is nothing of profile {profile} in {results} to go on with")
    return found[-1]


def about(profile: str, versions: list[str], skipped: list[str], place: Path) -> dict:
    return {
        "profile": profile,
        "begun": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(place),
        "versions": versions,
        "skipped": skipped,
    }


def machine(place: Path) -> str:
    """What these numbers are of."""
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (f"{len(os.sched_getaffinity(0))} processors ({cpu}), {memory:.0f} GiB, "
            f"{platform.system()} {platform.release()}, {file_system(place)}")
