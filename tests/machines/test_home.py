"""The home directory on real machines: from the first login on it is the drive's, or nobody can write to it."""

from __future__ import annotations

import pytest

from tests.machines.agent_lab import AgentLab, result
from tests.machines.lab import Lab
from xportal.sandbox.hardware import Disk

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def cloud(lab: Lab) -> AgentLab:
    """Machines with agents."""
    return AgentLab(lab)


VOLUME, SNAPSHOT = "vol-0e1", "snap-0e1"
OTHERS = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOwnOwnOwnOwnOwnOwnOwnOwnOwnOwnOwnOwnOwnOwnO me@elsewhere"


@pytest.fixture(scope="module")
def written(cloud: AgentLab) -> str:
    """A drive onto which somebody worked in the home before anybody had brought the full agent."""
    cloud.lab.hardware.create_volume(VOLUME, 1, None)
    first = cloud.boot(VOLUME, blank=True)
    first.run(f"test -e ~/.bashrc; echo mine > ~/notes; mkdir -m 700 ~/.ssh; echo '{OTHERS}' > ~/.ssh/authorized_keys")
    assert first.run("stat -c '%U %a' ~ ~/notes") == "ec2-user 700\nec2-user 644"
    assert first.run("findmnt -n -o TARGET --target ~") == "/home/ec2-user"
    first.off()
    cloud.lab.hardware.create_snapshot(SNAPSHOT, VOLUME)
    return VOLUME


def test_what_is_put_into_the_home_before_up_has_finished_lasts(cloud: AgentLab, written: str) -> None:
    """The first login finds the drive's home, with the shell's settings in it; the next machine has all of it."""
    second = cloud.boot(written, generation=2)
    assert second.run("cat ~/notes ~/.ssh/authorized_keys") == f"mine\n{OTHERS}"
    result(second.follow("boot"))
    assert second.run("cat ~/.ssh/authorized_keys") == OTHERS
    second.run("rm -rf ~/.ssh")  # what the user makes of it locks nobody out
    assert second.run("cat ~/notes") == "mine"
    result(second.save("save-1"))
    assert "denied" in second.fails("touch ~/late; mkdir ~/.ssh")
    assert second.run("ls ~") == "the-drive-is-not-mounted"
    second.off()


@pytest.mark.usefixtures("written")
def test_nobody_works_in_a_home_that_goes_with_the_machine(cloud: AgentLab) -> None:
    """The drive is attached after the boot: until then nothing can be written there; then it is the drive's."""
    cloud.lab.hardware.create_volume("vol-0e2", 1, SNAPSHOT)
    second = cloud.boot("vol-0e2", generation=2, plugged=False, attach=True)
    assert "denied" in second.fails("touch ~/early")
    assert "denied" in second.fails("echo more >> ~/.bashrc")
    cloud.lab.hardware.attach(second.instance_id, Disk("vol-0e2", "/dev/sdf"))
    result(second.follow("boot"))
    assert second.run("cat ~/notes; touch ~/now") == "mine"
    assert second.run("ls ~").split() == ["notes", "now"]
    second.off()


def test_a_new_home_is_made_on_a_drive_that_comes_later(cloud: AgentLab) -> None:
    """Its files are the login user's, though those of the machine are nobody's any more."""
    cloud.lab.hardware.create_volume("vol-0e3", 1, None)
    machine = cloud.boot("vol-0e3", blank=True, plugged=False, attach=True)
    assert "denied" in machine.fails("touch ~/early")
    cloud.lab.hardware.attach(machine.instance_id, Disk("vol-0e3", "/dev/sdf"))
    result(machine.follow("boot"))
    machine.run("echo more >> ~/.bashrc; touch ~/now")
    assert machine.run("ls ~") == "now"
    result(machine.save("save-1"))
    machine.off()
