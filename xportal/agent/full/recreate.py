"""Containers made anew with other settings: the way for a Docker whose files are not edited.

A container is committed, and another one is made of the image with the same settings,
volumes and networks but for the GPU. anew.json on the drive tells how far that has come,
so that after a power cut it is finished or undone:

    {old id: {"name": "train", "new": null}}    the new one, train.xportal-new, is not complete: it goes
    {old id: {"name": "train", "new": id}}      it is: it gets the name, and the old one, train.xportal-old, goes

What is not in there was made by somebody else, whatever its name. The old one does not start
in between: its restart policy is set aside first. Volumes are never removed. The new one has
another id: records of the old one are copied to it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from ..core.events import Log
from ..core.files import read_json, write_json
from ..core.process import AgentError
from .commits import NEVER, Records, image_name
from .containers import HALF_MADE, NO_POLICY, bring_back
from .docker import Docker
from .docker_api import Engine
from .flatten import SCRATCH, as_image, check_space, flatten, is_deep
from .gpu import plan_gpu

NEW = f"{HALF_MADE}new"
OLD = f"{HALF_MADE}old"
RECORD = "anew.json"
# What Docker shows of a container in a network that nobody asked for.
GIVEN = {
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "DNSNames",
}
Info = Dict[str, Any]  # what `docker inspect` says of a container


def make_anew(engine: Engine, docker: Docker, drive: Path, gpus: Sequence[str], log: Log) -> Dict[str, str]:
    """With Docker running: make those anew that wait for it, and start what should run. Returns notes by id.

    A container that cannot be made anew stays as it was, with a note; an empty note takes an earlier one's place.
    """
    recreation = Recreation(engine, docker, drive, gpus, log)
    recreation.settle()
    if not read_json(drive / "recreate.json"):
        return {}
    notes = recreation.run()
    write_json(drive / "recreate.json", [])
    notes.update((id_, "") for id_ in list_failed(drive) if id_ not in notes)
    for id_, note in bring_back(docker, drive, log).items():
        notes[id_] = f"{notes[id_]}; {note}" if notes.get(id_) else note
    write_json(drive / "settings.json", docker.inspect(docker.list_ids()), 0o600)
    return notes


def list_failed(drive: Path) -> List[str]:
    """The ids of those that are to run, and could not be started."""
    return list((read_json(drive / "running.json") or {}).get("failed") or ())


class Recreation:
    """The recreation of all that waits for it."""

    def __init__(self, engine: Engine, docker: Docker, drive: Path, gpus: Sequence[str], log: Log) -> None:
        self._engine = engine
        self._docker = docker
        self._drive = drive
        self._gpus = gpus
        self._log = log
        self._records = Records(drive)
        self._made: Dict[str, str] = {}  # by the old id the new one, and by what links call the old one now, its name
        self._failed: Set[str] = set()
        self._notes: Dict[str, str] = {}

    def run(self) -> Dict[str, str]:
        """Do it, with everything settled that broke off. Returns notes by id."""
        waiting = set(read_json(self._drive / "recreate.json") or [])
        due = [info for info in self._list() if info["Id"] in waiting or self._follows(info)]
        while due:
            for info in due:
                self._try(info)
            # One that shares another's network names it by its id, and a link is to that very container.
            due = [info for info in self._list() if info["Id"] not in self._failed and self._follows(info)]
        self._records.remove_superseded(self._docker)
        return self._notes

    def settle(self) -> None:
        """Finish or undo what broke off, and remove the containers that only served to make an image."""
        if read_json(self._drive / RECORD) is None:
            self._adopt_older()
        if not self._half_made() and not read_json(self._drive / SCRATCH):
            return
        ids = {info["Name"].lstrip("/"): info["Id"] for info in self._list()}
        for name in read_json(self._drive / SCRATCH) or []:
            if name in ids:
                self._engine.remove(ids[name], volumes=True)
        write_json(self._drive / SCRATCH, [])
        for old, facts in self._half_made().items():
            self._settle_one(old, facts["name"], facts["new"])

    def _settle_one(self, old: str, name: str, new: Optional[str]) -> None:
        names = {info["Id"]: info["Name"].lstrip("/") for info in self._list()}
        ids = {name: id_ for id_, name in names.items()}
        if new in names and old in names:
            self._finish(name, old, str(new))
            return
        if not new and f"{name}{NEW}" in ids:
            self._remove(ids[f"{name}{NEW}"])
        if new and new in names:
            self._made[old] = new
        left = self._made.get(old, old)
        if names.get(left) in (f"{name}{OLD}", f"{name}{NEW}") and name not in ids:
            self._engine.rename(left, name)  # somebody has removed the other one by hand
        self._forget_half_made(old)

    def _half_made(self) -> Dict[str, Dict[str, Any]]:
        return read_json(self._drive / RECORD) or {}

    def _note_half_made(self, old: str, name: str, new: Optional[str]) -> None:
        write_json(self._drive / RECORD, {**self._half_made(), old: {"name": name, "new": new}})

    def _forget_half_made(self, old: str) -> None:
        write_json(self._drive / RECORD, {id_: facts for id_, facts in self._half_made().items() if id_ != old})

    def _adopt_older(self) -> None:
        """Note what an xportal that had no such record left half done, which told it by names alone.

        Once for each drive. A name is no proof: only what nothing would be lost with counts as made by xportal.
        """
        infos = {info["Name"].lstrip("/"): info for info in self._list()}
        found: Dict[str, Dict[str, Any]] = {}
        for base in dict.fromkeys(name.partition(HALF_MADE)[0] for name in infos if name.endswith((NEW, OLD))):
            renamed = infos.get(f"{base}{OLD}")
            old = renamed or infos.get(base)
            new = infos.get(f"{base}{NEW}") or (infos.get(base) if renamed else None)
            if old and new and self._is_copy(new, old):
                found[old["Id"]] = {"name": base, "new": new["Id"] if renamed else None}
            elif renamed and not new and "flat" in self._records.of.get(renamed["Id"], {}):
                found[renamed["Id"]] = {"name": base, "new": None}
        for name, info in infos.items():
            bare = info["Config"].get("Cmd") == ["-"] and self._is_untouched(info)
            if bare and re.fullmatch(rf"[0-9a-f]{{12}}{HALF_MADE}(flat|deep)", name):
                write_json(self._drive / SCRATCH, [*(read_json(self._drive / SCRATCH) or []), name])
        write_json(self._drive / RECORD, found)

    def _is_copy(self, new: Info, old: Info) -> bool:
        """Whether a container is one that was made of another, never ran, and has all that the other one has."""
        made_of = self._records.of.get(old["Id"], {})
        if made_of.get("base") and made_of["base"] == new["Image"]:
            complete = made_of.get("started") == old["State"]["StartedAt"]
        else:
            complete = "flat" in made_of and new["Image"] == old["Image"] and not self._docker.is_changed(old["Id"])
        same = {**new["Config"], "Image": ""} == {**old["Config"], "Image": ""}
        return complete and same and self._is_untouched(new)

    def _is_untouched(self, info: Info) -> bool:
        return info["State"]["StartedAt"] == NEVER and not self._docker.is_changed(info["Id"])

    def _follows(self, info: Info) -> bool:
        return bool(self._made.keys() & refers_to(info))

    def _list(self) -> List[Info]:
        return self._docker.inspect(self._docker.list_ids())

    def _try(self, info: Info) -> None:
        wishes = read_json(self._drive / "gpu.json") or {}
        labels = info["Config"].get("Labels") or {}
        host, wish = plan_gpu(info["HostConfig"], labels, wishes.get(info["Id"]), self._gpus)
        if host is info["HostConfig"] and not self._follows(info):
            return
        name = info["Name"].lstrip("/")
        try:
            with self._log.step("anew", f"Making {name} anew, for this machine"):
                self._recreate(info, host)
        except AgentError as failure:
            self.settle()
            if info["Id"] not in self._made:
                self._failed.add(info["Id"])
                self._notes[info["Id"]] = f"was not made anew for this machine, and is as it was: {failure}"
                self._log.say("anew", f"{name} {self._notes[info['Id']]}")
        else:
            if wish:
                note = "has the machine's GPU" if self._gpus else "runs without a GPU: this machine has none"
                self._notes[self._made[info["Id"]]] = note

    def _recreate(self, info: Info, host: Dict[str, Any]) -> None:
        old, name = info["Id"], info["Name"].lstrip("/")
        taken = {other["Name"].lstrip("/") for other in self._list()} & {f"{name}{NEW}", f"{name}{OLD}"}
        if taken:
            raise AgentError(f"there is a container called {taken.pop()}")
        self._quiet(info)
        (info,) = self._docker.inspect([old])  # as it is when it does not run: without what Docker gave it to run with
        image = self._make_image(info, name)
        body, more_networks = plan_container(info, {**host, "RestartPolicy": NO_POLICY}, image, self._made)
        self._note_half_made(old, name, None)
        new = self._engine.create(f"{name}{NEW}", body)
        for network, endpoint in more_networks.items():
            self._engine.connect(network, new, endpoint)
        self._note_half_made(old, name, new)
        self._finish(name, old, new)

    def _quiet(self, info: Info) -> None:
        """The old one, which Docker may have started, ends, and is not started again; the new one is to be."""
        if info["HostConfig"].get("AutoRemove") and info["State"]["Running"]:
            raise AgentError("it would be removed when it ends")
        if info["State"]["Running"]:
            self._owe(info["Id"])
        policy, why = info["HostConfig"]["RestartPolicy"], None
        if policy["Name"] not in ("", "no"):
            self._note("aside.json", info["Id"], policy)
            why = self._docker.set_policy(info["Id"], NO_POLICY)
        if info["State"]["Running"]:
            why = why or self._docker.stop([info["Id"]])
        if why:
            raise AgentError(why)

    def _owe(self, id_: str) -> None:
        """It is to run, whenever it was started last."""
        record = read_json(self._drive / "running.json") or {}
        write_json(self._drive / "running.json", {**record, "failed": {**(record.get("failed") or {}), id_: None}})

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
            made = flatten(self._engine, self._drive, id_, tag, as_image(info, image))
            flat_bytes = (self._engine.find_image(made) or image)["Size"]
        elif self._docker.is_changed(id_):
            check_space(self._drive, self._docker.layer_bytes(id_))
            made = self._engine.commit(id_, tag, as_image(info, image))
        else:
            self._records.put(id_, flat=flat_bytes)
            named = self._engine.find_image(info["Config"]["Image"])
            return str(info["Config"]["Image"] if named and named["Id"] == info["Image"] else info["Image"])
        self._records.put_name(made, tag)
        self._records.put(id_, image=made, base=made, flat=flat_bytes, started=info["State"]["StartedAt"])
        return tag

    def _finish(self, name: str, old: str, new: str) -> None:
        """The new one is complete: it gets the name, and the old one goes. Idempotent."""
        names = {info["Id"]: info["Name"].lstrip("/") for info in self._docker.inspect([old, new])}
        if names[old] == name:
            self._engine.rename(old, f"{name}{OLD}")
        if names[new] == f"{name}{NEW}":
            self._engine.rename(new, name)
        self._carry(old, new)
        self._remove(old)
        self._forget_half_made(old)
        self._made.update({old: new, f"/{name}{OLD}": f"/{name}"})

    def _remove(self, id_: str) -> None:
        self._engine.remove(id_)
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
        if old in list_failed(self._drive):
            self._owe(new)

    def _note(self, file: str, id_: str, value: object) -> None:
        write_json(self._drive / file, {**(read_json(self._drive / file) or {}), id_: value}, 0o600)


def refers_to(info: Info) -> Set[str]:
    """The ids of containers whose network, processes or memory this one shares, and the names it has links to."""
    host = info["HostConfig"]
    modes = [str(host.get(key) or "") for key in ("NetworkMode", "PidMode", "IpcMode")]
    ids = {mode.partition(":")[2] for mode in modes if mode.startswith("container:")}
    return ids | {link.partition(":")[0] for link in host.get("Links") or []}


def plan_container(
    info: Info, host: Dict[str, Any], image: str, made: Dict[str, str]
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The body of POST /containers/create for a container like this one, and the networks to connect afterwards.

    `made` has what containers that were made anew before are known by now (see `Recreation`).
    """
    # No entry point (null) would mean the image's; Docker takes this for none.
    config = {**info["Config"], "Image": image, "Entrypoint": info["Config"].get("Entrypoint") or [""]}
    host = {**host, **carry_mounts(info, host), "VolumesFrom": None, "Links": plan_links(host, made)}
    for key in ("NetworkMode", "PidMode", "IpcMode"):
        kind, _, id_ = str(host.get(key) or "").partition(":")
        if kind == "container":
            host[key] = f"container:{made.get(id_, id_)}"
    if host["NetworkMode"].startswith("container:"):
        # Docker shows there what is the other container's, and does not take it.
        config = {**config, "Hostname": "", "Domainname": "", "ExposedPorts": None}
    if host.get("UTSMode"):
        config = {**config, "Hostname": "", "Domainname": ""}  # the machine's, likewise
    first, more = plan_endpoints(info, host["NetworkMode"])
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": first}}, more


