"""From costs to tables: medians, rates, ratios. Markdown for people, JSON for programs; the same numbers in both."""

import json
import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

from harness.cases import Case
from harness.inputs import Input, Profile
from harness.measure import Cost


class Report:
    """Collects what was measured."""

    def __init__(self, profile: Profile, versions: list[str], place: Path):
        self.profile = profile
        self.versions = versions
        self.machine = machine(place)
        self.begun = datetime.now(timezone.utc)
        self.costs: dict[tuple[str, str, str], list[Cost]] = {}
        self.cases: dict[tuple[str, str], Case] = {}
        self.inputs: dict[str, Input] = {}
        self.failures: list[str] = []

    def add(self, what: Input, case: Case, cost: Cost) -> None:
        self.inputs[what.name] = what
        self.cases[case.tool, case.way] = case
        self.costs.setdefault((what.name, case.way, case.tool), []).append(cost)

    def rows(self, what: Input, way: str) -> list[dict]:
        """One row for each tool: the limits first, then those that went this way."""
        found = [(tool, at, costs) for (name, at, tool), costs in self.costs.items()
                 if name == what.name and at in ("local", way)]
        rows = [row_of(what, self.cases[tool, at], costs) for tool, at, costs in found]
        return [row | {"ratios": ratios(row, rows)} for row in rows]

    def markdown(self) -> str:
        lines = [f"# sft and its rivals, {self.begun:%Y-%m-%d}, profile `{self.profile.name}`", ""]
        lines += [f"- {line}" for line in self.machine + self.versions]
        lines += [
            "- Loopback, both ends on this machine; inputs in the page cache; every run into a fresh directory, after a `sync`.",
            f"- Medians of {self.profile.rounds} runs, taken in turn" + (
                "; scp copies the small files once." if self.profile.slow_once else "."),
            "- sft verifies every byte by BLAKE3 and publishes every file atomically. *Durable*: on disk when the command ends.",
            "",
        ]
        for what in self.inputs.values():
            for way in ("up", "down"):
                lines += [f"## {what.title}, {way}", "", *table(self.rows(what, way), what.unit), ""]
        lines += [f"**Failed:** {failure}" for failure in self.failures]
        return "\n".join(lines).rstrip() + "\n"

    def as_json(self) -> str:
        results = [row | {"input": what.name, "way": way} for what in self.inputs.values()
                   for way in ("up", "down") for row in self.rows(what, way)]
        about = {"profile": self.profile.name, "begun": self.begun.isoformat(), "machine": self.machine,
                 "versions": self.versions, "failures": self.failures, "results": results}
        return json.dumps(about, indent=1) + "\n"

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        base = directory / f"{self.begun:%Y%m%d-%H%M%S}-{self.profile.name}"
        base.with_suffix(".json").write_text(self.as_json())
        base.with_suffix(".md").write_text(self.markdown())
        return base.with_suffix(".md")


def row_of(what: Input, case: Case, costs: list[Cost]) -> dict:
    def middle(get) -> float | None:
        values = [get(cost) for cost in costs if get(cost) is not None]
        return median(values) if values else None

    seconds = middle(lambda cost: cost.seconds)
    return {
        "tool": case.tool,
        "durable": case.durable,
        "is_rival": case.is_rival,
        "rate": what.amount / seconds,
        "seconds": seconds,
        "all_seconds": [cost.seconds for cost in costs],
        "client_cpu_s": middle(lambda cost: cost.client_cpu_s),
        "server_cpu_s": middle(lambda cost: cost.server_cpu_s),
        "client_peak_bytes": max(cost.client_peak_bytes for cost in costs),
        "server_peak_bytes": max((cost.server_peak_bytes for cost in costs if cost.server_peak_bytes), default=None),
    }


def ratios(row: dict, rows: list[dict]) -> dict[str, float]:
    """How often a row is as fast as each limit and rival."""
    against = [other for other in rows if other["is_rival"] or other["tool"].startswith("cp")]
    return {other["tool"]: row["rate"] / other["rate"] for other in against}


def table(rows: list[dict], unit: str) -> list[str]:
    against = list(rows[0]["ratios"]) if rows else []
    head = ["tool", unit, "durable", *(f"× {tool}" for tool in against),
            "CPU s client", "CPU s server", "peak MB client", "peak MB server", "runs"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for row in rows:
        cells = [row["tool"], f"{row['rate']:,.0f}", "yes" if row["durable"] else "no",
                 *(f"{row['ratios'][tool]:.2f}" for tool in against),
                 number(row["client_cpu_s"], "{:.2f}"), number(row["server_cpu_s"], "{:.2f}"),
                 megabytes(row["client_peak_bytes"]), megabytes(row["server_peak_bytes"]), str(len(row["all_seconds"]))]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def megabytes(value: int | None) -> str:
    return number(None if value is None else value / 1e6, "{:.0f}")


def machine(place: Path) -> list[str]:
    """What these numbers are of."""
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return [f"{len(os.sched_getaffinity(0))} processors ({cpu}), {memory:.0f} GiB, "
            f"{platform.system()} {platform.release()}, {file_system(place)}"]


def file_system(place: Path) -> str:
    """The type of the file system that a path is on, as it is mounted."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [(point, kind) for point, kind in mounts if place.resolve().is_relative_to(point)]
    return max(above, key=lambda mount: len(mount[0]))[1] if above else "unknown file system"
