"""Runs one command and says what it cost: time, processor time and memory of both ends, bytes on the wire, rate over time.

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

from harness.paths import OpenPath
from harness.process import Failed, children_of, cpu_of_tree, end_tree, forget_peak, peak_of, tail, tree_of

LOOK_S = 0.05
SAMPLE_S = 0.1


@dataclass
class Cost:
    """What one run took. Bytes per sample are those that the receiving interface took in each tenth of a second.

    `stopped` says that time ran out: then nothing but the rate on the wire is known. The server's are None where there is none.
    """

    seconds: float
    sync_s: float
    client_cpu_s: float
    client_peak_bytes: int
    server_cpu_s: float | None
    server_peak_bytes: int | None
    wire_bytes: int
    received_bytes: int
    packets: int
    lost_packets: int
    dropped_packets: int
    samples: list[int]
    stopped: bool


def run(path: OpenPath, command: list[str], env: dict[str, str], way: str, into: Path, log: Path, run_max_s: float,
        server_pid: int | None) -> Cost:
    """Runs to the end, or until `run_max_s`. All that was dirty before is written first, so that it is not paid for here."""
    os.sync()
    server_before = 0.0
    if server_pid is not None:
        forget_peak(server_pid)
        server_before = cpu_of_tree(server_pid)
        server_children = len(children_of(server_pid))
    sent_before, received_before = path.sent(), path.received(way)
    watch = Watch(path, way, server_pid)
    with open(log, "wb") as out:
        begin = time.monotonic()
        client = subprocess.Popen([*path.client(), *command], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  start_new_session=True)
        watch.start(client.pid)
        try:
            stopped, usage, exit_code = wait(client, begin + run_max_s)
        except BaseException:
            end_tree(client)
            raise
        finally:
            watch.stop()
        seconds = time.monotonic() - begin
    if exit_code != 0 and not stopped:
        raise Failed(f"`{' '.join(command)}` ended with {exit_code}: {tail(log)}")
    sync_s = 0.0 if stopped else sync(into)
    cost = Cost(seconds, sync_s, usage.ru_utime + usage.ru_stime, watch.peaks.get(client.pid, 0), None, None, 0, 0, 0, 0, 0,
                watch.samples, stopped)
    # A process that was gone before anyone looked: the kernel's own number, which counts this interpreter's size as well.
    cost.client_peak_bytes = cost.client_peak_bytes or usage.ru_maxrss * 1024
    if server_pid is not None:
        wait_for_children(server_pid, server_children)
        cost.server_cpu_s = max(0.0, cpu_of_tree(server_pid) - server_before)
        cost.server_peak_bytes = max(watch.peaks.get(server_pid, 0), peak_of(server_pid))
    sent = path.sent().since(sent_before)
    cost.wire_bytes, cost.received_bytes = sent.bytes, path.received(way) - received_before
    cost.packets, cost.lost_packets, cost.dropped_packets = sent.packets, sent.lost, sent.dropped
    return cost


def wait(client: subprocess.Popen, deadline: float):
    """Waits for the client; ends it at the deadline. Whether that was needed, what it used, and how it ended."""
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        for pid in tree_of(client.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), end)
    timer.start()
    try:
        _, status, usage = os.wait4(client.pid, 0)
    finally:
        timer.cancel()
    client.returncode = os.waitstatus_to_exitcode(status)
    return overdue.is_set() and client.returncode != 0, usage, client.returncode


class Watch:
    """Looks at process trees and at the interface from a thread of its own while a command runs."""

    def __init__(self, path: OpenPath, way: str, server_pid: int | None):
        self.path, self.way = path, way
        self.roots = [] if server_pid is None else [server_pid]
        self.peaks: dict[int, int] = {}
        self.samples: list[int] = []
        self.over = threading.Event()

    def start(self, client_pid: int) -> None:
        self.roots.append(client_pid)
        self.peaks = dict.fromkeys(self.roots, 0)
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.over.set()
        self.thread.join()

    def watch(self) -> None:
        begin, last = time.monotonic(), self.path.received(self.way)
        halvings = list(self.path.spec.halved_s or ())
        turns = [0.005, 0.01, 0.02]
        while True:
            self.look()
            now = time.monotonic() - begin
            while now >= (len(self.samples) + 1) * SAMPLE_S:
                received = self.path.received(self.way)
                self.samples.append(received - last)
                last = received
            while halvings and now >= halvings[0]:
                halvings.pop(0)
                self.path.toggle_rate()
            if self.over.wait(turns.pop(0) if turns else LOOK_S - (time.monotonic() - begin) % LOOK_S):
                break
        if len(halvings) == 1:
            # Over before the rate came back: the next run begins with the whole rate.
            self.path.toggle_rate()

    def look(self) -> None:
        for root in self.roots:
            self.peaks[root] = max(self.peaks[root], sum(peak_of(pid) for pid in tree_of(root)))


def sync(into: Path) -> float:
    """Seconds until all of the file system is on the disk."""
    begin = time.monotonic()
    subprocess.run(["sync", "-f", str(into)], check=True)
    return time.monotonic() - begin


def wait_for_children(pid: int, usual: int) -> None:
    """Waits until a server has fetched the children of a run, whose times only then are among its own."""
    deadline = time.monotonic() + 2
    while len(children_of(pid)) > usual and time.monotonic() < deadline:
        time.sleep(0.01)
