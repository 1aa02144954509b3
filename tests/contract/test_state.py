"""The state file: JSON that calls nothing when it is read, of its owner alone; one of an earlier version goes on."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import re
import tempfile
import threading
from collections import OrderedDict, defaultdict
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Account
from tests.contract.test_restart import everything, start
from xportal.errors import HardwareFailure, Refused
from xportal.sandbox.api.ec2.catalogue import TypeInfo
from xportal.sandbox.api.ec2.records.spot_request import SpotRequest
from xportal.sandbox.api.state import classes, encoding, file, pickled
from xportal.sandbox.hardware import Addresses, Notice
from xportal.sandbox.hardware.files import FileHardware
from xportal.sandbox.private import check_private, write_private


@pytest.fixture
def state_file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state"


def fill(account: Account) -> None:
    """One of each kind of record that xportal makes."""
    account.cloud.settings.profile_seconds = 0.0
    iam = account.client("iam")
    iam.create_role(RoleName="saver", AssumeRolePolicyDocument="{}")
    statement = {"Effect": "Allow", "Action": "ec2:DescribeVolumes", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_role_policy(RoleName="saver", PolicyName="saver", PolicyDocument=document)
    iam.create_instance_profile(InstanceProfileName="saver")
    iam.add_role_to_instance_profile(InstanceProfileName="saver", RoleName="saver")
    account.import_key("xportal-d", TagSpecifications=[{"ResourceType": "key-pair", "Tags": [TAG]}])
    group = account.ec2.create_security_group(GroupName="xportal", Description="d")["GroupId"]
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}
    account.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh])
    machine = account.launch_spot(
        BlockDeviceMappings=[account.drive()],
        KeyName="xportal-d",
        IamInstanceProfile={"Name": "saver"},
        SecurityGroupIds=[group],
        UserData="a host key",
        ClientToken="t",
    )
    snapshot = account.make_snapshot(account.drive_of(machine))
    account.ec2.create_tags(Resources=[snapshot], Tags=[TAG])
    account.make_volume(SnapshotId=snapshot)
    account.cloud.metadata(machine["InstanceId"])  # which makes the role's credentials
    account.admin("POST", "interrupt", instance_id=machine["InstanceId"], notice_seconds=600)


TAG = {"Key": "xportal:drive", "Value": 'a "b" ünï\n漢'}


def test_the_state_is_json_of_its_owner_alone(hardware: FileHardware, state_file: Path) -> None:
    """A text; readable for its owner alone, in a directory of its owner alone."""
    account = start(hardware, state_file)
    fill(account)
    account.cloud.stop()
    assert json.loads(state_file.read_text())["table"]
    assert (state_file.stat().st_mode & 0o777, state_file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in state_file.parent.iterdir()] == ["state"]


def as_before(state_file: Path) -> None:
    """Write the state as the version before wrote it."""
    state_file.parent.mkdir(exist_ok=True, mode=0o700)
    state_file.write_bytes(pickle.dumps({"version": 1, "backends": file._backends()}))


def test_a_state_of_the_version_before_goes_on(hardware: FileHardware, state_file: Path) -> None:
    """A pickle is read once, with everything in it: drives, keys, a role's machine; then it is JSON."""
    account = start(hardware, None)
    fill(account)
    before = everything(account)
    role = account.cloud.metadata(account.all_instances()[0]["InstanceId"]).role
    as_before(state_file)
    account.cloud.stop()
    for _ in range(2):
        account = start(hardware, state_file)
        try:
            assert json.loads(state_file.read_text())["table"]
            assert everything(account) == before
            assert role
            inside = account.client_with("ec2", role.access_key_id, role.secret_access_key, role.token)
            assert inside.describe_volumes()["Volumes"]
            assert account.launch(ClientToken="t2", KeyName="xportal-d")
            before = everything(account)
        finally:
            account.cloud.stop()


OLDER_STATES = Path(__file__).with_name("older-states")


