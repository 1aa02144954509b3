"""EC2 as the sandbox answers it: our calls, moto's for the rest, a refusal where moto would only pretend."""

from __future__ import annotations

import functools
from typing import Any

import moto.core.responses
from moto.core.common_types import TYPE_RESPONSE
from moto.core.responses import ActionResult
from moto.core.serialize import SERVICE_SPECIFIC_SERIALIZERS
from moto.ec2.responses import EC2Response

from xportal.sandbox.api.ec2.answers import ShuffledAnswers
from xportal.sandbox.api.ec2.calls.catalogue import CatalogueCalls
from xportal.sandbox.api.ec2.calls.instances import InstanceCalls
from xportal.sandbox.api.ec2.calls.key_pairs import KeyPairCalls
from xportal.sandbox.api.ec2.calls.security_groups import SecurityGroupCalls
from xportal.sandbox.api.ec2.calls.snapshots import SnapshotCalls
from xportal.sandbox.api.ec2.calls.spot_requests import SpotRequestCalls
from xportal.sandbox.api.ec2.calls.tags import TagCalls
from xportal.sandbox.api.ec2.calls.volumes import VolumeCalls
from xportal.sandbox.api.ec2.errors import ApiError, invalid_value
from xportal.sandbox.api.ec2.requests import check_request
from xportal.sandbox.api.ec2.text_limits import check_texts

# moto lists a class's methods at every request, which takes as long as most of its answers.
_names = functools.cache(moto.core.responses.method_names_from_class)  # type: ignore[attr-defined]
moto.core.responses.method_names_from_class = _names  # type: ignore[attr-defined]
SERVICE_SPECIFIC_SERIALIZERS["ec2"] = {"ec2": ShuffledAnswers}

# moto answers these from its records alone: no disk and no machine would follow.
NOT_PROVIDED = frozenset((
    "CancelSpotFleetRequests", "CopyImage", "CopySnapshot", "CreateFleet", "CreateImage", "CreateLaunchTemplate",
    "CreateLaunchTemplateVersion", "ModifySnapshotTier", "ModifySpotFleetRequest", "RebootInstances", "RegisterImage",
    "RequestSpotFleet", "RequestSpotInstances", "RestoreSnapshotTier",
    "StartInstances",
))  # fmt: skip

# moto writes transitional states into its replies; ours are real.
_REAL_HERE = (
    "RunInstances.Reservation.Instances.Instance.State",
    "CreateVolumeResponse.State",
    "ModifyVolumeResponse.VolumeModification.ModificationState",
    "ModifyVolumeResponse.VolumeModification.Progress",
)


class Ec2Response(
    CatalogueCalls,
    InstanceCalls,
    KeyPairCalls,
    SecurityGroupCalls,
    SnapshotCalls,
    SpotRequestCalls,
    TagCalls,
    VolumeCalls,
    EC2Response,
):
    """One request. Called under the API's lock."""

    RESPONSE_KEY_PATH_TO_TRANSFORMER = {
        path: transform
        for path, transform in EC2Response.RESPONSE_KEY_PATH_TO_TRANSFORMER.items()
        if path not in _REAL_HERE
    } | {"RunInstances.Reservation.Instances.Instance.BlockDeviceMappings": lambda _: []}  # EC2 tells them later

    def call_action(self) -> TYPE_RESPONSE:
        action = self._get_action()
        try:
            if action in NOT_PROVIDED:
                raise ApiError("UnsupportedOperation", f"The sandbox does not provide {action}")
            check_request(action, self.given)
            check_texts(action, self.given)
            return super().call_action()
        except NotImplementedError as error:
            if "ilter" in str(error):
                return self.refused(invalid_value(f"The filter is invalid: {error}"))
            return self.refused(ApiError("InvalidAction", f"The sandbox does not know the action {action}: {error}"))
        except ApiError as error:
            return self.refused(error)

    def refused(self, error: ApiError) -> TYPE_RESPONSE:
        """The answer to a refused request, outside moto's own handling."""
        status, headers, body = self.serialized(ActionResult(error))
        return status, headers, body

    def serialized(self, action_result: ActionResult) -> TYPE_RESPONSE:
        status, headers, body = super().serialized(action_result)
        result: Any = action_result.result
        return getattr(result, "http_status", status), headers, body
