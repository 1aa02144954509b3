"""Names that no machine answers to: a portal at rest is told from a name that nobody knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.crash.conftest import Lab, make_lab
from tests.user import KEYS, make_session
from xportal.aws.session import Aws
from xportal.portal.names import unknown
from xportal.sandbox.api.server import Cloud

AT_REST = "resting"
UP = "training"
ABROAD = "abroad"
NEED_A_MACHINE = ("ssh {}", "logs {} some", "save {}")
UNKNOWN_TOO = ("down {}", "down {} --discard --yes", "status {}", "watch {}")


@pytest.fixture(scope="module")
def account(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A portal at rest, one that is up, and one that is up in another region."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        lab = make_lab(cloud, tmp_path_factory.mktemp("state"), monkeypatch)
        abroad = Lab(Aws(make_session("eu-west-1"), "eu-west-1"), lab.hardware, cloud)
        lab.up(AT_REST, size_gib=1)
        lab.down(AT_REST)
        lab.up(UP, size_gib=1)
        abroad.up(ABROAD, size_gib=1)
        yield lab
        lab.down(UP)
        abroad.down(ABROAD)


def type_all(account: Lab, home: Path, commands: list[str]) -> dict[str, tuple[int, str]]:
    """What each command ends with, and says."""
    reader, writer = os.pipe()
    keys = {name.upper(): value for name, value in KEYS.items()}
    with open(reader) as results:
        subprocess.run(
            [sys.executable, "-m", "tests.crash.odd_program", str(writer), json.dumps([c.split() for c in commands])],
            env={**os.environ, **keys, "AWS_DEFAULT_REGION": "us-east-1", "XDG_STATE_HOME": str(home)},
            pass_fds=[writer],
            capture_output=True,
            check=True,
            timeout=120,
        )
        os.close(writer)
        ends = [json.loads(line) for line in results]
    return {" ".join(end["argv"]): (end["status"], end["said"]) for end in ends}


def test_an_unknown_name(account: Lab, tmp_path: Path) -> None:
    """Whatever the command: exit 3, the nearest name, what is up, what is billed elsewhere, and no hint at a launch."""
    ends = type_all(account, tmp_path, [command.format("trainin") for command in (*NEED_A_MACHINE, *UNKNOWN_TOO)])
    for command, (status, said) in ends.items():
        assert status == 3, f"{command}\n{said}"
        assert 'there is no portal "trainin" in us-east-1' in said, f"{command}\n{said}"
        assert f"did you mean {UP}?; up: {UP}; something is billed in eu-west-1: --region eu-west-1" in said
        assert "billed: eu-west-1: i-" in said
        assert "xportal up" not in said


def test_a_portal_at_rest(account: Lab, tmp_path: Path) -> None:
    """It is down, which is what `down` is asked for; what needs a machine is refused, and says how to get one."""
    ends = type_all(account, tmp_path, [command.format(AT_REST) for command in (*NEED_A_MACHINE, *UNKNOWN_TOO)])
    for command, (status, said) in ends.items():
        needs = any(command == one.format(AT_REST) for one in NEED_A_MACHINE)
        assert status == (3 if needs else 0), f"{command}\n{said}"
        assert "is down" in said or "watch" in command, f"{command}\n{said}"
        assert (f"xportal up {AT_REST}" in said) == needs, f"{command}\n{said}"


def test_a_drive_that_nobody_knows(account: Lab, tmp_path: Path) -> None:
    """As with portals; the drives that there are is what `drives` lists."""
    ends = type_all(account, tmp_path, ["drives history restin", "drives restore restin snap-0123456789abcdef0"])
    for status, said in ends.values():
        assert (status, f"did you mean {AT_REST}?" in said) == (3, True), said


def test_regions_that_do_not_answer(account: Lab) -> None:
    """What could not be asked is named: it may hold what is billed."""
    assert "not asked" not in unknown(account.aws, "trainin").hint
    account.cloud.add_fault("error", operations=["DescribeRegions"])
    try:
        told = unknown(account.aws, "trainin")
    finally:
        account.cloud.clear_faults()
    assert f"up: {UP}; not asked: the other regions (" in told.hint


class Confined(Aws):
    """An account whose user may not work in one region."""

    def in_region(self, region: str) -> Aws:
        """There every call is refused."""
        there = super().in_region(region)
        if region == "eu-north-1":
            there.ec2.meta.events.register("before-call.ec2.*", refuse)
        return there


def test_a_region_that_is_not_allowed(account: Lab) -> None:
    """One region's refusal hides no other's machines."""
    told = unknown(Confined(make_session(), account.aws.region), "trainin")
    assert "billed in eu-west-1" in told.hint
    assert told.hint.endswith("not asked: eu-north-1")


def refuse(**_: object) -> None:
    """As an account whose policies forbid the region."""
    answer: Any = {
        "Error": {"Code": "UnauthorizedOperation", "Message": "an explicit deny in a service control policy"}
    }
    raise ClientError(answer, "DescribeInstances")