@pytest.mark.parametrize("name", ["flat-modules.json.gz", "flat-modules.pickle.gz"])
def test_a_state_of_before_the_modules_moved_goes_on(hardware: FileHardware, state_file: Path, name: str) -> None:
    """Each class is found where it is now: drives, copies, keys and the machine are there, and what is new is written.

    Both files have what `fill` makes. They were written when all of the API's modules lay in one directory.
    """
    stored = gzip.decompress((OLDER_STATES / name).read_bytes())
    earlier = re.compile(rb"xportal\.sandbox\.api\.(backend|catalogue|images|instances|snapshots|spot|volumes)\b")
    assert len(set(earlier.findall(stored))) == 7
    state_file.parent.mkdir(mode=0o700)
    write_private(state_file, stored)
    account = start(hardware, state_file)
    try:
        assert account.volume("vol-74d1c2c85aaa722ba")["State"] == "available"
        snapshot = account.snapshot("snap-6bb9d2e9209a1920f")
        assert (snapshot["State"], snapshot["VolumeId"], snapshot["Tags"]) == (
            "completed",
            "vol-74d1c2c85aaa722ba",
            [TAG],
        )
        [key] = account.ec2.describe_key_pairs()["KeyPairs"]
        assert (key["KeyPairId"], key["KeyName"], key["Tags"]) == ("key-74fbef2a863cac158", "xportal-d", [TAG])
        [machine] = account.all_instances()  # its power went with the hardware of that time
        assert (machine["InstanceId"], machine["State"]["Name"]) == ("i-b9f57f24ab228e6cd", "terminated")
        assert account.spot_request(machine)["State"] == "closed"
        assert account.client("iam").get_role(RoleName="saver")["Role"]["RoleName"] == "saver"
        assert account.launch(KeyName="xportal-d", SecurityGroupIds=["sg-e1bf10a1c50bb5c4e"])
    finally:
        account.cloud.stop()
    assert not earlier.search(state_file.read_bytes())


class Evil:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_state_that_would_do_something_is_not_read(hardware: FileHardware, state_file: Path, tmp_path: Path) -> None:
    """Neither a pickle nor JSON that names what is no record is read; nothing is called, and the file stays."""
    state_file.parent.mkdir(mode=0o700)
    done = tmp_path / "done"
    popen = '{"record":"subprocess:Popen","attributes":{}}'
    for text in (
        pickle.dumps({"version": 1, "backends": Evil(done)}),
        pickle.dumps({"version": 1, "backends": re.compile}),
        pickle.dumps({"version": 7, "backends": {}}),
        f'{{"table":[{popen}]}}'.encode(),
        b'{"table":[{"record":"xportal.sandbox.api.state.file:Path","attributes":{}}]}',
        b'{"table":[{"record":"xportal.sandbox.api.engine:threading","attributes":{}}]}',
        b'{"table":[{"list":[{"method":[{"ref":0},"append"]}]}]}',
        b'{"table":[]}',
        b"{}",
        b"\x80",
    ):
        state_file.write_bytes(text)
        with pytest.raises(HardwareFailure, match="cannot read the sandbox's state") as caught:
            start(hardware, state_file)
        assert "reset" in caught.value.hint
        assert state_file.read_bytes() == text
    assert not done.exists()


def test_what_a_state_could_not_hold_is_said(tmp_path: Path) -> None:
    """No value is left out in silence: what has no JSON is named."""
    for value in (threading.Lock(), lambda: None, object(), tmp_path, [1, {2: threading}], 1j, Evil(tmp_path)):
        with pytest.raises(classes.UnknownKindError, match=r"no JSON for|is no class of records"):
            encoding.dumps([value])
    with pytest.raises(ValueError, match="JSON"):
        encoding.dumps([float("nan")])


