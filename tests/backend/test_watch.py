"""The quiet wait, on each backend: what ends it, and what it costs meanwhile."""

from __future__ import annotations

import functools
import gc
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.machine import Machine
from backend.waits import (
    CHARGING,
    CONNECTED,
    FILE,
    IDLE,
    LONG_S,
    NOTHING,
    STORAGE,
    TIMER,
    TOLD,
    VERDICT,
    WOKEN,
    Laptop,
    Waiting,
    waiting,
)
from deferpower._contract import Backend, RequirementRow
from deferpower.errors import ConfigError
from deferpower.types import IdleRules
from waiting import until

QUICK_IDLE = IdleRules(dwell_s=1.0)


@pytest.fixture
def laptop(backend: Backend, machine: Machine) -> Iterator[Laptop]:
    laptop = Laptop(backend, machine, QUICK_IDLE)
    yield laptop
    laptop.watch.close()


def test_another_thread_wakes_it(laptop: Laptop) -> None:
    with waiting(lambda: laptop.wait(for_s=None)) as waiter:
        laptop.watch.wake()
    why, sample, monotonic_s, wall_s = waiter.result()
    assert (why, sample) == (WOKEN, None)
    assert 0 <= time.monotonic() - monotonic_s < LONG_S
    assert 0 <= time.time() - wall_s < LONG_S


