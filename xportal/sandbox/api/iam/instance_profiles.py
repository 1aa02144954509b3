"""Instance profiles, by which a machine is given a role."""

from __future__ import annotations

from moto.iam.models import InstanceProfile, iam_backends


def find_by_name(account_id: str, partition: str, name: str) -> InstanceProfile | None:
    return next((profile for profile in _profiles(account_id, partition) if profile.name == name), None)


def find_by_arn(account_id: str, partition: str, arn: str) -> InstanceProfile | None:
    return next((profile for profile in _profiles(account_id, partition) if profile.arn == arn), None)


def _profiles(account_id: str, partition: str) -> list[InstanceProfile]:
    return list(iam_backends[account_id][partition].instance_profiles.values())
