"""With `--json` every command answers with exactly the fields that docs/json.md has for it."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import os
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import docker
import pytest

from tests.crash import docker_api
from tests.crash.conftest import Lab, make_lab
from tests.crash.hostile import typed
from tests.docs.json_reference import ANSWERS, FAULTS
from tests.user import SECRET
from xportal.aws.devices import DEVICE
from xportal.aws.records import Instance
from xportal.aws.session import Aws
from xportal.container.jupyter import Server
from xportal.portal.access import OpenPortal, open_portal
from xportal.portal.status import list_copies
from xportal.portal.tunnel import Leg
from xportal.progress import Progress
from xportal.remote import Completed
from xportal.reports import Report
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.daemon import Lease, Place
from xportal.sandbox.private import write_private

HINTS = {answer.title: answer.hint for answer in ANSWERS}
STATUS = {
    "phase": "ready",
    "error": None,
    "gpu": "Tesla T4",
    "docker": "25.0.8",
    "drives": [
        {"name": "demo", "mount": "/v1", "volume_id": "vol-1", "generation": 1, "size_bytes": 10**10, "used_bytes": 9}
    ],
    "containers": [
        {"id": docker_api.ID, "name": "train", "running": True, "gpu": True, "note": "runs", "warnings": ["it writes"]}
    ],
    "leaving": None,
    "settings": {"on_notice": "", "idle_minutes": 30, "checkpoint_on_rebalance": False, "checkpoint_minutes": 0.0},
}
LEAVING = {**STATUS, "phase": "saving", "leaving": {"why": "notice", "time": "2026-01-02T03:04:05Z"}}
KEPT = {"file": "demo.yaml", "digest": "0123456789ab", "text": "name: demo\n"}
RESULT = {
    "in_time": True,
    "took": 41.5,
    "back": 12,
    "steps": {"sync": 1.5},
    "snapshots": {"demo": "snap-1"},
    "deferred": [{"container": "train", "reason": "it is large"}],
    "killed": ["bash (pid 12)"],
}


class Machine:
    """FAKE of a Host: an agent whose saves go well, and a FAKE Docker behind a real client."""

    def __init__(self, docker_host: str, status: Mapping[str, Any] = STATUS) -> None:
        self.docker_host = docker_host
        self.status = status

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        """The agent's status; all else is done."""
        told = {"status": self.status, "spec": KEPT}.get(argv[-1], "")
        return Completed(json.dumps(told) if told else "{}", "", 0)

    def lines(self, _argv: Sequence[str], **_: Any) -> Iterator[str]:
        """The log of whatever it was asked to do."""
        yield json.dumps({"t": 0.1, "step": "frozen", "text": "The drives hold still"})
        yield json.dumps({"t": 0.2, "end": True, "ok": True, "error": None, "result": RESULT})

    @contextmanager
    def docker(self) -> Iterator[docker.DockerClient]:
        """The FAKE engine."""
        client = docker.DockerClient(base_url=self.docker_host, version="1.43")
        with contextlib.closing(client):
            yield client

    def close(self) -> None:
        """Nothing is open."""


def answer(words: str) -> str:
    """What `xportal --json WORDS` writes to stdout."""
    err = io.StringIO()
    said = typed("--json", *words.split(), stderr=err)
    assert said.status == 0, f"{words} -> {said.status}\n{err.getvalue()}"
    return said.text


def misfits(told: Any, hint: Any, at: str) -> list[str]:
    """Where JSON differs from a report's fields and their types."""
    inner = get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Report):
        names, hints = [field.name for field in fields(hint)], get_type_hints(hint)
        if not isinstance(told, dict) or list(told) != names:
            return [f"{at}: {told!r} does not have exactly {names}"]
        return [wrong for name in names for wrong in misfits(told[name], hints[name], f"{at}.{name}")]
    if get_origin(hint) in (Union, types.UnionType):
        return [] if told is None else misfits(told, inner[0], at)
    if get_origin(hint) in (list, tuple) and isinstance(told, list):
        return [wrong for n, item in enumerate(told) for wrong in misfits(item, inner[0], f"{at}[{n}]")]
    if get_origin(hint) is Mapping and isinstance(told, dict):
        return [wrong for name, item in told.items() for wrong in misfits(item, inner[1], f"{at}.{name}")]
    if hint is datetime and isinstance(told, str):
        moment = datetime.fromisoformat(told)
        return [] if moment.utcoffset() == timedelta(0) else [f"{at}: {told} is no time in UTC"]
    fits = type(told) in ((int, float) if hint is float else (hint,))
    return [] if fits else [f"{at}: {told!r} is no {hint}"]


