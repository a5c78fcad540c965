"""``/proc/PID/stat``: whose child a process is, and what it used."""

from __future__ import annotations

from deferpower._pure.parse.number import I64_MAX, trim, whole
from deferpower.errors import SensorError


def parse_process_stat(data: bytes, /) -> tuple[int, int, int]:
    # The name in brackets is the program's own choice: it may hold blanks and brackets.
    head, bracket, rest = trim(data).partition(b"(")
    _, end, tail = rest.rpartition(b")")
    words = tail.split()
    if not bracket or not end or len(words) < 15:
        raise _no_such_line()
    pid, parent = whole(trim(head)), whole(words[1])
    ticks = 0
    for word in words[11:15]:
        value = whole(word)
        if value is None or value < 0:
            raise _no_such_line()
        ticks += value
    if pid is None or pid < 0 or parent is None or parent < 0 or ticks > I64_MAX:
        raise _no_such_line()
    return pid, parent, ticks


def _no_such_line() -> SensorError:
    return SensorError("proc/PID/stat: the text is no line of proc_pid_stat(5)")
