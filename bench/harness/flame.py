"""Flame graphs as SVG: boxes for functions, as wide as their share of the samples, upon whoever called them."""

import re
from html import escape

WIDTH, ROW, TOP = 1000, 17, 54
LEAST = 0.004
LETTER = 6.3
ORDER = ("sender", "receiver", "kernel threads (writing back)")

STYLE = """
  text { font: 11px ui-monospace, "DejaVu Sans Mono", monospace; fill: #1f2328; }
  .title { font: 600 15px system-ui, "DejaVu Sans", sans-serif; } .about { font: 12px system-ui, "DejaVu Sans", sans-serif; }
  .ground { fill: #ffffff; } rect { stroke: #ffffff; stroke-width: 0.6; }
  .end { fill: #d8dee4; } .ours { fill: #80b4f0; } .crypto { fill: #c8a6f0; } .hash { fill: #8fd0a0; }
  .kernel { fill: #f0b37e; } .other { fill: #c4ccd4; }
"""
LEGEND = (("ours", "sft"), ("hash", "hashing"), ("crypto", "encryption"), ("kernel", "kernel"), ("other", "libraries"))

# Frames of the runtime, which stand between everything and tell nothing.
PLUMBING = re.compile(r"^(_?start|_?_?clone|main$|__libc_|start_thread|std::|core::|<core|<alloc|alloc::|tokio::|<tokio|<F as|"
                      r"<std|__rust|entry_SYSCALL|do_syscall|x64_sys_call|ret_from_fork|\[unknown\]|<futures|<S as|_raw_spin)")
OURS = re.compile(r"sft(_|srv|::)")


def plain(symbol: str) -> str:
    """A symbol without its hash, its generic arguments and its object."""
    name = re.sub(r"\s*\([^()]*\)$", "", symbol.strip())
    name = re.sub(r"::h[0-9a-f]{16}$|\+0x[0-9a-f]+$", "", name)
    return re.sub(r"::\{\{?closure\}?\}|::\{closure#\d+\}", "", name)


def shortened(names: list) -> list:
    """Without plumbing, without repetitions, and of the kernel only what was asked of it and three steps more."""
    kept, kernel = [], 0
    for name in names:
        if PLUMBING.match(name) or (kept and kept[-1] == name):
            continue
        if kernel or name.startswith("__x64_sys_") or is_kernel(name):
            kernel += 1
            if kernel > 4:
                break
        kept.append(name)
    return kept


def is_kernel(name: str) -> bool:
    return name.startswith(("asm_", "wb_", "kthread", "worker_thread", "process_one_work", "do_exit", "handle_softirqs"))


def draw(stacks: dict, about: str) -> str:
    """The picture of stacks, the outermost name first, with how often each was seen."""
    total = sum(stacks.values())
    root = {"count": total, "below": {}}
    for stack, count in stacks.items():
        at = root
        for name in stack:
            at = at["below"].setdefault(name, {"count": 0, "below": {}})
            at["count"] += count
    height = TOP + ROW * (depth(root, total) + 1) + 8
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
             f"<style>{STYLE}</style>", f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
             f'<text class="title" x="8" y="20">Where the time goes: {escape(about)}</text>']
    x = 8
    for kind, label in LEGEND:
        parts.append(f'<rect class="{kind}" x="{x}" y="31" width="12" height="12"/>')
        parts.append(f'<text class="about" x="{x + 16}" y="41">{label}</text>')
        x += 34 + 7 * len(label)
    below = sorted(root["below"].items(), key=lambda item: ORDER.index(item[0]))
    boxes(parts, below, 0, height - ROW - 8, total)
    return "\n".join([*parts, "</svg>", ""])


def boxes(parts: list, below: list, x: float, y: float, total: int) -> None:
    for name, node in below:
        width = WIDTH * node["count"] / total
        if node["count"] >= LEAST * total:
            share = 100 * node["count"] / total
            parts.append(f'<g><title>{escape(name)}: {share:.1f} %</title>'
                         f'<rect class="{kind_of(name)}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW}"/>')
            room = int((width - 6) / LETTER)
            if room >= 3:
                parts.append(f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(label(name, room, share))}</text>')
            parts.append("</g>")
            inner = sorted(node["below"].items(), key=lambda item: -item[1]["count"])
            boxes(parts, inner, x, y - ROW, total)
        x += width


def label(name: str, room: int, share: float) -> str:
    if name in ORDER:
        name = f"{name}, {share:.0f} %"
    short = name
    while len(short) > room and "::" in short:
        short = short.split("::", 1)[1]
    return short if len(short) <= room else short[:room - 1] + "…"


def depth(node: dict, total: int) -> int:
    inner = [depth(below, total) + 1 for below in node["below"].values() if below["count"] >= LEAST * total]
    return max(inner, default=0)


def kind_of(name: str) -> str:
    if name in ORDER:
        return "end"
    if "blake3" in name:
        return "hash"
    if "aes_gcm" in name or "aws_lc" in name or "rustls" in name or "gcm" in name:
        return "crypto"
    if OURS.search(name):
        return "ours"
    if "::" in name or name.startswith(("mem", "_int_", "malloc", "cfree", "free", "__mem")):
        return "other"
    return "kernel"
