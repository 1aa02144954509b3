"""EC2 calls on spot requests."""

from __future__ import annotations

from moto.core.responses import ActionResult

from xportal.sandbox.api.ec2 import spot_requests
from xportal.sandbox.api.ec2.calls.base import Calls
from xportal.sandbox.api.ec2.filters import page, select


class SpotRequestCalls(Calls):
    def describe_spot_instance_requests(self) -> ActionResult:
        given = self.given
        self.error_on_dryrun()
        found = spot_requests.get_requests(self.backend, given.get("SpotInstanceRequestIds", []))
        found = select(found, given.get("Filters", []), spot_requests.FILTERS)
        shown, token = page(found, given, key=lambda r: r.id, ids="SpotInstanceRequestIds")
        return ActionResult({"SpotInstanceRequests": shown, "NextToken": token})

    def cancel_spot_instance_requests(self) -> ActionResult:
        found = spot_requests.get_requests(self.backend, self.given["SpotInstanceRequestIds"])
        self.error_on_dryrun()
        for request in found:
            spot_requests.cancel(request)
        cancelled = [{"SpotInstanceRequestId": request.id, "State": request.state} for request in found]
        return ActionResult({"CancelledSpotInstanceRequests": cancelled})
