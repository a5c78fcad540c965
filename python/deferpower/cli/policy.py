"""``deferpower policy show``: the numbers and words that deciding uses here."""

from __future__ import annotations

import json
import sys

from deferpower.cli import parsing
from deferpower.errors import ConfigError
from deferpower.policy import Policy

_EPILOG = """\
Without --policy it is deferpower.toml in the working directory, else
deferpower/deferpower.toml in the user's configuration directory, else the
defaults alone. What is printed is such a file itself.

examples:
  deferpower policy
  deferpower policy show > deferpower.toml"""


def parser() -> parsing.Parser:
    """The options of ``policy``."""
    p = parsing.Parser(
        "policy",
        usage="deferpower policy [show] [--policy FILE] [--json]",
        summary="Show the policy in force, defaults marked.",
        epilog=_EPILOG,
    )
    p.add_argument(
        "action", nargs="?", metavar="show", help="print it as TOML; the same without this word"
    )
    parsing.add_policy(p)
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def execute(words: list[str]) -> int:
    """Print the policy."""
    options = parser().parse(words)
    if options.action not in (None, "show"):
        raise ConfigError(f"policy: {options.action!r} is no action; write deferpower policy show")
    policy = Policy.load(options.policy)
    if options.json:
        tables = {
            table: {
                key: {"value": value, "default": is_default}
                for key, (value, is_default) in values.items()
            }
            for table, values in policy.tables().items()
        }
        print(json.dumps({"path": policy.path and str(policy.path), "policy": tables}))
        return 0
    print(f"# {policy.path or 'no policy file: the defaults'}", file=sys.stdout)
    for table, values in policy.tables().items():
        # An empty table is shown too: it stands for having taken the default types away.
        print(f"\n[{table}]")
        for key, (value, is_default) in values.items():
            print(f"{_key(key)} = {_value(value)}" + ("  # default" if is_default else ""))
    return 0


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _value(key)


def _value(value: object) -> str:
    # JSON's numbers, strings and lists of strings are TOML's too, but for a raw DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
