"""qcp as a rival: QUIC, started over ssh. It wants to be told the path's rate and round trip, so it is."""

from harness.paths import OpenPath
from harness.ssh import Ssh
from harness.tool import Task, Tool

# What it is told of a path that has no rate of its own: a GB/s and a millisecond.
LOOPBACK_BYTES_S = 1_000_000_000


def tools(path: OpenPath, ssh: Ssh) -> list[Tool]:
    """qcp with both congestion controls that it offers for use."""
    def tool(name: str, congestion: str) -> Tool:
        return Tool(name, "rival", lambda task: command(path, ssh, task, congestion),
                    lambda: ssh.server.pid)

    return [tool("qcp, told the rate", "cubic"), tool("qcp, told the rate, bbr", "bbr")]


def command(path: OpenPath, ssh: Ssh, task: Task, congestion: str) -> list[str]:
    rate = round(path.spec.rate_mbit * 1e6 / 8) or LOOPBACK_BYTES_S
    rtt_ms = max(1, round(path.spec.rtt_ms))
    how = ["-q", "-p", "--rx", str(rate), "--tx", str(rate), "--rtt", str(rtt_ms), "--congestion", congestion,
           "--ssh-config", str(ssh.config), "-S=-F", f"-S={ssh.config}", "-4"]
    if task.source.is_dir():
        how += ["--recurse", "--parallel", "8"]
    if task.way == "up":
        return ["qcp", *how, str(task.source), f"{path.address}:{task.into}/"]
    return ["qcp", *how, f"{path.address}:{task.source}", f"{task.into}/"]
