"""Docker's settings and units on the machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.process import AgentError, Done
from xportal.agent.core.units import plan_units
from xportal.agent.full.docker import Docker, merge_daemon_json, write_settings

CONFIG = AgentConfig("demo", "l-1", "us-east-1", "http://127.0.0.1:5577", [DriveConfig("demo", 1)])


def test_daemon_json_is_merged() -> None:
    """The image's own settings stay, its GPU runtimes above all; ours win; no key that distributions give as flags."""
    theirs = {"runtimes": {"nvidia": {"path": "n"}}, "data-root": "/var/lib/docker", "features": {"cdi": True}}
    merged = json.loads(merge_daemon_json(json.dumps(theirs), "/v1/docker"))
    assert merged == {
        "runtimes": {"nvidia": {"path": "n"}},
        "features": {"cdi": True, "containerd-snapshotter": False},
        "data-root": "/v1/docker",
        "storage-driver": "overlay2",
        "live-restore": False,
    }
    assert merge_daemon_json(json.dumps(merged), "/v1/docker") == merge_daemon_json(json.dumps(theirs), "/v1/docker")


def test_daemon_json_that_is_none_is_not_overwritten(tmp_path: Path) -> None:
    """Somebody's typing error is said, not thrown away."""
    paths = Paths(tmp_path)
    paths.daemon_json.parent.mkdir(parents=True)
    paths.daemon_json.write_text("{oops")
    with pytest.raises(AgentError, match="not JSON"):
        write_settings(CONFIG, paths)
    assert paths.daemon_json.read_text() == "{oops"


def test_docker_s_service_and_socket_are_guarded() -> None:
    """Neither starts unless the drive is mounted and covered; RequiresMountsFor would not prevent it."""
    units = plan_units(CONFIG)
    for unit in ("docker.service.d/xportal.conf", "docker.socket.d/xportal.conf"):
        for point in ("/xportal/v1", "/v1/.xportal"):  # the whole drive, and the last cover
            assert f"\nAssertPathIsMountPoint={point}\n" in units[unit]
    assert "/bin/chown ec2-user " in units["docker.socket.d/xportal.conf"]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"Name": "always", "MaximumRetryCount": 0}, "always"),
        ({"Name": "on-failure", "MaximumRetryCount": 5}, "on-failure:5"),
        ({"Name": "on-failure", "MaximumRetryCount": 0}, "on-failure"),
        ({"Name": "", "MaximumRetryCount": 0}, "no"),
    ],
)
def test_policies_as_docker_update_takes_them(policy: dict[str, Any], words: str) -> None:
    """From hostconfig.json's form to the command line's."""
    asked = []

    def run(argv: Sequence[str], check: bool = True, timeout: float | None = None) -> Done:
        asked.append(argv)
        return Done(0, "", "")

    assert Docker(run).set_policy("c1", policy) is None
    assert asked == [["docker", "update", "--restart", words, "c1"]]


def test_the_config_comes_back_from_its_file_for_root_alone(tmp_path: Path) -> None:
    """What the user data put down is what the agent reads; the file is root's."""
    paths = Paths(tmp_path)
    paths.put_config(CONFIG)
    assert paths.get_config() == CONFIG
    assert paths.config.stat().st_mode & 0o777 == 0o600
