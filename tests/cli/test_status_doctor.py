"""``deferpower status`` and ``doctor``."""

from __future__ import annotations

import json
import platform
import signal
from typing import Any

from cli.conftest import Start
from cli.support import Laptop
from deferpower import types
from deferpower.cli.status import table
from deferpower.types import Power
from readings import a_reading

PARTS = {
    "power": types.Power._fields,
    "cpu": types.Cpu._fields,
    "memory": types.Memory._fields,
    "disk": types.Disk._fields,
    "network": types.Network._fields,
}
SENSORS = {"cpu", "disk", "memory", "network", "power", "pressure", "storage"}


def rows(text: str) -> dict[str, str]:
    """The value of each figure, by part and figure."""
    found, part = {}, ""
    for line in text.splitlines():
        words = [word for word in line.split("  ") if word.strip()]
        if line.startswith(" "):
            words.insert(0, part)
        part, *figure, value = map(str.strip, words)
        found[" ".join([part, *figure])] = value
    return found


def test_the_table(laptop: Laptop, start: Start, backend_name: str) -> None:
    battery = laptop.root / "sys/class/power_supply/BAT0"
    (battery / "energy_now").write_text("20000000\n")
    (battery / "energy_full").write_text("50000000\n")
    (battery / "power_now").write_text("8000000\n")
    run = start("status")
    assert run.end() == 0
    shown = rows(run.out)
    assert {name: shown[name] for name in shown if not name.startswith("storage")} == {
        "power plugged in": "no",
        "power battery": "discharging",
        "power level": "40.0 %",
        "power energy": "20.0 of 50.0 Wh",
        "power flow": "8.0 W out of the battery",
        "power empty in": "2 h 30 min",
        "processor busy": "unknown of 1",
        "processor own work": "unknown",
        "processor pressure": "unknown",
        "memory used": "25.0 %",
        "memory available": "5.9 MiB of 7.8 MiB",
        "disk": "absent",
        "network": "absent",
        "user": "absent",
        "power saver": "unknown",
        "idle": "told by --watch alone: it takes a minute of quiet",
        "backend": backend_name,
    }
    assert {"storage / used", "storage / free"} <= set(shown)


def test_the_table_of_a_machine_without_a_battery(laptop: Laptop, start: Start) -> None:
    for name in ("AC", "BAT0"):
        for file in (laptop.root / "sys/class/power_supply" / name).iterdir():
            file.unlink()
    run = start("status")
    assert run.end() == 0
    assert rows(run.out)["power plugged in"] == "yes"
    assert rows(run.out)["power battery"] == "none"


def test_every_figure_is_in_the_table() -> None:
    """All but those that only say how sure another one is."""
    reading = a_reading(Power(True, 50.0, False, "discharging", -8.0, 20.0, 40.0, 9000.0, 1))
    reading = reading._replace(cpu=types.Cpu(30.0, 8, 1.0, 0.0))
    before = table(reading, watching=True)
    for part in PARTS:
        figures = getattr(reading, part)
        for name, figure in figures._asdict().items():
            if isinstance(figure, bool) or figure is None:
                another: object = not figure
            else:
                another = "full" if isinstance(figure, str) else 2 * figure + 7
            changed = reading._replace(**{part: figures._replace(**{name: another})})
            assert table(changed, watching=True) != before, f"{part}.{name} is not shown"


def test_json_has_every_field(laptop: Laptop, start: Start, backend_name: str) -> None:
    run = start("status", "--json")
    assert run.end() == 0
    reading: dict[str, Any] = json.loads(run.out)
    assert list(reading) == list(types.Reading._fields)
    for name, fields in PARTS.items():
        assert reading[name] is None or tuple(reading[name]) == fields
    assert list(reading["storage"]["/"]) == list(types.Storage._fields)
    assert reading["power"]["percent"] == 40.0
    assert reading["power"]["plugged"] is False
    assert reading["disk"] is None
    assert reading["backend"] == backend_name


def test_loads_are_measured_between_two_samples(start: Start, env: dict[str, str]) -> None:
    """On this very machine, whose processor's time goes on."""
    env["DEFERPOWER_ROOT"] = "/"
    run = start("status", "--json")
    assert run.end() == 0
    assert 0 <= json.loads(run.out)["cpu"]["busy_percent"] <= 100


def test_watch_goes_on_until_ctrl_c(laptop: Laptop, start: Start) -> None:
    run = start("status", "--watch", "0.1", "--json")
    run.wait_until(lambda: run.out.count("\n") >= 2, "two readings")
    laptop.charge(60)
    run.wait_until(lambda: '"percent": 60.0' in run.out, "the new level")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0
    assert run.err == ""
    levels = [json.loads(line)["power"]["percent"] for line in run.out.splitlines()]
    assert sorted(set(levels)) == [40.0, 60.0]


def test_watch_prints_blocks_where_there_is_no_terminal(laptop: Laptop, start: Start) -> None:
    run = start("status", "--watch", "0.1")
    run.wait_until(lambda: run.out.count("\n\n") >= 2, "two blocks")
    run.process.send_signal(signal.SIGINT)
    assert run.end() == 0
    assert "\x1b" not in run.out
    assert all(block.startswith("power ") for block in run.out.split("\n\n") if block)


def test_doctor(laptop: Laptop, start: Start, backend_name: str) -> None:
    run = start("doctor")
    assert run.end() == 0
    facts, _, sensors = run.out.partition("\nsensors\n")
    shown = dict(line.split(": ", 1) for line in facts.splitlines())
    assert shown["backend"] == f"{backend_name} (DEFERPOWER_BACKEND={backend_name})"
    assert shown["python"].startswith(platform.python_version())
    assert shown["root"] == str(laptop.root)
    table = [line.split(maxsplit=3) for line in sensors.splitlines()]
    assert [row[0] for row in table] == sorted(row[0] for row in table)
    assert {row[0] for row in table} == SENSORS
    found = {where: (status, detail) for _, status, where, detail in table}
    assert found[f"{laptop.root}/proc/meminfo"][0] == "ok"
    assert found[f"{laptop.root}/proc/diskstats"][0] == "absent"
    assert found[f"{laptop.root}/sys/class/power_supply/AC"][0] == "ok"
    assert found[f"{laptop.root}/sys/class/power_supply/BAT0"][0] == "ok"


def test_doctor_as_json(laptop: Laptop, start: Start, backend_name: str) -> None:
    run = start("doctor", "--json")
    assert run.end() == 0
    facts = json.loads(run.out)
    assert facts["backend"] == backend_name
    assert facts["root"] == str(laptop.root)
    assert all(list(sensor) == list(types.Source._fields) for sensor in facts["sensors"])
    assert {sensor["sensor"] for sensor in facts["sensors"]} == SENSORS
    assert {"name": "psutil", "extra": None} in [
        {key: package[key] for key in ("name", "extra")} for package in facts["packages"]
    ]


def test_doctor_tells_of_a_failing_sensor(laptop: Laptop, start: Start) -> None:
    meminfo = laptop.root / "proc/meminfo"
    meminfo.unlink()
    meminfo.mkdir()  # it opens, and reading it fails
    run = start("doctor", "--json")
    assert run.end() == 1
    (memory,) = (s for s in json.loads(run.out)["sensors"] if s["sensor"] == "memory")
    assert memory["status"] == "failing"
    assert memory["where"] == str(meminfo)