def test_what_came_before_is_told_once(laptop: Laptop, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    laptop.watch.follow(str(log))
    laptop.watch.wake()
    laptop.watch.wake()
    assert laptop.wait()[0] == WOKEN
    log.write_text("more")
    assert laptop.wait()[0] == FILE
    assert laptop.wait(for_s=0.01)[0] == TIMER


def test_its_moment_comes_by_the_wall_clock(laptop: Laptop) -> None:
    until_s = time.time() + 0.3
    assert laptop.watch.wait([], [], [], TOLD, until_s)[0] == TIMER
    assert time.time() >= until_s
    for past_s in (until_s, 0.0, -1e300):
        assert laptop.watch.wait([], [], [], TOLD, past_s)[0] == TIMER


def test_the_thread_keeps_its_timer_slack(laptop: Laptop) -> None:
    slack = Path("/proc/self/timerslack_ns")
    before = slack.read_text()
    laptop.look()
    assert laptop.wait(waiting=CHARGING, for_s=0.1)[0] == TIMER
    assert slack.read_text() == before


def test_a_moment_that_never_comes_is_none(laptop: Laptop) -> None:
    for never_s in (float("inf"), 1e300):
        laptop.watch.wake()
        assert laptop.watch.wait([], [], [], TOLD, never_s)[0] == WOKEN
    with pytest.raises(ConfigError, match="until_wall_s"):
        laptop.watch.wait([], [], [], TOLD, float("nan"))


def test_a_write_of_another_process_ends_it(laptop: Laptop, tmp_path: Path) -> None:
    log = tmp_path / "tasks.db-wal"
    log.touch()
    laptop.watch.follow(str(log))
    with waiting(lambda: laptop.wait(for_s=None)) as waiter:
        subprocess.run(["dd", "if=/dev/zero", f"of={log}", "count=1", "conv=notrunc"], check=True)
    assert waiter.result()[0] == FILE


def test_a_file_that_comes_later_is_followed_too(laptop: Laptop, tmp_path: Path) -> None:
    log = tmp_path / "tasks.db-wal"
    laptop.watch.follow(str(log))
    assert laptop.wait(for_s=0.1)[0] == TIMER
    log.write_text("x")
    assert laptop.wait()[0] == FILE
    log.write_text("xy")
    assert laptop.wait()[0] == FILE


def test_a_file_put_in_the_place_of_a_followed_one_is_followed(
    laptop: Laptop, tmp_path: Path
) -> None:
    log, new = tmp_path / "log", tmp_path / "new"
    log.touch()
    new.touch()
    laptop.watch.follow(str(log))
    new.replace(log)
    assert laptop.wait()[0] == FILE
    log.write_text("x")
    assert laptop.wait()[0] == FILE
    log.unlink()
    assert laptop.wait()[0] == FILE
    log.write_text("again")
    assert laptop.wait()[0] == FILE


def test_without_events_power_is_looked_at_every_five_seconds(laptop: Laptop) -> None:
    """A tree of files is no machine of the kernel's, which tells of its own."""
    told = (720, (False, None), True, 0)
    laptop.look(told)
    laptop.machine.cpu(100, 9000)
    ids = [laptop.rules.compile(asked) for asked in (CHARGING, CONNECTED, IDLE)]
    laptop.plug(True)
    why, sample, monotonic_s, _ = laptop.watch.wait(ids, [], [], told, time.time() + LONG_S)
    assert why == VERDICT
    assert sample is not None
    assert sample[0] is not None
    assert sample[0][2] is True
    assert monotonic_s <= time.monotonic()
    outcomes = laptop.rules.evaluate(False)
    assert [outcomes[set_id][2] for set_id in ids] == [0, 1 << 4, 1 << 3], "as it was told"


@pytest.mark.parametrize("plugged", [True, False])
def test_what_is_not_as_it_was_found_ends_it_before_it_sleeps(
    laptop: Laptop, plugged: bool
) -> None:
    """Whoever observed that, and without another look at the machine."""
    laptop.plug(plugged)
    laptop.look()
    forced: RequirementRow = (3, 0, False, NOTHING, NOTHING)
    expired: RequirementRow = (3, 3, True, NOTHING, NOTHING)
    for asked, executes, expires in (
        (CHARGING, plugged, False),
        (forced, True, False),
        (expired, False, True),
    ):
        whys = [
            laptop.wait(waiting=asked, for_s=0.01)[:2],
            laptop.wait(running=asked, for_s=0.01)[:2],
            laptop.wait(stopped=asked, for_s=0.01)[:2],
        ]
        as_found = [not executes and not expires, executes, not executes]
        assert whys == [(TIMER if still else VERDICT, None) for still in as_found]


def test_it_remembers_nothing(laptop: Laptop) -> None:
    """One that ends it ends the next one too, until whoever waits has acted upon it."""
    laptop.plug(True)
    laptop.look()
    for _ in range(3):
        assert laptop.wait(waiting=CHARGING)[0] == VERDICT
    laptop.watch.wake()
    assert laptop.wait(waiting=CHARGING)[0] == VERDICT
    assert laptop.wait()[0] == WOKEN, "an event of before is not lost by that"


def test_what_another_thread_observes_is_seen_with_the_next_sample(laptop: Laptop) -> None:
    """A sample that finds the machine as the other one did ends the wait nevertheless."""
    laptop.look()
    with waiting(lambda: laptop.wait(waiting=CHARGING)) as waiter:
        laptop.plug(True)
        laptop.look()
    assert waiter.result()[0] == VERDICT


def test_a_task_that_was_stopped_is_looked_at_until_it_may_go_on(laptop: Laptop) -> None:
    laptop.look()
    with waiting(lambda: laptop.wait(stopped=CHARGING)) as waiter:
        laptop.plug(True)
    why, sample, *_ = waiter.result()
    assert why == VERDICT
    assert sample is not None


def test_a_charger_is_looked_at_again_when_it_counts(laptop: Laptop) -> None:
    """A charger that was gone for a moment counts again once it has been there for 5 s."""
    laptop.plug(True)
    laptop.sampler.sample(time.monotonic(), 0.0)
    now_s = time.monotonic()
    for ago_s, plugged in ((9.0, True), (4.6, False), (4.5, True)):
        moment = (now_s - ago_s, time.time() - ago_s, 720)
        load = (None, None, None)
        laptop.rules.observe((moment, (True, 60.0, plugged), load, False, (None, None), 0))
    assert laptop.wait(waiting=CHARGING, for_s=3.0)[0] == VERDICT


def test_a_machine_that_was_quiet_for_long_enough_lets_what_waits_start(
    backend: Backend, machine: Machine
) -> None:
    laptop = Laptop(backend, machine, IdleRules(dwell_s=1.5))
    laptop.look()
    laptop.machine.cpu(110, 9000)
    time.sleep(1.1)
    laptop.look()
    laptop.machine.cpu(120, 18_000)
    # It is known since when it has been quiet, so nothing is looked at before its time.
    why, sample, _, _ = laptop.wait(waiting=IDLE, for_s=3.0)
    assert why == VERDICT
    assert sample is not None
    assert sample[6] is not None
    laptop.machine.cpu(9000, 18_100)
    assert laptop.wait(running=IDLE, for_s=4.0)[0] == VERDICT, "what uses idleness looks oftener"


def test_it_does_not_wake_up_for_nothing(backend: Backend, tmp_path: Path) -> None:
    offline, present = (720, (False, None), False, 0), (720, (None, None), True, 0)
    # Idleness takes a minute here, so it is looked for every half of that. The last one shows that
    # a sample would have been counted.
    cases = [
        (TOLD, None),
        (offline, CONNECTED),
        (present, IDLE),
        (TOLD, IDLE),
        (TOLD, CHARGING),
    ]
    laptops, waiters = [], []
    for number, (told, asked) in enumerate(cases):
        laptop = Laptop(backend, Machine(tmp_path / str(number)), IdleRules(dwell_s=60.0))
        laptop.look(told)
        call = functools.partial(laptop.wait, waiting=asked, told=told, for_s=None)
        laptops.append(laptop)
        waiters.append(Waiting(call))
    for waiter in waiters:
        waiter.until_asleep()
    before = [waiter.wake_ups() for waiter in waiters]
    time.sleep(5.5)
    after = [waiter.wake_ups() for waiter in waiters]
    for laptop in laptops:
        laptop.watch.wake()
    *unwatched, watched = (waiter.result()[:2] for waiter in waiters)
    assert unwatched == [(WOKEN, None)] * 4
    assert watched[0] == WOKEN
    assert watched[1] is not None
    assert after[:-1] == before[:-1]
    assert 1 <= after[-1] - before[-1] <= 2


def test_idleness_may_be_weeks_away(backend: Backend, machine: Machine) -> None:
    laptop = Laptop(backend, machine, IdleRules(dwell_s=1e9))
    laptop.machine.cpu(100, 1000)
    laptop.look(at_s=time.monotonic() - 100.0)
    laptop.machine.cpu(100, 9000)
    laptop.look(at_s=time.monotonic() - 50.0)
    try:
        assert laptop.wait(waiting=IDLE, for_s=0.1)[0] == TIMER
        laptop.watch.wake()
        assert laptop.wait(waiting=IDLE, for_s=None)[0] == WOKEN
    finally:
        laptop.watch.close()


def test_storage_that_is_due_is_asked_once(laptop: Laptop) -> None:
    """It is due at a full second, and so before it is 30 s old."""
    laptop.plug(True)
    due_s = math.floor(time.monotonic()) + 1.0
    laptop.look(at_s=due_s - 29.05)
    before = reads_of_this_thread()
    until_s = time.time() + due_s + 0.9 - time.monotonic()
    ids = [laptop.rules.compile(STORAGE)]
    why, sample, *_ = laptop.watch.wait(ids, [], [], TOLD, until_s)
    assert why == TIMER
    assert sample is not None
    assert reads_of_this_thread() - before < 300


def reads_of_this_thread() -> int:
    """How many system calls of it have read from files so far."""
    return int(Path("/proc/thread-self/io").read_text().split("syscr:")[1].split()[0])


def test_what_cannot_be_waited_for_is_refused(laptop: Laptop) -> None:
    with pytest.raises(ConfigError, match="nothing observed"):
        laptop.wait(waiting=CHARGING)
    laptop.look()
    with pytest.raises(ConfigError, match="no such set"):
        laptop.watch.wait([7], [], [], TOLD, None)
    with waiting(lambda: laptop.wait(for_s=None)):
        with pytest.raises(ConfigError, match="another thread waits"):
            laptop.wait()
        laptop.watch.wake()
    assert laptop.wait(for_s=0.0)[0] == TIMER, "and it can be waited again"


def test_rules_and_sensors_can_be_asked_meanwhile(laptop: Laptop) -> None:
    laptop.look()
    with waiting(lambda: laptop.wait(waiting=CHARGING, for_s=None)):
        set_id = laptop.rules.compile(IDLE)
        laptop.look()
        assert laptop.rules.decide(set_id, 0.0, None, False)[2] & 1 << 3
        laptop.watch.wake()


def test_closing_ends_it_and_gives_all_files_back(laptop: Laptop, tmp_path: Path) -> None:
    with waiting(lambda: laptop.wait(for_s=None)) as waiter:
        laptop.watch.close()
    assert waiter.result()[0] == WOKEN
    for call in (laptop.watch.wake, laptop.watch.close):
        call()
    laptop.watch.follow(str(tmp_path))
    assert laptop.wait(for_s=None)[0] == WOKEN


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
def test_no_file_stays_open(
    backend: Backend, machine: Machine, tmp_path: Path, closed: bool
) -> None:
    sampler = backend.Sampler(str(machine.root), [], QUICK_IDLE[:4])
    rules = backend.Rules((0.0,) * 11, (0.0,) * 7)
    gc.collect()
    before = open_files()
    watch = backend.Watch(sampler, rules)
    watch.follow(str(tmp_path))
    watch.wake()
    watch.wait([], [], [], TOLD, time.time() + 1)
    assert open_files() - before
    if closed:
        watch.close()
    else:
        del watch
        gc.collect()
    # Threads that other tests have left behind may open something for a moment.
    until(lambda: open_files() <= before, "no more files than before")


def test_a_signal_handler_may_wake_it(laptop: Laptop) -> None:
    handled = []

    def handler(*_: object) -> None:
        handled.append(threading.current_thread() is threading.main_thread())
        if len(handled) == 2:
            laptop.watch.wake()

    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send_until, args=(main, lambda: len(handled) == 2))
    try:
        sender.start()
        assert laptop.wait()[0] == WOKEN
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert handled == [True, True], "the first did not end it"


