"""Traces: what was seen of a device over days, as CSV in slots of 5 minutes.

SEMANTICS.md, "Traces", says what the columns mean.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TextIO

from deferpower.errors import ConfigError

SLOT_S = 300
COLUMNS = (
    "device_id",
    "timestamp_utc",
    "local_utc_offset",
    "battery_percent",
    "plugged",
    "active",
)

_LAST_S = 253_402_300_799  # the end of the year 9999, beyond which calendars do not go
_DAY_S = 86_400


class Slot(NamedTuple):
    """What is known of one device in one slot of `SLOT_S` seconds.

    Attributes:
        device_id: whose slot it is; ``""`` where the trace does not tell.
        start_s: when it begins, seconds since the epoch, a multiple of `SLOT_S`.
        utc_offset_s: seconds that local time is ahead of UTC.
        percent: battery level, 0-100.
        plugged: on external power for at least half of it.
        activity: share of it in which the device was used, 0-1.
    """

    device_id: str
    start_s: int
    utc_offset_s: int | None
    percent: float | None
    plugged: bool | None
    activity: float | None


def read_trace(path: str | os.PathLike[str]) -> Iterator[Slot]:
    """The slots of a file, one by one, in its order.

    Args:
        path: a CSV file; its format stands in SEMANTICS.md, "Traces".

    Raises:
        ConfigError: the file cannot be read, or a line of it; the message names the line.
    """
    name = os.fspath(path)
    try:
        # What is no UTF-8 is complained about where it stands, with its line.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # noqa: PTH123
            yield from parse_trace(file, name)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"trace: cannot read {name!r}: {reason}; name a CSV file") from None


def parse_trace(lines: Iterable[str], name: str) -> Iterator[Slot]:
    """The slots that lines of CSV tell, one by one.

    Args:
        lines: the header, then a line for each slot; the slots of one device in order of time.
        name: what to call the trace in complaints.

    Raises:
        ConfigError: a line cannot be used; the message names it.

    Cost: some 6 us a line.
    """
    table = csv.reader(lines, strict=True)
    try:
        header = [column.strip() for column in next(table, [])]
        places = _places(header)
        latest: dict[str, int] = {}
        for cells in table:
            if not cells:
                continue
            if len(cells) != len(header):
                raise ConfigError(
                    f"{len(cells)} fields where the header has {len(header)}; "
                    "is a comma missing, or the line cut off?"
                )
            slot = _slot(["" if place is None else cells[place].strip() for place in places])
            before_s = latest.get(slot.device_id, -SLOT_S)
            if slot.start_s <= before_s:
                raise ConfigError(
                    f"timestamp_utc: {slot.start_s} does not come after {before_s}, which stands "
                    "before it; sort the lines of a device by time, each slot once"
                )
            latest[slot.device_id] = slot.start_s
            yield slot
    except (ConfigError, csv.Error) as error:
        raise ConfigError(f"{name}: line {max(table.line_num, 1)}: {error}") from None


def one_device(slots: Iterable[Slot], name: str, wanted: str | None = None) -> list[Slot]:
    """The slots of one device of a trace: of the wanted one, or of the only one.

    Args:
        slots: of all devices.
        name: what to call the trace in complaints.
        wanted: whose; ``None`` if there is but one.

    Raises:
        ConfigError: it is not there, or there are several and none is wanted.
    """
    devices: dict[str, list[Slot]] = {}
    for slot in slots:
        devices.setdefault(slot.device_id, []).append(slot)
    if wanted is None and len(devices) > 1:
        raise ConfigError(
            f"{name}: {len(devices)} devices are in it; choose one with --device: "
            + ", ".join(devices)
        )
    if wanted is not None and wanted not in devices:
        raise ConfigError(f"--device: {wanted!r} is not in {name}; there are {', '.join(devices)}")
    return next(iter(devices.values()), []) if wanted is None else devices[wanted]


def write_trace(slots: Iterable[Slot], file: TextIO) -> None:
    """Write slots as CSV that `read_trace` reads back as they were."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for device_id, start_s, utc_offset_s, percent, plugged, activity in slots:
        table.writerow(
            (
                device_id,
                start_s,
                "" if utc_offset_s is None else utc_offset_s,
                _text(percent),
                "" if plugged is None else int(plugged),
                _text(activity),
            )
        )


def _places(header: list[str]) -> list[int | None]:
    """Where each of `COLUMNS` stands; ``None`` for one that the trace does not have."""
    if "timestamp_utc" not in header:
        raise ConfigError(
            "there is no column timestamp_utc; the first line must name the columns: "
            + ",".join(COLUMNS)
        )
    for column in COLUMNS:
        if header.count(column) > 1:
            raise ConfigError(f"column {column} stands there twice; leave one of them out")
    return [header.index(column) if column in header else None for column in COLUMNS]


def _slot(cells: list[str]) -> Slot:
    device_id, start, offset, percent, plugged, activity = cells
    if not device_id.isprintable():
        raise ConfigError(f"device_id: {device_id!r} is no plain UTF-8 text; rename the device")
    start_s = _number("timestamp_utc", start, 0, _LAST_S)
    if start_s is None:
        raise ConfigError("timestamp_utc: it is empty; write seconds since the epoch")
    if start_s % SLOT_S:
        raise ConfigError(
            f"timestamp_utc: {start} is no multiple of {SLOT_S}; a line stands for 5 minutes, "
            "so bring what was seen into such slots"
        )
    offset_s = _number("local_utc_offset", offset, -_DAY_S, _DAY_S)
    if offset_s is not None and offset_s % 1:
        raise ConfigError(f"local_utc_offset: {offset} is no whole number of seconds")
    on_power = _number("plugged", plugged, 0, 1)
    if on_power is not None and on_power % 1:
        raise ConfigError(f"plugged: {plugged} is neither 0 nor 1; leave it empty if not known")
    return Slot(
        device_id,
        int(start_s),
        None if offset_s is None else int(offset_s),
        _number("battery_percent", percent, 0, 100),
        None if on_power is None else on_power == 1,
        _number("active", activity, 0, 1),
    )


def _number(column: str, text: str, low: float, high: float) -> float | None:
    """The number in a cell, ``None`` if the cell is empty.

    Raises:
        ConfigError: it is no number, or out of range.
    """
    if not text:
        return None
    try:
        value = math.nan if "_" in text else float(text)  # Python alone reads 1_000
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ConfigError(
            f"{column}: {text!r} is no number from {low} to {high}; leave it empty if not known"
        )
    return value


def _text(value: float | None) -> str:
    return "" if value is None else repr(value).removesuffix(".0")
