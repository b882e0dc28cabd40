"""A terminal as far as progress bars and colours need one, and its picture as SVG. Standard library alone.

It takes what a program writes, with the times at which it came, and draws each line for as long as it stood there. Viewers
that play nothing show the last screen.
"""

import re
from dataclasses import dataclass, field, replace
from html import escape

TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\r\n\t\b]|[^\x1b\r\n\t\b]")
CELL_W, LINE_H, MARGIN, BAR_H = 8.4, 19, 16, 30
INK, PAPER, FRAME = "#d6dbe4", "#14181f", "#222833"
COLOURS = {30: "#4b5363", 31: "#f07178", 32: "#8fd18b", 33: "#e6c384", 34: "#7aa2f7", 35: "#c099ff", 36: "#7fd3e0", 37: INK}


@dataclass(frozen=True)
class Style:
    """How a character looks."""

    colour: str = INK
    bold: bool = False
    dim: bool = False


@dataclass
class Screen:
    """Lines of cells, and where the next character goes. It scrolls never: it grows."""

    columns: int
    lines: list[list[tuple[str, Style]]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    style: Style = Style()

    def feed(self, text: str) -> None:
        for match in TOKEN.finditer(text):
            token = match.group()
            if match.group(2):
                self.control(match.group(1), match.group(2))
            elif token == "\n":
                self.move(self.row + 1, self.column)
            elif token == "\r":
                self.column = 0
            elif token == "\b":
                self.column = max(0, self.column - 1)
            elif token == "\t":
                self.column = (self.column // 8 + 1) * 8
            elif not token.startswith("\x1b"):
                self.put(token)

    def put(self, character: str) -> None:
        if self.column >= self.columns:
            self.move(self.row + 1, 0)
        line = self.lines[self.row]
        line.extend([(" ", Style())] * (self.column + 1 - len(line)))
        line[self.column] = (character, self.style)
        self.column += 1

    def move(self, row: int, column: int) -> None:
        self.row, self.column = max(0, row), max(0, column)
        self.lines.extend([] for _ in range(self.row + 1 - len(self.lines)))

    def control(self, given: str, what: str) -> None:
        numbers = [int(number) for number in given.lstrip("?").split(";") if number]
        first = numbers[0] if numbers else 0
        by = max(1, first)
        if what == "m":
            self.restyle(numbers or [0])
        elif what in "ABCD":
            row = {"A": -by, "B": by}.get(what, 0)
            self.move(self.row + row, self.column + {"C": by, "D": -by}.get(what, 0))
        elif what == "G":
            self.column = by - 1
        elif what == "K":
            line = self.lines[self.row]
            self.lines[self.row] = [] if first == 2 else line[: self.column] if first == 0 else line
        elif what == "J" and first == 0:
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]

    def restyle(self, numbers: list[int]) -> None:
        for number in numbers:
            if number == 0:
                self.style = Style()
            elif number in (1, 2):
                self.style = replace(self.style, bold=number == 1, dim=number == 2)
            elif number == 39:
                self.style = replace(self.style, colour=INK)
            elif number in COLOURS or number - 60 in COLOURS:
                self.style = replace(self.style, colour=COLOURS.get(number, COLOURS.get(number - 60, INK)))


Line = tuple[tuple[str, Style], ...]


@dataclass
class Shown:
    """A line's content, where it stood, and from when until when; until the end where that is None."""

    row: int
    line: Line
    begin: float
    end: float | None = None


class Recording:
    """Collects what a screen showed."""

    def __init__(self, columns: int):
        self.screen = Screen(columns)
        self.shown: list[Shown] = []
        self.current: dict[int, Shown] = {}

    def feed(self, text: str, at: float) -> None:
        self.screen.feed(text)
        for row in range(max(len(self.screen.lines), len(self.current))):
            cells = tuple(self.screen.lines[row]) if row < len(self.screen.lines) else ()
            self.show(row, cells, at)

    def show(self, row: int, cells: Line, at: float) -> None:
        now = self.current.get(row)
        if now and now.line == cells:
            return
        if now:
            now.end = at
            # What stood there for less than a frame was seen by nobody.
            if at - now.begin < 0.04:
                self.shown.remove(now)
        self.current[row] = Shown(row, cells, at)
        self.shown.append(self.current[row])

    def svg(self, title: str, end: float) -> str:
        rows = max((shown.row for shown in self.shown if any(c.strip() for c, _ in shown.line)), default=0) + 1
        width = round(2 * MARGIN + self.screen.columns * CELL_W)
        height = BAR_H + 2 * MARGIN + rows * LINE_H
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="ui-monospace, \'DejaVu Sans Mono\', Menlo, Consolas, monospace" font-size="14">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
            f'<path d="M0 {BAR_H}V8a8 8 0 0 1 8-8H{width - 8}a8 8 0 0 1 8 8V{BAR_H}z" fill="{FRAME}"/>',
            *(f'<circle cx="{18 + 18 * at}" cy="{BAR_H / 2:g}" r="5.5" fill="{colour}"/>'
              for at, colour in enumerate(("#f07178", "#e6c384", "#8fd18b"))),
            f'<text x="{width / 2:g}" y="{BAR_H / 2 + 5:g}" fill="#8b93a3" text-anchor="middle">{escape(title)}</text>',
            *(drawn(shown, end) for shown in self.shown if any(c.strip() for c, _ in shown.line)),
            "</svg>",
        ]
        return "\n".join(part for part in parts if part) + "\n"


def drawn(shown: Shown, end: float) -> str:
    """A line, hidden but for its time while the picture plays, and at all times if it is not there at the end."""
    y = BAR_H + MARGIN + (shown.row + 0.75) * LINE_H
    hidden = ' visibility="hidden"' if shown.end is not None else ""
    text = f'<text y="{y:g}" xml:space="preserve"{hidden}>{spans(shown.line)}'
    if shown.begin <= 0.0 and shown.end is None:
        return text + "</text>"
    begin, until = shown.begin / end, (shown.end if shown.end is not None else end) / end
    states = [("0", "hidden"), (f"{begin:.4f}", "visible")]
    if shown.end is not None:
        states.append((f"{until:.4f}", "hidden"))
    if begin <= 0.0:
        states = states[1:]
    values = ";".join(state for _, state in states)
    times = ";".join(at for at, _ in states)
    return (f'{text}<animate attributeName="visibility" dur="{end:.2f}s" repeatCount="indefinite" calcMode="discrete" '
            f'keyTimes="{times}" values="{values}"/></text>')


def spans(line: Line) -> str:
    """Runs of one style, each at its own place, so that no font's widths can shift what follows."""
    out, at = [], 0
    while at < len(line):
        style, begin = line[at][1], at
        while at < len(line) and line[at][1] == style:
            at += 1
        text = "".join(character for character, _ in line[begin:at])
        if text.strip():
            weight = ' font-weight="bold"' if style.bold else ""
            opacity = ' opacity="0.65"' if style.dim else ""
            x, length = MARGIN + begin * CELL_W, len(text) * CELL_W
            out.append(f'<tspan x="{x:g}" textLength="{length:g}" lengthAdjust="spacingAndGlyphs" '
                       f'fill="{style.colour}"{weight}{opacity}>{escape(text)}</tspan>')
    return "".join(out)