def test_values_come_back_as_they_were() -> None:
    """Every kind of value, the order of dictionaries, and what is referred to twice is still one."""
    shared = [1]
    addresses = Addresses("192.0.2.1", "10.0.0.1")
    made: defaultdict[str, dict[str, int]] = defaultdict(dict)
    made["a"]["b"] = 1
    whole: dict[Any, Any] = {
        "plain": [None, True, False, 0, -1, 1.5, "", 'a\n"ü漢\x00'],
        "shared": shared,
        "again": (shared, frozenset((1, 2)), b"\x00\xff"),
        "times": [datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2026, 1, 2, tzinfo=timezone.utc), timedelta(-1, 2, 3)],
        ("a", 1): OrderedDict(b=1, a=2),
        "made": made,
        "set": {IPv4Network("10.0.0.0/8")},
        "pattern": re.compile("a+", re.IGNORECASE),
        "record": Notice("terminate", datetime(2026, 1, 1, tzinfo=timezone.utc)),
        "twice": [addresses, addresses],
    }
    whole["self"] = whole
    back = encoding.loads(encoding.dumps(whole))
    assert back.pop("self") is back
    del whole["self"]
    assert back == whole
    assert list(back) == list(whole)
    assert back["shared"] is back["again"][0]
    assert back["twice"][0] is back["twice"][1]
    assert list(back[("a", 1)]) == ["b", "a"]
    assert back["made"]["new"] == {}


def test_only_classes_of_records_are_found() -> None:
    """By the module that defines them, or once did; what it imports is none, and neither is a function."""
    module = "xportal.sandbox.api.ec2.records.spot_request"
    assert classes.find_class(module, "SpotRequest") is SpotRequest
    assert classes.find_class("xportal.sandbox.api.spot", "SpotRequest") is SpotRequest
    assert classes.find_class("xportal.sandbox.api.ec2.catalogue", "TypeInfo") is TypeInfo
    for place, name in (
        ("os", "system"),
        ("subprocess", "Popen"),
        (module, "TaggedEC2Resource"),
        (module, "SpotRequest.__init__"),
        (module, "nothing"),
        ("xportal.sandbox.api.spot", "Price"),
        ("xportal.sandbox.apiary", "X"),
        ("xportal.sandbox.api.gone", "X"),
        ("moto.server", "ThreadedMotoServer"),
    ):
        with pytest.raises(classes.UnknownKindError):
            classes.find_class(place, name)
    with pytest.raises(classes.UnknownKindError):
        pickled.loads(pickle.dumps(Path))


def test_a_directory_is_private(tmp_path: Path) -> None:
    """Its own user's, and what is in it too; written by nobody else, wherever it is."""
    home = tmp_path / "home"
    check_private(home)
    home.mkdir(mode=0o755)
    (home / "file").touch(mode=0o644)
    check_private(home)
    for path in (home, home / "file"):
        for bit in (0o020, 0o002):
            mode = path.stat().st_mode
            path.chmod(mode | bit)
            with pytest.raises(Refused, match=re.escape(f"others may write to {path}")):
                check_private(home)
            path.chmod(mode)
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="everybody may write in"):
        check_private(home)
    tmp_path.chmod(0o1777)
    check_private(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away")
def test_a_directory_is_nobody_else_s(tmp_path: Path) -> None:
    """One of another user, or with a file or link of another user in it, is refused."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "file").touch()
    (home / "link").symlink_to("file")
    for path in (home, home / "file", home / "link"):
        os.chown(path, 65534, 65534, follow_symlinks=False)
        with pytest.raises(Refused, match=re.escape(f"{path} belongs to user 65534")):
            check_private(home)
        os.chown(path, 0, 0, follow_symlinks=False)
    check_private(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone becomes another user")
def test_another_user_is_told_whose_it_is(tmp_path: Path) -> None:
    """Refused, with a hint, whether they may look at the home or not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as open_to_all:
        Path(open_to_all).chmod(0o755)
        for parent, says in ((tmp_path, "is closed to this user"), (Path(open_to_all), "belongs to user 0")):
            home = parent / "home"
            home.mkdir(mode=0o700)
            os.seteuid(65534)
            try:
                with pytest.raises(Refused, match=says) as caught:
                    check_private(home)
            finally:
                os.seteuid(0)
            assert "sudo -E" in caught.value.hint


def test_a_state_that_others_may_write_to_is_not_read(hardware: FileHardware, state_file: Path) -> None:
    """The cloud does not start with it."""
    start(hardware, state_file).cloud.stop()
    state_file.chmod(0o620)
    with pytest.raises(Refused, match="others may write"):
        start(hardware, state_file)
