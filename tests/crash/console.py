"""A drive in each phase of its life, and what a person may do to it by hand in the meantime."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.crash.conftest import Lab, LabAws
from xportal.aws import compute, keys, network, storage, tags
from xportal.aws.devices import DEVICE
from xportal.aws.records import Instance, KeyPair, Snapshot, Volume
from xportal.aws.tagging import delete_tag, set_tags
from xportal.drive import plan as p
from xportal.drive.made import Description
from xportal.drive.model import Drive, lock_name
from xportal.drive.observe import observe
from xportal.errors import DriveForked, DriveInUse, XportalError
from xportal.portal.restore import restore

PUBLIC_KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2FC8yWQ1yq3i3x4wGqRjbP8y1eGJmQmGJ4kBqjQm3a ann@desk"


@dataclass
class Life:
    """One drive; `ec2` is the console."""

    lab: Lab
    drive: str

    @property
    def ec2(self) -> Any:
        """AWS, as a person uses it beside xportal."""
        return self.lab.aws.ec2

    # Phases

    def had_lives(self, *records: str) -> None:
        """As many lives ago as records; made by API calls alone, as xportal's own save leaves it."""
        snapshot = None
        for generation, record in enumerate(records, start=1):
            volume = self.make_volume(snapshot)
            self.lab.append(volume, record)
            told = {tags.NAME: self.drive, tags.OURS: "1", tags.DRIVE: self.drive, tags.KIND: tags.FINAL}
            made = str(Description({self.drive: generation}, tags.FINAL))
            told |= {tags.GENERATION: str(generation), tags.FOLLOWED: tags.NOBODY if record == records[-1] else "vol-0"}
            snapshot = self.snapshot(volume, made, **told)
            self.ec2.delete_volume(VolumeId=volume)

    def awake(self, *records: str, on_demand: bool = False) -> Instance:
        """Up on a machine, with more records than before."""
        machine = self.lab.up(self.drive, on_demand=on_demand)
        for record in records:
            self.lab.write(machine, record)
        return machine

    def at_rest(self, *records: str) -> Snapshot:
        """Down; the newest snapshot."""
        self.awake(*records)
        self.lab.down(self.drive)
        return self.newest

    def machine_gone(self, *records: str) -> str:
        """Its machine is terminated, its volume left; the volume's id."""
        machine = self.awake(*records)
        self.end(machine)
        return machine.disks[DEVICE]

    def saving(self, *records: str) -> tuple[str, Snapshot]:
        """A `down` was cut off: the machine is gone, the snapshot of the volume stays pending."""
        machine = self.awake(*records)
        self.lab.cloud.add_fault("snapshot-stuck", count=1)
        self.lab.lifecycle(self.drive).settle(p.Goal.DOWN, wait=False)
        self.wait(lambda: self.volume(machine.disks[DEVICE]).state == "available")
        [snapshot] = [s for s in self.observed.snapshots if s.state == "pending"]
        return machine.disks[DEVICE], snapshot

    def chooses(self, copy_id: str) -> None:
        """The newest copy is one that no `up` led to: that is refused, and the user chooses it."""
        with pytest.raises(DriveForked, match=copy_id):
            self.lab.up(self.drive)
        restore(self.lab.aws, self.drive, copy_id, self.lab.story)

    # By hand

    @contextmanager
    def around(self, when: str, act: Callable[[], object]) -> Iterator[None]:
        """Have `act` done once: `when` is "before-call" or "after-call", of the first RunInstances."""
        events = self.lab.aws.once.meta.events
        left = [act]

        def once(**_: object) -> None:
            if left:
                left.pop()()

        events.register(f"{when}.ec2.RunInstances", once)
        try:
            yield
        finally:
            events.unregister(f"{when}.ec2.RunInstances", once)
        assert not left

    def end(self, machine: Instance) -> None:
        """Terminate a machine and wait for it."""
        compute.terminate_instance(self.lab.aws, machine.id)
        self.wait(lambda: self.machine(machine).state == "terminated")

    def stop(self, machine: Instance) -> None:
        """Stop a machine and wait for it."""
        self.ec2.stop_instances(InstanceIds=[machine.id])
        self.wait(lambda: self.machine(machine).state == "stopped")

    def detach(self, volume_id: str, *, force: bool = False) -> None:
        """Take a volume off its machine and wait for it."""
        self.ec2.detach_volume(VolumeId=volume_id, Force=force)
        self.wait(lambda: self.volume(volume_id).state == "available")

    def stranger(self, zone: str, **told: str) -> Instance:
        """A machine that somebody launched by hand in a zone."""
        [image] = self.ec2.describe_images(Owners=["amazon"])["Images"][:1]
        answer = self.ec2.run_instances(
            ImageId=image["ImageId"],
            InstanceType="t3.medium" if image["Architecture"] == "x86_64" else "t4g.medium",
            MinCount=1,
            MaxCount=1,
            Placement={"AvailabilityZone": zone},
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags.to_aws({"Name": "rescue", **told})}],
        )
        found = Instance(answer["Instances"][0]["InstanceId"], "", "", zone, self.lab.aws.now(), "")
        self.wait(lambda: self.machine(found).state == "running")
        return self.machine(found)

    def attach(self, volume_id: str, machine: Instance, device: str = "/dev/sdg") -> None:
        """Put a volume into a machine and wait for it."""
        self.ec2.attach_volume(VolumeId=volume_id, InstanceId=machine.id, Device=device)
        self.wait(lambda: self.volume(volume_id).state == "in-use")

    def snapshot(self, volume_id: str, description: str = "", **told: str) -> str:
        """A snapshot as the console makes it, complete; its id."""
        spec = [{"ResourceType": "snapshot", "Tags": tags.to_aws(told)}] if told else []
        made: str = self.ec2.create_snapshot(VolumeId=volume_id, Description=description, TagSpecifications=spec)[
            "SnapshotId"
        ]
        by_id: list[Any] = [{"Name": "snapshot-id", "Values": [made]}]
        self.wait(lambda: storage.list_snapshots(self.lab.aws, by_id)[0].state == "completed")
        return made

    def make_volume(self, snapshot_id: str | None, **told: str) -> str:
        """A volume made from a snapshot, or a blank one, as the console does; its id."""
        spec = [{"ResourceType": "volume", "Tags": tags.to_aws(told)}] if told else []
        source = {"SnapshotId": snapshot_id} if snapshot_id else {"Size": 1}
        made: str = self.ec2.create_volume(
            **source, AvailabilityZone="us-east-1a", VolumeType="gp3", TagSpecifications=spec
        )["VolumeId"]
        self.wait(lambda: self.volume(made).state == "available")
        return made

    def tag(self, resource_id: str, **told: str) -> None:
        """Edit tags; `generation="7"` is xportal:generation."""
        set_tags(self.lab.aws, resource_id, {getattr(tags, key.upper()): value for key, value in told.items()})

    def untag(self, resource_id: str, *keys: str) -> None:
        """Delete tags; without keys all of them."""
        every = self.ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [resource_id]}])["Tags"]
        for key in [getattr(tags, key.upper()) for key in keys] or [tag["Key"] for tag in every]:
            delete_tag(self.lab.aws, resource_id, key)

    def switch_delete_on_termination(self, machine: Instance) -> None:
        """Have AWS delete the drive with its machine."""
        mapping = [{"DeviceName": DEVICE, "Ebs": {"DeleteOnTermination": True}}]
        self.ec2.modify_instance_attribute(InstanceId=machine.id, BlockDeviceMappings=mapping)

    def hold_lock(self, **told: str) -> None:
        """Somebody's `up` took the lock just now, and died; its tags as told."""
        claim = {"drive": self.drive, "launch": "dead", "holder": "ann@desk", **told}
        named = {getattr(tags, key.upper()): value for key, value in claim.items()}
        keys.import_key_pair(self.lab.aws, lock_name(self.drive), PUBLIC_KEY, named)

    @contextmanager
    def later(self) -> Iterator[None]:
        """Eleven minutes go by on AWS's clock."""
        aws = self.lab.aws
        assert isinstance(aws, LabAws)
        aws.passed = timedelta(minutes=11)
        yield
        aws.passed = timedelta(0)

    # What there is

    @property
    def lock(self) -> KeyPair:
        """The key pair of the lock's name."""
        found = keys.find_key_pair(self.lab.aws, lock_name(self.drive))
        assert found
        return found

    @property
    def newest(self) -> Snapshot:
        """The newest snapshot."""
        newest = self.observed.newest_snapshot()
        assert newest
        return newest

    def group(self, machine: Instance) -> Any:
        """The security group of the machine's network, as AWS shows it."""
        found = network.find_security_group(self.lab.aws, machine.vpc_id or "")
        assert found
        return self.ec2.describe_security_groups(GroupIds=[found.id])["SecurityGroups"][0]

    @property
    def observed(self) -> Drive:
        """The drive as xportal sees it."""
        return observe(self.lab.aws, self.drive)

    def volume(self, volume_id: str) -> Volume:
        """A volume as AWS shows it."""
        return storage.list_volumes(self.lab.aws, [{"Name": "volume-id", "Values": [volume_id]}])[0]

    def machine(self, machine: Instance) -> Instance:
        """A machine as AWS shows it now."""
        found = compute.find_instance(self.lab.aws, machine.id)
        assert found
        return found

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until a condition holds, for ten seconds at most."""
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    # What xportal does

    def comes_back(self, *records: str) -> list[str]:
        """`up` finds just these records; `down` then leaves snapshots alone. What `up` said."""
        self.lab.story.lines.clear()
        machine = self.lab.up(self.drive)
        said = list(self.lab.story.lines)
        assert self.lab.read(machine) == list(records)
        self.goes_down()
        return said

    def goes_on_with(self, machine: Instance) -> None:
        """`up` finds this machine and adopts it."""
        assert self.lab.up(self.drive).id == machine.id

    def goes_down(self) -> None:
        """`down` saves what there is and leaves neither machine nor volume nor lock."""
        left = self.lab.down(self.drive)
        assert (left.volumes, left.lock) == ((), None)
        assert {m.state for m in left.machines.values()} <= {"terminated"}

    def goes_down_by_and_by(self) -> None:
        """`down` takes the lock for that of an `up` under way, for ten minutes; then it ends what there is."""
        self.refuses(self.lab.down, DriveInUse, "being brought up")
        with self.later():
            self.goes_down()

    def refuses(self, goal: Callable[[str], object], error: type[XportalError], words: str) -> None:
        """A command is refused in these words (a regular expression), with a hint, and changes nothing."""
        before = self.observed
        with pytest.raises(error, match=words) as caught:
            goal(self.drive)
        assert caught.value.hint
        after = self.observed
        assert ({v.id for v in before.volumes}, before.snapshots) == ({v.id for v in after.volumes}, after.snapshots)
