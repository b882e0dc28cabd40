"""One benchmark from beginning to end: installs, opens each path, lets tools run in turn, keeps every run, cleans up."""

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path

from harness import door, measure, packages, paths, plain, qcp, report, results as kept, sft, ssh
from harness.choice import Choice
from harness.inputs import Input
from harness.measure import Cost
from harness.paths import OpenPath
from harness.place import Place
from harness.process import Failed
from harness.profile import Group, Profile, shrunk
from harness.results import Key, Results
from harness.tool import Task, Tool


@dataclass
class Bench:
    """What all groups of a benchmark share."""

    place: Place
    state: Path
    results: Results
    choice: Choice
    binary: Path
    wanlink: Path | None
    kernels: list[str]
    missing: set[str]


def run(profile: Profile, choice: Choice, bench: Path, directory: Path, folder: Path, binary: Path | None, resume: bool) -> int:
    """Measures a profile; how many runs failed."""
    if os.geteuid() != 0:
        raise SystemExit("bench: please run it as root: it makes network namespaces")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("bench: stopped"))
    groups = prepared(profile, choice)
    if not groups:
        print(f"bench: --only and --without leave nothing of the profile {profile.name}")
        return 0
    paths.remove_stale_namespaces()
    with Place(directory) as place, tempfile.TemporaryDirectory(prefix="sft-bench-") as state, paths.Allowed():
        os.environ["PATH"] += f":{place.tools / 'bin'}"
        skipped = install(groups, choice, place)
        version = None if binary else sft.commit(bench)
        binary = (binary or sft.build(bench.parent)).resolve()
        wanlink = paths.build_wanlink(bench) if any(not group.path.is_loopback for group in groups) else None
        results = opened(profile, choice, folder, resume, sft.version(binary, version), skipped, place)
        shared = Bench(place, Path(state), results, choice, binary, wanlink, paths.kernels_here(),
                       {line.partition(" ")[0] for line in skipped})
        try:
            for number, (_, some) in enumerate(groupby(groups, key=lambda group: group.path)):
                measure_path(shared, list(some), number)
        finally:
            written = report.write(results)
            print(written.read_text())
            print(f"bench: written to {written}", flush=True)
    return len(results.failures)


def prepared(profile: Profile, choice: Choice) -> list[Group]:
    """The profile's groups as they will run: with what was asked for on the command line, and without what was not."""
    groups = [shrunk(group) if choice.tiny else group for group in profile.groups]
    groups = [replace(group, rounds=choice.rounds or group.rounds) for group in groups]
    def is_wanted(group: Group) -> bool:
        probes = [Key(group.path.name, group.recipe.name, way, "", kernel) for way in group.ways for kernel in group.kernels]
        return any(choice.without_tools().takes(probe) for probe in probes)

    return [group for group in groups if is_wanted(group)]


def install(groups: list[Group], choice: Choice, place: Place) -> list[str]:
    """Brings what the groups' tools need; a line for each thing that is not to be had."""
    named = choice.tools()
    programs = {"ip", "scp", "sshd", "openssl", "nginx", "curl", "rsync", "rclone", "lftp"}
    listed = {name for group in groups for name in group.tools} if all(group.tools for group in groups) else set()
    wanted = named or listed
    if wanted:
        words = " ".join(wanted)
        programs = {program for program in programs if program in words} | {"ip", "scp", "sshd"}
        programs |= {"openssl", "nginx"} if "curl" in words or "nginx" in words else set()
    if any(group.recipe.name == "tree" for group in groups):
        programs.add("xz")
    skipped = packages.install(programs - set(choice.without))
    wants_qcp = "qcp" not in choice.without and (not wanted or any("qcp" in word for word in wanted))
    if wants_qcp and (why := packages.install_qcp(place.tools)):
        skipped.append(f"qcp is not here: {why}")
    for line in skipped:
        print(f"bench: {line}", flush=True)
    return skipped


def opened(profile: Profile, choice: Choice, folder: Path, resume: bool, version: str, skipped: list[str],
           place: Place) -> Results:
    if resume:
        found = Results.load(kept.newest(folder, profile.name))
        print(f"bench: going on with {found.folder}", flush=True)
        return found
    stamp = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{profile.name}{'-tiny' if choice.tiny else ''}"
    versions = [version, packages.version_of(["ssh", "-V"]),
                *(packages.version_of(command) for command in
                  (["rsync", "--version"], ["rclone", "version"], ["lftp", "--version"], ["curl", "--version"],
                   ["nginx", "-v"], ["qcp", "--version"]) if packages.find(command[0])),
                f"ssh cipher {ssh.CIPHER}"]
    return Results.begin(folder / stamp, kept.about(profile.name, versions, skipped, place.root))


def measure_path(bench: Bench, groups: list[Group], number: int) -> None:
    """Opens a path with all servers on it, and measures the groups that use it."""
    spec = groups[0].path
    state = bench.state / f"path-{number}"
    state.mkdir()
    print(f"bench: {spec.title}", flush=True)
    with ExitStack() as stack:
        path = stack.enter_context(OpenPath(spec, bench.wanlink, state))
        tools = start_servers(bench, stack, path, state, groups)
        for group in groups:
            try:
                what = group.recipe.get(bench.place.inputs)
            except Failed as failure:
                note(bench.results, f"{group.recipe.name}: {failure}")
                continue
            measure_group(bench, path, group, what, tools)


