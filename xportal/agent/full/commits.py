"""Images of containers, made at a save, so that a container can be run anew elsewhere."""

from __future__ import annotations

import re
import subprocess
import time
from math import inf, isfinite
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from ..core.events import Log
from ..core.files import read_json, write_json
from ..core.process import AgentError, Done
from .docker import Docker
from .docker_api import Engine
from .flatten import MAX_LAYERS, as_image, check_space, flatten_image, is_deep
from .throughput import fits, measure_rate, plan_commits

LOOK_SECONDS = 0.5
NEVER = "0001-01-01T00:00:00Z"
LEGAL = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def image_name(container: str, id_: str) -> str:
    """The committed image's name: the container's, bent to what Docker allows in image names."""
    if LEGAL.fullmatch(container):
        return f"xportal/{container}:latest"
    return f"xportal/{re.sub('[^a-z0-9]+', '-', container.lower()).strip('-')}-{id_[:6]}:latest"


class Records:
    """What the drive remembers of our images.

    MOUNT/.xportal/commits.json   {container: {"image", "started": when it ran last before the commit,
                                  "base": the image we made the container of, "flat": bytes of its first or flat image}}
    MOUNT/.xportal/images.json    [images of ours that nothing of ours needs any more, not yet removed]
    MOUNT/.xportal/names.json     {image of ours: the name that we gave it}; an older xportal wrote down none
    """

    def __init__(self, drive: Path) -> None:
        self._commits = drive / "commits.json"
        self._images = drive / "images.json"
        self._names = drive / "names.json"
        self._containers = drive.parent / "docker/containers"
        self.of: Dict[str, Dict[str, Any]] = read_json(self._commits) or {}

    def put(self, container: str, **facts: object) -> None:
        """Remember facts of a container beside what is known of it."""
        self.of[container] = {**self.of.get(container, {}), **facts}
        write_json(self._commits, self.of)

    def put_name(self, image: str, name: str) -> None:
        """The name is ours: it goes with the image."""
        write_json(self._names, {**(read_json(self._names) or {}), image: name})

    def forget(self, container: str) -> None:
        """The container has gone."""
        self.of.pop(container, None)
        write_json(self._commits, self.of)

    def forget_removed(self, docker: Docker) -> None:
        """Forget the containers that somebody has removed: nothing of ours needs their images any more.

        A container that Docker does not list because its settings are damaged is still there on the drive, and its
        image may be all that can be run of it.
        """
        there = set(docker.list_ids()) if self.of else set()
        for id_ in [id_ for id_ in self.of if id_ not in there and not (self._containers / id_).exists()]:
            self.supersede(id_)
            self.forget(id_)

    def supersede(self, container: str) -> None:
        """The container's images are about to be replaced: remember them first, to remove them afterwards."""
        known = self.of.get(container, {})
        ours = [known[key] for key in ("image", "base") if known.get(key)]
        write_json(self._images, list(dict.fromkeys([*(read_json(self._images) or []), *ours])))

    def remove_superseded(self, docker: Docker) -> None:
        """Remove our old images, but for those that somebody has named, or that Docker still needs: these another time.

        Raises `AgentError` if Docker does not answer; what was remembered stays so.
        """
        self.forget_removed(docker)
        current = {facts.get(key) for facts in self.of.values() for key in ("image", "base")}
        names = read_json(self._names) or {}
        # The newest first: an image is needed by those that were made on top of it.
        before = list(reversed(read_json(self._images) or []))
        left = [image for image in before if image in current or is_needed(docker, image, names.get(image))]
        write_json(self._images, left[::-1])
        write_json(self._names, {image: name for image, name in names.items() if image in current.union(left)})


def is_needed(docker: Docker, image: str, name: Optional[str]) -> bool:
    """Remove our name of an image, and the image if it has no other. Returns whether Docker still needs it."""
    tags = docker.tags(image) or []
    if name in tags and docker.remove_image(str(name)) is not None:
        return True
    return docker.tags(image) == [] and docker.remove_image(image) is not None


def flatten_deep(engine: Engine, docker: Docker, drive: Path, log: Log, most: int = MAX_LAYERS) -> None:
    """Flatten our committed images with more than `most` layers. A machine that works goes on meanwhile."""
    records = Records(drive)
    records.forget_removed(docker)
    for id_, facts in list(records.of.items()):
        image = engine.find_image(facts["image"]) if facts.get("image") else None
        if image is None or facts["image"] == facts.get("base"):
            continue
        if not is_deep(image, facts.get("flat", image["Size"]), most):
            continue
        name = next((tag for tag in image["RepoTags"] or [] if tag.startswith("xportal/")), None)
        if name is None:
            continue
        try:
            with log.step("flatten", f"Making one layer of the {len(image['RootFS']['Layers'])} of {name}"):
                records.supersede(id_)
                flat = flatten_image(engine, drive, image, name)
                records.put_name(flat, name)
                records.put(id_, image=flat)
        except AgentError as failure:
            log.say("flatten", f"{name} is not flattened now: {failure}")
    records.remove_superseded(docker)


