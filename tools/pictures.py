"""Makes the pictures of the documents: real commands, in a real terminal, on a laptop that is not.

    make pictures

The laptop is a device tree of the tests whose counters are kept moving; the queue is filled by
``deferpower submit``, its history made up and imported. What the terminal shows becomes an SVG.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import itertools
import os
import pty
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from deferpower import traces

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs/pictures"
TREE = ROOT / "tests/data/linux/laptop-on-battery"
OWN_TIME = TREE.parent / "own-processor-time"
FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
COLORS = [
    (60, 66, 78),
    (229, 107, 111),
    (140, 190, 120),
    (224, 180, 100),
    (102, 160, 230),
    (190, 140, 220),
    (90, 190, 190),
    (214, 219, 227),
]
THEME = TerminalTheme((24, 27, 33), (214, 219, 227), COLORS)
_PATIENCE_S = 30.0
_DAY_S = 86_400


class Laptop:
    """A device tree in a directory of its own, whose counters go on as on a quiet machine."""

    def __init__(self, root: Path) -> None:
        """Copy the tree, and let it live."""
        self.root = root
        shutil.copytree(TREE / "proc", root / "proc")
        shutil.copytree(TREE / "sys", root / "sys")
        shutil.copytree(OWN_TIME / "proc/self", root / "proc/self")
        self._ticks = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._live)
        self.charge(62)
        self._thread.start()

    def charge(self, percent: int) -> None:
        """Set the level."""
        supply = self.root / "sys/class/power_supply/BAT0"
        full = int((supply / "energy_full").read_text())
        (supply / "capacity").write_text(f"{percent}\n")
        (supply / "energy_now").write_text(f"{full * percent // 100}\n")

    def plug_in(self) -> None:
        """Connect the charger."""
        supplies = self.root / "sys/class/power_supply"
        (supplies / "AC/online").write_text("1\n")
        (supplies / "BAT0/status").write_text("Charging\n")

    def stop(self) -> None:
        """Let it rest."""
        self._stopped.set()
        self._thread.join()

    def _live(self) -> None:
        while not self._stopped.wait(0.05):
            self._ticks += 1
            self._count("proc/stat", r"^cpu +(\d+ \d+ \d+) (\d+)", self._busy)
            self._count("proc/diskstats", r"(sda) (\d+ \d+) (\d+)", self._moved)
            self._count("proc/net/dev", r"(wlan0|wlp\w+|eth0|enp\w+): *(\d+)", self._received)

    def _busy(self, match: re.Match[str]) -> str:
        user, *rest = match[1].split()
        return f"cpu  {int(user) + self._ticks} {' '.join(rest)} {int(match[2]) + 19 * self._ticks}"

    def _moved(self, match: re.Match[str]) -> str:
        return f"{match[1]} {match[2]} {int(match[3]) + 4 * self._ticks}"

    def _received(self, match: re.Match[str]) -> str:
        return f"{match[1]}: {int(match[2]) + 900 * self._ticks}"

    def _count(self, name: str, pattern: str, change: Callable[[re.Match[str]], str]) -> None:
        text = re.sub(pattern, change, (TREE / name).read_text(), count=1, flags=re.MULTILINE)
        with (self.root / name).open("r+") as file:  # in place: it is held open
            file.write(text)
            file.truncate()


class Terminal:
    """A command in a terminal, and what that shows."""

    def __init__(self, words: list[str], columns: int, lines: int, env: dict[str, str]) -> None:
        """Start it."""
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            cwd=env["HOME"],
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    def show_until(self, is_enough: Callable[[str], bool]) -> None:
        """Take in what it writes until that is enough, or it has ended."""
        end_s = time.monotonic() + _PATIENCE_S
        while not is_enough("\n".join(self.screen.display)):
            if time.monotonic() > end_s:
                raise TimeoutError("\n".join(self.screen.display))
            if not select.select([self._ours], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._ours, 65_536)
            except OSError:  # it has ended
                return
            self._stream.feed(data)

    def end(self) -> None:
        """Have it end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            self.show_until(lambda _: False)
        self.process.wait()
        os.close(self._ours)


def draw(name: str, command: str, screen: pyte.Screen) -> None:
    """Write what a screen shows, below the command, as a picture."""
    rows = [_row(screen, line) for line in range(screen.lines)]
    while rows and not rows[-1].plain.strip():
        rows.pop()
    console = Console(
        record=True, file=io.StringIO(), width=screen.columns, force_terminal=True,
        color_system="truecolor", highlight=False,
    )  # fmt: skip
    console.print(Text.assemble(("$ ", "green"), (command, "bold")), soft_wrap=True)
    for row in rows:
        console.print(row, soft_wrap=True)
    svg = console.export_svg(title="", theme=THEME, unique_id=name)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # nothing from elsewhere
    svg = re.sub(r"<!-- .*? -->\s*", "", svg)
    svg = svg.replace("Fira Code, monospace", FONT).replace("Fira Code", FONT)
    (PICTURES / f"{name}.svg").write_text(
        re.sub(r" +$", "", svg, flags=re.MULTILINE).strip() + "\n"
    )
    print(PICTURES / f"{name}.svg")


