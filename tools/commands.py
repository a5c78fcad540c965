"""Writes docs/commands.md: every command with all of its options, as ``--help`` prints them.

make commands
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from deferpower import cli

PAGE = Path(__file__).parent.parent / "docs/commands.md"
_HEAD = """\
# All commands and options

What `deferpower COMMAND --help` prints, made by `make commands`. The guides say what the commands
are for: [Wrap a command](wrap.md), [Sync](sync.md), [Forecast and simulate](forecast.md), [Run the
worker as a service](service.md), [Tune the policy](policy.md), [Why does it wait?](waiting.md)

Many commands share three options: `--json` prints JSON for programs, `--queue FILE` names another
[queue](wrap.md#the-queue-file) than the default one, `--policy FILE` another [policy](policy.md).
"""


def page() -> str:
    """The text of the page."""
    os.environ["COLUMNS"] = "80"  # argparse wraps what it prints where the terminal ends
    os.environ["NO_COLOR"] = "1"
    contents = [f"[`{name}`](#{name}): {what}" for name, what in cli.COMMANDS.items()]
    parts = [_HEAD, "\n".join(f"- {line}" for line in contents)]
    for name in cli.COMMANDS:
        text = importlib.import_module(f"deferpower.cli.{name}").parser().format_help()
        parts.append(f"## {name}\n\n```text\n{text.strip()}\n```")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
