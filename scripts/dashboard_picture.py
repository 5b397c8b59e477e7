#!/usr/bin/env python3
"""Make the README's picture of the dashboard: docs/dashboard.svg.

Replays the sample trace with the release binary inside tmux, captures the pane with its colours in the
middle of the run, and draws the captured cells as an SVG. Python's standard library, tmux and cargo are
all it needs.

    scripts/dashboard_picture.py                           # the picture of the README
    scripts/dashboard_picture.py --at 20 -- traces/mooncake.jsonl --scale 0.1
    scripts/dashboard_picture.py --capture pane.txt -o pane.svg
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Pixels of a cell, and around the screen.
WIDTH, HEIGHT, PADDING, FONT_SIZE = 8.0, 18.0, 14.0, 13.3
# Seconds that requests in flight may take to end once the picture is made.
DRAIN = 30
BACKGROUND, FOREGROUND = "#15171c", "#d6d9df"
# The sixteen colours, as a dark terminal shows them.
PALETTE = [
    "#2a2e36", "#e0606a", "#8cc570", "#e2b860", "#639fea", "#c07adf", "#56b8c2", "#c3c8d1",
    "#676e7b", "#f27e87", "#a5da8a", "#f2cd80", "#82b8f8", "#d699ee", "#78d3dc", "#ffffff",
]  # fmt: skip


class Failure(Exception):
    """One line for the user: what failed and what to do."""


@dataclass(frozen=True)
class Style:
    """How a cell looks. Colours are CSS, or None for the terminal's own."""

    fg: str | None = None
    bg: str | None = None
    bold: bool = False
    dim: bool = False
    reverse: bool = False


