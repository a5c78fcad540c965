"""The terminal, lent to the command's process group while it runs, as a shell does with a job."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import termios
from typing import Any


class Terminal:
    """The controlling terminal of this process; all methods do nothing where there is none.

    Only one process group may read from a terminal and gets its Ctrl-C; the others are stopped by
    SIGTTIN when they try. While the command is frozen the terminal is taken back, so that Ctrl-C
    and Ctrl-Z reach this process, which can pass them on.

    Attributes:
        lent: the command's group has the terminal.
    """

    def __init__(self) -> None:
        """Open the terminal, and from then on be allowed to speak to it from the background."""
        self.lent = False
        self._modes: list[Any] | None = None
        self._modes_of_command: list[Any] | None = None
        try:
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        except OSError:
            self._fd = -1
        else:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    @property
    def exists(self) -> bool:
        """There is a controlling terminal."""
        return self._fd >= 0

    @property
    def is_ours(self) -> bool:
        """This process's own job is in the foreground."""
        return self.exists and self._foreground() == os.getpgrp()

    @property
    def is_ours_alone(self) -> bool:
        """This process is in the foreground, and no pipeline or script is there with it.

        Those need the terminal themselves: a pager at the end of a pipeline reads keys from it.
        """
        return self.is_ours and os.getpgrp() == os.getpid() and not any(map(_is_pipe, (0, 1, 2)))

    def lend(self, group: int) -> None:
        """Give the terminal to a process group, if it is ours to give."""
        if self.lent or not self.is_ours:
            return
        with contextlib.suppress(OSError, termios.error):
            self._modes = termios.tcgetattr(self._fd)
            os.tcsetpgrp(self._fd, group)
            self.lent = True
            if self._modes_of_command is not None:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._modes_of_command)

    def take_back(self, *, keep_modes: bool = False) -> None:
        """Take the terminal back, with the modes (echo, line editing) that it had before.

        Args:
            keep_modes: leave the modes as the command set them, as a shell does after a command
                that ended by itself.
        """
        if not self.lent:
            return
        self.lent = False
        # The terminal may have been closed meanwhile.
        with contextlib.suppress(OSError, termios.error):
            os.tcsetpgrp(self._fd, os.getpgrp())
            self._modes_of_command = termios.tcgetattr(self._fd)
            if self._modes is not None and not keep_modes:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._modes)

    def _foreground(self) -> int:
        try:
            return os.tcgetpgrp(self._fd)
        except OSError:
            return -1


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False
