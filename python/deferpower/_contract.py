"""What a backend is. ``_native`` (Rust) and ``_pure`` (Python) both provide exactly this.

Every hot call is documented here and nowhere else. Only numbers, strings, bytes, tuples and lists
cross the boundary. Both backends give equal results: integers and strings exactly, floats computed
by the same operations in the same order.

mypy checks ``_pure`` and the stub of ``_native`` against the Protocols; stubtest checks the stub
against the compiled module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, TypeAlias

from deferpower.types import BackendName, PowerState

PowerRow: TypeAlias = tuple[
    bool,
    float | None,
    bool | None,
    PowerState,
    float | None,
    float | None,
    float | None,
    float | None,
    int,
]
"""The fields of `types.Power`, in order."""

CpuRow: TypeAlias = tuple[float | None, int, float | None, float | None]
"""The fields of `types.Cpu`, in order."""

MemoryRow: TypeAlias = tuple[int | None, int | None, float | None]
"""The fields of `types.Memory`, in order."""

RateRow: TypeAlias = tuple[float | None, float | None]
"""The fields of `types.Disk`, or the first two of `types.Network`, in order."""

StorageRow: TypeAlias = tuple[float, int]
"""The fields of `types.Storage`, in order."""

SampleRow: TypeAlias = tuple[
    PowerRow | None,
    CpuRow | None,
    MemoryRow | None,
    RateRow | None,
    RateRow | None,
    tuple[StorageRow | None, ...],
    float | None,
    float | None,
]
"""power, cpu, memory, disk, network, storage (as the paths were given), idle_since_s,
quiet_since_s."""

SourceRow: TypeAlias = tuple[str, str, str, str]
"""The fields of `types.Source`, in order."""

IdleRulesRow: TypeAlias = tuple[float, float, float, float]
"""The first four fields of `types.IdleRules`, in order: those that a sampler judges by."""


class Sampler(Protocol):
    """The sensors of one machine, held open. Safe to call from several threads."""

    def __init__(
        self, root: str, storage_paths: Sequence[str], idle_rules: IdleRulesRow, /
    ) -> None:
        """Open what is there.

        Args:
            root: directory that holds ``proc`` and ``sys``; ``"/"`` for the machine itself.
            storage_paths: paths whose file systems are watched; taken as they are, not below root.
            idle_rules: thresholds and dwell of `types.IdleRules`.

        Raises:
            ConfigError: root is no directory, or names one where only ``"/"`` can be read.
        """

    def sample(self, monotonic_s: float, slow_max_age_s: float, /) -> SampleRow:
        """Read the machine.

        Processor, memory, disk and network are read at each call. Power and storage are slow to
        read on some machines; they are read again once older than ``slow_max_age_s``. That is
        also when files that were absent are looked for again.

        An absent or failing sensor is ``None`` in the row, never an exception.

        Args:
            monotonic_s: now, on the time line that rates and idleness are measured on. A value
                that is not above the last one's gives no rates.
            slow_max_age_s: how old power and storage may be; 0 reads them now.

        Returns:
            The row; rates cover the time since the previous call, and are ``None`` in the first.

        Cost: one system call per held file, and no allocation but the row, once the machine's
        devices are known. The GIL is released.
        """

    def set_own_work(self, pids: Sequence[int] | None, /) -> None:
        """Say what runs by deferpower's own doing, so that it does not end the idleness it used.

        This process's processor time is always its own. While work runs, the processor time of
        the process trees under ``pids`` is its own too, and disk and network, which cannot be
        told apart by process, do not count against idleness, nor do they for 35 s afterwards,
        while the kernel writes back.

        Args:
            pids: processes started for work; empty when work runs in this process only; ``None``
                when none runs.
        """

    def sources(self) -> list[SourceRow]:
        """Where each sensor is read or why it is not, as of the last sample; sorted."""


class Backend(Protocol):
    """A backend module."""

    NAME: BackendName

    # Properties, since a module's classes are read only: mypy then takes any that fits.
    @property
    def Sampler(self) -> _SamplerClass:  # noqa: N802
        """The class of `Sampler`."""

    @property
    def Matcher(self) -> _MatcherClass:  # noqa: N802
        """The class of `Matcher`."""

    @property
    def Rules(self) -> _RulesClass:  # noqa: N802
        """The class of `Rules`."""

    @property
    def UsageTable(self) -> _UsageTableClass:  # noqa: N802
        """The class of `UsageTable`."""

    @property
    def Watch(self) -> _WatchClass:  # noqa: N802
        """The class of `Watch`."""

    def parse_stat(self, data: bytes, /) -> tuple[int, int, int]:
        """``/proc/stat``: busy ticks, idle ticks and online processors, all processors together.

        Raises:
            SensorError: there is no line ``cpu`` with at least four counters.

        Source: proc_stat(5).
        """

    def parse_meminfo(self, data: bytes, /) -> tuple[int | None, int | None]:
        """``/proc/meminfo``: ``MemTotal`` and ``MemAvailable`` in bytes.

        Source: proc_meminfo(5).
        """

    def parse_diskstats(self, data: bytes, /) -> list[tuple[bytes, int, int]]:
        """``/proc/diskstats``: name, bytes read and bytes written of each disk that counts.

        Left out: loop, ram, zram, device-mapper, md, bcache and zd devices, partitions beside
        their disk, and lines that are too short or not numbers. In the order of the file.

        Source: Documentation/admin-guide/iostats.rst; a sector is 512 bytes whatever the disk.
        """

    def parse_netdev(self, data: bytes, /) -> list[tuple[bytes, int, int]]:
        """``/proc/net/dev``: name, bytes received and bytes sent of each interface that counts.

        Left out: loopback, and, if any other is there, interfaces that carry the traffic of
        another (bridges, tunnels, veth pairs, bonds, VLANs). In the order of the file.

        Source: proc_pid_net(5).
        """

    def parse_pressure(self, data: bytes, /) -> float | None:
        """``/proc/pressure/*``: ``some avg10`` in percent.

        Source: Documentation/accounting/psi.rst.
        """

    def parse_process_stat(self, data: bytes, /) -> tuple[int, int, int]:
        """``/proc/PID/stat``: pid, parent's pid, and processor ticks with those of reaped children.

        Raises:
            SensorError: the text is no such line.

        Source: proc_pid_stat(5).
        """

    def aggregate_power(self, supplies: Sequence[Mapping[str, bytes]], /) -> PowerRow:
        """Power supplies, each a mapping from attribute to content, taken together.

        The rules stand in SEMANTICS.md, "Power". Attributes that cannot be read are left out of
        the mapping. ``power_role`` holds the content of the USB-C port's file of that name.

        Source: Documentation/ABI/testing/sysfs-class-power, sysfs-class-typec.
        """

    def words(self, text: str, /) -> list[list[str]]:
        """The words of a text in small letters, in each reading; empty where a clause ends.

        Returns:
            The reading with camel case taken apart, and, only where it differs, the one without.
        """


CONSTRAINTS = (
    "charging",
    "battery_above",
    "battery_not_low",
    "idle",
    "connected",
    "unmetered",
    "storage_not_low",
    "resources_ok",
    "window",
    "custom",
)
"""Reason codes of the constraints; the place of a code is its bit in flags and in unmet."""

ThresholdsRow: TypeAlias = tuple[
    float, float, float, float, float, float, float, float, float, float, float
]
"""Battery levels: suspend, background, normal, normal when idle, hysteresis, low, well again.
Used percent from which work waits: memory, processor, storage. Plug dwell in s."""

RelaxationRow: TypeAlias = tuple[float, float, float, float, float, float, float]
"""Fractions of a task's life after which soft constraints are dropped: idle, battery, network,
charging, all. Seconds before the deadline when all are; life in s of a task without a deadline."""

ConstraintRow: TypeAlias = tuple[int, float, int, int, int]
"""Flags (bits as in `CONSTRAINTS`), battery_above in percent, first minute of the day inside the
window and first outside again, mask of custom predicates. What no flag names is 0."""

RequirementRow: TypeAlias = tuple[int, int | None, bool, ConstraintRow, ConstraintRow]
"""Class (0 critical, 1 charging-only, 2 background, 3 normal), verdict that always wins or
``None``, whether it gives up at its deadline, hard constraints, soft constraints."""

FactsRow: TypeAlias = tuple[
    tuple[float, float, int],
    tuple[bool, float | None, bool | None],
    tuple[float | None, float | None, float | None],
    bool,
    tuple[bool | None, bool | None],
    int,
]
"""One reading as rules see it: (monotonic_s, wall_s, local minute of the day), (battery present,
percent, plugged), (memory used, processor busy less own, fullest storage used, in percent), idle,
(network connected, metered), mask of the custom predicates that hold (64 bits)."""

OutcomeRow: TypeAlias = tuple[int, int, int, int]
"""Verdict (0 execute now, 1 defer to background, 2 defer to charging, 3 expire), row of the table
that decided, unmet conditions, mask of unmet custom predicates.

Unmet: the bits of `CONSTRAINTS`; then one for "on battery, at or below the level where only
critical work runs" and one for "level too low for its class"; soft constraints 16 bits higher."""


EXECUTE_NOW, DEFER_TO_BACKGROUND, DEFER_TO_CHARGING, EXPIRE = range(4)
"""Verdicts as rows tell them."""

ENDS_WAITING = (EXECUTE_NOW, EXPIRE)
"""Verdicts that no task waits with."""

SOFT_SHIFT = 16
"""How much higher the bits of unmet soft constraints are."""


class Rules(Protocol):
    """Decides for many tasks at once, and keeps the history that this needs.

    The table and all meaning stand in SEMANTICS.md, "Deciding". Safe to call from several threads.

    Attributes:
        CONSTRAINTS: the reason codes that this backend knows; equal to the contract's.
    """

    CONSTRAINTS: ClassVar[tuple[str, ...]]

    def __init__(self, thresholds: ThresholdsRow, relaxation: RelaxationRow, /) -> None:
        """Rules with no history: the first facts are taken as they are."""

    def compile(self, requirement: RequirementRow, /) -> int:
        """The id of a requirement. Equal requirements have the same; ids count from 0.

        Raises:
            ConfigError: a class, flag, level or window that cannot be.
        """

    def observe(self, facts: FactsRow, /) -> None:
        """Take in a reading; all that follows is about it, until the next.

        Raises:
            ConfigError: a figure that cannot be; then nothing has changed.
        """

    def decide(
        self, set_id: int, created_s: float, life_s: float | None, running: bool, /
    ) -> OutcomeRow:
        """The outcome for one task.

        Args:
            set_id: what it requires.
            created_s: when it was asked for, seconds since the epoch.
            life_s: seconds from then to its deadline; ``None`` for no deadline.
            running: whether it runs already: then short resources do not stop it, unless it
                names them as a constraint.

        Raises:
            ConfigError: nothing observed yet, an unknown id, an age that cannot be.

        Cost: some 100 ns.
        """

    def evaluate(self, running: bool, /) -> list[OutcomeRow]:
        """The outcome of every requirement, in order of ids, with nothing relaxed.

        Raises:
            ConfigError: nothing observed yet.

        Cost: some 50 ns each.
        """

    def next_step_s(self, set_id: int, created_s: float, life_s: float | None, /) -> float | None:
        """When relaxation or the deadline may next change the outcome, seconds since the epoch.

        ``None`` when time changes nothing more. Arguments and errors as for `decide`.
        """

    def relaxed(
        self,
        requirement: RequirementRow,
        created_s: float,
        life_s: float | None,
        now_s: float,
        /,
    ) -> tuple[RequirementRow, float | None]:
        """What a task of this age requires at a moment, and when that changes next.

        So tasks of one requirement and different ages can wait as tasks of a few requirements,
        and `evaluate` tells of all of them.

        Args:
            requirement: what it required when it was asked for.
            created_s: when that was, seconds since the epoch.
            life_s: seconds from then to its deadline; ``None`` for no deadline.
            now_s: the moment, seconds since the epoch.

        Returns:
            The requirement less the soft constraints that are dropped by then; at the deadline
            one with the verdict to execute now or to expire. And the next moment at which this
            answer changes, ``None`` for never.

        Raises:
            ConfigError: a class, flag, level, window, age or moment that cannot be.
        """


ToldRow: TypeAlias = tuple[int, tuple[bool | None, bool | None], bool, int]
"""What only the program can tell: local minute of the day, (network connected, metered), whether
a user is present (then the machine is not idle, whatever its load), mask of the custom predicates
that hold."""

WakeRow: TypeAlias = tuple[int, SampleRow | None, float, float]
"""Why a wait ended (0 its moment has come, 1 it was woken, 2 a followed file was written to, 3 a
verdict is another one than was found), the last sample taken meanwhile, and monotonic_s and wall_s
of that sample, or, where none was taken, of the end."""

TIMER, WOKEN, FILE, VERDICT = range(4)
"""Why a wait ended."""


class Watch(Protocol):
    """Waits, without a busy loop and without the GIL, until there is something to do.

    It remembers nothing of the machine: whoever waits says what it last acted upon. How often it
    looks stands in SEMANTICS.md, "Waiting". One thread waits at a time; `wake`, `follow` and
    `close` may be called from any thread and in a signal handler.

    After a fork the child leaves it alone, and its rules too, and opens another.
    """

    def __init__(self, sampler: Sampler, rules: Rules, /) -> None:
        """Open what can end a wait.

        Args:
            sampler: what is sampled; its moments must be those of ``time.monotonic``.
            rules: what judges the samples. It takes each of them in as `Rules.observe` does.

        Raises:
            SensorError: no file can be opened any more.
        """

    def follow(self, path: str, /) -> None:
        """Let writes to a file end a wait, from the next one on, whichever process writes.

        A file that is not there, or that the system cannot watch, is looked at once a second
        while somebody waits. A write between two waits ends the next.
        """

    def wait(
        self,
        waiting: Sequence[int],
        running: Sequence[int],
        stopped: Sequence[int],
        told: ToldRow,
        until_wall_s: float | None,
        /,
    ) -> WakeRow:
        """Wait until there is something to do.

        It ends as soon as a requirement is not as it was found, whoever observed that: before it
        sleeps if that is so already.

        Args:
            waiting: ids of requirements, from `Rules.compile`, that were found to keep tasks
                waiting: neither to execute nor to expire.
            running: those that tasks run with, and that were found to let them: as for a task that
                runs, to execute.
            stopped: those that tasks run with, frozen or told to stop, and that were found not to
                let them.
            told: what stays so while it waits. A caller bounds the wait by the next moment at
                which that changes.
            until_wall_s: when to return at the latest, in seconds since the epoch by the wall
                clock, however it is set and however long the machine sleeps; ``None`` for never.

        Returns:
            What happened. An event is told once, one that came between two waits too.

        Raises:
            ConfigError: nothing observed yet, an unknown id, no moment, another thread waits here.

        Cost: with nothing watched no wake-up at all, else one for each sample.
        """

    def wake(self) -> None:
        """End the wait, or the next one if nobody waits."""

    def close(self) -> None:
        """End the wait and give all files back; each later wait returns at once, as woken."""


PhraseRow: TypeAlias = tuple[str, int]
"""A text in any notation, and the class it stands for (0 critical, 1 charging-only, 2 background,
3 normal)."""

NegationRow: TypeAlias = tuple[Sequence[str], Sequence[str], Sequence[str]]
"""Words that negate what follows, words that may stand between, words that carry a negation on."""


class Matcher(Protocol):
    """Finds the class of a task by its type and the keywords in its text. Never changes.

    What a word is, and which phrase decides, stands in SEMANTICS.md, "Classifying".
    """

    def __init__(
        self, phrases: Sequence[PhraseRow], types: Sequence[PhraseRow], negation: NegationRow, /
    ) -> None:
        """Take in the keywords.

        Args:
            phrases: keywords. One without a word never matches; of the same phrase in two
                classes, the one that defers less counts.
            types: types of tasks; the same holds.
            negation: single words each; one that is not is passed over.
        """

    def classify(self, task_type: str, description: str, /) -> tuple[int, int, int]:
        """The class, and what gave it.

        Returns:
            Class; where it was found: 0 nowhere, 1 among the types, 2 a phrase in the
            description, 3 a phrase in the type; place in the list of types or of phrases, -1 for
            nowhere.

        Cost: linear in the length of the text.
        """


USAGE_EVENTS = ("idle", "plugged", "good")
"""What a table of usage foresees; good is both at once."""

LocalHour: TypeAlias = tuple[float, int]
"""When an hour of the local clock begins, seconds since the epoch, and its hour of the week
(0-167, Monday 0:00 is 0). Lists of them rise and leave no gap; each ends where the next begins."""

HourRow: TypeAlias = tuple[float, float, float, float, float, float]
"""Probability that a whole hour is idle, plugged, both; hours observed at that hour of the day
that each of the three rests on."""

OutlookRow: TypeAlias = tuple[float, float, float, float, float, float, float, float, float]
"""Of idle, plugged and good each: probability that the hour is observed and all so; that a run of
one hour at its begin lasts through it; that it lasts for the duration asked about."""


class UsageTable(Protocol):
    """What a device's past tells of its next hours, in constant memory.

    SEMANTICS.md, "Predicting", says what is kept and how. One thread at a time.
    """

    def __init__(self) -> None:
        """A table that has seen nothing, and foresees what its prior says."""

    @property
    def end_s(self) -> float | None:
        """Up to when it has observed, seconds since the epoch; ``None`` before the first row."""

    def evidence(self) -> tuple[float, float, float]:
        """Observed hours that idle, plugged and good rest on, faded as they have."""

    def learn(self, hours: Sequence[LocalHour], rows: bytes, /) -> tuple[float, float]:
        """Take in observations.

        Args:
            hours: the local hours that the rows lie in; the last one only ends the one before.
                From the open hour on, where the table has one less than a week old: hours between
                are those in which nothing was observed.
            rows: little-endian doubles, four a row, in order of time: start in seconds since the
                epoch, seconds observed, activity 0-1, plugged as a share 0-1. NaN: not observed.

        Returns:
            Seconds that were counted, and seconds that were not, since they lie before `end_s`:
            no moment counts twice.

        Raises:
            ConfigError: a row cannot be; the message has its number. Then nothing was learned.

        Cost: natively some 10 ns a row, and some 400 ns for each new hour.
        """

    def forecast(self, hours: Sequence[LocalHour], /) -> list[HourRow]:
        """What each hour will be like, given the past and the state at `end_s`.

        Hours that begin before `end_s` are told by the clock alone.

        Cost: natively some 100 ns an hour.
        """

    def outlook(
        self, now_s: float, duration_s: float, hours: Sequence[LocalHour], /
    ) -> tuple[tuple[float, float, float], tuple[float, float, float], list[OutlookRow]]:
        """What starting now and starting later are worth.

        Args:
            now_s: seconds since the epoch.
            duration_s: how long the work takes.
            hours: local hours, the first at or before now.

        Returns:
            The probability that idle, plugged and good go on from now for the duration (0 where
            they do not hold now, or nothing was observed for 15 minutes), the seconds for which
            each has held (0 likewise), and a row for each hour.
        """

    def restart(self) -> None:
        """Forget the present state and `end_s`, as after the clock was set back; keep the rest."""

    def merge(self, data: bytes, /) -> None:
        """Add what another table, given as its bytes, has learned of other times.

        The present state is that of the table that has observed later.

        Raises:
            ConfigError: as for `from_bytes`.
        """

    def to_bytes(self) -> bytes:
        """All of it, for `from_bytes` of either backend: 17 kB with version and checksum."""

    @staticmethod
    def from_bytes(data: bytes, /) -> UsageTable:
        """The table that these bytes were made from.

        Raises:
            ConfigError: they are damaged, of another version, or no such bytes at all.
        """


_SamplerClass: TypeAlias = type[Sampler]
_RulesClass: TypeAlias = type[Rules]
_MatcherClass: TypeAlias = type[Matcher]
_UsageTableClass: TypeAlias = type[UsageTable]
_WatchClass: TypeAlias = type[Watch]
