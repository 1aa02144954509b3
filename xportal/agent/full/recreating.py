"""Containers made anew with other settings: the way for a Docker whose files are not edited.

A container is committed, and another one is made of the image with the same settings,
volumes and networks but for the GPU. Its name tells how far that has come, so that after
a power cut it is finished or undone:

    train, train.xportal-new        the new one is not complete: it goes
    train.xportal-old, train.xportal-new    it is: it gets the name
    train, train.xportal-old        the old one goes

The old one does not start in between: its restart policy is set aside first. Volumes are
never removed. The new one has another id: records of the old one are copied to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

from ..core.events import Log
from ..core.files import read_json, write_json
from ..core.process import AgentError
from .commits import Records, image_name
from .containers import HALF_MADE, STOP_SECONDS, bring_back
from .docker import Docker
from .engine import Engine
from .flattening import check_space, flatten, is_deep, settings_of
from .gpu import plan_gpu

NEW = f"{HALF_MADE}new"
OLD = f"{HALF_MADE}old"
NO_POLICY = {"Name": "no", "MaximumRetryCount": 0}
ENDPOINT_KEYS = ("IPAMConfig", "Links", "Aliases", "DriverOpts", "MacAddress")
Info = Dict[str, Any]  # what `docker inspect` says of a container


def make_anew(engine: Engine, docker: Docker, drive: Path, gpus: int, log: Log) -> Dict[str, str]:
    """With Docker running: make those anew that wait for it, and start what should run. Returns notes by id.

    A container that cannot be made anew stays as it was, with a note; an empty note takes an earlier one's place.
    """
    if not read_json(drive / "recreate.json"):
        return {}
    notes = Recreation(engine, docker, drive, gpus, log).run()
    write_json(drive / "recreate.json", [])
    notes.update((id_, "") for id_ in (read_json(drive / "running.json") or {}).get("failed") or [] if id_ not in notes)
    for id_, note in bring_back(docker, drive, log).items():
        notes[id_] = f"{notes[id_]}; {note}" if notes.get(id_) else note
    write_json(drive / "settings.json", docker.inspect(docker.list_ids()), 0o600)
    return notes


class Recreation:
    """The recreation of all that waits for it."""

    def __init__(self, engine: Engine, docker: Docker, drive: Path, gpus: int, log: Log) -> None:
        self._engine = engine
        self._docker = docker
        self._drive = drive
        self._gpus = gpus
        self._log = log
        self._records = Records(drive)
        self._made: Dict[str, str] = {}  # the new id by the old one
        self._notes: Dict[str, str] = {}

    def run(self) -> Dict[str, str]:
        """Do it. Returns notes by id."""
        self._settle()
        waiting = set(read_json(self._drive / "recreate.json") or [])
        due = [info for info in self._list() if info["Id"] in waiting]
        while due:
            for info in due:
                self._try(info)
            due = [
                info for info in self._list() if info["Id"] not in self._notes and self._made.keys() & refers_to(info)
            ]
        self._records.remove_superseded(self._docker)
        return self._notes

    def _list(self) -> List[Info]:
        return self._docker.inspect(self._docker.list_ids())

    def _try(self, info: Info) -> None:
        wishes = read_json(self._drive / "gpu.json") or {}
        labels = info["Config"].get("Labels") or {}
        host, wish = plan_gpu(info["HostConfig"], labels, wishes.get(info["Id"]), self._gpus)
        if host is info["HostConfig"] and not self._made.keys() & refers_to(info):
            return
        name = info["Name"].lstrip("/")
        try:
            with self._log.step("anew", f"Making {name} anew, for this machine"):
                self._recreate(info, host)
        except AgentError as failure:
            self._settle()
            if info["Id"] not in self._made:
                self._notes[info["Id"]] = f"was not made anew for this machine, and is as it was: {failure}"
                self._log.say("anew", f"{name} {self._notes[info['Id']]}")
        else:
            if wish:
                note = "has the machine's GPU" if self._gpus else "runs without a GPU: this machine has none"
                self._notes[self._made[info["Id"]]] = note

    def _recreate(self, info: Info, host: Dict[str, Any]) -> None:
        old, name = info["Id"], info["Name"].lstrip("/")
        self._quiet(info)
        (info,) = self._docker.inspect([old])  # as it is when it does not run: without what Docker gave it to run with
        image = self._make_image(info, name)
        body, more_networks = plan_container(info, {**host, "RestartPolicy": NO_POLICY}, image, self._made)
        new = self._engine.create(f"{name}{NEW}", body)
        for network, endpoint in more_networks.items():
            self._engine.connect(network, new, endpoint)
        self._engine.rename(old, f"{name}{OLD}")
        self._finish(name, old, new)

    def _quiet(self, info: Info) -> None:
        """The old one, which Docker may have started, ends, and is not started again; the new one is to be."""
        if info["HostConfig"].get("AutoRemove") and info["State"]["Running"]:
            raise AgentError("it would be removed when it ends")
        if info["State"]["Running"]:
            record = read_json(self._drive / "running.json") or {}
            failed = [*(record.get("failed") or []), info["Id"]]
            write_json(self._drive / "running.json", {**record, "failed": list(dict.fromkeys(failed))})
        policy, why = info["HostConfig"]["RestartPolicy"], None
        if policy["Name"] not in ("", "no"):
            self._note("aside.json", info["Id"], policy)
            why = self._docker.set_policy(info["Id"], NO_POLICY)
        if info["State"]["Running"]:
            why = why or self._docker.stop([info["Id"]], STOP_SECONDS)
        if why:
            raise AgentError(why)

    def _make_image(self, info: Info, name: str) -> str:
        """The image for the new container, with all that the old one has written. Returns its name or id."""
        id_ = info["Id"]
        image = self._engine.find_image(info["Image"])
        if image is None:
            raise AgentError("its image is not there any more")
        made_of = self._records.of.get(id_, {})
        flat_bytes = made_of.get("flat", image["Size"])
        tag = image_name(name, id_)
        self._records.supersede(id_)
        if is_deep(image, flat_bytes):
            self._log.say("anew", f"{name} had {len(image['RootFS']['Layers'])} layers: making one of them")
            check_space(self._drive, image["Size"] + self._docker.layer_bytes(id_))
            made = flatten(self._engine, id_, tag, settings_of(info, image))
            flat_bytes = (self._engine.find_image(made) or image)["Size"]
        elif self._docker.is_changed(id_):
            check_space(self._drive, self._docker.layer_bytes(id_))
            made = self._engine.commit(id_, tag)
        else:
            self._records.put(id_, flat=flat_bytes)
            named = self._engine.find_image(info["Config"]["Image"])
            return str(info["Config"]["Image"] if named and named["Id"] == info["Image"] else info["Image"])
        self._records.put(id_, image=made, base=made, flat=flat_bytes, started=info["State"]["StartedAt"])
        return tag

    def _finish(self, name: str, old: str, new: str) -> None:
        self._engine.rename(new, name)
        self._drop(old, new)

    def _drop(self, old: str, new: str) -> None:
        self._carry(old, new)
        self._remove(old)
        self._made[old] = new

    def _remove(self, id_: str, *, volumes: bool = False) -> None:
        self._engine.remove(id_, volumes=volumes)
        self._records.forget(id_)
        for file in ("aside.json", "gpu.json"):
            known = read_json(self._drive / file) or {}
            write_json(self._drive / file, {one: value for one, value in known.items() if one != id_}, 0o600)

    def _carry(self, old: str, new: str) -> None:
        """What is noted of the old one holds for the new one, too. Idempotent."""
        for file in ("aside.json", "gpu.json"):
            known = read_json(self._drive / file) or {}
            if old in known:
                self._note(file, new, known[old])
        if old in self._records.of:
            self._records.put(new, **self._records.of[old])
        record = read_json(self._drive / "running.json") or {}
        if old in (record.get("failed") or []):
            failed = list(dict.fromkeys([*record["failed"], new]))
            write_json(self._drive / "running.json", {**record, "failed": failed})

    def _note(self, file: str, id_: str, value: object) -> None:
        write_json(self._drive / file, {**(read_json(self._drive / file) or {}), id_: value}, 0o600)

    def _settle(self) -> None:
        """Finish or undo what broke off, by the names that are there."""
        ids = {info["Name"].lstrip("/"): info["Id"] for info in self._list()}
        for name, id_ in ids.items():
            base = name.partition(HALF_MADE)[0]
            if name.endswith(OLD) and base in ids:
                self._drop(id_, ids[base])
            elif name.endswith(OLD) and f"{base}{NEW}" in ids:
                self._finish(base, id_, ids[f"{base}{NEW}"])
            elif name.endswith(OLD):
                self._engine.rename(id_, base)
            elif HALF_MADE in name and f"{base}{OLD}" not in ids:
                self._remove(id_, volumes=not name.endswith(NEW))


def refers_to(info: Info) -> Set[str]:
    """The ids of containers whose network, processes or memory this one shares."""
    modes = [str(info["HostConfig"].get(key) or "") for key in ("NetworkMode", "PidMode", "IpcMode")]
    return {mode.partition(":")[2] for mode in modes if mode.startswith("container:")}


def plan_container(
    info: Info, host: Dict[str, Any], image: str, made: Dict[str, str]
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The body of POST /containers/create for a container like this one, and the networks to connect afterwards.

    `made` has the new ids of containers that were made anew before.
    """
    config = {**info["Config"], "Image": image}
    host = {**host, **carry_mounts(info, host), "VolumesFrom": None, "Links": plan_links(host)}
    for key in ("NetworkMode", "PidMode", "IpcMode"):
        kind, _, id_ = str(host.get(key) or "").partition(":")
        if kind == "container":
            host[key] = f"container:{made.get(id_, id_)}"
    if host["NetworkMode"].startswith("container:"):
        # Docker shows there what is the other container's, and does not take it.
        config = {**config, "Hostname": "", "Domainname": "", "ExposedPorts": None}
    first, more = plan_endpoints(info, host["NetworkMode"])
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": first}}, more