def test_an_exception_of_a_signal_handler_ends_it(laptop: Laptop) -> None:
    raised: list[bool] = []

    def handler(*_: object) -> None:
        if not raised:
            raised.append(True)
            raise KeyboardInterrupt

    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send_until, args=(main, lambda: bool(raised)))
    sender.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            laptop.wait(for_s=None)
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert laptop.wait(for_s=0.0)[0] == TIMER


def send_until(thread: int, done: Callable[[], bool]) -> None:
    """Send a signal to the thread every 0.1 s: one alone may come before it sleeps."""
    deadline_s = time.monotonic() + LONG_S
    while time.monotonic() < deadline_s:
        time.sleep(0.1)
        if done():
            return
        signal.pthread_kill(thread, signal.SIGUSR1)


PRELUDE = """
    import importlib, os, signal, sys, threading, time
    from deferpower.thresholds import Thresholds
    from deferpower.types import IdleRules

    backend = importlib.import_module("deferpower._" + sys.argv[1])
    TOLD = (720, (None, None), False, 0)

    def new_watch(root="/"):
        sampler = backend.Sampler(root, [], IdleRules()[:4])
        rules = backend.Rules(Thresholds().lines(), Thresholds().relaxation())
        return backend.Watch(sampler, rules), sampler, rules
"""


