"""Many lives of one container on one machine: a program for root there, which has the full agent.

Its arguments: how many lives, `edit` or `anew`, after how many layers an image is flattened. Between two lives the
container is saved, Docker stops (of many lives made anew in every tenth alone), and the machine's GPU comes or goes.
One line of JSON for each life; the first is what was there before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, "/opt/xportal/agent-whole")

from agent.core.events import Log  # type: ignore[import-not-found]
from agent.full import docker, gpu  # type: ignore[import-not-found]
from agent.full.commits import Commits, flatten_deep  # type: ignore[import-not-found]
from agent.full.containers import bring_back, hold_back, record_running  # type: ignore[import-not-found]
from agent.full.docker import Docker  # type: ignore[import-not-found]
from agent.full.docker_api import Engine  # type: ignore[import-not-found]
from agent.full.recreate import make_anew  # type: ignore[import-not-found]

DRIVE = Path("/xportal/v1/.xportal")
HOOKS = [Path("/usr/bin") / name for name in gpu.HOOKS]
BY_VOLUME = ("DeviceRequests", "Binds", "Mounts")  # Mounts of the container itself tell what the last two say
LOG = Log(Path("/run/lives.jsonl"))


def sh(script: str) -> str:
    """What a script prints."""
    return subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True).stdout.strip()


def switch_gpu(there: bool) -> None:
    """The machine's next life has a GPU, or not."""
    for hook in HOOKS:
        away = hook.with_suffix(".away")
        if there and away.exists():
            away.rename(hook)
        if not there and hook.exists():
            hook.rename(away)


def live(number: int, edit: bool, every: int, most: int) -> dict[str, Any]:
    """One life: Docker starts, the containers come back, one of them works, everything is saved. What there was."""
    began = time.monotonic()
    switch_gpu(number % 2 == 1)
    gpus = gpu.list_gpus()
    notes = hold_back(Path("/xportal/v1/docker"), DRIVE, docker.find_version(), gpus, edit)
    if not docker.is_running():
        sh("systemctl reset-failed docker.service docker.socket")  # systemd would find it started too often
        docker.start()
    client, engine = Docker(), Engine()
    notes.update(bring_back(client, DRIVE, LOG))
    notes.update(make_anew(engine, client, DRIVE, gpus, LOG))
    flatten_deep(engine, client, DRIVE, LOG, most)
    life = {"life": number, "gpus": len(gpus), **look(), "notes": notes}
    work = f"echo {number} >> /ledger; echo {number} >> /data/ledger; dd if=/dev/urandom of=/layer bs=256k count=1"
    sh(f"docker exec train sh -c '{work}' 2> /dev/null")
    infos = record_running(client, DRIVE, f"s-{number}")
    client.stop([info["Id"] for info in infos if info["State"]["Running"]], 5)
    life["saved"] = Commits(engine, client, DRIVE, LOG).commit_changed(infos)
    life["images"] = sh("docker images -qa --no-trunc | sort -u").split()
    if number % every == 0:
        docker.stop()
    os.sync()
    disk = os.statvfs("/v1")
    return {**life, "used": (disk.f_blocks - disk.f_bfree) * disk.f_frsize, "seconds": time.monotonic() - began}


def look() -> dict[str, Any]:
    """The container as it is, and what it finds."""
    infos = {info["Name"]: info for info in json.loads(sh("docker inspect $(docker ps -qa --no-trunc)"))}
    info = infos["/train"]
    seen = sh("docker exec train sh -c 'cat /ledger; echo --; cat /data/ledger; echo --; nvidia-smi -L || true'")
    return {
        "names": sorted(infos),
        "id": info["Id"],
        "settings": settings(info),
        "states": {name: info["State"]["Running"] for name, info in infos.items()},
        "layers": len(json.loads(sh(f"docker inspect {info['Image']}"))[0]["RootFS"]["Layers"]),
        "ledgers": [part.split() for part in seen.split("--")],
        "address": info["NetworkSettings"]["Networks"]["lan"]["IPAddress"],
        "volumes": sh("docker volume ls -q").split(),
    }


def settings(info: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in every life: all settings but the GPU, the image, and by what option a volume came."""
    config = {key: value for key, value in info["Config"].items() if key != "Image"}
    host = {key: value or None for key, value in info["HostConfig"].items() if key not in BY_VOLUME}
    networks = info["NetworkSettings"]["Networks"]
    return {
        "Config": config,
        "HostConfig": {key: value for key, value in host.items() if value},
        "Mounts": sorted([m["Type"], m.get("Name") or m["Source"], m["Destination"], m["RW"]] for m in info["Mounts"]),
        "Networks": {
            name: [
                sorted(alias for alias in facts["Aliases"] or [] if alias != info["Id"][:12]),
                facts["IPAMConfig"] or None,
            ]
            for name, facts in networks.items()
        },
    }


if __name__ == "__main__":
    lives, way, most_layers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    print(json.dumps(look()))
    infos_before = record_running(Docker(), DRIVE, "s-0")
    Docker().stop([one["Id"] for one in infos_before if one["State"]["Running"]], 5)
    docker.stop()
    restarts = 1 if way == "edit" or lives < 60 else 10
    for life_number in range(1, lives + 1):
        print(json.dumps(live(life_number, way == "edit", restarts, most_layers)), flush=True)
    switch_gpu(True)
    docker.start()
