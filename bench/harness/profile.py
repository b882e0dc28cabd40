"""What a profile measures: groups of inputs, paths, ways and kernel settings, and how often."""

from dataclasses import dataclass, replace

from harness.door import DOORS
from harness.inputs import GIB, MIB, Recipe, empty, large, mixed, small, source_tree
from harness.paths import PathSpec, all_paths

PATHS = all_paths()
LOOPBACK = "loopback"
# The path, and how much crosses it: ten to thirty seconds at its rate.
WAN_MAIN = [
    ("10ms-0pct-1000M", GIB),
    ("100ms-0pct-1000M", GIB),
    ("100ms-0.1pct-1000M", GIB),
    ("40ms-1pct-500M", 512 * MIB),
    ("100ms-1pct-200M", 256 * MIB),
    ("200ms-2pct-100M", 256 * MIB),
]
NO_UDP = [("100ms-0.1pct-1000M-no-udp", GIB), ("40ms-1pct-500M-no-udp", 512 * MIB), ("100ms-1pct-200M-no-udp", 256 * MIB)]
# The tools of the quick profile: those that sft is told from most often with one large file, and with many small ones.
OURS = ("sft", "sft, QUIC alone", "sft, not durable")
QUICK_LARGE = ("cp", "scp", "curl from nginx, TLS", *OURS)
QUICK_SMALL = ("cp", "tar over ssh", "rsync over ssh", *OURS)


@dataclass(frozen=True)
class Group:
    """One input over one path. `again` repeats each copy with nothing changed; `tools` names those that take part, all if
    empty. A tool whose run takes longer than `once_above_s` runs once; one that takes `run_max_s` is stopped, and its rate
    is what had crossed until then."""

    path: PathSpec
    recipe: Recipe
    ways: tuple[str, ...] = ("local", "up", "down")
    kernels: tuple[str, ...] = ("cubic",)
    rounds: int = 3
    again: bool = False
    tools: tuple[str, ...] = ()
    once_above_s: float = 60
    run_max_s: float = 600
    greetings: bool = False


@dataclass(frozen=True)
class Profile:
    name: str
    about: str
    groups: tuple[Group, ...]


def profiles() -> dict[str, Profile]:
    found = [quick(), *loopback(), *wan(), latency(), doors()]
    everything = tuple(group for one in found if one.name not in ("quick", "loopback", "wan") for group in one.groups)
    found.append(Profile("full", "everything below, both ways; many hours", everything))
    return {one.name: one for one in found}


def quick() -> Profile:
    common = Group(PATHS[LOOPBACK], small(20_000), tools=QUICK_SMALL, again=True, once_above_s=8, run_max_s=60)
    return Profile("quick", "1 GiB and 20,000 files on loopback, the tools that matter most; three minutes", (
        common, replace(common, recipe=large(GIB), tools=QUICK_LARGE, again=False)))


def loopback() -> list[Profile]:
    files = Group(PATHS[LOOPBACK], small(100_000), again=True)
    big = Group(PATHS[LOOPBACK], large(4 * GIB))
    return [
        Profile("loopback", "4 GiB and 100,000 files, all rivals", (files, big)),
        Profile("large", "one file of 4 GiB on loopback, all rivals", (big,)),
        Profile("small", "100,000 files of 4 KiB on loopback, all rivals", (files,)),
        Profile("tree", "a kernel's source on loopback, all rivals", (replace(files, recipe=source_tree()),)),
        Profile("mixed", "log-normal sizes up to 1 GiB on loopback, all rivals", (replace(big, recipe=mixed(2_000)),)),
        Profile("empty", "a million empty files on loopback, all rivals", (
            replace(files, recipe=empty(1_000_000), once_above_s=20),)),
    ]


def wan() -> list[Profile]:
    def group(path: str, size: int) -> Group:
        return Group(PATHS[path], large(size), ways=("down",), kernels=("cubic", "bbr"), once_above_s=35, run_max_s=45)

    main = tuple(group(*row) for row in WAN_MAIN)
    blocked = tuple(group(*row) for row in NO_UDP)
    far_files = replace(group("100ms-0pct-1000M", MIB), recipe=small(10_000), ways=("up", "down"), again=True)
    drop = replace(group("100ms-0.1pct-200M-halved", 256 * MIB))
    grid = tuple(replace(group(spec.name, max(32, round(spec.rate_mbit)) * MIB), ways=("up", "down"),
                         kernels=("cubic", "bbr", "bbr, large buffers"))
                 for spec in PATHS.values() if spec.rtt_ms in (10, 100, 200) and spec.udp and not spec.halved_s)
    return [
        Profile("wan", "six long paths, one file each, downwards; about an hour", main),
        Profile("wan-small", "10,000 files of 4 KiB over 100 ms", (far_files,)),
        Profile("no-udp", "three long paths on which UDP is blocked", blocked),
        Profile("drop", "a path whose rate falls by half and comes back", (drop,)),
        Profile("grid", "10, 100, 200 ms; 0, 0.1, 1, 2 % loss; 100, 200, 1000 Mbit/s; both ways", grid),
    ]


def latency() -> Profile:
    near = Group(PATHS[LOOPBACK], small(10), ways=("down",), rounds=11, greetings=True)
    far = replace(near, path=PATHS["100ms-0pct-1000M"], rounds=5)
    return Profile("latency", "from a cold start to an answer, loopback and 100 ms", (near, far))


def doors() -> Profile:
    tools = ("cp", *(name for pair in DOORS.items() for name in pair), "sft")
    near = Group(PATHS[LOOPBACK], large(4 * GIB), tools=tools, once_above_s=20)
    far = replace(near, path=PATHS["100ms-0pct-1000M"], recipe=large(GIB), ways=("up", "down"), run_max_s=120)
    few = {"recipe": small(10_000), "once_above_s": 20}
    # Over 100 ms one file after the other takes scp the better part of an hour: what crosses in two minutes tells enough.
    return Profile("doors", "stock clients of SFTP to OpenSSH's server and to sft, loopback and 100 ms", (
        near, replace(near, **few), far, replace(far, **few)))


def shrunk(group: Group) -> Group:
    """The same with hardly anything to copy: shows that the harness works, and gives no figure worth anything."""
    tiny = {"large": large(8 * MIB), "small": small(200, 20), "empty": empty(300, 100), "mixed": mixed(40, MIB)}
    kind = group.recipe.name.partition("-")[0]
    return replace(group, recipe=tiny.get(kind, tiny["small"]), rounds=1, run_max_s=min(group.run_max_s, 5))