def check(title: str, words: str | None = None) -> Any:
    """Type a command, `title` unless its words are given; what it answers, which is what the page has under `title`."""
    text = answer(words or title)
    told = [json.loads(line) for line in text.splitlines()] if title == "logs" else json.loads(text)
    wrong = [bad for one in (told if title == "logs" else [told]) for bad in misfits(one, HINTS[title], title)]
    assert not wrong, "\n".join(wrong)
    assert told or title == "sandbox fault clear", f"{title} answers nothing that could be compared"
    return told


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    """The URL of the FAKE engine, which is this computer's and the machine's."""
    with docker_api.serving() as url:
        yield url


@pytest.fixture
def account(cloud: Cloud, docker_host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """An account, and a login that leads to the FAKE machine."""
    lab = make_lab(cloud, tmp_path / "state", monkeypatch)
    monkeypatch.setattr("xportal.aws.session.connect", lambda **_: lab.aws)
    monkeypatch.setattr("xportal.portal.access.connect", lambda *_, **__: Machine(docker_host))
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    return lab


def test_portals_and_drives(account: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the plan to the end, each command on the way; and the parts of answers that are not always there."""
    assert check("up --dry-run", "up demo --dry-run --cpu --size 1")["machine"] is None
    told = check("up", "up demo --cpu --size 1")
    assert (told["new"], told["agent"]["settings"]["idle_minutes"]) == (True, 30)
    assert told["agent"]["containers"][0]["warnings"] == ["it writes"]
    assert check("up --dry-run", "up demo --dry-run")["machine"] == told["machine"]
    assert not check("up", "up demo")["new"]
    [row] = check("status")
    assert (row["machine"], row["agent"]) == (told["machine"]["id"], None)
    [row] = check("status", "status demo")
    assert (row["agent"], row["last_time"]["options"]) == (told["agent"], "--cpu")
    monkeypatch.setattr("xportal.portal.access.connect", lambda *_, **__: Machine("", LEAVING))
    [row] = check("status", "status demo")
    assert row["agent"]["leaving"] == {"why": "notice", "time": "2026-01-02T03:04:05+00:00"}
    monkeypatch.setattr("xportal.portal.access.connect", lambda *_, **__: Machine(""))

    [drive] = check("drives")
    assert (drive["state"], drive["where"], drive["zone"]) == ("awake", row["machine"], row["zone"])
    saved = check("save", "save demo")["drives"][0]["snapshot"]
    assert check("rehearse", "rehearse demo")["deferred"] == RESULT["deferred"]
    assert check("down", "down demo")["drives"][0]["snapshot"]["state"] == "completed"
    assert not check("down", "down demo")["found"]
    [row] = check("status", "status demo")
    assert (row["state"], row["machine"]) == ("down", None)
    assert "a down ended its machine" in row["ended"]
    assert [copy["kind"] for copy in check("drives history", "drives history demo")] == ["final", "checkpoint"]
    assert check("drives restore", f"drives restore demo {saved['id']}")["note"] == "newest, restored, was generation 1"

    pruned = check("drives prune", "drives prune demo --keep-last 2 --dry-run")
    assert (pruned["deleted"], pruned["kept"]) == ([], 2)
    pruned = check("drives prune", "drives prune demo --keep-last 1 --yes")
    assert (len(pruned["deleted"]), pruned["kept"]) == (0, 2)  # the last one, and the one that was chosen
    gone = check("drives delete", "drives delete demo --yes")
    assert (len(gone["deleted"]), gone["left"]) == (2, [])

    machine = account.up("alone", size_gib=1)
    account.aws.ec2.terminate_instances(InstanceIds=[machine.id])
    assert [(swept["drive"], swept["snapshot"]["size_gib"]) for swept in check("sweep")] == [("alone", 1)]
    account.up("watched", size_gib=1)
    (tmp_path / "systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "systemctl").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        patch.setenv("HOME", str(tmp_path))
        patch.delenv("AWS_ACCESS_KEY_ID", raising=False)
        assert check("watch --install", "watch watched --install")["service"].startswith("xportal-watch-watched:")
        assert check("ssh-config", "ssh-config watched --install --yes")["included"]
    assert check("watch", "watch watched --max-hours 0.000000001")["saved"]["drives"][0]["drive"] == "watched"
    account.up("left", size_gib=1)
    account.down("left")
    assert check("watch", "watch left")["saved"] is None


def test_specs(account: Lab, tmp_path: Path) -> None:
    """The commands on a spec's file, and those that go by it."""
    path = tmp_path / "demo.yaml"
    assert check("init", f"init {path}") == {"file": str(path)}
    assert check("check", f"check {path}")["drives"] == ["train"]
    path.write_text("name: made\nlimits: {budget: 5}\ncontainers: {web: {image: img}}\n")
    assert check("up --dry-run", f"up {path} --dry-run --size 1")["containers"] == ["web"]
    path.write_text("name: made\nlimits: {budget: 5}\n")
    assert check("up", f"up {path} --size 1")["spec"] == {
        "file": "demo.yaml", "digest": hashlib.sha256(path.read_bytes()).hexdigest()[:12], "containers": []
    }  # fmt: skip
    assert check("spec", "spec made") == {"portal": "made", **KEPT}
    [row] = check("status", "status made")
    assert (row["last_time"]["spec"]["file"], row["last_time"]["spec"]["budget"]) == ("demo.yaml", 5)
    account.down("made")


def test_kinds_of_copies(account: Lab) -> None:
    """A tag's own words get into no answer: what is neither a save nor a checkpoint of ours was made by hand."""
    machine = account.up("kinds", size_gib=1)
    for kind in ("final", "checkpoint", "withdrawn", "strange"):
        tags: Any = [{"Key": "Name", "Value": "kinds"}, {"Key": "xportal:kind", "Value": kind}]
        account.aws.ec2.create_snapshot(
            VolumeId=machine.disks[DEVICE], TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}]
        )
    told = {copy["kind"] for copy in check("drives history", "drives history kinds")}
    assert told == {copy.kind for copy in list_copies(account.aws, "kinds")}
    assert told == {"volume", "final", "checkpoint", "by hand"}
    account.down("kinds")


