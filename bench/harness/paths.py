"""Paths between the two ends: loopback, and long lossy links by the emulator. Each in network namespaces of its own.

Both kinds are namespaces so that interface counters show this benchmark's bytes and nothing else's, and so that ports and
kernel settings are ours to choose. Outside the namespaces only the list of allowed congestion controls changes, for a while.
"""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.process import Failed, Server, end_tree, is_alive, run_quietly, send

PREFIX = "sftbench"
DEVICE = "wan0"
# What a TCP segment carries of a packet of 1500 bytes: 1448 of them, and the emulator counts IP bytes.
PAYLOAD_SHARE = 0.955
AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
KERNELS = {
    "cubic": {"net/ipv4/tcp_congestion_control": "cubic"},
    "bbr": {"net/ipv4/tcp_congestion_control": "bbr"},
    "bbr, large buffers": {
        "net/ipv4/tcp_congestion_control": "bbr",
        "net/ipv4/tcp_rmem": "4096 131072 67108864",
        "net/ipv4/tcp_wmem": "4096 131072 67108864",
    },
}


@dataclass(frozen=True)
class PathSpec:
    """What a path is. Round trip in milliseconds, loss in percent, rate in Mbit/s (IP bytes); no rate is loopback."""

    name: str
    rtt_ms: float = 0
    loss_pct: float = 0
    rate_mbit: float = 0
    udp: bool = True
    # Seconds after a run's start at which the rate falls by half, and comes back.
    halved_s: tuple[float, float] | None = None

    @property
    def is_loopback(self) -> bool:
        return self.rate_mbit == 0

    @property
    def title(self) -> str:
        if self.is_loopback:
            return "loopback"
        rate = f"{self.rate_mbit / 1000:g} Gbit/s" if self.rate_mbit >= 1000 else f"{self.rate_mbit:g} Mbit/s"
        parts = [f"{self.rtt_ms:g} ms", f"{self.loss_pct:g} % loss", rate]
        if not self.udp:
            parts.append("UDP blocked")
        if self.halved_s:
            parts.append(f"half the rate from {self.halved_s[0]:g} to {self.halved_s[1]:g} s")
        return ", ".join(parts)

    @property
    def limit_mb_s(self) -> float | None:
        """What TCP payload can cross at best, in MB/s; None on loopback, and where the rate changes."""
        if self.is_loopback or self.halved_s:
            return None
        return self.rate_mbit / 8 * PAYLOAD_SHARE * (1 - self.loss_pct / 100)


def all_paths() -> dict[str, PathSpec]:
    """Every path that a profile may name."""
    rows = [PathSpec("loopback")]
    for rtt in (10, 100, 200):
        for loss in (0, 0.1, 1, 2):
            for rate in (100, 200, 1000):
                rows.append(PathSpec(f"{rtt}ms-{loss:g}pct-{rate}M", rtt, loss, rate))
    rows.append(PathSpec("40ms-1pct-500M", 40, 1, 500))
    rows.append(PathSpec("100ms-0.1pct-1000M-no-udp", 100, 0.1, 1000, udp=False))
    rows.append(PathSpec("100ms-1pct-200M-no-udp", 100, 1, 200, udp=False))
    rows.append(PathSpec("40ms-1pct-500M-no-udp", 40, 1, 500, udp=False))
    rows.append(PathSpec("100ms-0.1pct-200M-halved", 100, 0.1, 200, halved_s=(4, 9)))
    return {row.name: row for row in rows}


