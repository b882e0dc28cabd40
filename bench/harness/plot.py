"""Pictures of figures, as SVG that we write ourselves: bars beside the rivals, and rates over time on long paths.

A picture carries its own background, and colours for light and dark, so that it is legible wherever it is shown.
"""

from html import escape
from math import ceil, floor, log10

from harness.figures import Case, Row
from harness.measure import SAMPLE_S
from harness.paths import PAYLOAD_SHARE

WIDTH = 800
RIGHT = 96
BAR, STEP = 16, 25
TOP = 66
LINES_MAX = 6
LINES = ("sft", "two", "three", "four", "five", "six")

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .small { font-size: 12px; fill: #59636e; }
  .ours { font-weight: 600; }
  .ground { fill: #ffffff; }
  .grid { stroke: #d8dee4; stroke-width: 1; }
  .limit { stroke: #bc4c00; stroke-width: 1.5; stroke-dasharray: 5 4; }
  .limit-text { font-size: 12px; fill: #bc4c00; }
  .band { fill: #bc4c00; opacity: 0.10; }
  .b-sft { fill: #0969da; } .b-rival { fill: #8c959f; } .b-limit { fill: #d29922; }
  .unsynced { opacity: 0.40; }
  .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
  .l-sft { stroke: #0969da; } .l-two { stroke: #1a7f37; } .l-three { stroke: #8250df; }
  .l-four { stroke: #cf222e; } .l-five { stroke: #9a6700; } .l-six { stroke: #59636e; }
"""
DARK = """
  text { fill: #f0f6fc; } .small { fill: #9198a1; } .ground { fill: #0d1117; } .grid { stroke: #30363d; }
  .limit { stroke: #f0883e; } .limit-text { fill: #f0883e; } .band { fill: #f0883e; opacity: 0.16; }
  .b-sft { fill: #4493f8; } .b-rival { fill: #6e7681; } .b-limit { fill: #9e6a03; }
  .l-sft { stroke: #4493f8; } .l-two { stroke: #3fb950; } .l-three { stroke: #ab7df8; }
  .l-four { stroke: #f85149; } .l-five { stroke: #d29922; } .l-six { stroke: #9198a1; }
"""


def bars(case: Case) -> str:
    """A bar for each tool, the best first. The full colour ends where it would be with a sync, the pale one without."""
    rows = sorted(case.rows, key=lambda row: row.value, reverse=not case.less_is_better)
    shown = case.unit != "ms"
    labels = 30 + 7.3 * max([len(row.label) for row in rows] + [10])
    top = max([max(row.value, row.synced) for row in rows] + [case.limit or 0])
    scale = (WIDTH - labels - RIGHT) / (top or 1)
    bottom = TOP + STEP * len(rows)
    parts = heading(case, subtitle(case, rows, shown))
    for at, row in enumerate(rows):
        parts += bar(row, labels, TOP + STEP * at, scale, shown)
    if case.limit:
        x = labels + case.limit * scale
        parts.append(f'<line class="limit" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="limit-text" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">'
                     f'{escape(case.limit_name)}: {tell(case.limit)}</text>')
    return document(bottom + 26, case.title, parts)


def bar(row: Row, left: float, y: int, scale: float, with_sync: bool) -> list[str]:
    """One tool: its name, its bar in two shades, its value."""
    ends = sorted((row.value, row.synced)) if with_sync and not row.stopped else (row.value, row.value)
    short, long = (end * scale for end in ends)
    middle = y + BAR / 2 + 4.5
    ours = ' class="ours"' if row.kind == "sft" else ""
    value = ("≈ " if row.stopped else "") + tell(row.value)
    return [
        f'<text{ours} x="{left - 8:.1f}" y="{middle:.1f}" text-anchor="end">{escape(row.label)}</text>',
        f'<rect class="b-{row.kind} unsynced" x="{left:.1f}" y="{y}" width="{max(long, 1):.1f}" height="{BAR}" rx="2"/>',
        f'<rect class="b-{row.kind}" x="{left:.1f}" y="{y}" width="{max(short, 1):.1f}" height="{BAR}" rx="2"/>',
        f'<text{ours} x="{left + max(long, 1) + 6:.1f}" y="{middle:.1f}">{value}</text>',
    ]


def subtitle(case: Case, rows: list[Row], with_sync: bool) -> str:
    unit = {"s": "seconds", "ms": "milliseconds"}.get(case.unit, case.unit)
    words = [unit + (", less is better" if case.less_is_better else "")]
    if with_sync:
        words.append("full colour: with a final sync" if not case.less_is_better else "pale: a final sync")
    if any(row.stopped for row in rows):
        words.append("≈: stopped before its end")
    return "; ".join(words)


def over_time(case: Case) -> str:
    """Bytes that the receiver's interface took in, in MB/s, from the start of the client: sft and the best rivals."""
    rows = chosen(case)
    # The interface counts headers; the limit of a case is of what is inside them.
    link = case.limit / PAYLOAD_SHARE if case.limit else None
    span = max([len(row.samples) for row in rows] + [1]) * SAMPLE_S
    top = nice(max([value for row in rows for value in smooth(row.samples)] + [link or 0, 0.1]))
    left, right, upper, height = 54, WIDTH - 24, 92, 240
    legend_lines = ceil(len(rows) / 3)
    upper += 18 * (legend_lines - 1)
    bottom = upper + height

    def x(seconds: float) -> float:
        return left + (right - left) * seconds / span

    def y(value: float) -> float:
        return bottom - height * min(value, top) / top

    parts = heading(case, "MB/s of IP packets that the receiver's interface takes in, over seconds; mean of 0.3 s; dashed: the link")
    parts += legend(rows)
    if case.halved_s:
        begin, end = (min(second, span) for second in case.halved_s)
        parts.append(f'<rect class="band" x="{x(begin):.1f}" y="{upper}" width="{x(end) - x(begin):.1f}" height="{height}"/>')
        parts.append(f'<text class="limit-text" x="{x(begin) + 5:.1f}" y="{upper + 15}">half the rate</text>')
    parts += grid(span, top, x, y, left, right, bottom)
    if link:
        parts.append(f'<line class="limit" x1="{left}" y1="{y(link):.1f}" x2="{right}" y2="{y(link):.1f}"/>')
    for name, row in zip(LINES, rows):
        points = " ".join(f"{x((at + 0.5) * SAMPLE_S):.1f},{y(value):.1f}" for at, value in enumerate(smooth(row.samples)))
        parts.append(f'<polyline class="line l-{name}" points="{points}"/>')
    return document(bottom + 30, f"{case.title}, over time", parts)


def chosen(case: Case) -> list[Row]:
    """sft's rows and the best rivals, each with its best kernel setting, as many as there are colours."""
    best_first = sorted(case.rows, key=lambda row: row.value, reverse=True)
    ours = sorted((row for row in best_first if row.kind == "sft"), key=lambda row: len(row.label))[:3]
    others = {}
    for row in best_first:
        if row.kind != "sft":
            others.setdefault(row.tool, row)
    return ours + list(others.values())[:LINES_MAX - len(ours)]


def legend(rows: list[Row]) -> list[str]:
    parts = []
    for at, (name, row) in enumerate(zip(LINES, rows)):
        x, y = 24 + at % 3 * 256, 72 + at // 3 * 18
        parts.append(f'<line class="line l-{name}" x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}"/>')
        parts.append(f'<text class="small" x="{x + 28}" y="{y}">{escape(row.label)}</text>')
    return parts


def grid(span: float, top: float, x, y, left: float, right: float, bottom: float) -> list[str]:
    parts = []
    for at in range(5):
        value = top * at / 4
        parts.append(f'<line class="grid" x1="{left}" y1="{y(value):.1f}" x2="{right}" y2="{y(value):.1f}"/>')
        parts.append(f'<text class="small" x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    step = nice(span / 8, (1, 2, 5, 10))
    for at in range(floor(span / step) + 1):
        parts.append(f'<text class="small" x="{x(at * step):.1f}" y="{bottom + 18}" text-anchor="middle">{at * step:g}</text>')
    return parts


def smooth(samples: list[int]) -> list[float]:
    """MB/s, each the mean of itself and its neighbours."""
    rates = [sample / SAMPLE_S / 1e6 for sample in samples]
    return [sum(rates[max(0, at - 1):at + 2]) / len(rates[max(0, at - 1):at + 2]) for at in range(len(rates))]


def nice(value: float, digits: tuple[float, ...] = (1, 1.2, 1.6, 2, 4, 6, 8, 10)) -> float:
    """The next of these digits times a power of ten."""
    power = 10.0 ** floor(log10(value))
    return next(digit * power for digit in digits if digit * power >= value * 0.999)


def tell(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def heading(case: Case, second: str) -> list[str]:
    return [f'<text class="title" x="24" y="26">{escape(case.title)}</text>',
            f'<text class="small" x="24" y="46">{escape(second)}</text>']


def document(height: float, title: str, parts: list[str]) -> str:
    style = STYLE + "  @media (prefers-color-scheme: dark) {" + DARK.replace("\n", "\n  ") + "}\n"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}" '
        'role="img">', f"<title>{escape(title)}</title>", f"<style>{style}</style>",
        f'<rect class="ground" x="0" y="0" width="{WIDTH}" height="{height:.0f}" rx="6"/>', *parts, "</svg>", ""])
