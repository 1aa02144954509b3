"""What AWS refuses for the moment is waited for: a final save is never given up for it."""

from __future__ import annotations

from tests.crash.conftest import Bench, FileAgent
from xportal.portal.checkpointing import save


def test_final_save_behind_pending_checkpoints(bench: Bench) -> None:
    """AWS takes five snapshots of a volume at a time: the sixth, the final save's, waits its turn."""
    machine = bench.up("behind", size_gib=1)
    bench.cloud.add_fault("snapshot-slow", seconds=10, count=5)
    for _ in range(5):
        save(bench.aws, "behind", bench.story, FileAgent(bench), wait=False)
    bench.write(machine, "after the checkpoints")
    assert bench.down("behind").volumes == ()
    assert bench.read(bench.up("behind")) == ["after the checkpoints"]
    bench.down("behind")


def test_final_save_while_aws_is_busy(bench: Bench) -> None:
    """Eight throttled calls in a row are no reason to leave a machine running."""
    bench.write(bench.up("busy", size_gib=1), "kept")
    bench.cloud.add_fault("throttle", operations=("CreateSnapshot",), count=8)
    assert bench.down("busy").volumes == ()
    assert bench.read(bench.up("busy")) == ["kept"]
    bench.down("busy")
