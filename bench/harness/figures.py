"""From runs to figures: medians, rates, ratios, costs for a gigabyte. Pure: the same runs give the same figures."""

from dataclasses import dataclass, field, replace
from statistics import median

from harness.paths import PAYLOAD_SHARE
from harness.results import Key, Results

MAIN = "sft"


@dataclass(frozen=True)
class Row:
    """One tool's figures. `value` is in the case's unit; `synced` the same with a final sync counted in.

    `ratios` says, for each other row, how many times as fast this one is. CPU is in seconds for a gigabyte, or for 100,000
    files where the unit is files. `wire` is bytes on the wire for a byte of content.
    """

    tool: str
    label: str
    kind: str
    durable: bool
    value: float
    synced: float
    seconds: list[float]
    stopped: bool
    client_cpu: float
    server_cpu: float | None
    client_peak_bytes: int
    server_peak_bytes: int | None
    wire: float | None
    lost: float | None
    samples: list[int]
    of_limit: float | None = None
    ratios: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A table: everything that did one thing over one path. `unit` is MB/s or files/s, or s or ms where less is better.

    `limit` is what there is to reach, in `unit`, and `limit_name` in whose words; None where nobody knows.
    """

    path: str
    input: str
    way: str
    again: bool
    title: str
    unit: str
    limit: float | None
    limit_name: str
    halved_s: tuple[float, float] | None
    rows: tuple[Row, ...]

    @property
    def less_is_better(self) -> bool:
        return self.unit in ("s", "ms")

    @property
    def is_far(self) -> bool:
        return self.path != "loopback"


def cases(results: Results) -> list[Case]:
    """All tables, in the order in which they were measured. What has no network is shown with both ways."""
    groups: dict[tuple, dict[Key, list[dict]]] = {}
    for key, runs in results.runs.items():
        groups.setdefault((key.path, key.input, key.again, key.way), {})[key] = runs
    found = []
    for (path, what, again, way), runs in groups.items():
        if way != "local":
            local = groups.get((path, what, again, "local"), {})
            found.append(case_of(results, (path, what, again, way), local | runs))
    paths = list(dict.fromkeys(key.path for key in results.runs))
    return sorted(found, key=lambda case: paths.index(case.path))


def case_of(results: Results, name: tuple, runs: dict[Key, list[dict]]) -> Case:
    path, what, again, way = name
    told, spec = results.inputs[what], results.paths[path]
    unit = "ms" if way == "greet" else "s" if again else told["unit"]
    words = f"{told['title']}, {way}" + (", again, nothing changed" if again else "")
    if way == "greet":
        words = "A greeting, from a cold start to its end"
    rows = [row_of(results, key, told, unit, costs) for key, costs in runs.items()]
    limit, limit_name = limit_of(spec, rows, unit)
    rows = [replace(row, of_limit=row.synced / limit if limit else None, ratios=ratios(row, rows, unit)) for row in rows]
    halved = spec["halved_s"]
    return Case(path, what, way, again, f"{words}, {spec['title']}", unit, limit, limit_name,
                tuple(halved) if halved else None, tuple(rows))


def row_of(results: Results, key: Key, told: dict, unit: str, costs: list[dict]) -> Row:
    tool = results.tools[key.tool]
    middle = sorted(costs, key=lambda cost: cost["seconds"])[(len(costs) - 1) // 2]
    servers = [cost["server_cpu_s"] for cost in costs if cost["server_cpu_s"] is not None]
    stopped = any(cost["stopped"] for cost in costs)
    scale = cpu_scale(told, unit) / max(share_done(middle, told), 1e-9)
    packets = sum(cost["packets"] for cost in costs)
    lost = sum(cost["lost_packets"] + cost["dropped_packets"] for cost in costs)
    has_wire = unit in ("MB/s", "files/s") and key.way != "local" and not stopped and told["bytes"]
    return Row(
        tool=key.tool,
        label=key.label,
        kind=tool["kind"],
        durable=tool["durable"],
        value=median(value_of(cost, told, unit, 0) for cost in costs),
        synced=median(value_of(cost, told, unit, cost["sync_s"]) for cost in costs),
        seconds=[cost["seconds"] for cost in costs],
        stopped=stopped,
        client_cpu=median(cost["client_cpu_s"] for cost in costs) * scale,
        server_cpu=median(servers) * scale if servers else None,
        client_peak_bytes=max(cost["client_peak_bytes"] for cost in costs),
        server_peak_bytes=max((cost["server_peak_bytes"] for cost in costs if cost["server_peak_bytes"]), default=None),
        wire=median(cost["wire_bytes"] for cost in costs) / told["bytes"] if has_wire else None,
        lost=lost / packets if packets else None,
        samples=middle["samples"],
    )


def cpu_scale(told: dict, unit: str) -> float:
    """What to multiply seconds of a run with: for a gigabyte, for 100,000 files, or as they are where time is shown."""
    if unit == "MB/s":
        return 1e9 / max(told["bytes"], 1)
    return 1e5 / max(told["entries"], 1) if unit == "files/s" else 1.0


def value_of(cost: dict, told: dict, unit: str, more_s: float) -> float:
    """One run in the case's unit."""
    seconds = cost["seconds"] + more_s
    if unit in ("s", "ms"):
        return seconds * (1000 if unit == "ms" else 1)
    whole = told["bytes"] / 1e6 if unit == "MB/s" else told["entries"]
    return whole * share_done(cost, told) / seconds


def share_done(cost: dict, told: dict) -> float:
    """How much of the input had arrived; of a run that was stopped, as the receiving interface tells it."""
    if not cost["stopped"]:
        return 1.0
    expected = (told["bytes"] + 300 * told["entries"]) / PAYLOAD_SHARE
    return min(1.0, cost["received_bytes"] / expected)


def limit_of(spec: dict, rows: list[Row], unit: str) -> tuple[float | None, str]:
    """What there is to reach: the link's rate on a long path, on loopback the copy of the system, synced."""
    if unit == "MB/s" and spec["limit_mb_s"]:
        return spec["limit_mb_s"], "the link"
    copies = [row for row in rows if row.label == "cp"]
    if spec["rate_mbit"] == 0 and copies and unit in ("MB/s", "files/s"):
        return copies[0].synced, "cp and sync"
    return None, ""


def ratios(row: Row, rows: list[Row], unit: str) -> dict[str, float]:
    """How many times as fast a row is as each other one, as they come."""
    def speed(one: Row) -> float:
        return 1 / max(one.value, 1e-9) if unit in ("s", "ms") else one.value

    return {other.label: speed(row) / max(speed(other), 1e-12) for other in rows if other.label != row.label}