def start_servers(bench: Bench, stack: ExitStack, path: OpenPath, state: Path, groups: list[Group]) -> list[Tool]:
    """Starts what can be started; the tools that there are then."""
    root = bench.place.root
    tools = plain.cp()
    makers = {
        "pipe": lambda: plain.Pipe(path, state, root),
        "sshd": lambda: ssh.Ssh(path, state),
        "rsync": lambda: plain.RsyncDaemon(path, state, root),
        "nginx": lambda: plain.Nginx(path, state, root),
        "sft": lambda: sft.Sft(path, state, root, bench.binary),
    }
    if any(name in group.tools for group in groups for name in door.DOORS.values()):
        makers["the SSH door"] = lambda: door.Door(path, state, root, bench.binary)
    for name, make in makers.items():
        if name in packages.PACKAGES and (name in bench.missing or not packages.find(name)):
            continue
        try:
            server = stack.enter_context(make())
        except Failed as failure:
            note(bench.results, f"{name}: {failure}")
            continue
        tools += server.tools()
        if name == "sshd" and packages.find("qcp"):
            tools += qcp.tools(path, server)
    kind = "loopback" if path.spec.is_loopback else "wan"
    return [tool for tool in tools if tool.only_on in (None, kind)]


def measure_group(bench: Bench, path: OpenPath, group: Group, what: Input, tools: list[Tool]) -> None:
    """All rounds of a group: each tool once, then each once more."""
    tools = [tool for tool in tools if (tool.name in group.tools if group.tools else not tool.by_name)]
    if what.has_links:
        tools = [tool for tool in tools if tool.links]
    if not what.is_file:
        tools = [tool for tool in tools if not tool.files_only]
    kernels = [name for name in group.kernels if name in bench.kernels] or ["cubic"]
    for number in range(group.rounds):
        what.warm()
        for kernel in kernels:
            path.set_kernel(kernel)
            for way in ("greet",) if group.greetings else group.ways:
                for tool in tools:
                    measure_tool(bench, path, group, what, tool, way, kernel, kernels, number)
        report.write(bench.results)


def measure_tool(bench: Bench, path: OpenPath, group: Group, what: Input, tool: Tool, way: str, kernel: str,
                 kernels: list[str], number: int) -> None:
    """Runs one tool once, and again if that is measured too. What fails is told and kept, and the others go on."""
    if way not in tool.ways and not (way == "greet" and tool.greet):
        return
    if not tool.tcp and kernel != kernels[0]:
        return
    key = Key(path.spec.name, what.name, way, tool.name, kernel if tool.tcp and path.spec.rate_mbit else "")
    if not bench.choice.takes(key) or bench.results.is_enough(key, min(group.rounds, number + 1), group.once_above_s):
        return
    bench.results.describe(path.spec, what, tool)
    try:
        if way == "greet":
            tell(bench, what, key, greet(bench, path, group, tool))
            return
        copy(bench, path, group, what, tool, key, number)
    except Failed as failure:
        note(bench.results, f"{key.label}, {what.name}, {way}, {path.spec.name}: {failure}")


def greet(bench: Bench, path: OpenPath, group: Group, tool: Tool) -> Cost:
    return measure.run(path, tool.greet, tool.env(), "down", bench.place.run, bench.state / "client.log", group.run_max_s,
                       pid_of(tool))


def copy(bench: Bench, path: OpenPath, group: Group, what: Input, tool: Tool, key: Key, number: int) -> None:
    bench.place.make_room(what.bytes, what.entries)
    into = bench.place.fresh(f"{what.name}-{key.way}-{tool.name}-{number}")
    task = Task(key.way, what.path, into)
    def once() -> Cost:
        return measure.run(path, tool.command(task), tool.env(), key.way, into, bench.state / "client.log",
                           group.run_max_s, pid_of(tool))

    try:
        cost = once()
        if not cost.stopped and not what.is_copied_to(task.copy, thoroughly=number == 0):
            raise Failed("what arrived is not what was sent")
        tell(bench, what, key, cost)
        if group.again and tool.repeats and not cost.stopped:
            tell(bench, what, replace(key, again=True), once())
    finally:
        bench.place.done_with(into, what.entries)


def pid_of(tool: Tool) -> int | None:
    return tool.server_pid() if tool.server_pid else None


def tell(bench: Bench, what: Input, key: Key, cost: Cost) -> None:
    bench.results.add(key, cost)
    words = f"{cost.seconds:.2f} s" if not cost.stopped else f"stopped after {cost.seconds:.0f} s"
    speed = "" if cost.stopped or key.again or key.way == "greet" else f", {what.amount / cost.seconds:,.0f} {what.unit}"
    print(f"bench: {what.name}, {key.way}{', again' if key.again else ''}, {key.label}: {words}{speed}", flush=True)


def note(results: Results, words: str) -> None:
    results.fail(words)
    print(f"bench: FAILED: {words}", flush=True)


def report_again(folder: Path) -> Path:
    return report.write(Results.load(folder))
