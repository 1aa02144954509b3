"""Layers that Docker had not finished are removed; whatever may be of use stays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from xportal.agent.core.events import Log
from xportal.agent.full.orphan_layers import remove_orphans


@dataclass
class DataRoot:
    """Docker's files as it lays them out for overlay2 (seen with 20.10.24, also after a commit that was cut)."""

    path: Path

    def layer(self, name: str) -> Path:
        """A layer's directory, with its short name."""
        layer, links = self.path / "overlay2" / name, self.path / "overlay2/l"
        (layer / "diff").mkdir(parents=True)
        (layer / "diff/data").write_text(name)
        (layer / "link").write_text(f"SHORT{name}")
        links.mkdir(exist_ok=True)
        (links / f"SHORT{name}").symlink_to(f"../{name}/diff")
        return layer

    def note(self, name: str, text: str) -> None:
        """What Docker notes of a layer."""
        path = self.path / "image/overlay2/layerdb" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def begin(self) -> None:
        """A transaction that has no end yet."""
        self.note("tmp/write-set-1/diff", "sha256:1")

    def now(self) -> float:
        """Later than all that is there by the clock that stamps files."""
        mark = self.path.parent / "mark"
        last = max(path.stat().st_ctime for path in self.path.rglob("*"))
        mark.touch()
        while mark.stat().st_ctime <= last:
            mark.touch()
        return mark.stat().st_ctime

    def layers(self) -> set[str]:
        """Those that are there, by their first letter."""
        return {path.name[0] for path in (self.path / "overlay2").iterdir() if path.name != "l"}


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """An image's layer a, a container's b with its c-init, one of BuildKit's k, an unfinished one 0."""
    root = DataRoot(tmp_path / "docker")
    for name in ("a" * 64, "b" * 64, "c" * 64 + "-init", "k" * 25, "0" * 64):
        root.layer(name)
    root.note("sha256/1/cache-id", "a" * 64)
    root.note("mounts/1/mount-id", "b" * 64)
    return root


def remove(root: DataRoot, opened: float) -> str:
    """Do it; what the log says."""
    path = root.path.parent / "log.jsonl"
    remove_orphans(root.path, opened, Log(path))
    return path.read_text() if path.exists() else ""


def test_what_docker_had_not_finished_goes(root: DataRoot) -> None:
    """With its short name and the transaction; everything else stays, and the second time there is nothing to do."""
    root.begin()
    assert "000000000000 is gone" in remove(root, root.now())
    assert root.layers() == {"a", "b", "c", "k"}
    assert len(list((root.path / "overlay2/l").iterdir())) == 4
    assert not list(root.path.glob("image/overlay2/layerdb/tmp/*"))
    root.layer("1" * 64)
    remove(root, root.now())
    assert "1" in root.layers()


def test_what_this_docker_is_at_work_on_stays(root: DataRoot) -> None:
    """It began after the drive was opened: the layer, or its transaction."""
    opened = root.now()
    root.begin()
    assert remove(root, opened) == ""
    opened = root.now()
    root.layer("1" * 64)
    remove(root, opened)
    assert root.layers() == {"a", "b", "c", "k", "1"}


@pytest.mark.parametrize("note", ["mounts/1/mount-id", "sha256/1/cache-id"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_note_that_does_not_tell_spares_all(root: DataRoot, note: str, is_there: bool) -> None:
    """A power cut has emptied it, or it is gone: any layer may be that container's. The boot goes on."""
    root.begin()
    path = root.path / "image/overlay2/layerdb" / note
    path.unlink()
    if is_there:
        path.touch()
    assert "Not all could be removed" in remove(root, root.now())
    assert root.layers() == {"a", "b", "c", "k", "0"}