def run_program(program: str, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
    """Run a program of its own; it must end well, and say nothing."""
    code = textwrap.dedent(PRELUDE) + textwrap.dedent(program)
    done = subprocess.run(
        [*prefix, sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_ends_while_a_thread_waits(backend_name: str) -> None:
    run_program(
        """
        watch, sampler, rules = new_watch()
        thread = threading.Thread(target=watch.wait, args=([], [], [], TOLD, None), daemon=True)
        thread.start()
        time.sleep(0.2)
        """,
        backend_name,
    )


def test_a_program_that_closes_as_it_ends_ends(backend_name: str) -> None:
    run_program(
        """
        import atexit
        watch, sampler, rules = new_watch()
        atexit.register(watch.close)
        threading.Thread(target=watch.wait, args=([], [], [], TOLD, None), daemon=True).start()
        time.sleep(0.2)
        """,
        backend_name,
    )


def test_control_c_ends_a_wait_of_the_main_thread(backend_name: str) -> None:
    run_program(
        """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        watch, sampler, rules = new_watch()
        done = threading.Event()

        def press():
            while not done.wait(0.2):
                os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press).start()
        try:
            watch.wait([], [], [], TOLD, None)
        except KeyboardInterrupt:
            done.set()
        else:
            sys.exit("it returned")
        """,
        backend_name,
    )


def test_a_child_waits_on_a_watch_of_its_own(backend_name: str) -> None:
    run_program(
        """
        watch, sampler, rules = new_watch()
        whys = []
        thread = threading.Thread(target=lambda: whys.append(watch.wait([], [], [], TOLD, None)[0]))
        thread.start()
        time.sleep(0.2)
        child = os.fork()
        if child == 0:
            own, *held = new_watch()
            own.wake()
            why = own.wait([], [], [], TOLD, None)[0]
            own.close()
            os._exit(why)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert thread.is_alive() and not whys
        watch.wake()
        thread.join()
        assert whys == [1]
        """,
        backend_name,
    )


def test_power_events_of_the_kernel_are_followed_at_once(backend_name: str, laptop: Laptop) -> None:
    """A namespace of its own may send its kernel an event, which the kernel then sends to all.

    The tree by itself is looked at every 5 s, so what is seen within 2 s was seen by the event.
    """
    run_program(
        """
        import socket, struct
        from pathlib import Path

        supplies = Path(sys.argv[2], "sys/class/power_supply")
        watch, sampler, rules = new_watch(sys.argv[2])

        def plug(online):
            (supplies / "AC/online").write_text(str(online))
            (supplies / "BAT0/status").write_text("Charging" if online else "Discharging")

        def send(subsystem):
            path = f"/devices/platform/{subsystem}/AC"
            text = f"change@{path}\\0ACTION=change\\0DEVPATH={path}\\0SUBSYSTEM={subsystem}\\0"
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as kernel:
                head = struct.pack("=IHHII", 16 + len(text), 16, 1, 1, 0)
                kernel.sendto(head + text.encode(), (0, 0))

        power = sampler.sample(time.monotonic(), 0.0)[0]
        moment = (time.monotonic(), time.time(), 720)
        rules.observe((moment, power[:3], (None,) * 3, False, (None, None), 0))
        charging = rules.compile((3, None, False, (1, 0.0, 0, 0, 0), (0, 0.0, 0, 0, 0)))

        plug(1)
        send("net")
        assert watch.wait([charging], [], [], TOLD, time.time() + 0.5)[0] == 0, "no event of power"
        send("power_supply")
        assert watch.wait([charging], [], [], TOLD, time.time() + 2)[0] == 3, "while nobody waited"
        plug(0)
        thread = threading.Timer(0.2, send, ["power_supply"])
        thread.start()
        why = watch.wait([], [charging], [], TOLD, time.time() + 2)[0]
        assert why == 3, "while somebody waited"
        thread.join()
        send("power_supply")
        plug(1)
        # Seen at once, but plugged in again within the dwell time, the charger does not count yet.
        assert watch.wait([charging], [], [], TOLD, time.time() + 2)[0] == 0
        assert watch.wait([charging], [], [], TOLD, time.time() + 9)[0] == 3, "as soon as it counts"
        """,
        backend_name,
        str(laptop.machine.root),
        prefix=("unshare", "--user", "--map-root-user", "--net"),
    )
