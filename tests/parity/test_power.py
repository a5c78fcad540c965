"""Both backends add any power supplies up to the same row, to the last bit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parity.nearly import NATIVE, PURE, numbers, padding, word_on

Supply = dict[str, bytes]


def text(*values: str) -> st.SearchStrategy[bytes]:
    """One of these as a file holds it, or something else."""
    said = st.sampled_from(values).map(str.encode)
    cased = st.one_of(said, said.map(bytes.upper), said.map(bytes.lower))
    return st.one_of(
        cased.map(lambda value: value + b"\n"),
        st.tuples(padding, cased, padding).map(b"".join),
        st.binary(max_size=5),
    )


def micro(most: int) -> st.SearchStrategy[bytes]:
    """A figure in millionths, mostly of a likely size."""
    likely = st.integers(-most // 8, most).map(lambda value: str(value).encode())
    return st.one_of(
        likely.map(lambda value: value + b"\n"),
        likely,
        st.tuples(padding, st.one_of(likely, numbers), padding).map(b"".join),
        numbers,
    )


ROLES = (
    "[source] sink",
    "source [sink]",
    "[source]",
    "[source] sink\nsource [sink]",
    "source sink",
)
types = text(
    "Battery", "Battery", "UPS", "Mains", "USB", "USB_PD", "Wireless", "BrickID", "Unknown", ""
)
statuses = text("Charging", "Discharging", "Full", "Not charging", "Unknown")
pack_figures: dict[str, st.SearchStrategy[bytes]] = {
    "capacity": st.one_of(st.integers(-5, 130).map(lambda value: f"{value}\n".encode()), numbers),
    "energy_now": micro(100_000_000),
    "energy_full": micro(100_000_000),
    "charge_now": micro(10_000_000),
    "charge_full": micro(10_000_000),
    "voltage_now": micro(20_000_000),
    "voltage_min_design": micro(20_000_000),
    "power_now": micro(1_200_000_000),
    "current_now": micro(10_000_000),
    "time_to_empty_now": micro(900_000),
    "present": text("0", "1", "1", ""),
}
other_figures: dict[str, st.SearchStrategy[bytes]] = {
    "scope": text("Device", "System", "Unknown"),
    "online": st.one_of(text("0", "1", "2", "-1"), numbers),
    "power_role": text(*ROLES),
}
everything = st.fixed_dictionaries(
    {}, optional={"type": types, "status": statuses, **pack_figures, **other_figures}
)
packs = st.fixed_dictionaries(
    {"type": st.just(b"Battery\n"), "status": statuses},
    optional={name: pack_figures[name] for name in pack_figures if name != "present"},
)
adapters = st.fixed_dictionaries(
    {"type": text("Mains", "USB"), "online": text("0", "1")},
    optional={"power_role": text(*ROLES), "status": statuses},
)


def same_row(supplies: list[Supply]) -> None:
    said = [word_on(lambda b=b: b.aggregate_power(supplies)) for b in (NATIVE, PURE)]  # type: ignore[misc]
    assert said[0] == said[1]
    assert not said[0].startswith("SensorError")


@given(st.lists(everything, max_size=5))
def test_any_supplies(supplies: list[Supply]) -> None:
    same_row(supplies)


@given(st.lists(st.one_of(packs, packs, adapters, everything), max_size=6))
def test_likely_supplies(supplies: list[Supply]) -> None:
    same_row(supplies)


@given(
    st.dictionaries(
        st.one_of(st.sampled_from([*pack_figures, "type", "status"]), st.text(max_size=8)),
        st.binary(max_size=40),
    )
)
def test_any_attributes(supply: Supply) -> None:
    same_row([supply])
