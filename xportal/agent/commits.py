"""Images of containers, made at a save, so that a container can be run anew elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, List, Sequence

from .docker import Docker
from .events import Log
from .files import read_json, write_json
from .process import AgentError

MARGIN = 64 << 20
NEVER = "0001-01-01T00:00:00Z"
LEGAL = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def image_name(container: str, id_: str) -> str:
    """The committed image's name: the container's, bent to what Docker allows in image names."""
    if LEGAL.fullmatch(container):
        return f"xportal/{container}:latest"
    return f"xportal/{re.sub('[^a-z0-9]+', '-', container.lower()).strip('-')}-{id_[:6]}:latest"


class Commits:
    """The record of what was committed when: MOUNT/.xportal/commits.json, {id: {"image", "started"}}."""

    def __init__(self, docker: Docker, drive: Path, log: Log) -> None:
        self._docker = docker
        self._path = drive / "commits.json"
        self._log = log
        self._done: Dict[str, Any] = read_json(self._path) or {}

    def commit_changed(self, infos: Sequence[Dict[str, Any]]) -> Dict[str, List[Dict[str, str]]]:
        """Commit each container that has run since its last commit and changed its layer.

        Returns {"committed": [{container, image}], "deferred": [{container, reason}]}: what cannot be
        committed is no loss, its layer is on the drive.
        """
        result: Dict[str, List[Dict[str, str]]] = {"committed": [], "deferred": []}
        for info in infos:
            name = info["Name"].lstrip("/")
            try:
                if self._is_due(info):
                    image = self._commit(info, name)
                    result["committed"].append({"container": name, "image": image})
                    self._log.say("commit", f"{name} is image {image}")
            except AgentError as failure:
                result["deferred"].append({"container": name, "reason": str(failure)})
                self._log.say("commit", f"{name} is not committed now: {failure}")
        return result

    def _is_due(self, info: Dict[str, Any]) -> bool:
        started = info["State"].get("StartedAt", NEVER)
        if started in (NEVER, self._done.get(info["Id"], {}).get("started")):
            return False
        return self._docker.is_changed(info["Id"])

    def _commit(self, info: Dict[str, Any], name: str) -> str:
        self._check_space(info["Id"])
        image = image_name(name, info["Id"])
        made = self._docker.commit(info["Id"], image)
        before = self._done.get(info["Id"], {}).get("image")
        self._done[info["Id"]] = {"image": made, "started": info["State"]["StartedAt"]}
        write_json(self._path, self._done)
        if before and before != made:
            self._remove_unnamed(before)
        return image

    def _check_space(self, id_: str) -> None:
        needs = self._docker.layer_bytes(id_)
        disk = os.statvfs(self._path.parent)
        free = disk.f_bavail * disk.f_frsize
        if needs * 1.05 + MARGIN > free:
            raise AgentError(f"its layer has {needs >> 20} MiB and the drive only {free >> 20} MiB free")

    def _remove_unnamed(self, image: str) -> None:
        if self._docker.tags(image) == []:
            why = self._docker.remove_image(image)
            if why:
                self._log.say("commit", f"the image before it stays: {why}")
