"""Service Quotas: the vCPUs of EC2's types, as faults of kind quota set them. moto knows the quotas of VPC alone."""

from __future__ import annotations

import json
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.core.responses import BaseResponse

from xportal.sandbox.api.ec2.account import PLENTY, QUOTAS
from xportal.sandbox.api.ec2.backend import get_backend


class QuotasResponse(BaseResponse):
    def __init__(self) -> None:
        super().__init__(service_name="service-quotas")

    def get_service_quota(self) -> str:
        """The number that is in force."""
        return json.dumps({"Quota": self._quota()})

    def get_aws_default_service_quota(self) -> str:
        """The same: nobody has ever asked for more here."""
        return json.dumps({"Quota": self._quota()})

    def _quota(self) -> dict[str, Any]:
        given = json.loads(self.body)
        code = given["QuotaCode"]
        if given["ServiceCode"] != "ec2" or code not in QUOTAS:
            raise JsonRESTError("NoSuchResourceException", "The request failed because the specified quota is unknown.")
        family, spot, name = QUOTAS[code]
        fault = get_backend(self.region).faults.find_quota(family, spot=spot)
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": float(fault.vcpus if fault else PLENTY),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
