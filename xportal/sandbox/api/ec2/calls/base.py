"""What all our EC2 calls share."""

from __future__ import annotations

from typing import Any, cast

from moto.ec2.responses._base_response import EC2BaseResponse

from xportal.sandbox.api.ec2.backend import Ec2Backend


class Calls(EC2BaseResponse):
    """A mixin for `Ec2Response`: `given` is the request by AWS's parameter names."""

    @property
    def backend(self) -> Ec2Backend:
        return cast(Ec2Backend, self.ec2_backend)

    @property
    def given(self) -> dict[str, Any]:
        return cast("dict[str, Any]", self.params)
