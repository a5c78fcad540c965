"""Ends what a command left running once the process that watched over it is gone.

Run as ``python -I -S _guard.py NAME MARK`` in a session of its own, before the command starts.
Standard input is a pipe that only the watching process can write to. It brings the number of the
command's process group on a line, and a full stop when the command has ended in good order; then
there is nothing to do. An end of file without the full stop means that the watching process died,
whatever of, SIGKILL included. The command's processes are those whose environment has MARK in
the variable NAME, those in the same process groups as these, and the descendants of all. What left
environment, group and parents behind is found no more.

Nothing but ``os`` and built-in modules is imported, not even pathlib: the guard is up before most
commands are.
"""

from __future__ import annotations

import os
import sys
import time

# The module signal takes longer to import than all the rest; POSIX fixes this number for kill(1).
_SIGKILL = 9
_SCAN_PAUSE_S = 0.02
# A process shows no environment for an instant while it executes a program: look more than once.
_QUIET_SCANS = 5
_GIVE_UP_S = 10.0


def main() -> None:
    """Wait for the watching process to say or show that it ended."""
    said = b""
    while chunk := os.read(0, 64):
        said += chunk
    if said.endswith(b"."):
        return
    group, _, _ = said.partition(b"\n")
    sweep(
        int(group) if group.isdigit() else 0,
        os.fsencode(f"{sys.argv[1]}="),
        os.fsencode(sys.argv[2]),
    )


def sweep(group: int, name: bytes, mark: bytes) -> None:
    """Kill the command's processes until none is left.

    Args:
        group: process group, or 0 when the command had not told its own yet.
        name: the environment variable, with the equals sign behind it.
        mark: one of the marks in it, which are joined by colons.
    """
    groups = {group} if group else set()
    started = time.monotonic()
    quiet = 0
    while quiet < _QUIET_SCANS and time.monotonic() - started < _GIVE_UP_S:
        # All are found before the first is killed: with it goes the trace to its children.
        killed = [pid for pid in _members(groups, name, mark) if _kill(pid)]
        if group and not quiet:
            _kill_group(group)
        quiet = 0 if killed else quiet + 1
        time.sleep(_SCAN_PAUSE_S)


def _members(groups: set[int], name: bytes, mark: bytes) -> set[int]:
    """Living processes with the mark, of the groups, and all that descends from these.

    Args:
        groups: process groups of the command; those in which a mark is found are added.
        name: as for `sweep`.
        mark: as for `sweep`.

    Source: proc_pid_stat(5), proc_pid_environ(5). Empty where there is no ``/proc``.
    """
    group_of: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for pid in _pids():
        try:
            # The name of the program stands in parentheses and may hold anything.
            state, parent, group = _read(pid, "stat").rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if state in b"ZX":
            continue
        group_of[pid] = int(group)
        children.setdefault(int(parent), []).append(pid)
        if _is_marked(pid, name, mark):
            groups.add(int(group))
    members = {pid for pid, group in group_of.items() if group in groups}
    unseen = list(members)
    while unseen:
        found = [pid for pid in children.get(unseen.pop(), ()) if pid not in members]
        members.update(found)
        unseen += found
    return members


def _pids() -> list[int]:
    try:
        return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208
    except OSError:
        return []


def _is_marked(pid: int, name: bytes, mark: bytes) -> bool:
    try:
        environment = _read(pid, "environ").split(b"\0")
    except OSError:
        return False
    return any(
        entry.startswith(name) and mark in entry[len(name) :].split(b":") for entry in environment
    )


def _read(pid: int, file_name: str) -> bytes:
    with open(f"/proc/{pid}/{file_name}", "rb", buffering=0) as file:  # noqa: PTH123
        return file.readall()


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, _SIGKILL)
    except OSError:
        return False
    return True


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, _SIGKILL)
    except OSError:
        return


if __name__ == "__main__":
    main()
