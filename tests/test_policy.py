"""`Policy`: a TOML file tunes every system, and says where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from deferpower import ConfigError
from deferpower.policy import Policy
from deferpower.task import TaskClass
from readings import a_reading, on_battery

EVERYTHING = """
[scheduling]
battery_threshold = 60
suspend_non_critical = 25
[idle]
dwell_s = 7
[resources]
memory_threshold = 0.5
[processing]
full_performance = 90
[classifier]
critical_keywords = ["page the doctor"]
[classifier.types]
radiology = "charging_only"
[classifier.defer_below]
normal = 40
"""


def test_without_a_file_everything_has_its_default() -> None:
    policy = Policy()
    assert policy.thresholds.battery_threshold == 50
    assert policy.thresholds.idle.dwell_s == 60
    assert all(
        is_default for values in policy.tables().values() for _, is_default in values.values()
    )


def test_what_the_file_says_reaches_every_system(backend_name: str) -> None:
    policy = Policy(EVERYTHING)
    given = {
        (table, key)
        for table, values in policy.tables().items()
        for key, (_, is_default) in values.items()
        if not is_default
    }
    assert given == {
        ("scheduling", "battery_threshold"),
        ("scheduling", "suspend_non_critical"),
        ("idle", "dwell_s"),
        ("resources", "memory_threshold"),
        ("processing", "full_performance"),
        ("classifier", "critical_keywords"),
        ("classifier.types", "radiology"),
        ("classifier.defer_below", "normal"),
    }
    scheduler = policy.scheduler(policy.device(backend=backend_name), backend_name)
    at_55 = a_reading(on_battery(55.0))
    background = {"type": "cleanup"}
    assert not scheduler.schedule_task(background, at_55).execute_now
    assert Policy().scheduler(backend=backend_name).schedule_task(background, at_55).execute_now

    classifier = policy.classifier(backend_name)
    paging = {"description": "page the doctor on call"}
    assert classifier.classify_task(paging).task_class is TaskClass.CRITICAL
    assert classifier.classify_task({"type": "radiology"}).task_class is TaskClass.CHARGING_ONLY
    training = classifier.classify_task({"type": "training"})
    assert training.rule == "keyword 'training' in type", "the default types are replaced whole"
    assert classifier.should_defer({}, 39)
    assert not classifier.should_defer({}, 40)

    processor = policy.processor()
    assert processor.adjust_processing_for_battery({}, 89).batch_size == 16
    assert policy.processor().adjust_processing_for_battery({}, 24).suspend_non_critical
    assert policy.resources().memory_threshold == 0.5
    assert scheduler.device.backend_name == backend_name


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("battery = 3", "battery: unknown key; known here are scheduling, idle, resources"),
        ("[scheduling]\nbattery_treshold = 3", "scheduling.battery_treshold: unknown key"),
        ("[scheduling]\nbattery_threshold = 130", "scheduling.battery_threshold: 130 is no number"),
        ("[scheduling]\nbattery_threshold = nan", "scheduling.battery_threshold: nan is no number"),
        ("[scheduling]\nbattery_low = 30", "scheduling.battery_low: 30 is above battery_well"),
        ("scheduling = 3", r"scheduling: 3 is no table; write \[scheduling\]"),
        ("[idle]\ndwell_s = -1", "idle.dwell_s: -1 is no number from 0"),
        ("[idle]\ndwell_s = true", "idle.dwell_s: True is no number from 0"),
        ("[idle]\ndwell_s = inf", "idle.dwell_s: inf is no number from 0"),
        ("[idle]\ncpu_percent = 101", "idle.cpu_percent: 101 is no number from 0 to 100"),
        ("[scheduling]\nplug_dwell_s = inf", "scheduling.plug_dwell_s: inf is no number from 0"),
        ("[scheduling]\nsuspend_non_critical = 40", "scheduling.suspend_non_critical: 40 is above"),
        ("[resources]\ncpu_threshold = 70", "resources.cpu_threshold: 70 is no number from 0 to 1"),
        ("[processing]\nfull_performance = 10", r"processing\.reduced_performance: 50 is above"),
        ("[classifier]\ncritical_keywords = [1]", r"classifier\.critical_keywords\[0\]: 1 is no"),
        ("[classifier.types]\nx = 'big'", r"classifier\.types\['x'\]: 'big' is no class"),
        ("[classifier.defer_below]\nnormal = 101", r"classifier\.defer_below\.normal: 101 is no"),
        ("[idle", "no TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_path(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "deferpower.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        Policy.load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, config = tmp_path / "here", tmp_path / "config"
    (config / "deferpower").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    assert Policy.load().path is None
    theirs = config / "deferpower" / "deferpower.toml"
    theirs.write_text("[idle]\ndwell_s = 1\n")
    assert (Policy.load().path, Policy.load().thresholds.idle.dwell_s) == (theirs, 1)
    Path("deferpower.toml").write_text("[idle]\ndwell_s = 2\n")
    assert Policy.load().thresholds.idle.dwell_s == 2
    assert Policy.load(theirs).thresholds.idle.dwell_s == 1


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy: no file '.*missing.toml'; name a TOML file"):
        Policy.load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match=r"policy: cannot read '.*': is a directory"):
        Policy.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"policy: cannot read '.*': it is not UTF-8"):
        Policy.load(tmp_path / "binary.toml")
