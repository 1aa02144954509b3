"""What a watch goes by: its own options, and the spec file of the portal's last `up`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from xportal.portal.last_time import LastTime
from xportal.spec import Followed, MachineSpec
from xportal.watch.following import followed, limits_text
from xportal.watch.step import Limits

TOLD = Followed("train.yaml", "0" * 12, on_demand=False, max_price=0.5, budget=20.0, max_hours=9.0, end_price=1.0)
LAST = LastTime("p", datetime(2026, 1, 1, tzinfo=timezone.utc), ("p",), gpu=True, types=("g5.xlarge",), follows=TOLD)


def test_without_a_file_the_options_are_all() -> None:
    """--max-price is for the launch and for the end."""
    spec, limits = followed("p", MachineSpec(max_price=2.0), Limits(1.0, None), replace(LAST, follows=None))
    assert (spec.machine, limits, spec.follows) == (MachineSpec(max_price=2.0), Limits(1.0, None, 2.0), None)
    assert followed("p", MachineSpec(), Limits(), None)[1] == Limits()


def test_with_a_file_its_limits_types_and_market_are_kept() -> None:
    """The price of a launch and that of the end are two."""
    spec, limits = followed("p", MachineSpec(), Limits(), LAST)
    assert limits == Limits(20.0, 9.0, 1.0)
    assert spec.machine == MachineSpec(gpu=True, types=("g5.xlarge",), on_demand=False, max_price=0.5)
    assert spec.follows == TOLD


def test_options_win_over_the_file() -> None:
    """Each on its own; one that chooses the machine replaces what the file chose."""
    spec, limits = followed("p", MachineSpec(gpu=False, max_price=2.0), Limits(dollars=3.0), LAST)
    assert limits == Limits(3.0, 9.0, 2.0)
    assert spec.machine == MachineSpec(gpu=False, max_price=2.0)
    spec, _ = followed("p", MachineSpec(on_demand=True), Limits(), LAST)
    assert (spec.machine.on_demand, spec.machine.max_price) == (True, None)


def test_who_says_gpu_alone_gets_a_machine_like_the_last() -> None:
    """Which has its memory and GPUs at least."""
    spec, _ = followed("p", MachineSpec(), Limits(), replace(LAST, types=()))
    assert (spec.machine.gpu, spec.machine.types) == (None, ())


def test_the_limits_are_told() -> None:
    assert limits_text(Limits()) == "at no limit"
    assert limits_text(Limits(1, 2, 3)) == "when $1 are spent or after 2 hours or when it costs more than $3/h"
