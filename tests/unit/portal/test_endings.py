"""How a portal that is down lost its machine, told from what AWS shows of its copies."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from xportal.agent.full.proofs import seal_of
from xportal.aws import tags
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.drive.model import Drive
from xportal.portal.endings import BY_ITSELF, BY_SOMEBODY, tell_end

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
MADE = "xportal drive demo, generation 1, final"
PROOF = "what only its own machine knows"
OWN = {tags.LAUNCH: "launch-1", tags.DRIVE: "demo", tags.GENERATION: "1"}


def saved(**told: str) -> Drive:
    """A drive whose newest data is a final save, with these tags, whose names are the constants of `tags`."""
    own = {getattr(tags, name): value for name, value in told.items()}
    proven = {tags.KIND: tags.FINAL, tags.PROOF: PROOF}
    final = Snapshot("snap-1", "vol-1", "completed", NOW, 1, "", {**OWN, **proven, **own}, MADE)
    return Drive("demo", NOW, snapshots=(final,))


def left(*finals: Snapshot) -> Drive:
    """A drive whose machine had no role: its volume is what is left; or its final save is complete, or on its way."""
    told = {**OWN, tags.SEAL: seal_of(PROOF, "demo")}
    return Drive(
        "demo", NOW, volumes=(Volume("vol-1", "available", 1, "us-east-1a", NOW, tags=told),), snapshots=finals
    )


def machine(reason: str, state: str = "terminated", launch: str = "launch-1") -> Instance:
    """The portal's newest machine that AWS still lists."""
    own = {tags.PORTAL: "demo", tags.LAUNCH: launch}
    return Instance("i-1", state, "c5.large", "us-east-1a", NOW, "ami-1", state_reason=reason, tags=own)


@pytest.mark.parametrize(
    ("drive", "last", "told"),
    [
        (saved(SAVE="idle"), None, "nobody used its machine for 30 minutes"),
        (saved(SAVE="shutdown"), machine(BY_SOMEBODY), "its machine was shut down, and saved itself"),
        (
            saved(SAVE="notice-20260102"),
            None,
            "AWS took its machine back, which saved itself at 2026-01-02 03:04:05 UTC",
        ),
        (saved(ENDED=NOW.isoformat()), machine(BY_SOMEBODY), "a down ended its machine at 2026-01-02 03:04:05 UTC"),
        (left(*saved(SAVE="idle").snapshots), machine(BY_ITSELF), "nobody used its machine for 30 minutes"),
        (left(), machine(BY_ITSELF), "as when nobody uses it for 30 minutes"),
        (left(), machine("Server.SpotInstanceTermination"), "AWS ended its machine, i-1"),
        (left(), machine(BY_SOMEBODY), "somebody ended its machine, i-1"),
        (left(), None, None),  # AWS has forgotten the machine
        (left(), machine(BY_ITSELF, launch="launch-2"), None),  # another one, which was not of this data
        (left(), machine("", state="running"), None),
        (Drive("demo", NOW), None, None),
        (saved(SAVE="\x1b[31m idle"), None, None),  # a tag is no text to be shown
        (saved(ENDED="soon"), None, None),
    ],
)
def test_why_the_machine_went_is_told(drive: Drive, last: Instance | None, told: str | None) -> None:
    """By the newest copy's tags, checked; else by the reason that AWS gives for the machine that it is of."""
    text = tell_end(last, drive, 30.0)
    assert text is None if told is None else told in str(text)


def test_without_a_number_its_idle_minutes_are_told_of() -> None:
    """As when the tag that remembers them is gone."""
    assert "for its idle minutes" in str(tell_end(None, saved(SAVE="idle"), None))
