"""The options by which commands take conditions: ``--charging``, ``--idle`` and the others."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from deferpower.cli import parsing
from deferpower.constraints import Constraints, Window
from deferpower.errors import ConfigError


def add(parser: parsing.Parser) -> None:
    """Add the conditions as a group of their own."""
    option = parser.add_argument_group("conditions").add_argument
    option("--charging", action="store_true", help="on external power")
    option(
        "--battery-above",
        type=parsing.percentage,
        metavar="N",
        help="battery level above N percent",
    )
    option(
        "--battery-not-low",
        action="store_true",
        help="battery not low: low at 15 percent, well again at 20",
    )
    option("--idle", action="store_true", help="the machine has had nothing to do for a minute")
    _add_network(option, "--network", "a network that is connected, or one that is unmetered")
    option("--storage-not-low", action="store_true", help="room on the file system at /")
    option("--resources-ok", action="store_true", help="memory, processor and disk are not short")
    option(
        "--window",
        type=_window,
        metavar="HH:MM-HH:MM",
        help="local time between these; may pass midnight",
    )


def add_preferred(parser: parsing.Parser) -> None:
    """Add what may be waited for, but not for ever, as a group of its own."""
    option = parser.add_argument_group(
        "preferences (waited for until a part of the time to --deadline is over)"
    ).add_argument
    option("--prefer-idle", action="store_true", help="idle; dropped at half of that time")
    option(
        "--prefer-battery-above",
        type=parsing.percentage,
        metavar="N",
        help="battery level above N percent; dropped at 60 percent of it",
    )
    _add_network(
        option, "--prefer-network", "a connected or an unmetered network; dropped at 70 percent"
    )
    option(
        "--prefer-charging", action="store_true", help="on external power; dropped at 80 percent"
    )


def _add_network(option: Callable[..., object], name: str, summary: str) -> None:
    # A desktop tells; where none does, connected is taken for granted and unmetered is not.
    option(name, choices=("connected", "unmetered"), metavar="WHICH", help=summary)


def preferred(options: argparse.Namespace) -> Constraints:
    """What the options prefer."""
    return Constraints(
        charging=options.prefer_charging,
        battery_above=options.prefer_battery_above,
        idle=options.prefer_idle,
        network=options.prefer_network,
    )


def asked(options: argparse.Namespace) -> Constraints:
    """What the options ask for."""
    return Constraints(
        charging=options.charging,
        battery_above=options.battery_above,
        battery_not_low=options.battery_not_low,
        idle=options.idle,
        network=options.network,
        storage_not_low=options.storage_not_low,
        resources_ok=options.resources_ok,
        window=options.window,
    )


def _window(text: str) -> Window:
    try:
        return Window.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("window: ")) from None
