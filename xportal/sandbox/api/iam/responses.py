"""IAM as the sandbox answers it: moto's, which knows at once what it has made. AWS's does not."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from moto.core.common_types import TYPE_RESPONSE
from moto.core.utils import utcnow
from moto.iam import responses
from moto.iam.models import IAMBackend, InstanceProfile, Role

from xportal.sandbox.api.engine import Settings
from xportal.sandbox.api.errors import RefusedError

AT_ONCE = ("Create", "Delete", "List")


class IamResponse(responses.IamResponse):
    """One request. Called under the API's lock. `settings` are the running cloud's."""

    settings: ClassVar[Settings]

    def call_action(self) -> TYPE_RESPONSE:
        """Roles and instance profiles that are seconds old are not there yet, for who reads, changes or joins them."""
        if not self._get_action().startswith(AT_ONCE):
            backend: IAMBackend = self.backend
            role, profile = self._get_param("RoleName"), self._get_param("InstanceProfileName")
            for kind, name, found in (
                ("role", role, next((r for r in backend.roles.values() if r.name == role), None)),
                ("Instance Profile", profile, backend.instance_profiles.get(profile)),
            ):
                if found is not None and _age(found) < timedelta(seconds=self.settings.iam_seconds):
                    raise RefusedError("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)
        answer: TYPE_RESPONSE = super().call_action()
        return answer


def _age(found: Role | InstanceProfile) -> timedelta:
    age: timedelta = utcnow() - found.create_date
    return age
