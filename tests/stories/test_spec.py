"""A portal in a file: up, changed, up; interrupted, and brought back by a watch without the file; no secret is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.machines.agent_lab import MAKE_IMAGE
from tests.stories.conftest import User
from tests.stories.test_watch import SECONDS, machine, wait_for

pytestmark = pytest.mark.machine

SECRET = "topsecret-4711"
SPEC = """\
machine: {{gpu: false}}
drives: [{{name: demo, size: 2}}]
limits: {{max_hours: 9, idle_minutes: 50}}
on_notice: echo "$HOME" > /v1/notice
containers:
  train:
    image: tiny
    command: [sh, -c, 'echo {epochs} "$$TOKEN" >> /v1/work; exec sleep 1000000']
    environment: {{TOKEN: }}
    restart: always
  web:
    image: tiny
    command: sleep 1000000
    restart: always
"""


def ids(user: User) -> dict[str, str]:
    """The containers that run, by name."""
    return {one["name"]: one["id"] for one in user.asks("ps", "demo")}


def written_in_aws(user: User) -> str:
    """All tags of the account, and the user data of its machines."""
    client = user.client()
    machines = [one for r in client.describe_instances()["Reservations"] for one in r["Instances"]]
    data = [client.describe_instance_attribute(InstanceId=m["InstanceId"], Attribute="userData") for m in machines]
    return json.dumps([client.describe_tags(), data], default=str)


def on_drive(user: User, *words: str) -> str:
    """What a command on the machine prints, as root."""
    return user.types("ssh", "demo", "--", "sudo", *words).stdout


def test_containers_follow_the_file(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what changed is made anew; without the file all of it comes back."""
    user.types("up", "demo", "--cpu", "--size", "2")
    user.types("ssh", "demo", "--", MAKE_IMAGE)
    monkeypatch.setenv("TOKEN", SECRET)
    file = user.home / "demo.yaml"
    first = bring_up(user, file, SPEC.format(epochs=1))
    assert first["spec"]["file"] == "demo.yaml"
    assert actions(first) == {"train": "made", "web": "made"}
    assert first["agent"]["settings"]["idle_minutes"] == 50
    before = ids(user)
    assert actions(bring_up(user, file, SPEC.format(epochs=1))) == {"train": "left alone", "web": "left alone"}
    assert ids(user) == before
    assert actions(bring_up(user, file, SPEC.format(epochs=2))) == {"train": "made anew", "web": "left alone"}
    after = ids(user)
    assert (after["web"], after["train"] != before["train"]) == (before["web"], True)
    assert on_drive(user, "cat", "/v1/work").split() == ["1", SECRET, "2", SECRET]

    text = file.read_text()
    file.unlink()
    assert user.types("spec", "demo").stdout == text
    kept = on_drive(user, "cat", "/xportal/v1/.xportal/spec.json", "/xportal/v1/.xportal/alone.json")
    logs = on_drive(user, "sh", "-c", "cat /run/xportal/log/*")
    assert "demo.yaml" in kept
    assert SECRET not in kept + logs + written_in_aws(user) + user.types("status", "demo").stdout

    gone = machine(user)
    watching = user.starts("watch", "demo")
    user.types("sandbox", "interrupt", "demo", "--no-notice")
    wait_for(lambda: machine(user) not in ("", gone))
    assert "demo.yaml" in user.types("up", "demo").stderr  # it waits until the containers are back
    assert set(ids(user)) == {"train", "web"}
    user.types("down", "demo")
    _, story = watching.communicate(timeout=SECONDS)
    assert "the watch follows demo.yaml" in story
    assert "it ends after 9 hours" in story
    [row] = user.asks("status", "demo")
    assert (row["last_time"]["spec"]["file"], row["last_time"]["idle_minutes"]) == ("demo.yaml", 50)


def bring_up(user: User, file: Path, text: str) -> dict[str, Any]:
    """What `up demo` answers, beside such a file."""
    file.write_text(text)
    done = user.types("--json", "up", "demo")
    assert "demo.yaml is the spec of portal demo" in done.stderr
    assert SECRET not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def actions(answer: dict[str, Any]) -> dict[str, str]:
    """What was done for each container."""
    return {one["name"]: one["action"] for one in answer["spec"]["containers"]}
