"""Runs one command and says what it cost: time, and for both ends processor time and peak memory.

Processor time is exact to a clock tick (10 ms): of the client by wait4, of the server by /proc. Peak memory is the sum of
VmHWM over an end's processes, looked at twenty times a second; memory that several share is counted in each.
"""

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
LOOK_S = 0.05


@dataclass
class Cost:
    """What one run took. The server's are None where there is none."""

    seconds: float
    client_cpu_s: float
    client_peak_bytes: int
    server_cpu_s: float | None = None
    server_peak_bytes: int | None = None


class Failed(Exception):
    """The command ended with an error, or left the wrong thing behind."""


def run(command: list[str], env: dict[str, str], log: Path, run_max_s: float,
        server_pid: int | None = None) -> Cost:
    """Runs to the end, or until `run_max_s`. All that was dirty before is written first, so that it is not paid for here."""
    os.sync()
    server_before = 0.0
    if server_pid is not None:
        forget_peak(server_pid)
        server_before = cpu_of(server_pid)
    with open(log, "wb") as out:
        begin = time.monotonic()
        client = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        deadline = threading.Timer(run_max_s, client.kill)
        deadline.start()
        peaks = Peaks([client.pid] + ([server_pid] if server_pid is not None else []))
        try:
            _, status, usage = os.wait4(client.pid, 0)
        except BaseException:
            client.send_signal(signal.SIGTERM)
            client.wait()
            raise
        finally:
            deadline.cancel()
            peaks.stop()
        seconds = time.monotonic() - begin
    client.returncode = os.waitstatus_to_exitcode(status)
    if client.returncode == -signal.SIGKILL and seconds >= run_max_s:
        raise Failed(f"`{' '.join(command)}` was ended after {seconds:.0f} s: {tail(log)}")
    if client.returncode != 0:
        raise Failed(f"`{' '.join(command)}` ended with {client.returncode}: {tail(log)}")
    # A process that was gone before anyone looked: the kernel's own number, which counts this interpreter's size as well.
    client_peak = peaks.of(client.pid) or usage.ru_maxrss * 1024
    cost = Cost(seconds, usage.ru_utime + usage.ru_stime, client_peak)
    if server_pid is not None:
        wait_for_children(server_pid)
        cost.server_cpu_s = cpu_of(server_pid) - server_before
        cost.server_peak_bytes = max(peaks.of(server_pid), peak_of(server_pid))
    return cost


class Peaks:
    """Watches process trees from a thread of its own."""

    def __init__(self, roots: list[int]):
        self.peaks = dict.fromkeys(roots, 0)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self) -> None:
        wait_s = 0.005
        while True:
            for root in self.peaks:
                self.peaks[root] = max(self.peaks[root], sum(peak_of(pid) for pid in tree_of(root)))
            if self.over.wait(wait_s):
                return
            wait_s = min(wait_s * 2, LOOK_S)

    def stop(self) -> None:
        self.over.set()
        self.thread.join()

    def of(self, root: int) -> int:
        return self.peaks[root]


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


def wait_for_children(pid: int) -> None:
    """Waits until a server has fetched its children, whose times only then are among its own."""
    deadline = time.monotonic() + 2
    while children_of(pid) and time.monotonic() < deadline:
        time.sleep(0.01)


def cpu_of(pid: int) -> float:
    """Seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS


def peak_of(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def forget_peak(pid: int) -> None:
    """Lets the peak begin again at what the process has now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-4:]) or "it said nothing"
