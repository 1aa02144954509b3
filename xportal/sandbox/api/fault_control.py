"""Faults begin and end: most wait for a call or a snapshot, those of a machine are done to it at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xportal.errors import HardwareFailure
from xportal.sandbox.api.ec2 import instances, snapshots
from xportal.sandbox.api.ec2.backend import Ec2Backend, all_backends
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.faults import Fault, Faults, make_fault
from xportal.sandbox.hardware import Disk


def begin(faults: Faults, kind: str, options: Mapping[str, Any]) -> Fault:
    """Put a fault in force. Called under the lock; ValueError, KeyError (the machine), HardwareFailure."""
    fault = make_fault(kind, **options)
    if fault.instance_id:
        _harm(fault, *_get_running(fault.instance_id))
        fault.hits += 1
    faults.add(fault)
    return fault


def end(faults: Faults) -> None:
    """End all faults and what they did. Called under the lock; HardwareFailure, at the end, names what did not heal."""
    faults.clear()
    failures = []
    for backend in all_backends():
        snapshots.release(backend)
    for backend, instance in list(_running()):
        try:
            with backend.engine.unlocked():
                backend.engine.hardware.heal(instance.id)
        except HardwareFailure as error:
            failures.append(f"{instance.id}: {error.message}")
    if failures:
        raise HardwareFailure("; ".join(failures))


def _harm(fault: Fault, backend: Ec2Backend, instance: Instance) -> None:
    hardware = backend.engine.hardware
    disks = [Disk(attachment.volume_id, attachment.device) for attachment in instance.disks]
    with backend.engine.unlocked():
        if fault.kind == "ssh-drop":
            hardware.drop_ssh(instance.id)
            return
        for disk in disks:
            hardware.fill_disk(instance.id, disk)


def _get_running(instance_id: str) -> tuple[Ec2Backend, Instance]:
    for backend, instance in _running():
        if instance.id == instance_id:
            return backend, instance
    raise KeyError(instance_id)


def _running() -> Iterator[tuple[Ec2Backend, Instance]]:
    for backend in all_backends():
        for instance in instances.all_instances(backend):
            if instance.state == "running":
                yield backend, instance
