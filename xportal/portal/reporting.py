"""From the records inside xportal to what commands answer (`xportal/reports.py`). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from xportal import foreign
from xportal.aws import tags
from xportal.aws.records import Instance, Snapshot, Volume
from xportal.drive import plan as p
from xportal.drive.generations import restored_from
from xportal.drive.model import Drive
from xportal.portal.agent import AgentStatus
from xportal.portal.last_time import LastTime
from xportal.portal.prices import price_of
from xportal.reports import (
    AgentContainerReport,
    AgentDriveReport,
    AgentReport,
    CopyReport,
    DriveReport,
    FollowedReport,
    LastTimeReport,
    LeavingReport,
    MachineReport,
    PortalReport,
    SaveSecondsReport,
    SettingsReport,
    SnapshotReport,
)
from xportal.spec import Followed

# What a snapshot's tag says, as answers have it. Any other word there is somebody's own.
KINDS = {tags.FINAL: "final", tags.CHECKPOINT: "checkpoint", tags.WITHDRAWN: "checkpoint"}
SAVING = (p.SaveOnMachine, p.SnapshotVolume, p.Checkpoint)


def machine_report(machine: Instance) -> MachineReport:
    """A machine."""
    return MachineReport(
        id=machine.id,
        state=machine.state,
        type=machine.type,
        zone=machine.zone,
        address=machine.public_address,
        spot=machine.spot,
        architecture=machine.architecture,
        image_id=machine.image_id,
        since=machine.launched,
    )


def portal_report(machine: Instance, last: LastTime | None) -> PortalReport:
    """A portal that has a machine."""
    return PortalReport(
        portal=machine.tags.get(tags.PORTAL, ""),
        machine=machine.id,
        state=machine.state,
        type=machine.type,
        zone=machine.zone,
        address=machine.public_address,
        spot=machine.spot,
        price=price_of(machine),
        since=machine.launched,
        last_time=last_time_report(last) if last else None,
    )


def last_time_report(last: LastTime) -> LastTimeReport:
    """What a portal was at its last `up`."""
    return LastTimeReport(
        portal=last.portal,
        at=last.at,
        options=last.words(),
        drives=last.drives,
        gpu=last.gpu,
        types=last.types,
        min_gpu_memory_gib=last.min_gpu_memory_gib,
        architecture=last.architecture,
        on_notice=last.on_notice,
        idle_minutes=last.idle_minutes,
        checkpoint_on_rebalance=last.checkpoint_on_rebalance,
        checkpoint_minutes=last.checkpoint_minutes,
        spec=_followed_report(last.follows) if last.follows else None,
    )


def _followed_report(follows: Followed) -> FollowedReport:
    return FollowedReport(
        file=follows.file,
        digest=follows.digest,
        market="on-demand" if follows.on_demand else "spot",
        max_price=follows.max_price,
        image_id=follows.image_id,
        wait_capacity=follows.wait_capacity,
        budget=follows.budget,
        max_hours=follows.max_hours,
        end_price=follows.end_price,
    )


def snapshot_report(snapshot: Snapshot) -> SnapshotReport:
    """A snapshot by itself."""
    return SnapshotReport(snapshot.id, snapshot.state, snapshot.started, snapshot.size_gib)


def newest_report(drive: Drive) -> SnapshotReport | None:
    """The newest snapshot of a drive."""
    newest = drive.newest_snapshot()
    return snapshot_report(newest) if newest else None


def copy_report(drive: Drive, copy: Volume | Snapshot) -> CopyReport:
    """A volume or snapshot among the other copies of its drive."""
    kind = "volume" if isinstance(copy, Volume) else KINDS.get(copy.tags.get(tags.KIND, ""), "by hand")
    return CopyReport(
        id=copy.id,
        kind=kind,
        state=copy.state,
        generation=drive.generation_of(copy),
        size_gib=copy.size_gib,
        made=copy.created if isinstance(copy, Volume) else copy.started,
        note=_note(drive, copy),
    )


def _note(drive: Drive, copy: Volume | Snapshot) -> str:
    forked = (copy.id if isinstance(copy, Volume) else copy.volume_id) in drive.forks()
    before = restored_from(copy)
    notes = ["forked" if forked else "newest" if copy == drive.newest() else ""]
    return ", ".join(filter(None, [*notes, f"restored, was generation {before}" if before else ""]))


def drive_report(drive: Drive) -> DriveReport:
    """A drive, and where its newest data is."""
    newest = drive.newest_snapshot()
    volume = max(drive.volumes, key=drive.generation_of, default=None)
    machine = drive.live_machine()
    where: str | None
    if volume:
        state, zone = ("awake", machine.zone) if machine else ("volume", volume.zone)
        where, size, generation = (machine or volume).id, volume.size_gib, drive.generation_of(volume)
    elif newest:
        state, zone = "snapshot" if newest.state == "completed" else f"snapshot {newest.state}", None
        where, size, generation = newest.id, newest.size_gib, drive.generation_of(newest)
    else:
        state, zone, where, size, generation = "empty", None, None, 0, 0
    return DriveReport(
        drive=drive.name,
        state=state,
        where=where,
        zone=zone,
        size_gib=size,
        generation=generation,
        snapshots=len(drive.snapshots),
        saved=newest.started if newest else None,
    )


def agent_report(status: AgentStatus) -> AgentReport:
    """What the agent says."""
    leaving, settings = status.leaving, status.settings
    return AgentReport(
        phase=status.phase,
        error=status.error,
        gpu=status.gpu,
        docker=status.docker,
        drives=tuple(
            AgentDriveReport(d.name, d.mount, d.volume_id, d.generation, d.size_bytes, d.used_bytes)
            for d in status.drives
        ),
        containers=tuple(
            AgentContainerReport(c.name, c.id, c.running, c.gpu, c.note, c.warnings) for c in status.containers
        ),
        leaving=LeavingReport(leaving.why, foreign.moment(leaving.time or "")) if leaving else None,
        settings=SettingsReport(
            on_notice=settings.on_notice,
            idle_minutes=settings.idle_minutes,
            checkpoint_on_rebalance=settings.checkpoint_on_rebalance,
            checkpoint_minutes=settings.checkpoint_minutes,
        )
        if settings
        else None,
    )


def save_seconds(by_action: Mapping[str, float], total: float) -> SaveSecondsReport:
    """From the seconds that each of the lifecycle's actions took."""
    save = sum(by_action.get(action.__name__, 0.0) for action in SAVING)
    return SaveSecondsReport(save=save, wait=by_action.get(p.Wait.__name__, 0.0), total=total)
