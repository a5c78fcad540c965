"""Text that is nearly what the kernel writes, and both backends' word on it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from hypothesis import strategies as st

from deferpower._contract import Backend
from deferpower.errors import SensorError

NATIVE = cast(Backend, importlib.import_module("deferpower._native"))
PURE = cast(Backend, importlib.import_module("deferpower._pure"))

# The ends of the types, what Python alone takes for a number, what the kernel never writes.
ODD_NUMBERS = [
    *(str(2**bits + off).encode() for bits in (31, 32, 53, 54, 55, 63, 64) for off in (-1, 0, 1)),
    *(b"-" + str(2**63 + off).encode() for off in (-1, 0, 1)),
    *(
        b"-1",
        b"-0",
        b"-",
        b"--1",
        b"+1",
        b"0",
        b"00",
        b"007",
        b"0x1f",
        b"1e3",
        b"1.5",
        b".5",
        b"5.",
    ),
    *(
        b"1_0",
        b"nan",
        b"inf",
        b"-inf",
        b"",
        b"\0",
        b"1\x002",
        b"1\0",
        b"\x1c1",
        b"1\x85",
        b"9" * 5000,
    ),
    *(b"0" * 30 + b"5", b"0" * 5000, "\u0663".encode(), "\u00b2".encode(), "\uff11".encode()),
]
numbers = st.one_of(
    st.integers(0, 1000).map(lambda value: str(value).encode()),
    st.integers(0, 2**65).map(lambda value: str(value).encode()),
    st.sampled_from(ODD_NUMBERS),
    st.binary(max_size=4),
)
good_numbers = st.integers(0, 2**40).map(lambda value: str(value).encode())
# White space of C, then what is white space to str or looks like it.
blanks = st.sampled_from(
    [b" ", b" ", b"  ", b"\t", b"\v", b"\f", b"\r", b"\0", b"\x1c", b"\xa0", b""]
)
ends = st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b"\r", b"\0\n", b" \n", b"\n ", b"\x85"])
padding = st.sampled_from([b"", b"", b"\0\0", b" \n", b"\n\0 \v", b"\x1c"])


@st.composite
def rows(draw: st.DrawFn, words: st.SearchStrategy[list[bytes]]) -> bytes:
    """Lines of words, with more or less usual blanks between them."""
    text = draw(padding)
    for line in draw(st.lists(words, max_size=8)):
        usual = draw(st.booleans())
        for word in line:
            text += word + (b" " if usual else draw(blanks))
        text += b"\n" if usual else draw(ends)
    return text + draw(padding)


def word_on(call: Callable[[], object]) -> str:
    """What a backend answers, to the last bit; or the one error that it may raise."""
    try:
        return repr(call())
    except SensorError as error:
        return f"SensorError: {error}"
