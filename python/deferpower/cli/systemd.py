"""systemd: the worker as a service of the user, and telling the manager how it stands."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path


def user_unit(words: Sequence[str], *, directory: str | None, seen: str) -> str:
    """A unit that runs ``deferpower worker`` as long as the user is logged in.

    Args:
        words: the options of the worker.
        directory: working directory; ``None`` for the user's home.
        seen: what to call the unit's purpose, in a few words.

    Source: systemd.service(5), systemd.special(7), systemd.kill(5).
    """
    command = " ".join(
        quoted(word) for word in (sys.executable, "-m", "deferpower", "worker", *words)
    )
    place = f"WorkingDirectory={_escaped(directory)}\n" if directory else ""
    # KillMode=mixed: the worker itself ends what it runs; what is left after the time is killed.
    # background.slice gives way to what the user does, without holding back critical tasks.
    return f"""\
# Save as ~/.config/systemd/user/deferpower.service, then:
#   systemctl --user daemon-reload && systemctl --user enable --now deferpower
# To have it run while you are logged out: loginctl enable-linger
[Unit]
Description={_escaped(seen)}

[Service]
Type=notify
ExecStart={command}
{place}Restart=on-failure
RestartSec=10
KillMode=mixed
TimeoutStopSec=60
Slice=background.slice

[Install]
WantedBy=default.target
"""


def quoted(word: str) -> str:
    """A word as ExecStart takes it: neither ``%`` nor ``$`` means anything in it."""
    text = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if not text or any(c in text for c in " \t'\";#") else text


def _escaped(text: str) -> str:
    return text.replace("%", "%%").replace("\n", " ")


def notify(state: str) -> None:
    """Tell the service manager, if one started this process and wants to know.

    Source: sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address[0] == "@":  # an abstract one
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(address)
        channel.sendall(state.encode())


def absolute(path: Path | str) -> str:
    """The path from the root: a service has another working directory."""
    return str(Path(path).absolute())