class Budget:
    """The seconds that all commits of a save may take, while it has `left` so many, asked again and again.

    A notice may come in the middle of a commit that had all the time.
    """

    def __init__(self, left: Callable[[], float] = lambda: inf) -> None:
        self._left = left
        self._until = time.monotonic() + plan_commits(left())

    def seconds(self) -> float:
        """What is left of them: negative when they are over."""
        return min(self._until - time.monotonic(), plan_commits(self._left()))

    def check(self) -> None:
        """Raises `AgentError` when the seconds are over."""
        if self.seconds() <= 0:
            raise AgentError("there is no time left for commits")

    def run(self, argv: Sequence[str], *, check: bool = True, timeout: Optional[float] = None) -> Done:
        """`process.run`, which ends when the seconds do."""
        until = time.monotonic() + (inf if timeout is None else timeout)
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        ) as program:
            while True:
                try:
                    out, err = program.communicate(timeout=LOOK_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if self.seconds() <= 0 or time.monotonic() > until:
                        program.kill()
                        raise AgentError(f"{' '.join(argv[:2])} did not end in time") from None
        if check and program.returncode:
            raise AgentError(f"{' '.join(argv)} failed with status {program.returncode}: {err.strip()}")
        return Done(program.returncode, out, err)


class Commits:
    """The commits of a save. `docker` and `engine` are to run what they run by the budget."""

    def __init__(self, engine: Engine, docker: Docker, drive: Path, log: Log, budget: Optional[Budget] = None) -> None:
        self._engine = engine
        self._docker = docker
        self._drive = drive
        self._log = log
        self._budget = budget or Budget()
        self._records = Records(drive)
        self._rate = 0.0  # of the drive, not yet measured

    def commit_changed(
        self, infos: Sequence[Dict[str, Any]], *, go_on: bool = False
    ) -> Dict[str, List[Dict[str, str]]]:
        """Commit each container that has run since its last commit and changed its layer, if it surely ends in time.

        Those that `go_on` running change more: the next save commits them again. Returns {"committed": [{container,
        image}], "deferred": [{container, reason}]}: what cannot be committed is no loss, its layer is on the drive.
        """
        result: Dict[str, List[Dict[str, str]]] = {"committed": [], "deferred": []}
        for info in infos:
            name = info["Name"].lstrip("/")
            try:
                if self._is_due(info):
                    image = self._commit(info, name, go_on=go_on)
                    result["committed"].append({"container": name, "image": image})
                    self._log.say("commit", f"{name} is image {image}")
            except AgentError as failure:
                result["deferred"].append({"container": name, "reason": str(failure)})
                self._log.say("commit", f"{name} is not committed now: {failure}")
        try:
            self._records.remove_superseded(self._docker)
        except AgentError as failure:  # another save or boot removes them: what is committed is to be told all the same
            self._log.say("commit", f"Images that nothing needs are not all removed now: {failure}")
        return result

    def _is_due(self, info: Dict[str, Any]) -> bool:
        started = info["State"].get("StartedAt", NEVER)
        if started in (NEVER, self._records.of.get(info["Id"], {}).get("started")):
            return False
        self._budget.check()
        return self._docker.is_changed(info["Id"])

    def _commit(self, info: Dict[str, Any], name: str, *, go_on: bool) -> str:
        needs = self._docker.layer_bytes(info["Id"])
        check_space(self._drive, needs)
        self._check_time(needs)
        image = image_name(name, info["Id"])
        self._records.supersede(info["Id"])
        made = self._engine.commit(info["Id"], image, as_image(info, self._engine.find_image(info["Image"])))
        self._records.put_name(made, image)
        self._records.put(info["Id"], image=made, started="" if go_on else info["State"]["StartedAt"])
        return image

    def _check_time(self, needs: int) -> None:
        seconds = self._budget.seconds()
        if isfinite(seconds):
            self._rate = self._rate or measure_rate(self._drive)
            if not fits(seconds, needs, self._rate):
                raise AgentError(f"its layer has {needs >> 20} MiB, and commits have {max(seconds, 0):.0f} s")
