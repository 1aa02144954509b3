"""Volumes and snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xportal.aws.answers import record
from xportal.aws.errors import AwsError
from xportal.aws.records import Snapshot, Volume
from xportal.aws.session import Aws
from xportal.aws.tags import from_aws, to_aws


def list_volumes(aws: Aws, filters: list[Any]) -> list[Volume]:
    """Volumes that match."""
    return [_volume(item) for item in aws.pages("describe_volumes", "Volumes", Filters=filters)]


def list_snapshots(aws: Aws, filters: list[Any]) -> list[Snapshot]:
    """The account's own snapshots that match, in all states."""
    return [
        _snapshot(item) for item in aws.pages("describe_snapshots", "Snapshots", OwnerIds=["self"], Filters=filters)
    ]


def create_snapshot(aws: Aws, volume_id: str, *, description: str, tags: Mapping[str, str]) -> Snapshot:
    """Start a snapshot; its point in time is fixed when this returns, its state is `pending`.

    CreateSnapshot takes no ClientToken: whoever calls this has looked for the save first, and the SDK asks once.
    """
    answer = aws.call(
        aws.once.create_snapshot,
        VolumeId=volume_id,
        Description=description,
        TagSpecifications=[{"ResourceType": "snapshot", "Tags": to_aws(tags)}],
    )
    return _snapshot(answer)


def create_snapshots(
    aws: Aws, instance_id: str, *, without: Sequence[str], description: str, tags: Mapping[str, str]
) -> list[Snapshot]:
    """Start snapshots of a machine's data volumes, all as of one moment, or none.

    Each gets its volume's tags and `tags`. `without` are volumes to leave out. No ClientToken, as CreateSnapshot.
    """
    answer = aws.call(
        aws.once.create_snapshots,
        InstanceSpecification={
            "InstanceId": instance_id,
            "ExcludeBootVolume": True,
            "ExcludeDataVolumeIds": list(without),
        },
        CopyTagsFromSource="volume",
        Description=description,
        TagSpecifications=[{"ResourceType": "snapshot", "Tags": to_aws(tags)}],
    )
    return [_snapshot(item) for item in answer["Snapshots"]]


def attach_volume(aws: Aws, volume_id: str, instance_id: str, device: str) -> None:
    """Begin to attach a volume to a running machine of its zone; it outlives the machine.

    Raises AwsError: `VolumeInUse` also if an earlier attempt of ours did it and its answer was lost.
    """
    aws.call(aws.ec2.attach_volume, VolumeId=volume_id, InstanceId=instance_id, Device=device)


def delete_volume(aws: Aws, volume_id: str) -> None:
    """Delete a volume; one that is gone or going already is fine."""
    try:
        aws.call(aws.ec2.delete_volume, VolumeId=volume_id)
    except AwsError as error:
        if error.code != "InvalidVolume.NotFound" and not (
            error.code == "IncorrectState" and "deleting" in error.message
        ):
            raise


def delete_snapshot(aws: Aws, snapshot_id: str) -> None:
    """Delete a snapshot; one that is gone is fine. Raises AwsError (InvalidSnapshot.InUse) if it is an image's."""
    try:
        aws.call(aws.ec2.delete_snapshot, SnapshotId=snapshot_id)
    except AwsError as error:
        if error.code != "InvalidSnapshot.NotFound":
            raise


@record
def _volume(item: Any) -> Volume:
    attachment: dict[str, Any] = next(iter(item.get("Attachments", [])), {})
    return Volume(
        id=item["VolumeId"],
        state=item["State"],
        size_gib=item["Size"],
        zone=item["AvailabilityZone"],
        created=item["CreateTime"],
        snapshot_id=item.get("SnapshotId") or None,
        instance_id=attachment.get("InstanceId"),
        device=attachment.get("Device"),
        delete_on_termination=attachment.get("DeleteOnTermination", False),
        tags=from_aws(item.get("Tags")),
    )


@record
def _snapshot(item: Any) -> Snapshot:
    volume_id = item["VolumeId"]
    return Snapshot(
        id=item["SnapshotId"],
        # CopySnapshot gives every copy the same volume id, of no volume: a copy is a lineage of its own.
        volume_id=item["SnapshotId"] if volume_id == "vol-ffffffff" else volume_id,
        state=item["State"],
        started=item["StartTime"],
        size_gib=item["VolumeSize"],
        progress=item.get("Progress", ""),
        tags=from_aws(item.get("Tags")),
        description=item.get("Description", ""),
    )
