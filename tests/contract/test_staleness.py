"""Rules of eventual consistency: what has just changed shows late, in every list, by id and by filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.conftest import Account
from tests.user import see_now

LONG, SHORT = 6.0, 0.3  # seconds: long while it is not to be shown, short while it is waited for
TAGS = [{"Key": "xportal", "Value": "1"}]


@pytest.fixture
def fresh(account: Account) -> Any:
    """A client that sees what is so now."""
    return see_now(
        account.client_with("ec2", account.cloud.secret.access_key_id, account.cloud.secret.secret_access_key)
    )


def test_a_change_shows_late_everywhere(account: Account, fresh: Any) -> None:
    """A new volume, an older one's tags, a new key pair: nobody is shown them at once, everybody in the end."""
    kept = account.make_volume()
    account.cloud.settings.stale_seconds = LONG
    volume = fresh.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    account.import_key("mine")
    fresh.create_tags(Resources=[kept], Tags=TAGS)
    by_tag = [{"Name": "tag:xportal", "Values": ["1"]}]
    late: list[Callable[[Any], Any]] = [
        lambda ec2: volume in [v["VolumeId"] for v in ec2.describe_volumes()["Volumes"]],
        lambda ec2: ec2.describe_volumes(Filters=by_tag)["Volumes"],
        lambda ec2: ec2.describe_tags(Filters=[{"Name": "key", "Values": ["xportal"]}])["Tags"],
        lambda ec2: ec2.describe_key_pairs()["KeyPairs"],
    ]
    assert not any(shown(account.ec2) for shown in late)
    assert all(shown(fresh) for shown in late)
    account.cloud.settings.stale_seconds = SHORT
    account.wait_until(lambda: all(shown(account.ec2) for shown in late))


def test_what_workers_do_shows_late_and_not_later(account: Account, fresh: Any) -> None:
    """The end of a machine, and that of its snapshot; when nothing has changed for a while, all is shown."""
    instance = account.launch_with_drive()
    snapshot = account.ec2.create_snapshot(VolumeId=account.drive_of(instance))["SnapshotId"]
    account.cloud.settings.stale_seconds = LONG
    fresh.terminate_instances(InstanceIds=[instance["InstanceId"]])
    account.wait_until(lambda: _states(fresh) == {snapshot: "completed", instance["InstanceId"]: "terminated"})
    shown = _states(account.ec2)
    assert shown[instance["InstanceId"]] != "terminated"
    assert shown.get(snapshot) != "completed"
    account.cloud.settings.stale_seconds = SHORT
    account.wait_until(lambda: _states(account.ec2) == _states(fresh))


def _states(ec2: Any) -> dict[str, str]:
    """Of every machine and snapshot."""
    machines = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    snapshots = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return {i["InstanceId"]: i["State"]["Name"] for i in machines} | {s["SnapshotId"]: s["State"] for s in snapshots}
