"""deferpower on a device set by hand."""

from __future__ import annotations

from benches.peers.contenders.contender import times
from benches.peers.contenders.deferpower import Deferpower

from deferpower import Constraints
from deferpower.testing import FakeDevice

KINDS = 20


class DeferpowerByHand(Deferpower):
    """On a device set by hand: a reading of sensors in a figure would hide a difference."""

    def device(self) -> FakeDevice:
        self.fake = FakeDevice(plugged=False, percent=60)
        return self.fake

    def park(self, count: int) -> None:
        """In kinds that ask for different things, as tasks of a program do."""
        for kind in range(KINDS):
            wanted = Constraints(charging=True, battery_above=kind)
            self.park_for(wanted, count // KINDS, f"waits {kind}")

    def claim_times(self, rounds: int) -> list[float]:
        """Plug in, and run one task after the other."""
        self.fake.plug_in()
        self.fake.clock.advance(5)
        return times(self._claim, rounds)

    def _claim(self) -> None:
        assert len(self.tasks.process_background_tasks(1)) == 1
