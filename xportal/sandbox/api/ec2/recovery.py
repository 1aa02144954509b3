"""After a restart: bring the records and the hardware together again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from xportal.errors import HardwareFailure
from xportal.sandbox.api.ec2 import attachments, instances, snapshots, volumes
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.interruption import rearm
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.engine import Engine

log = logging.getLogger(__name__)

BY_SANDBOX = ("Server.InternalError", "The sandbox was stopped")


def reconcile(engine: Engine, backends: Iterable[Ec2Backend]) -> None:
    """Machines that still run go on; others are terminated and their drives available."""
    running = engine.hardware.running()
    everything = list(backends)
    kept = {i.id for b in everything for i in instances.all_instances(b) if i.state == "running" and i.id in running}
    for stray in running - kept:
        _cut(engine, stray)
    with engine.changing():
        for backend in everything:
            _reconcile(backend, kept)


def _reconcile(backend: Ec2Backend, kept: set[str]) -> None:
    for instance in instances.all_instances(backend):
        if instance.id in kept:
            _resume_attachments(backend, instance)
            rearm(backend, instance)
        elif instance.state not in ("terminated", "stopped"):
            if instance.state == "pending":
                instances.discard_new_disks(instance)
            instances.end(backend, instance, "stopped" if instance.state == "stopping" else "terminated", BY_SANDBOX)
    for volume in list(backend.volumes.values()):
        if volume.state == "creating":
            volumes.make_disk(backend, volume)
        elif volume.state == "deleting":
            volumes.discard(backend, volume)
    snapshots.resume(backend)


def _resume_attachments(backend: Ec2Backend, instance: Instance) -> None:
    for attachment in instance.disks:
        if attachment.status == "attaching":
            attachments.plug(backend, attachment)
        elif attachment.status == "detaching":
            attachments.unplug(backend, attachment)


def _cut(engine: Engine, instance_id: str) -> None:
    try:
        engine.hardware.cut_power(instance_id)
    except HardwareFailure:
        log.exception("cannot switch off %s", instance_id)
