"""Puts outcomes of the rules engine into words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from deferpower._contract import CONSTRAINTS, SOFT_SHIFT
from deferpower._facts import others_cpu_percent
from deferpower.constraints import Constraints, clock_text
from deferpower.task import Reason, Task, TaskClass
from deferpower.thresholds import Thresholds
from deferpower.types import Reading


class Case(NamedTuple):
    """What a sentence may speak of.

    Attributes:
        local_minute: minute of the local day at the time of the reading.
        failed_predicates: names of the custom conditions that do not hold.
    """

    task: Task
    task_class: TaskClass
    reading: Reading
    local_minute: int
    thresholds: Thresholds
    failed_predicates: tuple[str, ...]


def unmet_reasons(case: Case, unmet: int) -> tuple[Reason, ...]:
    """A reason for each unmet condition of `OutcomeRow`, hard ones first."""
    reasons: dict[Reason, None] = {}
    for shift, asked in ((0, case.task.constraints), (SOFT_SHIFT, case.task.prefer)):
        for bit, code in enumerate(UNMET_CODES):
            if unmet >> shift >> bit & 1:
                reasons.update(dict.fromkeys(_WORDS[code](case, asked)))
    return tuple(reasons)


def row_reasons(case: Case, row: int) -> tuple[Reason, ...]:
    """Why a task does not wait: the row of the table that decided."""
    return (_row_reason(case, row),)


def _row_reason(case: Case, row: int) -> Reason:
    task, thresholds, power = case.task, case.thresholds, case.reading.power
    if row == 0:
        return Reason("override", "as set", f"{task.override}", f"set by hand: {task.override}")
    if row == 1:
        return Reason("critical", "nothing", "critical work", "critical work never waits")
    if row == 2:
        seen = "deadline reached"
        if task.on_deadline == "expire":
            return Reason("expired", "a start before its deadline", seen, f"{seen}, gives up")
        return Reason("deadline_reached", "nothing more", seen, f"{seen}, runs whatever holds")
    if row == 7:
        return _power_reason(case)
    line = thresholds.battery_threshold if row == 8 else thresholds.normal_above
    seen = _battery(case)
    level = 0.0 if power is None else power.percent or 0.0
    # Below where it is well again, an idle machine may have been let in by its idleness alone.
    if level > line and (level >= _well(case, line) or case.reading.idle_since_s is None):
        wanted = f"more than {_percent(line)}"
        return Reason("level_ok", wanted, seen, f"{seen}, more than {_percent(line)}")
    return Reason("idle", "an idle machine", f"idle, {seen}", f"machine is idle, {seen}")


def _power_reason(case: Case) -> Reason:
    power = case.reading.power
    if power is None or not power.present or power.plugged:
        seen = "plugged in" if power is not None and power.present else "no battery"
        return Reason("plugged", "external power", seen, f"on external power: {seen}")
    wanted, seen = "its own conditions on power", _on_battery(case)
    return Reason("constraints_met", wanted, seen, f"{wanted} are met: {seen}")


def bytes_text(value: float) -> str:
    """Bytes in binary units, such as ``7.7 GiB``."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value /= 1024
        unit = larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def _percent(value: float) -> str:
    return f"{round(value, 1):g} %"


def _battery(case: Case) -> str:
    power = case.reading.power
    if power is None or power.percent is None:
        return "battery level unknown"
    return f"battery at {_percent(power.percent)}"


def _on_battery(case: Case) -> str:
    power = case.reading.power
    if power is None or power.percent is None:
        return "on battery, level unknown"
    return f"on battery at {_percent(power.percent)}"


def _charging(case: Case, _: Constraints) -> Iterator[Reason]:
    power = case.reading.power
    seen = _on_battery(case)
    if power is not None and power.plugged is None:
        seen = f"cannot tell whether plugged in, {_battery(case)}"
    elif power is not None and power.plugged:
        seen = f"plugged in for less than {case.thresholds.plug_dwell_s:g} s"
    yield Reason("charging", "on external power", seen, f"not charging: {seen}")


