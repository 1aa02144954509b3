"""`watch` without options on the machine: the next one can do what the last one could."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.crash.conftest import Lab
from tests.crash.watches import SECONDS, live, next_machine, take, wait_for, watch
from xportal.aws import catalogue
from xportal.aws.records import Instance
from xportal.machine.images import get_machine_image
from xportal.portal.up.plan import Preparation, prepare
from xportal.spec import MachineSpec, PortalSpec
from xportal.watch.successor import successor


def offers(lab: Lab, last: Instance, asked: MachineSpec = MachineSpec()) -> Preparation:
    """What a portal that had this machine would be launched with."""
    found = prepare(lab.aws, PortalSpec("nowhere", successor(lab.aws, asked, last)))
    assert isinstance(found, Preparation)
    return found


@pytest.mark.parametrize("name", ["m5.large", "t3.small", "r5.4xlarge", "g5.12xlarge", "p4d.24xlarge", "t4g.medium"])
@pytest.mark.parametrize("spot", [True, False])
def test_no_less_than_before(lab: Lab, drive: str, name: str, spot: bool) -> None:
    """Memory, GPUs and their memory, also of types beyond the defaults, on either market."""
    [known] = catalogue.list_instance_types(lab.aws, [name])
    last = replace(lab_machine(lab, name, known.architectures[0]), spot=spot)
    found = offers(lab, last)
    assert name in {offer.type.name for offer in found.offers}
    for offer in found.offers:
        assert offer.type.memory_mib >= known.memory_mib
        assert offer.type.gpus >= known.gpus
        assert offer.type.gpu_memory_mib >= known.gpu_memory_mib
        assert last.architecture in offer.type.architectures
        assert (offer.price is not None) == spot
    assert found.image.id != "ami-other"


def lab_machine(lab: Lab, name: str, architecture: str) -> Instance:
    """What AWS told of a machine with the default image."""
    told = PortalSpec("nowhere", MachineSpec(types=(name,), architecture=architecture, on_demand=True))
    prepared = prepare(lab.aws, told)
    assert isinstance(prepared, Preparation)
    now = lab.aws.now()
    return Instance("i-1", "terminated", name, "us-east-1a", now, prepared.image.id, architecture=architecture)


def test_the_market(lab: Lab, drive: str) -> None:
    """The last one's, unless --on-demand or --max-price says which."""
    spot = replace(lab_machine(lab, "m5.large", "x86_64"), spot=True)
    full = replace(spot, spot=False)
    asked = MachineSpec(on_demand=True), MachineSpec(max_price=1.0), MachineSpec()
    assert [successor(lab.aws, a, spot).on_demand for a in asked] == [True, False, False]
    assert [successor(lab.aws, a, full).on_demand for a in asked] == [True, False, True]
    PortalSpec(drive, successor(lab.aws, asked[1], full))  # raises nothing


def test_the_image(lab: Lab) -> None:
    """One that `up` was given is kept while AWS has it; the default one is the newest each time."""
    last = lab_machine(lab, "m5.large", "x86_64")
    assert successor(lab.aws, MachineSpec(), last).image_id is None
    given = get_machine_image(lab.aws, MachineSpec(), gpu=True).id  # it exists
    assert successor(lab.aws, MachineSpec(), replace(last, image_id=given)).image_id == given
    assert successor(lab.aws, MachineSpec(), replace(last, image_id="ami-0123456789abcdef0")).image_id is None


def test_on_demand_alone(lab: Lab, drive: str, pool: ThreadPoolExecutor) -> None:
    """`watch --on-demand`: the next machine is no spot machine."""
    before = lab.up(drive, size_gib=1)
    watching = pool.submit(watch(lab, drive, machine=MachineSpec(on_demand=True)).run)
    wait_for(lab, watching, lambda: live(lab, drive))
    take(lab, before)
    assert not next_machine(lab, drive, watching, before).spot
    lab.down(drive)
    watching.result(SECONDS)
