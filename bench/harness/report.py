"""Writes the report of a benchmark: Markdown for people, JSON for programs, pictures; the same numbers in all."""

import json
import re
from dataclasses import asdict
from pathlib import Path

from harness import plot
from harness.figures import MAIN, Case, Row, cases
from harness.results import Results

UNIT_TITLE = {"MB/s": "MB/s", "files/s": "files/s", "s": "seconds", "ms": "ms"}


def write(results: Results) -> Path:
    """Writes everything anew beside the runs; returns the Markdown file."""
    found = cases(results)
    pictures = {case.title: draw(case, results.folder) for case in found}
    (results.folder / "report.json").write_text(as_json(results, found))
    text = results.folder / "report.md"
    text.write_text(markdown(results, found, pictures))
    return text


def draw(case: Case, folder: Path) -> list[str]:
    """Draws a case's pictures; their file names."""
    name = re.sub(r"[^a-z0-9.]+", "-", f"{case.path}-{case.input}-{case.way}{'-again' if case.again else ''}".lower())
    made = [f"{name}.svg"]
    (folder / made[0]).write_text(plot.bars(case))
    if case.is_far and case.unit == "MB/s":
        made.append(f"{name}-over-time.svg")
        (folder / made[1]).write_text(plot.over_time(case))
    return made


def markdown(results: Results, found: list[Case], pictures: dict[str, list[str]]) -> str:
    about = results.about
    lines = [f"# sft and its rivals, {about['begun'][:10]}, profile `{about['profile']}`", ""]
    lines += [f"- {line}" for line in [about["machine"], *about["versions"]]]
    lines += [f"- Left out: {line}" for line in about["skipped"]]
    lines += [
        "- Both ends on this machine, in network namespaces; inputs in the page cache; every run into a fresh directory, after",
        "  a `sync`; tools in turn within each round; medians. ≈: stopped when its time was over, the rate of what had crossed.",
        "- sft verifies every byte by BLAKE3 and publishes every file atomically. *Durable*: on disk when the command ends;",
        "  *with sync*: the same with a `sync` of the file system counted in, which makes every tool durable.",
        f"- *{MAIN} is*: how many times as fast `{MAIN}` is, durable as it comes, as the tool without a sync.",
        "- CPU: seconds for a gigabyte, or for 100,000 files where files are counted; in all where time is shown.",
        "",
    ]
    for case in found:
        lines += [f"## {case.title}", "", *table(case), ""]
        lines += [line for name in pictures.get(case.title, []) for line in (f"![{case.title}]({name})", "")]
    lines += [f"**Failed:** {failure}\n" for failure in results.failures]
    return "\n".join(lines).rstrip() + "\n"


def table(case: Case) -> list[str]:
    head = ["tool", UNIT_TITLE[case.unit]] + ([] if case.unit == "ms" else ["with sync"])
    head += [f"of {case.limit_name}"] if case.limit else []
    head += [f"{MAIN} is", "durable", "CPU client", "CPU server", "MB client", "MB server"]
    head += [] if case.less_is_better else ["on the wire"]
    head += (["lost"] if case.is_far else []) + ["runs"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    main = next((row for row in case.rows if row.label == MAIN), None)
    for row in sorted(case.rows, key=lambda row: row.value, reverse=not case.less_is_better):
        lines.append("| " + " | ".join(cells(case, row, main)) + " |")
    return lines


def cells(case: Case, row: Row, main: Row | None) -> list[str]:
    name = f"**{row.label}**" if row.kind == "sft" else row.label
    made = [name, ("≈ " if row.stopped else "") + figure(row.value)]
    made += [] if case.unit == "ms" else ["–" if row.stopped else figure(row.synced)]
    made += [f"{row.of_limit:.2f}"] if row.of_limit is not None else []
    made.append(f"{main.ratios[row.label]:.2f} ×" if main and row.label in main.ratios else "")
    made += ["yes" if row.durable else "no", f"{row.client_cpu:.2f}", "–" if row.server_cpu is None else f"{row.server_cpu:.2f}",
             megabytes(row.client_peak_bytes), megabytes(row.server_peak_bytes)]
    made += [] if case.less_is_better else ["–" if row.wire is None else f"{row.wire:.3f}"]
    made += ["–" if row.lost is None else f"{row.lost:.1%}"] if case.is_far else []
    return [*made, str(len(row.seconds))]


def as_json(results: Results, found: list[Case]) -> str:
    told = results.about | {"failures": results.failures, "paths": results.paths, "inputs": results.inputs,
                            "cases": [asdict(case) for case in found]}
    return json.dumps(told, indent=1) + "\n"


def figure(value: float) -> str:
    """Three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def megabytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:.0f}"