def _above(case: Case, line: float) -> str:
    """``more than LINE``, or how far the level must rise once it was too low."""
    power = case.reading.power
    level = 0.0 if power is None or power.percent is None else power.percent
    if level <= line:
        return f"more than {_percent(line)}"
    return f"{_percent(_well(case, line))} again after {_percent(line)} or less"


def _well(case: Case, line: float) -> float:
    """The level at which a line is passed whatever was before."""
    return min(line + case.thresholds.hysteresis_points, 100.0)


def _battery_above(case: Case, asked: Constraints) -> Iterator[Reason]:
    wanted = _above(case, asked.battery_above or 0.0)
    seen = _battery(case)
    yield Reason("battery_above", wanted, seen, f"{seen}, needs {wanted}")


def _battery_not_low(case: Case, _: Constraints) -> Iterator[Reason]:
    thresholds = case.thresholds
    wanted = (
        f"{_percent(thresholds.battery_well)} once it was at {_percent(thresholds.battery_low)}"
    )
    seen = _battery(case)
    yield Reason("battery_not_low", wanted, seen, f"battery low: {seen}, needs {wanted} or less")


def _idle(case: Case, _: Constraints) -> Iterator[Reason]:
    reading, rules = case.reading, case.thresholds.idle
    user = reading.user
    quiet_since_s = reading.quiet_since_s
    wanted = f"quiet for {rules.dwell_s:g} s"
    if user is not None and user.present:
        wanted = f"no keyboard or mouse for {rules.user_idle_s:g} s"
        if user.idle_s is None:
            seen = f"somebody is present by {user.source}"
            sentence = f"not idle: {seen}"
        else:
            seen = f"keyboard or mouse used {user.idle_s:.0f} s ago"
            sentence = f"not idle: {seen}, needs {rules.user_idle_s:g} s"
    elif quiet_since_s is not None:
        since_s = quiet_since_s
        if user is not None and user.idle_s is not None:
            since_s = max(since_s, reading.monotonic_s - user.idle_s)
        seen = f"quiet for {max(0.0, reading.monotonic_s - since_s):.0f} s"
        sentence = f"not idle yet: {seen} of {rules.dwell_s:g} s"
    else:
        seen = _load(case)
        sentence = f"not idle: {seen}"
    yield Reason("idle", wanted, seen, sentence)


def _load(case: Case) -> str:
    """What keeps the machine from being quiet."""
    reading, rules = case.reading, case.thresholds.idle
    used = used_cpu_percent(reading)
    if used is None:
        return "processor load not known yet"
    if used >= rules.cpu_percent:
        return f"cpu {used:.0f} % busy, quiet is below {rules.cpu_percent:g} %"
    for name, part, limit in (
        ("disk", reading.disk, rules.disk_bytes_per_s),
        ("network", reading.network, rules.network_bytes_per_s),
    ):
        rate = None if part is None or part[0] is None or part[1] is None else part[0] + part[1]
        if rate is not None and rate >= limit:
            moved, most = bytes_text(rate), bytes_text(limit)
            return f"{name} moves {moved}/s, quiet is below {most}/s"
    return "not quiet for long enough to tell"


def _connected(_: Case, __: Constraints) -> Iterator[Reason]:
    yield Reason("connected", "a network", "none", "no network connection")


def _unmetered(case: Case, _: Constraints) -> Iterator[Reason]:
    network = case.reading.network
    if network is not None and network.connected is False:
        seen, sentence = "no network", "no network connection"
    elif network is not None and network.metered:
        seen, sentence = "metered", "the network is metered"
    else:
        seen = "not known, which counts as metered"
        sentence = "cannot tell whether the network is metered, which counts as metered"
    yield Reason("unmetered", "an unmetered network", seen, sentence)


