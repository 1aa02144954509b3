"""Docker in memory: containers, layers, images and volumes; it refuses a verb, or the power goes at a step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xportal.agent.core.events import Log
from xportal.agent.core.process import AgentError
from xportal.agent.full.commits import NEVER
from xportal.agent.full.containers import bring_back, hold_back
from xportal.agent.full.docker import Docker
from xportal.agent.full.docker_api import Engine

ALWAYS = {"Name": "always", "MaximumRetryCount": 0}
NO = {"Name": "no", "MaximumRetryCount": 0}
ONE = ["NVIDIA A10G (UUID: GPU-1)"]


class PowerCut(BaseException):
    """Nobody gets to do anything any more."""


class FakeEngine(Docker, Engine):
    """Both of the agent's ways to ask Docker: the command line's verbs and the API's."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {"i0": {"tags": ["tiny:latest"], "content": ["base"]}}
        self.volumes: set[str] = set()
        self.done: list[tuple[str, str]] = []
        self.ran_together: list[str] = []
        self.refuses = ""
        self.cut = (0, "")
        self._made = 0
        self._steps = 0

    # What tests say and see

    def add(
        self,
        name: str,
        *,
        layer: str = "",
        volumes: dict[str, str] | None = None,
        policy: dict[str, Any] = NO,
        running: bool = False,
        labels: dict[str, str] | None = None,
    ) -> str:
        """A container of the image tiny that wishes for the GPU. Returns its id."""
        body = {
            "Image": "tiny:latest",
            "Labels": {"xportal.gpu": "auto"} if labels is None else labels,
            "HostConfig": {"RestartPolicy": policy, "NetworkMode": "default", "DeviceRequests": None, "Binds": None},
        }
        id_ = self._new(name, body)
        self.containers[id_]["layer"] = layer
        info = self.containers[id_]["info"]
        info["State"].update(Running=running, StartedAt="2026-01-01")
        for target, volume in (volumes or {}).items():
            self.volumes.add(volume)
            info["Mounts"].append(mount_of(volume, target))
        return id_

    def find(self, name: str) -> dict[str, Any]:
        """What `docker inspect` says."""
        info: dict[str, Any]
        (info,) = [one["info"] for one in self.containers.values() if one["info"]["Name"] == f"/{name}"]
        return info

    def names(self) -> list[str]:
        """The names of all containers."""
        return sorted(one["info"]["Name"].lstrip("/") for one in self.containers.values())

    def sees(self, name: str) -> list[str]:
        """What a container's image and layer hold."""
        one = self.containers[self.find(name)["Id"]]
        return [*self.images[one["info"]["Image"]]["content"], *filter(None, [one["layer"]])]

    def boot(self, drive: Path, gpus: Sequence[str] = ONE) -> None:
        """A boot up to where the full agent takes over, with a Docker whose files are not edited."""
        self.cut = (0, "")
        root = drive / "docker"
        for id_, one in self.containers.items():
            info = one["info"]
            info["State"]["Running"] = False
            config = {key: info[key] for key in ("Name", "Config", "State")}
            config["HasBeenStartedBefore"] = info["State"]["StartedAt"] != NEVER
            (root / "containers" / id_).mkdir(parents=True, exist_ok=True)
            (root / "containers" / id_ / "config.v2.json").write_text(json.dumps(config))
            (root / "containers" / id_ / "hostconfig.json").write_text(json.dumps(info["HostConfig"]))
        for directory in (root / "containers").glob("*"):
            if directory.name not in self.containers:
                for file in directory.iterdir():
                    file.unlink()
                directory.rmdir()
        hold_back(root, drive, "25.0.16", gpus, edit=False)
        for one in self.containers.values():
            if one["info"]["HostConfig"].get("RestartPolicy") == ALWAYS:
                self._set_running(one)
        bring_back(self, drive, Log(drive / "log"))

    # The command line's verbs

    def list_ids(self, *, running: bool = False) -> list[str]:
        return [id_ for id_, one in self.containers.items() if one["info"]["State"]["Running"] or not running]

    def inspect(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        return [json.loads(json.dumps(self.containers[id_]["info"])) for id_ in ids if id_ in self.containers]

    def volume_options(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        return {}

    def layer_bytes(self, container: str) -> int:
        return len(self.containers[container]["layer"])

    def is_changed(self, container: str) -> bool:
        return bool(self.containers[container]["layer"])

    def start(self, container: str) -> None:
        with self._step("start", container):
            self._set_running(self.containers[container])

    def set_policy(self, container: str, policy: dict[str, Any]) -> None:
        with self._step("set_policy", container):
            self.containers[container]["info"]["HostConfig"]["RestartPolicy"] = policy

    def stop(self, containers: Sequence[str], seconds: int | None = None) -> None:
        for container in containers:
            with self._step("stop", container):
                self.containers[container]["info"]["State"]["Running"] = False

    def tags(self, image: str) -> list[str] | None:
        return self.images[image]["tags"] if image in self.images else None

    def remove_image(self, image: str) -> str | None:
        id_ = self._image_id(image)
        tags = self.images[id_]["tags"]
        if len(tags) < 2 and any(one["info"]["Image"] == id_ for one in self.containers.values()):
            return "it is in use"
        if image in tags and len(tags) > 1:
            tags.remove(image)
        else:
            del self.images[id_]
        return None

    # The API's

    def find_image(self, image: str) -> dict[str, Any] | None:
        self._refuse("find_image")
        found = next((id_ for id_, one in self.images.items() if image in (id_, *one["tags"])), None)
        if found is None:
            return None
        content = self.images[found]["content"]
        return {"Id": found, "Size": 1000, "Config": {}, "RootFS": {"Layers": content}, "RepoTags": self.tags(found)}

    def commit(self, container: str, name: str, image: dict[str, Any]) -> str:
        with self._step("commit", container):
            one = self.containers[container]
            assert not one["info"]["State"]["Running"]
            for other in self.images.values():
                other["tags"] = [tag for tag in other["tags"] if tag != name]
            self._made += 1
            content = [*self.images[one["info"]["Image"]]["content"], *filter(None, [one["layer"]])]
            self.images[f"i{self._made}"] = {"tags": [name], "content": content}
            return f"i{self._made}"

    def copy_flat(self, container: str) -> str:
        with self._step("copy_flat", container):
            self._made += 1
            self.images[f"i{self._made}"] = {"tags": [], "content": ["flat"]}
            return f"i{self._made}"

    def create(self, name: str, body: dict[str, Any]) -> str:
        with self._step("create", name):
            assert name not in self.names()
            return self._new(name, body)

    def connect(self, network: str, container: str, endpoint: dict[str, Any]) -> None:
        with self._step("connect", container):
            self.containers[container]["info"]["NetworkSettings"]["Networks"][network] = endpoint

    def rename(self, container: str, name: str) -> None:
        with self._step("rename", container):
            assert name not in self.names()
            self.containers[container]["info"]["Name"] = f"/{name}"

    def remove(self, container: str, *, volumes: bool = False) -> None:
        with self._step("remove", container):
            info = self.containers[container]["info"]
            assert not info["State"]["Running"]
            if volumes:
                named = [bind.split(":")[0] for bind in info["HostConfig"].get("Binds") or []]
                self.volumes -= {mount["Name"] for mount in info["Mounts"]} - set(named)
            del self.containers[container]

    # Inside

    def _image_id(self, image: str) -> str:
        found = self.find_image(image)
        assert found, f"no image {image}"
        return str(found["Id"])

    def _new(self, name: str, body: dict[str, Any]) -> str:
        self._made += 1
        id_ = f"c{self._made:063x}"
        host = body.get("HostConfig", {})
        mounts = [mount_of(*bind.split(":")[:2]) for bind in host.get("Binds") or []]
        info = {
            "Id": id_,
            "Name": f"/{name}",
            "Image": self._image_id(body["Image"]),
            "Config": {key: value for key, value in body.items() if key not in ("HostConfig", "NetworkingConfig")},
            "HostConfig": dict(host),
            "Mounts": mounts,
            "NetworkSettings": {"Networks": {}},
            "State": {"Running": False, "StartedAt": NEVER},
        }
        self.containers[id_] = {"info": info, "layer": ""}
        return id_

    def _set_running(self, one: dict[str, Any]) -> None:
        others = [other["info"]["Name"] for other in self.containers.values() if other["info"]["State"]["Running"]]
        base = one["info"]["Name"].partition(".xportal-")[0]
        self.ran_together += [name for name in others if name.partition(".xportal-")[0] == base and name != base]
        one["info"]["State"].update(Running=True, StartedAt="2026-01-02")

    def _refuse(self, verb: str) -> None:
        if verb == self.refuses:
            raise AgentError(f"{verb} is refused")

    def _step(self, verb: str, container: str) -> Step:
        self._refuse(verb)
        name = self.containers[container]["info"]["Name"].lstrip("/") if container in self.containers else container
        self.done.append((verb, name))
        return Step(self)


def mount_of(volume: str, target: str) -> dict[str, Any]:
    """One of a container's Mounts."""
    source = f"/var/lib/docker/volumes/{volume}/_data"
    facts = {"Type": "volume", "Name": volume, "Driver": "local", "Source": source, "Mode": "", "RW": True}
    return {**facts, "Destination": target}


class Step:
    """One step's effect; the power may go before or after it."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        engine._steps += 1

    def __enter__(self) -> None:
        self._cut("before")

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._cut("after")

    def _cut(self, when: str) -> None:
        number, at = self.engine.cut
        if number == self.engine._steps and at == when:
            raise PowerCut
