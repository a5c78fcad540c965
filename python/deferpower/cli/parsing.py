"""Command lines: one parser whose every complaint is one line, and the kinds of values."""

from __future__ import annotations

import argparse
import math
import re
from datetime import datetime, time, timedelta
from typing import NoReturn

from deferpower.errors import ConfigError

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_CLOCK = re.compile(r"\d\d:\d\d(:\d\d)?", re.ASCII)
_UNITS_S = (86_400, 3600, 60, 1)
_LONGEST_S = 1000 * 86_400


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `ConfigError` where another prints its usage and exits."""

    def __init__(self, command: str, *, summary: str, usage: str, epilog: str) -> None:
        """Begin a command's parser.

        Args:
            command: the command's name.
            summary: what it does, in a sentence or two.
            usage: the command line in short.
            epilog: examples, and whatever else the options alone do not tell.
        """
        super().__init__(
            prog=f"deferpower {command}",
            description=summary,
            usage=usage,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            exit_on_error=False,
            add_help=False,
        )
        self._positionals.title = "arguments"
        self.add_argument("-h", "--help", action="help", help="show this help and exit")
        self._command = command

    def parse(self, words: list[str]) -> argparse.Namespace:
        """The options that the words say.

        Raises:
            ConfigError: they say none, or say it wrongly.
        """
        try:
            options, unknown = self.parse_known_args(words)
        except argparse.ArgumentError as error:
            raise self._complaint(error) from None
        for word in unknown:
            if word != "--":
                raise ConfigError(self._unknown(word))
        return options

    def error(self, message: str) -> NoReturn:
        """Whatever else is wrong.

        Raises:
            ConfigError: always.
        """
        _, missing, names = message.partition("arguments are required: ")
        what = f"{names} is missing" if missing else message
        raise ConfigError(f"{self._command}: {what}; see deferpower {self._command} --help")

    def _complaint(self, error: argparse.ArgumentError) -> ConfigError:
        name = error.argument_name or ""
        action = next(a for a in self._actions if name in ("/".join(a.option_strings), a.metavar))
        if error.message.startswith("not allowed with"):
            return ConfigError(f"{name} is {error.message.replace('argument ', '')}; leave one out")
        if action.choices and error.message.startswith("invalid choice"):
            given = re.search(r"'(.*?)'", error.message)
            return ConfigError(
                f"{name}: {given[0] if given else 'this'} is no choice; "
                f"write one of {', '.join(action.choices)}"
            )
        if action.nargs == 0:
            return ConfigError(f"{name} takes no value; write {name} alone")
        if error.message.startswith("expected"):
            return ConfigError(f"{name} needs a value; write {name} {action.metavar}")
        return ConfigError(f"{name}: {error.message}")

    def _unknown(self, word: str) -> str:
        see = f"see deferpower {self._command} --help"
        if not word.startswith("-"):
            takes_command = self._command in ("run", "submit")
            hint = "write the command after --; " if takes_command else ""
            return f"{word!r} is not expected here; {hint}{see}"
        import difflib

        known = [option for action in self._actions for option in action.option_strings]
        option = word.partition("=")[0]
        near = difflib.get_close_matches(option, known, n=1)
        return f"unknown option {option}; " + (f"did you mean {near[0]}?" if near else see)


def split_at_command(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before ``--``, and those after it."""
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def add_policy(parser: argparse._ActionsContainer) -> None:
    """Add the option that names a policy file."""
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help="TOML file with thresholds and keywords (default: deferpower.toml here, else in the "
        "user's configuration directory)",
    )


def percentage(text: str) -> float:
    """A level that something can be above: 0 to below 100."""
    value = _number(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no percentage; write a number from 0 to below 100, such as 50"
        )
    return value


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    value = _number(text)
    if not 0 < value <= _LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds above 0; write one such as 5 or 0.5"
        )
    return value


def time_span(text: str) -> float:
    """Seconds that a span such as ``6h``, ``1h30m`` or ``90`` lasts."""
    match = _DURATION.fullmatch(text) if len(text) < 100 else None
    if match and any(match.groups()):
        value = float(
            sum(int(n) * unit for n, unit in zip(match.groups(), _UNITS_S, strict=True) if n)
        )
    else:
        value = _number(text)
    if not 0 < value <= _LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no length of time above 0; "
            "write one such as 6h, 90m, 45s, 1h30m or plain seconds"
        )
    return value


def moment(text: str) -> float:
    """A moment, seconds since the epoch: ``2026-03-01T22:00``, or ``22:00`` for the next one.

    Local time, unless the text says another.
    """
    now = datetime.now()
    try:
        if _CLOCK.fullmatch(text):
            at = datetime.combine(now.date(), time.fromisoformat(text))
            return (at if at > now else at + timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment; write one such as 22:00 or 2026-03-01T22:00"
        ) from None


def task_id(text: str) -> int:
    """The number of a task, as ``submit`` prints it."""
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 0 < value < 2**63:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of a task; write one as submit and list print it, such as 7"
        )
    return value


def whole_number(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no whole number of at least 1; write one such as 4"
        )
    return int(text)


def _number(text: str) -> float:
    """The number, NaN where the text is none."""
    try:
        # Python alone reads 1_000 as a number.
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan
