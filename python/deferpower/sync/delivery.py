"""Items into batches, and a refused batch into halves until the item to blame stands alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from deferpower.errors import TargetError
from deferpower.sync.target import BatchRefused, Limits, Outcome, SyncItem, Target

Answered: TypeAlias = list[tuple[SyncItem, Outcome]]


def batches(items: Iterable[SyncItem], limits: Limits) -> Iterator[list[SyncItem]]:
    """The items in their order, cut so that each batch keeps to the limits.

    A file goes alone, so that it can be streamed; so does an item above the limit of bytes.
    """
    batch: list[SyncItem] = []
    batch_bytes = 0
    for item in items:
        is_file = isinstance(item.content, Path)
        size_bytes = 0 if is_file else item.size_bytes
        is_full = len(batch) >= limits.max_items or batch_bytes + size_bytes > limits.max_bytes
        if batch and (is_file or is_full):
            yield batch
            batch, batch_bytes = [], 0
        if is_file:
            yield [item]
            continue
        batch.append(item)
        batch_bytes += size_bytes
    if batch:
        yield batch


def deliver(target: Target, items: Iterable[SyncItem]) -> Iterator[Answered]:
    """Send everything; what each request told is given as soon as it is known.

    Note it durably before asking for more. Of a batch of n refused together, one poisonous item
    costs about ``2 log2 n`` requests more, n of them ``2 n``.

    Args:
        target: where they go.
        items: what to send, in this order.

    Returns:
        Items with what became of each, in the groups in which it was told.

    Raises:
        TargetUnavailable: as `Target.send`; nothing of what is not yet given is known.
    """
    for batch in batches(items, target.limits):
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            try:
                outcomes = target.send(part)
            except BatchRefused as refusal:
                waiting += _halves(part, refusal)
            else:
                yield _paired(target, part, outcomes)


async def deliver_async(target: Target, items: Iterable[SyncItem]) -> AsyncIterator[Answered]:
    """As `deliver`, on an event loop."""
    for batch in batches(items, target.limits):
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            try:
                outcomes = await target.send_async(part)
            except BatchRefused as refusal:
                waiting += _halves(part, refusal)
            else:
                yield _paired(target, part, outcomes)


def _halves(part: list[SyncItem], refusal: BatchRefused) -> tuple[list[SyncItem], list[SyncItem]]:
    """Both halves, the first one last: the next to be taken from a stack."""
    if len(part) < 2:
        raise TargetError(f"a single item was refused as a batch: {refusal}") from refusal
    middle = len(part) // 2
    return part[middle:], part[:middle]


def _paired(target: Target, part: list[SyncItem], outcomes: Sequence[Outcome]) -> Answered:
    if len(outcomes) != len(part):
        raise TargetError(
            f"{target.name} answered {len(outcomes)} outcomes for {len(part)} items; "
            "it must answer one each"
        )
    return list(zip(part, outcomes, strict=True))
