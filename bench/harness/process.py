"""Processes that the benchmark starts: servers that live as long as a `with`, and what /proc tells about a process tree."""

import os
import signal
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command ended with an error, a server did not start, or the wrong thing was left behind."""


class Server:
    """A server process in a namespace; subclasses say how it is started. `pid` is the root of its tree."""

    def __init__(self, name: str, prefix: list[str], command: list[str], log: Path, env: dict[str, str] | None = None):
        self.name, self.prefix, self.command, self.log, self.env = name, prefix, command, log, env

    def __enter__(self) -> "Server":
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen([*self.prefix, *self.command], env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, start_new_session=True)
        return self

    def __exit__(self, *_) -> None:
        end_tree(self.process)

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_listening(self, port: int) -> "Server":
        """Waits until somebody in the server's namespace takes TCP connections on `port`."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            if port in listening_ports(self.pid):
                return self
            time.sleep(0.02)
        end_tree(self.process)
        raise Failed(f"{self.name} did not start: {tail(self.log)}")


def listening_ports(pid: int) -> set[int]:
    """TCP ports with a listener in the network namespace of a process."""
    tables = []
    for name in ("tcp", "tcp6"):
        try:
            tables.append(Path(f"/proc/{pid}/net/{name}").read_text())
        except OSError:
            continue
    return {port for table in tables for port in ports_in(table)}


def ports_in(table: str) -> set[int]:
    """The listeners' ports in the text of /proc/net/tcp."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == "0A"}


def end_tree(process: subprocess.Popen, grace_s: float = 3) -> None:
    """Ends a process and all its descendants: asked first, then by force. Returns when the process is gone."""
    members = tree_of(process.pid)
    send(members, signal.SIGTERM)
    try:
        process.wait(grace_s)
    except subprocess.TimeoutExpired:
        pass
    send(members, signal.SIGKILL)
    process.wait()


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def tree_of(root: int) -> list[int]:
    """A process and all its descendants."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children_of(pid))
    return found


def children_of(pid: int) -> list[int]:
    children = []
    try:
        # Every thread has a list of the children that it made.
        for task in os.listdir(f"/proc/{pid}/task"):
            children.extend(int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except OSError:
        # Gone meanwhile; what was found before is enough.
        pass
    return children


def cpu_of_tree(root: int) -> float:
    """Seconds of processor time of all processes of a tree, and of their children that have ended."""
    return sum(cpu_of(pid) for pid in tree_of(root))


def cpu_of(pid: int) -> float:
    try:
        return cpu_in(Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return 0.0


def cpu_in(stat: str) -> float:
    """User and system seconds, own and of children that were waited for, in the text of /proc/PID/stat."""
    fields = stat.rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS


def peak_of(pid: int) -> int:
    """The most memory that a process ever had in use since its peak was forgotten, in bytes; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def forget_peak(root: int) -> None:
    """Lets the peaks of a tree begin again at what its processes have now (proc(5), clear_refs)."""
    for pid in tree_of(root):
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            pass


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def run_quietly(command: list[str], **more) -> str:
    """Runs a command to its end and returns what it printed; fails with its last words."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)
    if done.returncode != 0:
        words = " | ".join((done.stderr or done.stdout).strip().splitlines()[-4:])
        raise Failed(f"`{' '.join(map(str, command))}` ended with {done.returncode}: {words}")
    return done.stdout


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return " | ".join(lines[-4:]) or "it said nothing"