def carry_mounts(info: Info, host: Dict[str, Any]) -> Dict[str, Any]:
    """Binds and Mounts with every volume by its name, also those that were anonymous or came from another container."""
    of = {mount["Destination"]: mount for mount in info.get("Mounts") or []}
    mounts = []
    for asked in host.get("Mounts") or []:
        nameless = asked["Type"] == "volume" and not asked.get("Source") and asked["Target"] in of
        mounts.append({**asked, "Source": of[asked["Target"]]["Name"]} if nameless else asked)
    binds = list(host.get("Binds") or [])
    named = {bind.split(":")[1] for bind in binds} | {mount["Target"] for mount in mounts}
    for target, mount in of.items():
        if target not in named and mount["Type"] in ("volume", "bind"):
            mode = mount.get("Mode") or ("" if mount.get("RW", True) else "ro")
            source = mount["Name"] if mount["Type"] == "volume" else mount["Source"]
            binds.append(":".join(filter(None, [source, target, mode])))
    return {"Binds": binds or None, "Mounts": mounts or None}


def plan_links(host: Dict[str, Any]) -> List[str]:
    """Links as Docker takes them ("db:alias") from how it shows them ("/db:/web/alias")."""
    pairs = [link.split(":") for link in host.get("Links") or []]
    return [f"{source.lstrip('/')}:{alias.rpartition('/')[2]}" for source, alias in pairs]


def plan_endpoints(info: Info, mode: str) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """What the user asked for in each network: in the first, of `mode`, with which it is made, and in the others.

    Addresses, links and aliases, without the id that Docker adds to these.
    """
    first, more = {}, {}
    for network, shown in (info["NetworkSettings"].get("Networks") or {}).items():
        asked = {key: shown[key] for key in ENDPOINT_KEYS if shown.get(key)}
        if "Aliases" in asked:
            asked["Aliases"] = [alias for alias in asked["Aliases"] if alias != info["Id"][:12]]
        if mode in (network, shown.get("NetworkID")) or (mode, network) == ("default", "bridge"):
            first = {network: asked} if asked else {}
        else:
            more[network] = asked
    return first, more