class OpenPath:
    """A path that stands as long as the `with` around it."""

    def __init__(self, spec: PathSpec, wanlink: Path | None, state: Path):
        self.spec, self.wanlink, self.state = spec, wanlink, state
        me = os.getpid()
        self.client_ns = f"{PREFIX}-{me}-a"
        self.server_ns = self.client_ns if spec.is_loopback else f"{PREFIX}-{me}-b"
        self.address = "127.0.0.1" if spec.is_loopback else "10.13.3.2"
        self.holders: dict[str, subprocess.Popen] = {}
        self.link: Server | None = None

    def __enter__(self) -> "OpenPath":
        try:
            for namespace in dict.fromkeys((self.client_ns, self.server_ns)):
                self.make_namespace(namespace)
            if not self.spec.is_loopback:
                self.join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        if self.link:
            self.link.__exit__()
            self.link = None
        for namespace, holder in self.holders.items():
            end_tree(holder)
            remove_namespace(namespace)
        self.holders = {}

    def client(self) -> list[str]:
        """What stands before a command to run it at the client's end."""
        return entering(self.client_ns)

    def server(self) -> list[str]:
        return entering(self.server_ns)

    def make_namespace(self, name: str) -> None:
        run_quietly(["ip", "netns", "add", name])
        # A process that lives in it shows its counters in /proc.
        self.holders[name] = subprocess.Popen([*entering(name), "sleep", "infinity"], start_new_session=True)
        run_quietly(["ip", "-n", name, "link", "set", "lo", "up"])

    def join(self) -> None:
        """Starts the emulator, and gives both of its devices their addresses."""
        spec = self.spec
        command = [str(self.wanlink), "--a", self.client_ns, "--b", self.server_ns, "--dev", DEVICE,
                   "--delay-ms", f"{spec.rtt_ms / 2:g}", "--loss-pct", f"{spec.loss_pct:g}",
                   "--rate-mbit", f"{spec.rate_mbit:g}"] + ([] if spec.udp else ["--no-udp"])
        self.link = Server("wanlink", [], command, self.state / "wanlink.log")
        self.link.__enter__()
        ends = ((self.client_ns, "10.13.3.1", "10.13.3.2"), (self.server_ns, "10.13.3.2", "10.13.3.1"))
        for namespace, own, peer in ends:
            self.wait_for_device(namespace)
            run_quietly(["ip", "-n", namespace, "link", "set", DEVICE, "mtu", "1500", "txqueuelen", "10000"])
            run_quietly(["ip", "-n", namespace, "addr", "add", own, "peer", peer, "dev", DEVICE])
            run_quietly(["ip", "-n", namespace, "link", "set", DEVICE, "up"])

    def wait_for_device(self, namespace: str) -> None:
        deadline = time.monotonic() + 5
        while DEVICE not in counters_in(self.net_dev(namespace)):
            if time.monotonic() > deadline or self.link.process.poll() is not None:
                raise Failed(f"wanlink did not start: {self.link.log.read_text(errors='replace')}")
            time.sleep(0.02)

    def set_kernel(self, name: str) -> None:
        """Sets the congestion control and buffers of TCP at both ends, for connections to come."""
        for namespace in self.holders:
            for key, value in KERNELS[name].items():
                run_quietly([*entering(namespace), "sh", "-c", f"echo '{value}' > /proc/sys/{key}"])

    def received(self, way: str) -> int:
        """Bytes that the receiving end's interface has taken in so far."""
        namespace = self.client_ns if way == "down" else self.server_ns
        return counters_in(self.net_dev(namespace))["lo" if self.spec.is_loopback else DEVICE][0]

    def net_dev(self, namespace: str) -> str:
        return Path(f"/proc/{self.holders[namespace].pid}/net/dev").read_text()

    def sent(self) -> "Sent":
        """What both ends have put on the wire so far. Bytes are those of IP packets, as they crossed."""
        if self.spec.is_loopback:
            return Sent(counters_in(self.net_dev(self.client_ns))["lo"][1], 0, 0, 0)
        before = self.link.log.read_text().count("\n")
        send([self.link.pid], signal.SIGUSR1)
        deadline = time.monotonic() + 2
        while (text := self.link.log.read_text()).count("\n") < before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return Sent.parse(text)

    def toggle_rate(self) -> None:
        send([self.link.pid], signal.SIGUSR2)


@dataclass(frozen=True)
class Sent:
    """Counters of both directions together: bytes that crossed, packets sent, how many of them were lost on the
    way by chance, and how many because the queue was full."""

    bytes: int
    packets: int
    lost: int
    dropped: int

    @classmethod
    def parse(cls, log: str) -> "Sent":
        """From the emulator's last two lines."""
        sums = {"bytes": 0, "packets": 0, "lost": 0, "queue_dropped": 0}
        for line in log.splitlines()[-2:]:
            for word in line.split()[1:]:
                key, _, value = word.partition("=")
                if key in sums:
                    sums[key] += int(value)
        return cls(sums["bytes"], sums["packets"], sums["lost"], sums["queue_dropped"])

    def since(self, before: "Sent") -> "Sent":
        return Sent(self.bytes - before.bytes, self.packets - before.packets, self.lost - before.lost,
                    self.dropped - before.dropped)


def counters_in(net_dev: str) -> dict[str, tuple[int, int]]:
    """Received and sent bytes of every interface, in the text of /proc/net/dev."""
    found = {}
    for line in net_dev.splitlines():
        name, colon, numbers = line.partition(":")
        if colon:
            fields = numbers.split()
            found[name.strip()] = (int(fields[0]), int(fields[8]))
    return found


def entering(namespace: str) -> list[str]:
    # Not `ip netns exec`, which mounts /sys anew for each command.
    return ["nsenter", f"--net=/run/netns/{namespace}"]


def remove_namespace(name: str) -> None:
    """Ends whatever still runs in a namespace of ours, and removes it."""
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
    send([int(pid) for pid in listed], signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)


def remove_stale_namespaces() -> None:
    """Removes what a benchmark that was killed could not."""
    folder = Path("/run/netns")
    for path in folder.glob(f"{PREFIX}-*-*") if folder.is_dir() else []:
        owner = path.name.split("-")[1]
        if owner.isdigit() and not is_alive(int(owner)):
            remove_namespace(path.name)


class Allowed:
    """Lets namespaces choose among all congestion controls that the kernel has, as long as the `with` around it.

    Outside the first namespace, only those are taken that this list allows. It is put back as it was.
    """

    def __enter__(self) -> "Allowed":
        if modprobe := shutil.which("modprobe", path="/usr/sbin:/sbin"):
            subprocess.run([modprobe, "-q", "tcp_bbr"], capture_output=True)
        self.before = ALLOWED.read_text()
        ALLOWED.write_text(AVAILABLE.read_text())
        return self

    def __exit__(self, *_) -> None:
        ALLOWED.write_text(self.before)


def kernels_here() -> list[str]:
    """Which of the kernel settings this kernel can do."""
    there = AVAILABLE.read_text().split()
    return [name for name, values in KERNELS.items() if values["net/ipv4/tcp_congestion_control"] in there]


def build_wanlink(bench: Path) -> Path:
    """Builds the emulator; where it is."""
    run_quietly(["cargo", "build", "--release", "--quiet", "--locked"], cwd=bench / "wanlink")
    target = os.environ.get("CARGO_TARGET_DIR", bench / "wanlink" / "target")
    return Path(target) / "release" / "wanlink"
