"""A machine to which nobody can log in: one that refuses a key is ours, one with another host key may not be."""

from __future__ import annotations

import pytest

from tests.crash.conftest import Bench
from xportal.aws import compute
from xportal.aws.records import Instance
from xportal.errors import KeyRefused, LoginRefused
from xportal.portal import access
from xportal.portal.access import log_in, login_for
from xportal.portal.down import down
from xportal.portal.saving import RemoteAgent


def raises(error: Exception) -> object:
    """A function that raises it."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_down_saves_a_machine_that_lets_nobody_in(bench: Bench, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shut down, which saves, and what it left is saved."""
    bench.write(bench.up(drive), "one")
    monkeypatch.setattr("xportal.portal.saving.log_in", raises(KeyRefused("no key")))
    report = down(bench.aws, drive, bench.story, RemoteAgent(bench.aws, bench.story))
    [left] = report.drives
    assert left.snapshot
    assert bench.bytes_of(left.snapshot.id) == ["one"]
    assert any("no key; the machine is shut down and its drive saved afterwards" in line for line in bench.story.lines)


def test_down_leaves_a_machine_alone_that_is_perhaps_another(
    bench: Bench, drive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else answers at its address: the user is told, nothing is ended."""
    machine = bench.up(drive)
    monkeypatch.setattr("xportal.portal.saving.log_in", raises(LoginRefused("another host key")))
    with pytest.raises(LoginRefused):
        down(bench.aws, drive, bench.story, RemoteAgent(bench.aws, bench.story))
    found = compute.find_instance(bench.aws, machine.id)
    assert found
    assert found.state == "running"
    bench.down(drive)


def test_a_refused_key_is_replaced_once(bench: Bench, drive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a new one, which is let in; where AWS gives none, the error says what is so, what to do and what is billed."""
    machine = bench.up(drive)
    before = login_for(bench.aws, machine).key_file.read_bytes()
    calls: list[Instance] = []
    with monkeypatch.context() as patched:
        patched.setattr(access, "replace_login_key", lambda _, which, *__: calls.append(which))
        patched.setattr(access, "connect", raises(KeyRefused("no key")))
        with pytest.raises(KeyRefused, match="no key"):
            log_in(bench.aws, machine, seconds=1.0)
    assert calls == [machine]
    bench.cloud.add_fault("error", operations=["SendSSHPublicKey"])
    with pytest.raises(KeyRefused, match="EC2 Instance Connect gives it no new one") as caught:
        access.replace_login_key(bench.aws, machine)
    bench.cloud.clear_faults()
    assert f"xportal down {drive}" in caught.value.hint
    assert machine.id in caught.value.billed[0]
    assert login_for(bench.aws, machine).key_file.read_bytes() == before
    bench.down(drive)
