"""The EC2 call that tags what there is."""

from __future__ import annotations

from moto.core.responses import ActionResult, EmptyResult

from xportal.sandbox.api.ec2 import instances
from xportal.sandbox.api.ec2.calls.base import Calls
from xportal.sandbox.api.ec2.errors import not_found
from xportal.sandbox.api.ec2.tags import check_tags


class TagCalls(Calls):
    def create_tags(self) -> ActionResult:
        given = self.given
        tags = {tag["Key"]: tag.get("Value", "") for tag in given.get("Tags", [])}
        check_tags(tags)
        for resource in given.get("Resources", []):
            self._check_exists(resource)
        self.backend.do_resources_exist(given.get("Resources", []))
        self.error_on_dryrun()
        self.backend.create_tags(given["Resources"], tags)
        return EmptyResult()

    def _check_exists(self, resource: str) -> None:
        """moto tags instances, key pairs and spot requests that it does not know."""
        if resource.startswith("i-"):
            instances.get_instance(self.backend, resource)
        if resource.startswith("key-") and resource not in {key.id for key in self.backend.key_pairs.values()}:
            raise not_found("InvalidKeyPair", resource)
        if resource.startswith("sir-") and resource not in self.backend.spot_instance_requests:
            raise not_found("InvalidSpotInstanceRequestID", resource)
