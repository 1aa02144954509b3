"""Calls that machines sign with the credentials of their role."""

from __future__ import annotations

from xportal.sandbox.api import instances
from xportal.sandbox.api.backend import all_backends
from xportal.sandbox.api.instances import Instance


def find_holder(access_key: str) -> Instance | None:
    """The instance that got these credentials from IMDS."""
    for backend in all_backends():
        for instance in instances.all_instances(backend):
            if instance.credentials and instance.credentials.access_key_id == access_key:
                return instance
    return None