def carry_mounts(info: Info, host: Dict[str, Any]) -> Dict[str, Any]:
    """Binds and Mounts with every volume by its name, also those that were anonymous or came from another container."""
    left = {mount["Destination"]: mount for mount in info.get("Mounts") or [] if mount["Type"] in ("bind", "volume")}
    mounts, binds = [], []
    for asked in host.get("Mounts") or []:
        there = left.pop(clean(asked["Target"]), None)
        nameless = asked["Type"] == "volume" and not asked.get("Source") and there
        mounts.append({**asked, "Source": there["Name"]} if nameless and there else asked)
    for bind in host.get("Binds") or []:
        source, colon, rest = bind.partition(":")
        there = left.pop(clean((rest or source).partition(":")[0]), None)
        binds.append(bind if colon or there is None else f"{there['Name']}:{bind}")
    return {"Binds": binds + [as_bind(mount) for mount in left.values()] or None, "Mounts": mounts or None}


def clean(path: str) -> str:
    """A path in a container, as Docker writes it."""
    return os.path.normpath(f"/{path.lstrip('/')}")


def as_bind(mount: Dict[str, Any]) -> str:
    """One of a container's mounts as Docker takes it in Binds."""
    modes = [] if mount["RW"] else ["ro"]
    modes += [mode for mode in (mount.get("Mode") or "").split(",") if mode not in ("", "ro", "rw")]
    if mount["Type"] == "bind" and mount.get("Propagation") not in (None, "", "rprivate", *modes):
        modes.append(mount["Propagation"])
    source = mount["Name"] if mount["Type"] == "volume" else mount["Source"]
    return ":".join(filter(None, [source, mount["Destination"], ",".join(modes)]))


def plan_links(host: Dict[str, Any], made: Dict[str, str]) -> List[str]:
    """Links as Docker takes them ("db:alias") from how it shows them ("/db:/web/alias")."""
    pairs = [link.split(":") for link in host.get("Links") or []]
    return [f"{made.get(source, source).lstrip('/')}:{alias.rpartition('/')[2]}" for source, alias in pairs]


def plan_endpoints(info: Info, mode: str) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """What the user asked for in each network: in the first, of `mode`, with which it is made, and in the others.

    Without what Docker gave it there, and what it adds to the aliases.
    """
    first, more = {}, {}
    added = (info["Id"][:12], info["Config"].get("Hostname"))
    for network, shown in (info["NetworkSettings"].get("Networks") or {}).items():
        asked = {key: value for key, value in shown.items() if value is not None and key not in GIVEN}
        if "Aliases" in asked:
            asked["Aliases"] = [alias for alias in asked["Aliases"] if alias not in added]
        if mode in (network, shown.get("NetworkID")) or (mode, network) == ("default", "bridge"):
            first = {network: asked} if asked else {}
        else:
            more[network] = asked
    return first, more
