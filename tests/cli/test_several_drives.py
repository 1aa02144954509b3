"""Several drives on one portal, on real machines: together, then each on its own."""

from __future__ import annotations

import pytest

from tests.cli.conftest import User

pytestmark = pytest.mark.machine


def on(user: User, portal: str, line: str) -> str:
    """What a line of shell prints on a portal's machine."""
    return user.types("ssh", portal, "--", line).stdout.strip()


def test_two_drives(user: User) -> None:
    """One portal has both; saved as one set, then the second goes to a portal of its own."""
    told = user.asks("up", "both", "--drive", "work:1", "--drive", "data:1")
    assert [drive["name"] for drive in told["drives"]] == ["work", "data"]
    assert on(user, "both", "docker info -f '{{.DockerRootDir}}'") == "/v1/docker"
    on(user, "both", "echo work > /v1/word && echo data > /v2/word && sync")
    saved = user.asks("save", "both")["drives"]
    assert sorted(drive["drive"] for drive in saved) == ["data", "work"]
    assert len({drive["snapshot"]["tags"]["xportal:set"] for drive in saved}) == 1
    assert on(user, "both", "cat /v1/word /v2/word") == "work\ndata"

    refused = user.types("up", "alone", "--drive", "data", check=False)
    assert refused.returncode == 3
    assert 'portal "both"' in refused.stderr
    left = user.asks("down", "both")["drives"]
    assert {drive["snapshot"]["state"] for drive in left} == {"completed"}

    user.types("up", "alone", "--drive", "data")
    assert on(user, "alone", "cat /v1/word; mountpoint -q /v2 || echo one drive") == "data\none drive"
    user.types("down", "alone")
    assert {row["state"] for row in user.asks("drives")} == {"snapshot"}
