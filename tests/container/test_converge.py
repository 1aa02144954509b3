"""The containers of a spec on a machine: this computer's Docker, reached as a portal's is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from xportal.container import Engine, RunOptions, create, run
from xportal.errors import SpecContainersFailed
from xportal.portal.converge import OLD, converge, options_of
from xportal.spec import FileSpec
from xportal.spec.reading import read_spec

pytestmark = pytest.mark.machine

Write = Callable[..., FileSpec]


@dataclass
class Story:
    """A Progress that keeps what it is told."""

    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    warn = update = say


@pytest.fixture
def write(shell_image: str, mark: str) -> Write:
    """A file with these containers, each by its name and the command that its shell runs."""

    def make(environ: dict[str, str] | None = None, **commands: str) -> FileSpec:
        lines = ["containers:"]
        for name, command in commands.items():
            lines += [
                f"  {mark}-{name}:",
                f"    image: {shell_image}",
                f"    command: [sh, -c, '{command}']",
                f"    labels: [{mark}=]",
                "    network_mode: none",
                "    environment: {KEY: '$KEY'}",
                "    volumes: [/scratch]",
            ]
        return read_spec("portal.yaml", "\n".join(lines).encode(), environ or {"KEY": "topsecret"})

    return make


def actions(engine: Engine, file: FileSpec, story: Story | None = None) -> list[str]:
    """What was done for each container."""
    return [one.action for one in converge(engine, file, story or Story())]


def inspect(engine: Engine, file: FileSpec, number: int = 0) -> dict[str, Any]:
    told: dict[str, Any] = engine.client.api.inspect_container(file.containers[number].name)
    return told


def volumes_of(inspected: dict[str, Any]) -> list[str]:
    """The names of its volumes."""
    return [mount["Name"] for mount in inspected["Mounts"] if mount["Type"] == "volume"]


def test_only_what_changed_is_made_anew(engine: Engine, write: Write) -> None:
    """Made, left alone, and one made anew with its anonymous volume while the other runs on."""
    first = write(one="echo kept > /scratch/note; sleep 1000", two="sleep 1000")
    assert actions(engine, first) == ["made", "made"]
    before = [inspect(engine, first, number) for number in (0, 1)]
    assert actions(engine, first) == ["left alone", "left alone"]
    assert [inspect(engine, first, number)["Id"] for number in (0, 1)] == [one["Id"] for one in before]

    changed = write(one="cat /scratch/note; sleep 1001", two="sleep 1000")
    assert actions(engine, changed) == ["made anew", "left alone"]
    anew = inspect(engine, changed)
    assert anew["Id"] != before[0]["Id"]
    assert anew["State"]["Running"]
    assert volumes_of(anew) == volumes_of(before[0]) != []
    assert inspect(engine, changed, 1)["Id"] == before[1]["Id"]
    assert engine.client.containers.list(all=True, filters={"name": f"{OLD}{changed.containers[0].name}"}) == []
    assert actions(engine, write({"KEY": "another"}, one="cat /scratch/note; sleep 1001"))[0] == "made anew"


def test_a_stopped_container_is_left_alone(engine: Engine, write: Write) -> None:
    """Its work may be done: `up` does not do it again."""
    file = write(done="exit 0")
    story = Story()
    assert actions(engine, file, story) == ["made"]
    assert any("ended at once, with status 0" in line for line in story.said)
    assert actions(engine, file) == ["left alone"]
    assert not inspect(engine, file)["State"]["Running"]


def test_an_old_container_goes_on_if_the_new_one_does_not_start(engine: Engine, write: Write) -> None:
    """And so do the others; the values of the environment are told to nobody."""
    first = write(one="sleep 1000")
    converge(engine, first, Story())
    before = inspect(engine, first)["Id"]
    text = first.text.replace(
        "command: [sh, -c, 'sleep 1000']", "init: false, entrypoint: $KEY".replace(", ", "\n    ")
    )
    both = text + write(two="sleep 1000").text.removeprefix("containers:")
    bad = read_spec("portal.yaml", both.encode(), {"KEY": "/bin/topsecret"})
    story = Story()
    with pytest.raises(SpecContainersFailed, match="1 of 2 containers") as caught:
        converge(engine, bad, story)
    assert inspect(engine, first)["Id"] == before
    assert inspect(engine, first)["State"]["Running"]
    assert inspect(engine, bad, 1)["State"]["Running"]
    assert "topsecret" not in "\n".join([*story.said, caught.value.message, caught.value.hint])
    assert "${KEY}" in caught.value.message


def test_containers_of_others_stay(engine: Engine, write: Write, mark: str, shell_image: str) -> None:
    """One by hand under a name of the file is no container of ours; one that the file has no more is named."""
    run(engine, RunOptions(shell_image, ("sleep", "1000"), name=f"{mark}-hand", labels=(mark,)), print)
    with pytest.raises(SpecContainersFailed, match="no spec made"):
        converge(engine, write(hand="sleep 5"), Story())
    converge(engine, write(gone="sleep 1000"), Story())
    story = Story()
    converge(engine, write(other="sleep 1000"), story)
    assert any(f"{mark}-gone is no longer in portal.yaml" in line for line in story.said)
    assert engine.client.containers.get(f"{mark}-gone").status == "running"


def test_a_container_that_was_never_started_is_started(engine: Engine, write: Write) -> None:
    """An `up` was killed before it started what it had made."""
    file = write(early="sleep 1000")
    create(engine, options_of(file.containers[0]), print)
    assert actions(engine, file) == ["made"]
    assert inspect(engine, file)["State"]["Running"]
    assert actions(engine, file) == ["left alone"]


@pytest.mark.parametrize("step", ["renamed", "created", "started"])
def test_what_broke_off_is_settled(engine: Engine, write: Write, mark: str, shell_image: str, step: str) -> None:
    """An `up` that was killed while it made a container anew: the next one ends with the new one, and no other."""
    converge(engine, write(cut="sleep 1000"), Story())
    file = write(cut="sleep 1001")
    old = engine.client.containers.get(file.containers[0].name)
    old.stop(timeout=0)
    old.rename(f"{OLD}{file.containers[0].name}")
    digest = f"xportal.spec={file.containers[0].digest()}"
    half = RunOptions(shell_image, ("sleep", "1001"), name=file.containers[0].name, labels=(mark, digest))
    if step == "created":
        create(engine, half, print)
    elif step == "started":
        run(engine, half, print)
    assert actions(engine, file) == ["left alone" if step == "started" else "made anew"]
    assert inspect(engine, file)["State"]["Running"]
    left = engine.client.containers.list(all=True, filters={"label": mark})
    assert [one.name for one in left if str(one.name).endswith("-cut")] == [file.containers[0].name]
