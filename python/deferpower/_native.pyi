# What the Rust module offers; every call is documented in `_contract.py`.

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

from deferpower._contract import (
    FactsRow,
    HourRow,
    IdleRulesRow,
    LocalHour,
    NegationRow,
    OutcomeRow,
    OutlookRow,
    PhraseRow,
    PowerRow,
    RelaxationRow,
    RequirementRow,
    SampleRow,
    SourceRow,
    ThresholdsRow,
    ToldRow,
    WakeRow,
)
from deferpower.types import BackendName

__all__ = [
    "NAME",
    "Matcher",
    "Rules",
    "Sampler",
    "UsageTable",
    "Watch",
    "aggregate_power",
    "parse_diskstats",
    "parse_meminfo",
    "parse_netdev",
    "parse_pressure",
    "parse_process_stat",
    "parse_stat",
    "words",
]

NAME: BackendName

@final
class Sampler:
    def __new__(
        cls, root: str, storage_paths: Sequence[str], idle_rules: IdleRulesRow, /
    ) -> Sampler: ...
    def sample(self, monotonic_s: float, slow_max_age_s: float, /) -> SampleRow: ...
    def set_own_work(self, pids: Sequence[int] | None, /) -> None: ...
    def sources(self) -> list[SourceRow]: ...

def parse_stat(data: bytes, /) -> tuple[int, int, int]: ...
def parse_meminfo(data: bytes, /) -> tuple[int | None, int | None]: ...
def parse_diskstats(data: bytes, /) -> list[tuple[bytes, int, int]]: ...
def parse_netdev(data: bytes, /) -> list[tuple[bytes, int, int]]: ...
def parse_pressure(data: bytes, /) -> float | None: ...
def parse_process_stat(data: bytes, /) -> tuple[int, int, int]: ...
def aggregate_power(supplies: Sequence[Mapping[str, bytes]], /) -> PowerRow: ...

@final
class Matcher:
    def __new__(
        cls, phrases: Sequence[PhraseRow], types: Sequence[PhraseRow], negation: NegationRow, /
    ) -> Matcher: ...
    def classify(self, task_type: str, description: str, /) -> tuple[int, int, int]: ...

def words(text: str, /) -> list[list[str]]: ...

@final
class Rules:
    CONSTRAINTS: ClassVar[tuple[str, ...]]

    def __new__(cls, thresholds: ThresholdsRow, relaxation: RelaxationRow, /) -> Rules: ...
    def compile(self, requirement: RequirementRow, /) -> int: ...
    def observe(self, facts: FactsRow, /) -> None: ...
    def decide(
        self, set_id: int, created_s: float, life_s: float | None, running: bool, /
    ) -> OutcomeRow: ...
    def evaluate(self, running: bool, /) -> list[OutcomeRow]: ...
    def next_step_s(
        self, set_id: int, created_s: float, life_s: float | None, /
    ) -> float | None: ...
    def relaxed(
        self,
        requirement: RequirementRow,
        created_s: float,
        life_s: float | None,
        now_s: float,
        /,
    ) -> tuple[RequirementRow, float | None]: ...

@final
class UsageTable:
    def __new__(cls) -> UsageTable: ...
    @property
    def end_s(self) -> float | None: ...
    def evidence(self) -> tuple[float, float, float]: ...
    def learn(self, hours: Sequence[LocalHour], rows: bytes, /) -> tuple[float, float]: ...
    def forecast(self, hours: Sequence[LocalHour], /) -> list[HourRow]: ...
    def outlook(
        self, now_s: float, duration_s: float, hours: Sequence[LocalHour], /
    ) -> tuple[tuple[float, float, float], tuple[float, float, float], list[OutlookRow]]: ...
    def restart(self) -> None: ...
    def merge(self, data: bytes, /) -> None: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes, /) -> UsageTable: ...

@final
class Watch:
    def __new__(cls, sampler: Sampler, rules: Rules, /) -> Watch: ...
    def follow(self, path: str, /) -> None: ...
    def wait(
        self,
        waiting: Sequence[int],
        running: Sequence[int],
        stopped: Sequence[int],
        told: ToldRow,
        until_wall_s: float | None,
        /,
    ) -> WakeRow: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...
