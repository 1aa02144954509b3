"""A machine to which nobody can log in: one that refuses a key is ours, one with another host key may not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.crash.conftest import Lab
from xportal.aws import compute, tags
from xportal.aws.records import Instance
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive.observe import observe
from xportal.errors import KeyRefused, LoginRefused
from xportal.portal import access
from xportal.portal.access import log_in, login_for, login_of
from xportal.portal.down import down
from xportal.portal.machine_saves import RemoteAgent


def raises(error: Exception) -> object:
    """A function that raises it."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_down_saves_a_machine_that_lets_nobody_in(lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shut down, which saves, and what it left is saved."""
    lab.write(lab.up(drive), "one")
    monkeypatch.setattr("xportal.portal.machine_saves.log_in", raises(KeyRefused("no key")))
    report = down(lab.aws, drive, lab.story, RemoteAgent(lab.aws, lab.story))
    [left] = report.drives
    assert left.snapshot
    assert lab.bytes_of(left.snapshot.id) == ["one"]
    assert any("no key; the machine is shut down and its drive saved afterwards" in line for line in lab.story.lines)


def test_down_leaves_a_machine_alone_that_is_perhaps_another(
    lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else answers at its address: the user is told, nothing is ended."""
    machine = lab.up(drive)
    monkeypatch.setattr("xportal.portal.machine_saves.log_in", raises(LoginRefused("another host key")))
    with pytest.raises(LoginRefused):
        down(lab.aws, drive, lab.story, RemoteAgent(lab.aws, lab.story))
    found = compute.find_instance(lab.aws, machine.id)
    assert found
    assert found.state == "running"
    lab.down(drive)


def test_a_refused_key_is_replaced_once(lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a new one, which is let in; where AWS gives none, the error says what is so, what to do and what is billed."""
    machine = lab.up(drive)
    before = login_for(lab.aws, machine).key_file.read_bytes()
    calls: list[Instance] = []
    with monkeypatch.context() as patched:
        patched.setattr(access, "replace_login_key", lambda _, which, *__: calls.append(which))
        patched.setattr(access, "connect", raises(KeyRefused("no key")))
        with pytest.raises(KeyRefused, match="no key"):
            log_in(lab.aws, machine, seconds=1.0)
    assert calls == [machine]
    lab.cloud.add_fault("error", operations=["SendSSHPublicKey"])
    with pytest.raises(KeyRefused, match="EC2 Instance Connect gives it no new one") as caught:
        access.replace_login_key(lab.aws, machine)
    lab.cloud.clear_faults()
    assert f"xportal down {drive}" in caught.value.hint
    assert machine.id in caught.value.billed[0]
    assert login_for(lab.aws, machine).key_file.read_bytes() == before
    lab.down(drive)


def forbid(lab: Lab, operation: str) -> None:
    """As policies that do not allow it, for this account's further calls."""

    def refuse(**_: object) -> None:
        answer: Any = {"Error": {"Code": "UnauthorizedOperation", "Message": f"you may not {operation}"}}
        raise ClientError(answer, operation)

    lab.aws.ec2.meta.events.register(f"before-call.ec2.{operation}", refuse)


def saved(lab: Lab, drive: str) -> list[str]:
    """What `down`, with the real way onto machines, saves of the drive."""
    report = down(lab.aws, drive, lab.story, RemoteAgent(lab.aws, lab.story))
    assert report.drives[0].snapshot
    assert not observe(lab.aws, drive).live_machine()
    return lab.bytes_of(report.drives[0].snapshot.id)


def test_down_saves_where_ssh_cannot_be_opened(lab: Lab, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group is full, or not ours to change: it may be open already; else the error says why nobody answered."""
    lab.write(lab.up(drive), "one")
    forbid(lab, "AuthorizeSecurityGroupIngress")
    monkeypatch.setattr("xportal.portal.machine_saves.CONNECT_SECONDS", 0.5)  # nobody answers at the machines of files
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
    monkeypatch.setattr(access, "connect", raises(AssertionError("it was connected to")))
    with pytest.raises(LoginRefused, match="another host key than this computer gave it") as caught:
        log_in(lab.aws, changed, seconds=1.0)
    assert right in caught.value.hint
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        assert login_of(changed).host_key == wrong
    delete_tag(lab.aws, machine.id, tags.HOST_KEY)
    without = compute.find_instance(lab.aws, machine.id)
    assert without
    assert login_of(without).host_key == right
    lab.down(drive)
