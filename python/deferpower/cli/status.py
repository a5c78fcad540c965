"""``deferpower status``: what the sensors say now."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator

from deferpower.cli import parsing
from deferpower.cli.facts import FIRST_LOOK_S, reading_fields, settled_reading
from deferpower.cli.text import ABSENT, UNKNOWN, duration, percent, rate, size, yes_no
from deferpower.device import Device
from deferpower.types import Cpu, Disk, Memory, Network, Power, Reading, User

Row = tuple[str, str, str]
"""Part, figure and value; the part is empty where it is that of the row above."""

_EPILOG = f"""\
Loads and rates are measured over {FIRST_LOOK_S} s, which is how long this takes;
with --watch over the time between two readings. Idleness takes a minute of
quiet to be seen, so --watch alone tells it. "unknown" is what this machine
does not say, "absent" a part that it does not have. --json prints the whole
reading with the names of deferpower.types.Reading, null for what is unknown;
with --watch, one line each.

examples:
  deferpower status
  deferpower status --watch 5
  deferpower status --json | jq .power.percent"""


def parser() -> parsing.Parser:
    """The options of ``status``."""
    p = parsing.Parser(
        "status",
        usage="deferpower status [--watch [S]] [--json]",
        summary="Show what the sensors say now.",
        epilog=_EPILOG,
    )
    p.add_argument(
        "--watch",
        nargs="?",
        type=parsing.seconds,
        const=2.0,
        metavar="S",
        help="read again every S seconds (default 2) until Ctrl-C, which exits with 0",
    )
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Print one reading, or one after the other."""
    options = parser().parse(words)
    device = Device()
    show = _print_json if options.json else _print_table
    if options.watch is None:
        show(settled_reading(device), False)
        return 0
    try:
        reading = settled_reading(device)
        while True:
            show(reading, True)
            time.sleep(options.watch)
            reading = device.read(max_age_s=0)
    except KeyboardInterrupt:
        return 0


def _print_json(reading: Reading, again: bool) -> None:
    fields = reading_fields(reading)
    print(json.dumps(fields) if again else json.dumps(fields, indent=2), flush=True)


def _print_table(reading: Reading, again: bool) -> None:
    lines = table(reading, watching=again)
    if again and sys.stdout.isatty():
        # Each line clears the rest of its own, so that nothing flickers.
        width, height = shutil.get_terminal_size()
        shown = "".join(f"{line[:width]}\x1b[K\n" for line in lines[: height - 1])
        print(f"\x1b[H{shown}\x1b[J", end="", flush=True)
    else:
        print("\n".join(lines) + ("\n" if again else ""), flush=True)


def table(reading: Reading, *, watching: bool) -> list[str]:
    """The reading as lines of part, figure and value.

    Args:
        reading: what to show.
        watching: readings come one after the other, so that idleness can be told.
    """
    rows = [
        *_power(reading.power),
        *_cpu(reading.cpu),
        *_memory(reading.memory),
        *_traffic("disk", ("reads", "writes"), reading.disk),
        *_traffic("network", ("receives", "sends"), reading.network),
        *_connection(reading.network),
        ("user", "", _user(reading.user)),
        ("power saver", "", yes_no(reading.power_saver)),
        *_storage(reading),
        ("idle", "", _idle(reading, watching=watching)),
        ("backend", "", reading.backend),
    ]
    part_width = max(len(part) for part, _, _ in rows)
    figure_width = max(len(figure) for _, figure, _ in rows)
    return [
        f"{part:<{part_width}}  {figure:<{figure_width}}  {value}"
        if figure
        else f"{part:<{part_width}}  {value}"
        for part, figure, value in rows
    ]


def _power(power: Power | None) -> Iterator[Row]:
    if power is None:
        yield "power", "", ABSENT
        return
    yield "power", "plugged in", yes_no(power.plugged)
    if not power.present:
        yield "", "battery", "none"
        return
    packs = "" if power.battery_count == 1 else f" ({power.battery_count} packs)"
    yield "", "battery", power.state.replace("_", " ") + packs
    yield "", "level", percent(power.percent)
    yield "", "energy", f"{_figure(power.energy_wh)} of {_figure(power.energy_full_wh)} Wh"
    yield "", "flow", _flow(power.battery_watts)
    if power.state == "discharging":
        yield "", "empty in", duration(power.time_to_empty_s)


def _flow(watts: float | None) -> str:
    if watts is None:
        return UNKNOWN
    direction = " into the battery" if watts > 0 else " out of the battery" if watts < 0 else ""
    return f"{abs(watts):.1f} W{direction}"


def _cpu(cpu: Cpu | None) -> Iterator[Row]:
    if cpu is None:
        yield "processor", "", ABSENT
        return
    yield "processor", "busy", f"{percent(cpu.busy_percent)} of {cpu.count}"
    yield "", "own work", percent(cpu.own_percent)
    yield "", "pressure", percent(cpu.pressure_percent)


def _memory(memory: Memory | None) -> Iterator[Row]:
    if memory is None:
        yield "memory", "", ABSENT
        return
    yield "memory", "used", percent(memory.used_percent)
    yield "", "available", f"{size(memory.available_bytes)} of {size(memory.total_bytes)}"


def _traffic(part: str, figures: tuple[str, str], rates: Disk | Network | None) -> Iterator[Row]:
    if rates is None:
        yield part, "", ABSENT
        return
    yield part, figures[0], rate(rates[0])
    yield "", figures[1], rate(rates[1])


def _connection(network: Network | None) -> Iterator[Row]:
    if network is not None:
        yield "", "connected", yes_no(network.connected)
        yield "", "metered", yes_no(network.metered)


def _user(user: User | None) -> str:
    if user is None:
        return ABSENT
    presence = "present" if user.present else "away"
    return (
        presence if user.idle_s is None else f"{presence}, last input {duration(user.idle_s)} ago"
    )


def _storage(reading: Reading) -> Iterator[Row]:
    for path, storage in reading.storage.items():
        if storage is None:
            yield f"storage {path}", "", ABSENT
        else:
            yield f"storage {path}", "used", percent(storage.used_percent)
            yield "", "free", size(storage.free_bytes)


def _idle(reading: Reading, *, watching: bool) -> str:
    if reading.idle_since_s is not None:
        return f"yes, for {duration(reading.monotonic_s - reading.idle_since_s)}"
    if reading.quiet_since_s is not None:
        return f"not yet, quiet for {duration(reading.monotonic_s - reading.quiet_since_s)}"
    return "no" if watching else "told by --watch alone: it takes a minute of quiet"


def _figure(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}"