def colour(codes: list[int]) -> str | None:
    """The colour that 38 or 48 introduces; takes what belongs to it off the front of `codes`."""
    kind = codes.pop(0) if codes else 0
    if kind == 2 and len(codes) >= 3:
        r, g, b = (codes.pop(0) for _ in range(3))
        return f"#{r:02x}{g:02x}{b:02x}"
    if kind == 5 and codes:
        n = codes.pop(0)
        if n < 16:
            return PALETTE[n]
        if n < 232:
            level = [0, 95, 135, 175, 215, 255]
            n -= 16
            return "#{:02x}{:02x}{:02x}".format(level[n // 36], level[n // 6 % 6], level[n % 6])
        return "#" + f"{8 + (n - 232) * 10:02x}" * 3
    return None


def apply_sgr(style: Style, parameters: str) -> Style:
    """The style after an SGR sequence with these parameters (`1;31`). Unknown ones change nothing."""
    codes = [int(code or 0) for code in parameters.replace(":", ";").split(";")]
    while codes:
        code = codes.pop(0)
        if code == 0:
            style = Style()
        elif code == 1:
            style = replace(style, bold=True)
        elif code == 2:
            style = replace(style, dim=True)
        elif code == 22:
            style = replace(style, bold=False, dim=False)
        elif code in (7, 27):
            style = replace(style, reverse=code == 7)
        elif code in (38, 48):
            style = replace(style, **{"fg" if code == 38 else "bg": colour(codes)})
        elif code in (39, 49):
            style = replace(style, **{"fg" if code == 39 else "bg": None})
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = replace(style, fg=PALETTE[code - 30 if code < 90 else code - 82])
        elif 40 <= code <= 47 or 100 <= code <= 107:
            style = replace(style, bg=PALETTE[code - 40 if code < 100 else code - 92])
    return style


SEQUENCE = re.compile(r"\x1b\[([0-9;:]*)([A-Za-z])|\x1b[()][A-Za-z0-9]|[\x0e\x0f]")


def cells(capture: str) -> list[list[tuple[str, Style]]]:
    """Rows of (character, style). A wide character is followed by an empty one."""
    rows, style = [], Style()
    for line in capture.split("\n"):
        row, at = [], 0
        while at < len(line):
            sequence = SEQUENCE.match(line, at)
            if sequence:
                if sequence[2] == "m":
                    style = apply_sgr(style, sequence[1])
                at = sequence.end()
                continue
            row.append((line[at], style))
            if unicodedata.east_asian_width(line[at]) in "WF":
                row.append(("", style))
            at += 1
        rows.append(row)
    return rows


# Characters drawn as shapes, because fonts leave gaps between the rows: for boxes which of the cell's
# four half-lines (left, right, up, down) there are.
BOX = {"─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "rud", "┤": "lud", "┬": "lrd", "┴": "lru", "┼": "lrud"}
LEFT_EIGHTHS = " ▏▎▍▌▋▊▉█"
LOWER_EIGHTHS = " ▁▂▃▄▅▆▇█"
SHADES = {"░": 0.22, "▒": 0.45, "▓": 0.7}


def rect(x: float, y: float, w: float, h: float, fill: str, opacity: float = 1.0) -> str:
    faded = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return f'<rect x="{x:.1f}" y="{y:.2f}" width="{w:.1f}" height="{h:.2f}" fill="{fill}"{faded}/>'


def shape(char: str, n: int, x: float, y: float, fill: str, opacity: float) -> list[str] | None:
    """`n` times `char` in a row as shapes; None for a character that is drawn as text."""
    if char in LEFT_EIGHTHS[1:] and (char == "█" or n == 1):
        width = n * WIDTH * LEFT_EIGHTHS.index(char) / 8
        return [rect(x, y, width, HEIGHT, fill, opacity)]
    if char in LOWER_EIGHTHS[1:]:
        height = HEIGHT * LOWER_EIGHTHS.index(char) / 8
        return [rect(x, y + HEIGHT - height, n * WIDTH, height, fill, opacity)]
    if char in SHADES:
        return [rect(x, y, n * WIDTH, HEIGHT, fill, opacity * SHADES[char])]
    if char == "─":
        return [rect(x, y + HEIGHT / 2 - 0.5, n * WIDTH, 1, fill, opacity)]
    if char in BOX and n == 1:
        middle_x, middle_y, sides = x + WIDTH / 2, y + HEIGHT / 2, BOX[char]
        left = x if "l" in sides else middle_x - 0.5
        right = x + WIDTH if "r" in sides else middle_x + 0.5
        top = y if "u" in sides else middle_y - 0.5
        bottom = y + HEIGHT if "d" in sides else middle_y + 0.5
        lines = []
        if "l" in sides or "r" in sides:
            lines.append(rect(left, middle_y - 0.5, right - left, 1, fill, opacity))
        if "u" in sides or "d" in sides:
            lines.append(rect(middle_x - 0.5, top, 1, bottom - top, fill, opacity))
        return lines
    return None


def runs(row: list[tuple[str, Style]]):
    """(column, text, style) of neighbours that are drawn by one element: of one style, and shapes apart."""
    shapes = set(LEFT_EIGHTHS[1:] + LOWER_EIGHTHS[1:]) | set(SHADES) | set(BOX)
    start = 0
    for at in range(1, len(row) + 1):
        if at < len(row) and row[at][1] == row[start][1]:
            same = row[at][0] == row[start][0] and row[at][0] in "█─░▒▓"
            if same or not ({row[at][0], row[at - 1][0]} & shapes):
                continue
        if row:
            yield start, "".join(char for char, _ in row[start:at]), at - start, row[start][1]
        start = at


def svg(capture: str, columns: int, lines: int) -> str:
    """The captured screen of `columns` × `lines` cells as an SVG document."""
    width, height = columns * WIDTH + 2 * PADDING, lines * HEIGHT + 2 * PADDING
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
        f' height="{height:g}" role="img">',
        "<title>The dashboard of tics during a replay</title>",
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{BACKGROUND}"/>',
        f'<g font-family="ui-monospace, \'DejaVu Sans Mono\', Menlo, Consolas, monospace" font-size="{FONT_SIZE:g}"'
        ' shape-rendering="crispEdges">',
    ]
    for index, row in enumerate(cells(capture)[:lines]):
        y = PADDING + index * HEIGHT
        for column, text, n, style in runs(row[:columns]):
            x = PADDING + column * WIDTH
            fg, bg = style.fg or FOREGROUND, style.bg
            if style.reverse:
                fg, bg = bg or BACKGROUND, fg
            if bg:
                out.append(rect(x, y, n * WIDTH, HEIGHT, bg))
            if not text.strip():
                continue
            opacity = 0.6 if style.dim else 1.0
            drawn = shape(text[0], n, x, y, fg, opacity) if len(set(text)) == 1 else None
            out.extend(drawn if drawn is not None else [words(text, n, x, y, fg, opacity, style.bold)])
    return "\n".join([*out, "</g>", "</svg>", ""])


def words(text: str, n: int, x: float, y: float, fill: str, opacity: float, bold: bool) -> str:
    """Text stretched to its `n` cells, whatever the reader's font."""
    n -= len(text) - len(text.rstrip(" "))
    lead = len(text) - len(text.lstrip(" "))
    weight = ' font-weight="bold"' if bold else ""
    faded = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return (
        f'<text x="{x + lead * WIDTH:.1f}" y="{y + HEIGHT * 0.72:.2f}" textLength="{(n - lead) * WIDTH:.1f}"'
        f' lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="{fill}"{weight}{faded}>{escape(text.strip(" "))}</text>'
    )


def need_tmux() -> None:
    if shutil.which("tmux"):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "tmux"]):
            subprocess.run(command, check=True, stdout=sys.stderr)
    if not shutil.which("tmux"):
        raise Failure("tmux is not installed; install it with the system's package manager")


