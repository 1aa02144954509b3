"""SSM: AWS's public parameters that lead to the catalogue's images, and the account's own as moto keeps them."""

from __future__ import annotations

from moto.core.utils import utcnow
from moto.ssm.models import Parameter, SimpleSystemManagerBackend
from moto.ssm.responses import SimpleSystemManagerResponse

from xportal.sandbox.api.ec2.catalogue import ssm_parameters


class SsmBackend(SimpleSystemManagerBackend):
    """moto's, with the catalogue in place of the image ids that moto carries."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        parameters = self._parameters
        parameters.latest_amis_loaded = parameters.latest_ecs_amis_loaded = True
        for name, value in ssm_parameters(region_name).items():
            parameters[name].append(
                Parameter(  # type: ignore[abstract]  # moto leaves CloudFormation's methods out
                    account_id=account_id,
                    name=name,
                    value=value,
                    parameter_type="String",
                    description=None,
                    allowed_pattern=None,
                    keyid=None,
                    last_modified_date=utcnow(),
                    version=1,
                    data_type="aws:ec2:image",
                )
            )


class SsmResponse(SimpleSystemManagerResponse):
    """Nothing differs but the backend, which `Cloud.start` puts in place."""
