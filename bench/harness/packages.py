"""Installs the rivals: Debian's packages by apt, qcp by cargo. What cannot be had is left out, and a line says so."""

import os
import shutil
import subprocess
from pathlib import Path

from harness.process import Failed, run_quietly

# The program that a rival needs, and Debian's package of it.
PACKAGES = {
    "curl": "curl",
    "ip": "iproute2",
    "lftp": "lftp",
    "nginx": "nginx",
    "openssl": "openssl",
    "rclone": "rclone",
    "rsync": "rsync",
    "scp": "openssh-client",
    "sshd": "openssh-server",
    "xz": "xz-utils",
}
POLICY = Path("/usr/sbin/policy-rc.d")


def find(program: str, *more: Path) -> str | None:
    folders = [str(folder) for folder in more] + [os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
    return shutil.which(program, path=":".join(folders))


def install(programs: set[str]) -> list[str]:
    """Installs what is missing of `programs`; returns a line for each that is still missing afterwards."""
    wanted = sorted({PACKAGES[program] for program in programs if find(program) is None})
    why = ""
    if wanted and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"bench: installing {' '.join(wanted)}", flush=True)
        why = apt_install(wanted)
    missing = sorted(program for program in programs if find(program) is None)
    return [f"{program} is not here and could not be installed{why}" for program in missing]


def apt_install(packages: list[str]) -> str:
    """Installs packages without letting a server start by itself; returns why it failed, or nothing."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run_quietly(["apt-get", "update", "-q"], env=env)
        run_quietly(["apt-get", "install", "-qy", "--no-install-recommends", *packages], env=env)
        return ""
    except Failed as failure:
        return f": {failure}"
    finally:
        if ours:
            POLICY.unlink()


def install_qcp(tools: Path) -> str | None:
    """Makes qcp by cargo, once, in a folder of the benchmark's own; returns why there is none, or nothing."""
    if find("qcp", tools / "bin"):
        return None
    if (tools / "qcp.failed").exists():
        return f"it could not be built before; remove {tools / 'qcp.failed'} to try again"
    if not shutil.which("cargo"):
        return "cargo is not here"
    print("bench: cargo install qcp, a few minutes, once", flush=True)
    done = subprocess.run(["cargo", "install", "--locked", "--quiet", "--root", str(tools), "qcp"],
                          capture_output=True, text=True)
    if done.returncode == 0:
        return None
    (tools / "qcp.failed").write_text(done.stderr)
    return f"cargo install qcp: {' '.join(done.stderr.strip().splitlines()[-1:])}"


def version_of(command: list[str]) -> str:
    """The first line that a program says about itself."""
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return " ".join(lines[0].split()) if lines else f"{command[0]}, version unknown"