def build() -> Path:
    """Builds the release binary and returns where it is."""
    command = ["cargo", "build", "--release", "--locked", "--package", "tics", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        raise Failure("tics does not build: see above")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "tics" and message.get("executable"):
            return Path(message["executable"])
    raise Failure("cargo built tics without saying where")


def capture(binary: Path, args: list[str], columns: int, lines: int, at: float) -> str:
    """The screen of `tics replay ARGS` some seconds after its start, with its colours."""
    # A server of our own: nobody's sessions or settings are touched.
    tmux = ["tmux", "-L", f"tics-picture-{os.getpid()}", "-f", "/dev/null"]

    def run(*command: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run([*tmux, *command], capture_output=True, text=True, **options)

    with tempfile.TemporaryDirectory() as folder:
        # The run's directory goes with the folder. Should the program end early, its last words stay on
        # the screen until they have been read.
        ended = Path(folder) / "ended"
        replay = [str(binary), "replay", *args, "--run-dir", f"{folder}/sample", "--drain", f"{DRAIN}s"]
        # Without the variable that would take the colours away.
        command = f"unset NO_COLOR; {shlex.join(replay)}; touch {shlex.quote(str(ended))}; sleep {at + DRAIN:g}"
        started = run("new-session", "-d", "-x", str(columns), "-y", str(lines), command, cwd=ROOT)
        if started.returncode:
            raise Failure(f"tmux does not start: {started.stderr.strip()}")
        try:
            time.sleep(at)
            screen = run("capture-pane", "-e", "-p")
            if screen.returncode:
                raise Failure(f"tmux does not show the screen: {screen.stderr.strip()}")
            if ended.exists():
                last = SEQUENCE.sub("", screen.stdout).strip()
                raise Failure(f"the replay ended within {at:g} s (is --at too late?):\n{last}")
            # Without its terminal the run would go on: it is told to stop, and waited for.
            run("send-keys", "q")
            deadline = time.monotonic() + DRAIN
            while not ended.exists() and time.monotonic() < deadline:
                time.sleep(0.2)
            return screen.stdout
        finally:
            run("kill-server")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make the README's picture of the dashboard.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "dashboard.svg")
    parser.add_argument("--size", default="100x30", metavar="COLUMNSxROWS")
    parser.add_argument("--at", type=float, default=14.0, metavar="SECONDS", help="when to look (default: %(default)s)")
    parser.add_argument("--capture", type=Path, metavar="FILE", help="draw this captured pane instead of running")
    parser.add_argument("args", nargs="*", default=["traces/tics.jsonl"], help="what to replay, after --")
    options = parser.parse_args(argv)
    if not re.fullmatch(r"[1-9]\d{0,2}x[1-9]\d{0,2}", options.size):
        parser.error(f"--size {options.size}: expected COLUMNSxROWS such as 100x30")
    return options


def main(argv: list[str]) -> int:
    options = parse(argv)
    columns, lines = map(int, options.size.split("x"))
    try:
        if options.capture:
            screen = options.capture.read_text(encoding="utf-8")
        else:
            need_tmux()
            screen = capture(build(), options.args, columns, lines, options.at)
        if not re.sub(r"\x1b\[[0-9;:]*m|\s", "", screen):
            raise Failure("the captured screen is empty")
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(svg(screen, columns, lines), encoding="utf-8")
    except (Failure, OSError, subprocess.CalledProcessError) as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        return 1
    print(f"{options.output} written", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