def _row(screen: pyte.Screen, line: int) -> Text:
    cells = [screen.buffer[line][column] for column in range(screen.columns)]
    while cells and cells[-1].data == " " and cells[-1].bg == "default":
        cells.pop()
    row = Text()
    for style, alike in itertools.groupby(cells, _style):
        row.append("".join(cell.data for cell in alike), style)
    return row


def _style(cell: pyte.screens.Char) -> Style:
    return Style(
        color=_color(cell.fg), bgcolor=_color(cell.bg), bold=cell.bold, reverse=cell.reverse
    )


def _color(name: str) -> str | None:
    if name == "default":
        return None
    return f"#{name}" if re.fullmatch("[0-9a-f]{6}", name) else name.replace("brown", "yellow")


def history() -> Iterator[tuple[object, ...]]:
    """Six weeks of a laptop that works on weekdays and sleeps on its charger."""
    rng = random.Random(4)
    level = 70.0
    now_s = int(time.time()) // 300 * 300
    for at_s in range(now_s - 42 * _DAY_S, now_s, 300):
        moment = time.gmtime(at_s)
        hour, works = moment.tm_hour + moment.tm_min / 60, moment.tm_wday < 5
        day = random.Random(at_s // _DAY_S)  # no two days are the same
        is_plugged_at_night, evening = day.random() < 0.85, day.gauss(21.5, 1.0)
        at_desk = works and day.random() < 0.7 and day.gauss(13, 0.8) <= hour < day.gauss(16, 1)
        if works:
            chance = 0.9 if 9 <= hour < 12 or 13 <= hour < 17.5 else 0.5 if 19 <= hour < 22 else 0
        else:
            chance = 0.45 if 10 <= hour < 23 else 0
        if not 1 <= hour < 7:
            chance = max(chance, 0.06)
        plugged = at_desk or (is_plugged_at_night and (hour >= evening or hour < 7.5))
        active = round(min(1, chance * rng.uniform(0.6, 1.1)), 2) if rng.random() < chance else 0
        level = min(100, level + 1) if plugged else max(8, level - 0.2 - 0.5 * active)
        yield ("laptop", at_s, 0, round(level), int(plugged), active)


@contextlib.contextmanager
def desk() -> Iterator[tuple[Laptop, dict[str, str]]]:
    """A laptop, and the environment of somebody who sits before it."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name, "home")
        bin_ = home / "bin"
        bin_.mkdir(parents=True)
        for command, line in (
            ("deferpower", f'exec "{sys.executable}" -m deferpower "$@"'),
            ("restic", "sleep 300"),
            ("thumbnails", "sleep 300"),
        ):
            (bin_ / command).write_text(f"#!/bin/sh\n{line}\n")
            (bin_ / command).chmod(0o755)
        laptop = Laptop(Path(name, "laptop"))
        try:
            yield (
                laptop,
                {
                    "HOME": str(home),
                    "PATH": f"{bin_}:/usr/bin:/bin",
                    "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
                    "DEFERPOWER_ROOT": str(laptop.root),
                    "TERM": "xterm-256color",
                    "COLORTERM": "truecolor",
                    "LANG": "C.UTF-8",
                    "TZ": "UTC",
                },
            )
        finally:
            laptop.stop()


def run(env: dict[str, str], command: str) -> None:
    """Run a command that nobody sees."""
    subprocess.run(
        command, shell=True, check=True, env=env, cwd=env["HOME"], stdout=subprocess.DEVNULL
    )


def picture(env: dict[str, str], name: str, command: str, columns: int, lines: int = 60) -> None:
    """A picture of what a command prints."""
    terminal = Terminal(command.split(), columns, lines, env)
    try:
        terminal.show_until(lambda _: False)
        draw(name, command, terminal.screen)
    finally:
        terminal.end()


def main() -> None:
    """Make all pictures."""
    with desk() as (laptop, env):
        picture(env, "status", "deferpower status", 72)

        with Path(env["HOME"], "laptop.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(traces.COLUMNS)
            rows.writerows(history())
        run(env, "deferpower history import laptop.csv")
        picture(env, "forecast", "deferpower forecast --hours 8", 80)

        for words in (
            "--charging --priority high -- restic backup /home/me/docs",
            "--charging --every 1d --key photos -- thumbnails /home/me/photos",
            "--idle -- make -C /home/me/src reindex",
            "--window 01:00-05:00 -- make -C /home/me/src nightly",
            "--after 1 -- restic check",
            "--delay 2h -- make -C /home/me/src report",
        ):
            run(env, f"deferpower submit {words}")
        picture(env, "why", "deferpower why", 80)

        laptop.plug_in()
        terminal = Terminal(["deferpower", "worker", "--max-workers", "2"], 80, 24, env)
        try:
            terminal.show_until(lambda shown: " 2 running" in shown and "3 s  restic" in shown)
            draw("worker", "deferpower worker", terminal.screen)
        finally:
            terminal.end()


if __name__ == "__main__":
    main()
