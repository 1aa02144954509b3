"""What ssh is told when it asks for a portal's machine: that machine alone, and nothing without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.conftest import Lab
from xportal.aws import tags
from xportal.aws.tagging import set_tags
from xportal.errors import LoginRefused, PortalNotUp, UsageError
from xportal.portal.refresh import refresh

OTHERS = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2FC8yWQ1yq3i3x4wGqRjbP8y1eGJmQmGJ4kBqjQm3a"


def test_the_alias_follows_its_portal(lab: Lab, drive: str, tmp_path: Path) -> None:
    """Down, up, replaced, its host key forged: each time the machine of the moment or an error, and no launch."""
    written = tmp_path / "xportal" / "ssh" / "xportal-one.machine"
    with pytest.raises(PortalNotUp, match=f'portal "{drive}" is down'):
        refresh(lab.aws, drive, "xportal-one", lab.story)
    assert not written.exists()

    machine = lab.up(drive)
    refresh(lab.aws, drive, "xportal-one", lab.story)
    first = dict(line.split(" ", 1) for line in written.read_text().splitlines())
    known = Path(first["UserKnownHostsFile"].strip('"')).read_text()
    assert known.split() == [machine.public_address, *machine.tags[tags.HOST_KEY].split()[:2]]
    assert first["HostName"] == machine.public_address
    assert written.stat().st_mode & 0o777 == 0o600

    set_tags(lab.aws, machine.id, {tags.HOST_KEY: OTHERS})
    with pytest.raises(LoginRefused, match="another host key"):
        refresh(lab.aws, drive, "xportal-one", lab.story)
    lab.down(drive)
    with pytest.raises(PortalNotUp):
        refresh(lab.aws, drive, "xportal-one", lab.story)
    assert lab.up(drive).id != machine.id
    refresh(lab.aws, drive, "xportal-one", lab.story)
    second = dict(line.split(" ", 1) for line in written.read_text().splitlines())
    assert second["IdentityFile"] != first["IdentityFile"]
    assert second["UserKnownHostsFile"] != first["UserKnownHostsFile"]
    lab.down(drive)


@pytest.mark.parametrize("name", ["../xportal-one", "xportal-", "xportal-a/b", "config"])
def test_no_other_file_is_written(lab: Lab, name: str, tmp_path: Path) -> None:
    """An alias is a word of xportal's own."""
    with pytest.raises(UsageError, match="no alias"):
        refresh(lab.aws, "any", name, lab.story)
    assert not (tmp_path / "xportal").exists()
