"""A new drive whose first machine dies too soon is usable all the same, and no drive with data is ever called blank."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.crash.conftest import Lab
from tests.crash.meanwhile import before_call
from tests.crash.test_attach import full_zone, interrupt
from xportal.agent.core.config import AgentConfig
from xportal.aws import tags
from xportal.aws.records import Instance
from xportal.drive.observe import observe
from xportal.portal.up.ready import _note_filesystems

_numbers = itertools.count()


@pytest.fixture
def drive() -> str:
    """A drive of this test's own."""
    return f"blank{next(_numbers)}"


@pytest.fixture
def configs(lab: Lab) -> Iterator[list[AgentConfig]]:
    """What launches tell their machines, the latest last."""
    told: list[AgentConfig] = []

    def note(params: Mapping[str, Any]) -> None:
        facts = yaml.safe_load(gzip.decompress(base64.b64decode(params["UserData"])))["bootcmd"][0][3]
        told.append(AgentConfig.from_json(json.loads(facts)))

    with before_call(lab.aws, "RunInstances", note, times=1000):
        yield told


def up(lab: Lab, drive: str, configs: list[AgentConfig]) -> tuple[Instance, bool]:
    """The drive's machine, and whether it may make a filesystem where it finds nothing."""
    machine = lab.up(drive, size_gib=1)
    return machine, configs[-1].main.blank


def test_a_machine_that_dies_before_it_made_the_filesystem(lab: Lab, drive: str, configs: list[AgentConfig]) -> None:
    """The next one may make it, on the same volume or a restored one; after one that was ready none may."""
    machine, blank = up(lab, drive, configs)
    assert blank
    volume = interrupt(lab, machine)
    again, blank = up(lab, drive, configs)
    assert (volume in again.disks.values(), blank) == (True, True)
    interrupt(lab, again)
    with full_zone(lab, again.zone):
        elsewhere, blank = up(lab, drive, configs)
    assert (volume in elsewhere.disks.values(), blank) == (False, True)
    _note_filesystems(lab.aws, elsewhere)
    interrupt(lab, elsewhere)
    _, blank = up(lab, drive, configs)
    assert not blank
    lab.down(drive)
    assert not any(tags.BLANK in s.tags for s in observe(lab.aws, drive).snapshots[-1:])
    _, blank = up(lab, drive, configs)
    assert not blank
    lab.down(drive)