def test_ports(account: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that a port or the notebook leads to a machine; here nothing is forwarded."""

    def lead_once(
        aws: Aws,
        portal: str,
        legs_on: Callable[[OpenPortal], Sequence[Leg]],
        told: Callable[[Instance, Sequence[Leg]], None],
        progress: Progress,
    ) -> str:
        with open_portal(aws, portal, progress.update) as opened:
            told(opened.machine, legs_on(opened))
        return "the test is over"

    monkeypatch.setattr("xportal.portal.tunnel.keep_open", lead_once)
    monkeypatch.setattr(
        "xportal.portal.notebook.list_servers", lambda *_: [Server("lab", "172.17.0.2", 8888, "t", "/")]
    )
    machine = account.up("ports", size_gib=1).id
    assert check("forward", "forward ports 6006:6007")["machine"] == machine
    assert check("notebook", "notebook ports --no-browser")["container"] == "lab"
    account.down("ports")


def test_containers(account: Lab, tmp_path: Path) -> None:
    """Each command on containers and images."""
    account.up("work", size_gib=1)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    [container] = check("ps", "ps work")
    assert (container["gpu"], container["ports"]) == ("Tesla T4", ["127.0.0.1:8080->80/tcp"])
    assert check("run", "run work --name train img")["stdout"] is None
    wrote = {"stdout": "epoch 1\nepoch \x7f\n", "stderr": "warning\n"}
    told = check("run", "run work --attach img -- python train.py")
    assert told == {"id": docker_api.ID, "name": "train", "image": "img", "status": 0, **wrote}
    assert check("exec", "exec work train -- nvidia-smi") == {"container": "train", "status": 0, **wrote}
    assert [line["text"] for line in check("logs", "logs work train")] == ["epoch 1", "epoch \x7f", "warning"]
    assert check("logs", "logs work train --since 10m -t")[0]["text"] == "epoch 1"
    assert check("start", "start work train other")[1] == {"container": "other", "started": True}
    assert check("restart", "restart work train -t 1") == [{"container": "train", "started": True}]
    assert check("stop", "stop work train other")[1] == {"container": "other", "stopped": True}
    assert check("images", "images work")[0]["names"] == ["img:latest"]
    assert check("pull", "pull work img") == {"image": "img", "id": docker_api.IMAGE_ID}
    assert check("rm", "rm work train") == [{"container": "train", "removed": True}]
    assert check("push", "push work img")["skipped_layers"] == 2
    assert check("build", f"build work {tmp_path} -t new")["tag"] == "new"
    account.down("work")


def test_sandbox(account: Lab, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox, stopped and running: its home is one in which this process is the daemon."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("XPORTAL_SANDBOX_HOME", str(tmp_path / "none"))
    assert not check("sandbox status")["running"]
    assert not check("sandbox stop")["running"]
    assert check("sandbox reset") == {"home": str(tmp_path / "none")}

    place = Place(tmp_path / "home")
    place.home.mkdir()
    place.write_lease(Lease(os.getpid(), cloud.port))
    write_private(place.secret, json.dumps(asdict(SECRET)).encode())
    monkeypatch.setenv("XPORTAL_SANDBOX_HOME", str(place.home))
    lock = place.try_lock()
    assert lock is not None
    try:
        check("sandbox start")
        machine = account.up("taken", size_gib=1).id
        check_faults(machine)
        check("sandbox set", "sandbox set --snapshot-interval 0")
        assert check("sandbox user")["profile"] == "xportal-sandbox-user"
        assert check("sandbox interrupt", "sandbox interrupt taken") == {"machine": machine}
        told = check("sandbox status")
        [taken] = [one for one in told["machines"] if one["id"] == machine]
        assert (taken["market"], taken["power_ends_at"] > taken["launched"]) == ("spot", True)
        assert ("taken", "in-use", 1) in [(one["drive"], one["state"], one["size_gib"]) for one in told["drives"]]
    finally:
        cloud.clear_faults()
        os.close(lock)


def check_faults(machine: str) -> None:
    """Each kind, those in force, and none."""
    more = {
        "role-gone": "",
        "role-failed": "",
        "forbid": " --operation CopySnapshot",
        "quota": " --vcpus 64",
        "account": " unusable-key",
        "slow": " --seconds 0.001",
        "snapshot-slow": " --seconds 0.001",
        "disk-full": " taken",
        "ssh-drop": " taken",
    }
    for kind in FAULTS:
        told = check("sandbox fault KIND", f"sandbox fault {kind}{more.get(kind, ' --rate 0')}")
        assert told["instance_id"] == (machine if kind in ("disk-full", "ssh-drop") else None)
    assert [fault["kind"] for fault in check("sandbox fault list")] == list(FAULTS)
    assert check("sandbox fault clear") == []


def test_no_answer_was_left_out() -> None:
    """The tests above check everything that is on the page."""
    calls = [node for node in ast.walk(ast.parse(Path(__file__).read_text())) if isinstance(node, ast.Call)]
    checked = {ast.literal_eval(c.args[0]) for c in calls if isinstance(c.func, ast.Name) and c.func.id == "check"}
    assert checked == HINTS.keys()
