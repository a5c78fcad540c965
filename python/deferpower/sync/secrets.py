"""Keeping what was entrusted to a target out of names, logs and errors."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, quote, unquote

_SHORTEST = 4  # what is shorter occurs in any text, and is no secret
_EXCERPT_CHARACTERS = 200


class Redactor:
    """Takes secrets out of texts that others wrote: libraries, servers."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Remember what to take out, also as it stands in URLs."""
        forms = {form for text in secrets for form in (text, quote(text, safe=""), unquote(text))}
        # The longest first: one secret may be part of another.
        self._secrets = sorted((s for s in forms if len(s) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text on one line, without secrets, cut to 200 characters."""
        text = " ".join(text.split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = "".join(character for character in text if character.isprintable())
        return text if len(text) <= _EXCERPT_CHARACTERS else text[: _EXCERPT_CHARACTERS - 1] + "…"


def secrets_of(url: SplitResult) -> list[str]:
    """The parts of a URL that may be secret: user, password, query, and path, as webhooks have it.

    The path is one of them as a whole and by its longer parts, which alone are tokens.
    """
    values = [pair.partition("=")[2] for pair in url.query.split("&")]
    parts = [part for part in url.path.split("/") if len(part) >= 16]
    return [url.username or "", url.password or "", url.query, *values, url.path, *parts]