def _storage_not_low(case: Case, _: Constraints) -> Iterator[Reason]:
    limit = case.thresholds.disk_threshold * 100
    wanted = f"less than {_percent(limit)} used"
    fullest = fullest_storage(case.reading)
    if fullest is None:
        seen = "no watched file system can be asked"
        sentence = f"storage not known: {seen}; name one with storage_paths"
    else:
        path, used = fullest
        seen = f"{path} {_percent(used)} used"
        sentence = f"storage low: {seen}, needs {wanted}"
    yield Reason("storage_not_low", wanted, seen, sentence)


def _resources_ok(case: Case, _: Constraints) -> Iterator[Reason]:
    thresholds = case.thresholds
    memory = case.reading.memory
    fullest = fullest_storage(case.reading)
    for code, what, used, fraction in (
        (
            "memory",
            "memory",
            None if memory is None else memory.used_percent,
            thresholds.memory_threshold,
        ),
        ("cpu", "processor", used_cpu_percent(case.reading), thresholds.cpu_threshold),
        (
            "disk",
            f"storage of {fullest[0]}" if fullest else "storage",
            fullest[1] if fullest else None,
            thresholds.disk_threshold,
        ),
    ):
        if used is not None and used >= fraction * 100:
            wanted = f"below {_percent(fraction * 100)}"
            seen = f"{what} {_percent(used)} used"
            yield Reason(code, wanted, seen, f"{seen}, needs {wanted}")


def _window(case: Case, asked: Constraints) -> Iterator[Reason]:
    now = clock_text(case.local_minute)
    yield Reason(
        "window",
        f"between {asked.window}",
        f"now {now}",
        f"outside the window {asked.window} (now {now})",
    )


def _custom(case: Case, asked: Constraints) -> Iterator[Reason]:
    for name in asked.custom:
        if name in case.failed_predicates:
            yield Reason("custom", name, "does not hold", f"condition {name!r} does not hold")


def _suspended(case: Case, _: Constraints) -> Iterator[Reason]:
    wanted = f"{_above(case, case.thresholds.suspend_non_critical)}, or external power"
    seen = _on_battery(case)
    yield Reason("suspended", wanted, seen, f"{seen}, all but critical work needs {wanted}")


def _level(case: Case, _: Constraints) -> Iterator[Reason]:
    thresholds = case.thresholds
    if case.task_class is TaskClass.BACKGROUND:
        wanted = f"{_above(case, thresholds.battery_threshold)}, an idle machine"
    else:
        line = thresholds.normal_idle_above
        # An idle machine waits at a level above the line only if that was too low before.
        idle = case.reading.idle_since_s is not None
        when_idle = _above(case, line) if idle else f"more than {_percent(line)}"
        wanted = f"{_above(case, thresholds.normal_above)}, an idle machine and {when_idle}"
    wanted += ", or external power"
    seen = _on_battery(case)
    yield Reason("level", wanted, seen, f"{seen}, {case.task_class} work needs {wanted}")


def used_cpu_percent(reading: Reading) -> float | None:
    """Processor load less what deferpower's own work makes of it."""
    return None if reading.cpu is None else others_cpu_percent(reading.cpu)


def fullest_storage(reading: Reading) -> tuple[str, float] | None:
    """The fullest watched file system: path and used percent; ``None`` when none is known."""
    fullest = None
    for path, storage in reading.storage.items():
        if storage is not None and (fullest is None or storage.used_percent > fullest[1]):
            fullest = (path, storage.used_percent)
    return fullest


UNMET_CODES = (*CONSTRAINTS, "suspended", "level")
"""Reason codes by the bits of `OutcomeRow`."""

_WORDS: dict[str, Callable[[Case, Constraints], Iterator[Reason]]] = {
    "charging": _charging,
    "battery_above": _battery_above,
    "battery_not_low": _battery_not_low,
    "idle": _idle,
    "connected": _connected,
    "unmetered": _unmetered,
    "storage_not_low": _storage_not_low,
    "resources_ok": _resources_ok,
    "window": _window,
    "custom": _custom,
    "suspended": _suspended,
    "level": _level,
}
