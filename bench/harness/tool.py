"""What a tool is to the benchmark: a name, a command for a task, and what may be asked of it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable


@dataclass(frozen=True)
class Task:
    """What a tool is asked to do: bring `source` into the directory `into`, which exists, under its own name."""

    way: str
    source: Path
    into: Path

    @property
    def copy(self) -> Path:
        return self.into / self.source.name


@dataclass(frozen=True)
class Tool:
    """One tool with one setting. `command` makes a task's command, which runs at the client's end.

    `kind` is `sft`, `rival` or `limit`; `durable` says whether content is on disk when the command ends; `tcp` whether the
    kernel's congestion control matters; `repeats` whether doing it again is cheaper when nothing changed.
    """

    name: str
    kind: str
    command: Callable[[Task], list[str]]
    server_pid: Callable[[], int] | None = None
    ways: tuple[str, ...] = ("up", "down")
    durable: bool = False
    tcp: bool = False
    repeats: bool = False
    files_only: bool = False
    # Whether it gets past links in a tree, whatever it makes of them.
    links: bool = True
    # The command that only greets the server, to measure how long that takes.
    greet: list[str] | None = None
    env: Callable[[], dict[str, str]] = field(default=lambda: dict(os.environ))
    # Takes part only where a group names it.
    by_name: bool = False
    # Only on long paths, or only on loopback; everywhere by default.
    only_on: str | None = None


def shell(script: str, *arguments: object) -> list[str]:
    """A shell's command; the arguments are `$1` and so on in the script."""
    return ["bash", "-o", "pipefail", "-c", script, "bash", *map(str, arguments)]
