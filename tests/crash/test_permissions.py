"""The least policy of a user: commands that read run under it, and where it lacks an action, the error names that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.conftest import FAST, Lab, LabAws, LabClock, open_cloud
from tests.crash.hostile import typed
from tests.user import LEAST, POLICY, give_least
from xportal.errors import XportalError
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.hardware.files import FileHardware

READING = (("status", "demo"), ("drives", "history", "demo"))
USER = "arn:aws:iam::123456789012:user/least"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud of these tests' own: what is called there is counted."""
    with open_cloud(tmp_path_factory.mktemp("disks"), invisible_seconds=0.0, profile_seconds=0.0) as started:
        yield started


@pytest.fixture
def lab(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose commands are those of the user with the least policy."""
    environment = {
        "AWS_ACCESS_KEY_ID": LEAST.access_key_id,
        "AWS_SECRET_ACCESS_KEY": LEAST.secret_access_key,
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_STATE_HOME": str(tmp_path),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    give_least(cloud)
    assert isinstance(cloud.hardware, FileHardware)
    return Lab(LabAws(cloud, LabClock(FAST), secret=LEAST), cloud.hardware, cloud)


def without(action: str) -> str:
    """The least policy without one action."""
    told = json.loads(POLICY.read_text())
    for statement in told["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        statement["Action"] = [name for name in actions if name != action] or ["sts:GetCallerIdentity"]
    return json.dumps(told)


def test_a_life_and_every_command_that_reads_run_under_it(lab: Lab) -> None:
    """A new drive's life, and all looks at it: nothing is refused. (The scenarios that are cut run under it, too.)"""
    lab.up(size_gib=1)
    for argv in READING:
        said = typed(*argv)
        assert said.status == 0, said.text
    lab.save()
    lab.down()
    refused = [call for call in lab.cloud.calls.as_json() if call["caller"] == USER and call["status"] == 403]
    assert refused == []


LACKING_FOR_UP = (
    "ec2:DescribeVolumes", "ec2:DescribeInstanceTypes", "ssm:GetParameter", "ec2:ImportKeyPair",
    "ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress", "ec2:RunInstances",
)  # fmt: skip
LACKING_FOR_DOWN = (("ec2:TerminateInstances", "ec2:DeleteVolume"), ("ec2:CreateSnapshot",))  # of each life


def test_an_error_names_the_action_that_lacks(lab: Lab) -> None:
    """Ten actions, one removed at a time; once it is back, the same command goes on."""
    for action in LACKING_FOR_UP:
        check_named(lab, action, lambda: lab.up(size_gib=1))
    for actions in LACKING_FOR_DOWN:
        lab.up(size_gib=1)
        for action in actions:
            check_named(lab, action, lab.down)
        lab.down()
    assert lab.volumes() == []


def check_named(lab: Lab, action: str, command: Callable[[], object]) -> None:
    """Without the action the command ends with 4, or with 6 if a save is not complete, and says which it was."""
    give_least(lab.cloud, without(action))
    with pytest.raises(XportalError) as caught:
        pytest.fail(f"without {action}: {command()}")
    give_least(lab.cloud)
    assert caught.value.exit_status in (4, 6)
    assert action in caught.value.message
