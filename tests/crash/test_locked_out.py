"""A machine to which nobody can log in: one that refuses a key is ours, one with another host key may not be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.crash.conftest import Lab
from xportal.aws import compute, network, tags
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive.observe import observe
from xportal.errors import KeyRefused, LoginRefused
from xportal.portal import access
from xportal.portal.access import log_in, login_for, login_of
from xportal.portal.down import down
from xportal.portal.machine_saves import RemoteAgent
from xportal.remote import Login


def raises(error: Exception) -> Callable[..., Any]:
    """A function that raises it."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def test_down_saves_a_machine_that_lets_nobody_in(lab: Lab, drive: str) -> None:
    """It is shut down, which saves, and what it left is saved."""
    lab.write(lab.up(drive), "one")
    locked = RemoteAgent(lab.aws, lab.story, enter=raises(KeyRefused("no key")))
    report = down(lab.aws, drive, lab.story, locked)
    [left] = report.drives
    assert left.snapshot
    assert lab.bytes_of(left.snapshot.id) == ["one"]
    assert any("no key; the machine is shut down and its drive saved afterwards" in line for line in lab.story.lines)


def test_down_leaves_a_machine_alone_that_is_perhaps_another(lab: Lab, drive: str) -> None:
    """Somebody else answers at its address: the user is told, nothing is ended."""
    machine = lab.up(drive)
    other = RemoteAgent(lab.aws, lab.story, enter=raises(LoginRefused("another host key")))
    with pytest.raises(LoginRefused):
        down(lab.aws, drive, lab.story, other)
    found = compute.find_instance(lab.aws, machine.id)
    assert found
    assert found.state == "running"
    lab.down(drive)


class Lets:
    """Stands for `connect`: lets in with whatever key is new; its machine does what it is told, and forgets it."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []  # that were tried

    def __call__(self, login: Login, **_: object) -> Any:
        """Each key once."""
        key = login.key_file.read_bytes()
        if key in self.keys or not self.keys:
            self.keys.append(key)
            raise KeyRefused("no key")
        self.keys.append(key)
        return SimpleNamespace(run=lambda *_, **__: None, close=lambda: None)


def test_a_refused_key_is_replaced_once(lab: Lab, drive: str) -> None:
    """By a new one, which is let in; where AWS gives none, the error says what is so, what to do and what is billed."""
    machine = lab.up(drive)
    before = login_for(lab.aws, machine).key_file.read_bytes()
    lets = Lets()
    with pytest.raises(KeyRefused, match="no key"):
        log_in(lab.aws, machine, seconds=1.0, dial=lets)
    new = login_for(lab.aws, machine).key_file.read_bytes()
    assert lets.keys == [before, new, new]
    assert new != before
    lab.cloud.add_fault("error", operations=["SendSSHPublicKey"])
    with pytest.raises(KeyRefused, match="EC2 Instance Connect gives it no new one") as caught:
        access.replace_login_key(lab.aws, machine)
    lab.cloud.clear_faults()
    assert f"xportal down {drive}" in caught.value.hint
    assert machine.id in caught.value.billed[0]
    assert login_for(lab.aws, machine).key_file.read_bytes() == new
    lab.down(drive)


def forbid(lab: Lab, operation: str) -> None:
    """As policies that do not allow it, for this account's further calls."""

    def refuse(**_: object) -> None:
        answer: Any = {"Error": {"Code": "UnauthorizedOperation", "Message": f"you may not {operation}"}}
        raise ClientError(answer, operation)

    lab.aws.ec2.meta.events.register(f"before-call.ec2.{operation}", refuse)


def saved(lab: Lab, drive: str) -> list[str]:
    """What `down`, with the real way onto machines, saves of the drive. Nobody answers at the machines of files."""
    report = down(lab.aws, drive, lab.story, RemoteAgent(lab.aws, lab.story, patience=0.5))
    assert report.drives[0].snapshot
    assert not observe(lab.aws, drive).live_machine()
    return lab.bytes_of(report.drives[0].snapshot.id)


def test_down_saves_where_ssh_cannot_be_opened(lab: Lab, drive: str) -> None:
    """The group is full, or not ours to change: it may be open already; else the error says why nobody answered."""
    machine = lab.up(drive)
    lab.write(machine, "one")
    group = network.find_security_group(lab.aws, machine.vpc_id or "")
    assert group
    network.forbid_ssh(lab.aws, group.id, list(group.ssh))
    forbid(lab, "AuthorizeSecurityGroupIngress")
    assert saved(lab, drive) == ["one"]
    [told] = [line for line in lab.story.lines if "is shut down and its drive saved" in line]
    assert "it could not be opened to this computer: " in told
    assert "you may not AuthorizeSecurityGroupIngress" in told


def test_down_saves_where_no_key_can_be_kept(
    lab: Lab, drive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This computer's directory of keys cannot be used: the machine's shutdown saves, and the tidying is left."""
    lab.write(lab.up(drive), "one")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert saved(lab, drive) == ["one"]
    assert any("is shut down and its drive saved afterwards" in line for line in lab.story.lines)


def test_a_tidying_that_is_forbidden_fails_no_down(lab: Lab, drive: str) -> None:
    """Everything is saved: what is left is said."""
    lab.write(lab.up(drive), "one")
    forbid(lab, "DeleteSecurityGroup")
    lab.down(drive)
    assert any("something that costs nothing is left behind" in line for line in lab.story.lines)


def test_the_host_key_of_the_launch_wins_over_the_tag(
    lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A tag that was changed is said in one error, and nobody is connected to; another computer has the tag alone."""
    machine = lab.up(drive)
    right = machine.tags[tags.HOST_KEY]
    wrong = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2FC8yWQ1yq3i3x4wGqRjbP8y1eGJmQmGJ4kBqjQm3a"
    set_tags(lab.aws, machine.id, {tags.HOST_KEY: wrong})
    changed = compute.find_instance(lab.aws, machine.id)
    assert changed
    never = raises(AssertionError("it was connected to"))
    with pytest.raises(LoginRefused, match="another host key than this computer gave it") as caught:
        log_in(lab.aws, changed, seconds=1.0, dial=never)
    assert right in caught.value.hint
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        assert login_of(changed).host_key == wrong
    delete_tag(lab.aws, machine.id, tags.HOST_KEY)
    without = compute.find_instance(lab.aws, machine.id)
    assert without
    assert login_of(without).host_key == right
    lab.down(drive)
