"""What is measured: every tool, both ways, each run into a directory that was not there before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from harness.inputs import Input
from harness.sft import TRANSPORTS, SftServer
from harness.ssh import SshServer


@dataclass(frozen=True)
class Case:
    """One tool at one task. `command` gets the source and the directory to copy into, both as paths."""

    tool: str
    way: str
    durable: bool
    is_rival: bool
    command: Callable[[Path, Path], list[str]]
    server_pid: int | None = None
    slow_on_small: bool = False


def all_cases(ssh: SshServer, sft: SftServer) -> list[Case]:
    return limits() + [case for way in ("up", "down") for case in over_a_server(way, ssh, sft)]


def limits() -> list[Case]:
    """What this machine can do without a network: the copy of the system."""
    plain = 'cp -r "$1" "$2"'
    return [
        Case("cp", "local", False, False, lambda source, into: shell(plain, source, into)),
        Case("cp and sync", "local", True, False, lambda source, into: shell(f'{plain} && sync -f "$2"', source, into)),
    ]


def over_a_server(way: str, ssh: SshServer, sft: SftServer) -> list[Case]:
    def ends(name: Callable[[Path], str], source: Path, into: Path) -> tuple[list[str], str]:
        return ([str(source)], f"{name(into)}/") if way == "up" else ([name(source)], f"{into}/")

    def sft_case(transport: str, durable: bool) -> Case:
        tool = f"sft, {transport}" + ("" if durable else ", not durable")
        def command(source: Path, into: Path) -> list[str]:
            return sft.cp(transport, *ends(sft.name, source, into), durable=durable)
        return Case(tool, way, durable, False, command, sft.pid)

    return [
        Case("scp", way, False, True, lambda s, i: ssh.scp(*ends(ssh.name, s, i)), ssh.pid, slow_on_small=True),
        Case("rsync -a over ssh", way, False, True, lambda s, i: ssh.rsync(*ends(ssh.name, s, i)), ssh.pid),
        *(sft_case(transport, True) for transport in TRANSPORTS),
        sft_case("auto", False),
    ]


def rounds_of(case: Case, what: Input, rounds: int, slow_once: bool) -> int:
    return 1 if slow_once and case.slow_on_small and what.name == "small" else rounds


def shell(script: str, source: Path, into: Path) -> list[str]:
    return ["sh", "-c", script, "sh", str(source), str(into)]
