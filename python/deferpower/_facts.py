"""A reading as rules see it: one answer for the parts of a `Reading` and the rows of a sample."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deferpower._contract import CpuRow, FactsRow, MemoryRow, PowerRow, StorageRow


def facts_row(
    power: PowerRow | None,
    cpu: CpuRow | None,
    memory: MemoryRow | None,
    storage: Iterable[StorageRow | None],
    idle: bool,
    moment: tuple[float, float, int],
    network: tuple[bool | None, bool | None],
    custom: int,
) -> FactsRow:
    """The facts of one moment.

    Args:
        power: what is known of power, as the other parts are.
        cpu: of the processor.
        memory: of memory.
        storage: of each watched path.
        idle: whether the machine is idle, its user considered.
        moment: monotonic_s, wall_s and minute of the local day.
        network: whether there is one, and whether it is metered.
        custom: mask of the custom predicates that hold.
    """
    return (
        moment,
        (False, None, None) if power is None else power[:3],
        (
            None if memory is None else memory[2],
            None if cpu is None else others_cpu_percent(cpu),
            max((entry[0] for entry in storage if entry is not None), default=None),
        ),
        idle,
        network,
        custom,
    )


def others_cpu_percent(cpu: CpuRow) -> float | None:
    """Processor load less what deferpower's own work makes of it."""
    busy_percent, _, _, own_percent = cpu
    return None if busy_percent is None else max(0.0, busy_percent - (own_percent or 0.0))
