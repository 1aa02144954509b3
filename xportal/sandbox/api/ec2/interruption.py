"""Spot interruptions: the notice, then the power goes."""

from __future__ import annotations

from datetime import timedelta, timezone

from moto.core.utils import utcnow

from xportal.sandbox.api.ec2 import instances
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.instances import BY_SPOT
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.hardware import Notice


def interrupt(backend: Ec2Backend, instance: Instance, seconds: float, *, notice: bool) -> None:
    """Take a machine back in so many seconds, with or without a notice in IMDS.

    The spot request tells at once; the instance stays `running` until its power goes.
    """
    ends_at = utcnow() + timedelta(seconds=seconds)
    if notice:
        instance.notice = Notice("terminate", ends_at.replace(tzinfo=timezone.utc))
    if instance.spot:
        instance.spot.tell("instance-terminated-no-capacity")
    instance.power_ends_at = ends_at
    rearm(backend, instance)


def rearm(backend: Ec2Backend, instance: Instance) -> None:
    """Set the timer of an interruption that was announced; also after a restart."""
    if instance.power_ends_at is None:
        return
    left = max(0.0, (instance.power_ends_at - utcnow()).total_seconds())
    backend.engine.later(left, lambda: instances.terminate(backend, instance, by_force=True, reason=BY_SPOT))
