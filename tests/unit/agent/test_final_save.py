"""Final saves of drives on real block devices: what makes a snapshot final, and what does not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.agent.conftest import Programs
from tests.unit.agent.test_unmount import Held, held
from xportal.agent.core.config import AgentConfig, DriveConfig, Paths
from xportal.agent.core.extensions import Extensions, load
from xportal.agent.core.files import read_json, write_json
from xportal.agent.core.final_save import make_save
from xportal.agent.core.mounts import is_free
from xportal.agent.core.save_requests import Request
from xportal.agent.core.state import update_state
from xportal.agent.core.steps import Limits, Steps
from xportal.agent.full.containers import list_stored, note_running, record_from_files
from xportal.agent.full.extensions import Full

__all__ = ["held"]
pytestmark = pytest.mark.machine


@pytest.fixture
def paths(held: Held, tmp_path: Path, programs: Programs) -> Paths:
    """A machine with a mounted drive, whose Docker does not run."""
    paths = Paths(tmp_path / "root")
    put_config(paths, str(held.mount))
    (paths.root / "dev").mkdir()
    (paths.root / "dev/xvdf").symlink_to(held.device)
    drive = {"name": "demo", "mount": str(held.mount), "device": held.device, "generation": 1, "volume_id": "vol-1"}
    update_state(paths, phase="ready", drives=[drive])
    programs.put("sync", 'exec /bin/sync "$@"')
    return paths


def put_config(paths: Paths, mount: str) -> None:
    """The launch's facts."""
    paths.put_config(AgentConfig("demo", "l-1", "us-east-1", "http://e", [DriveConfig("demo", 1, mount=mount)]))


def save(paths: Paths, request: Request = Request(), more: Extensions | None = None, limits: Limits = Limits()) -> bool:
    """A final save; whether it went well."""
    return make_save(Steps(paths, "save-1", request, limits), more or load())


def end(paths: Paths) -> dict[str, object]:
    """The last line of its log."""
    line: dict[str, object] = json.loads((paths.logs / "save-1.jsonl").read_text().splitlines()[-1])
    return line


def test_a_drive_that_was_mounted_elsewhere_is_unmounted_there(held: Held, paths: Paths, tmp_path: Path) -> None:
    """A boot failed, the user repaired the filesystem, mounted it by hand, and worked there."""
    put_config(paths, "/v1-of-that-boot")
    update_state(paths, phase="failed", drives=[])
    (held.mount / "work").write_text("typed by hand")
    assert save(paths)
    assert is_free(held.device)
    assert b"typed by hand" in (tmp_path / "disk0").read_bytes()


@pytest.mark.parametrize("noted", [False, True])
def test_a_boot_that_was_cut_has_mounted_what_it_did_not_note(held: Held, paths: Paths, noted: bool) -> None:
    """The agent was killed before it noted the drive: the mount tells the device. Or the state does, without a disk."""
    (paths.root / "dev/xvdf").unlink()
    if noted:
        put_config(paths, "/nowhere")
    else:
        update_state(paths, drives=[])
    assert save(paths)
    assert is_free(held.device)


def test_an_unmount_that_never_ends_holds_nothing_up(held: Held, paths: Paths, programs: Programs) -> None:
    """The save goes on, and says so."""
    programs.put("umount", 'exec /bin/umount "$@"')
    programs.hang("umount")
    assert not save(paths, limits=Limits(least=0.1, step=0.5))
    said = [json.loads(line) for line in (paths.logs / "save-1.jsonl").read_text().splitlines()]
    assert any(line.get("step") == "unmount" and "did not end within" in line["text"] for line in said)
    assert end(paths)["error"] == "drive demo could not be unmounted"


def test_a_drive_that_went_read_only_is_a_checkpoint(held: Held, paths: Paths) -> None:
    """An error of the disk, and what came after it was refused: the user hears of it, the detached volume tells all."""
    kinds: list[str] = []

    def take(config: AgentConfig, drives: object, save: str, kind: str, *_: object) -> dict[str, str]:
        kinds.append(kind)
        return {}

    subprocess.run(["mount", "-o", "remount,ro", held.mount], check=True)
    assert not save(paths, Request(snapshot=True), Full(take))
    assert end(paths)["error"] == "drive demo has become read-only"
    assert kinds == ["checkpoint"]
    assert is_free(held.device)


def test_a_drive_in_use_is_held_still_for_its_checkpoint(held: Held, paths: Paths) -> None:
    """Nothing can take it off: what holds it is a disk image whose file was deleted. Asked again, it is tried again."""
    frozen: list[bool] = []

    def take(config: AgentConfig, drives: object, save: str, kind: str, *more: object) -> dict[str, str]:
        frozen.append(subprocess.run(["fsfreeze", "-f", held.mount], check=False, capture_output=True).returncode != 0)
        assert kind == "checkpoint"
        return {"demo": "snap-1"}

    image = held.mount / "image"
    with open(image, "wb") as file:
        file.truncate(1 << 20)
    loop = subprocess.check_output(["losetup", "--find", "--show", image], text=True).strip()
    image.unlink()
    try:
        assert not save(paths, Request(snapshot=True), Full(take))
        assert end(paths)["error"] == "drive demo could not be unmounted"
        assert frozen == [True]
        (held.mount / "goes on").touch()  # it thawed
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)
    (paths.logs / "save-1.jsonl").unlink()
    assert save(paths)
    assert is_free(held.device)


def fill(directory: Path) -> None:
    """Take every block and every inode that is left."""
    for size, name in ((1 << 20, "large"), (4096, "small")):
        try:
            for number in range(1 << 20):
                with open(directory / f"{name}-{number}", "wb", buffering=0) as file:
                    assert file.write(bytes(size)) == size
        except (OSError, AssertionError):
            continue
    try:
        for number in range(1 << 20):
            (directory / f"empty-{number}").touch()
    except OSError:
        return


def test_a_full_drive_knows_what_ran(held: Held, paths: Paths, tmp_path: Path) -> None:
    """Training filled it to the last block and inode: the reserve is given for the note of what is to run again."""
    ours = held.mount / ".xportal"
    ours.mkdir()
    write_json(ours / "running.json", {"save": None, "running": None, "failed": []})
    subprocess.run(["fallocate", "-l", "8MiB", ours / "reserve"], check=True)  # the drive is smaller than any user's
    fill(held.mount)
    one = tmp_path / "docker/containers" / ("a" * 64)
    one.mkdir(parents=True)
    write_json(one / "hostconfig.json", {"RestartPolicy": {"Name": "no"}})
    write_json(one / "config.v2.json", {"Name": "/train", "State": {"Running": True}, "HasBeenStartedBefore": True})
    record_from_files(tmp_path / "docker", ours)
    write_json(one / "config.v2.json", {"Name": "/train", "State": {"Running": False}, "HasBeenStartedBefore": True})
    note_running(list_stored(tmp_path / "docker", {}), ours)  # as the next boot does
    assert read_json(ours / "running.json")["running"] == ["a" * 64]
