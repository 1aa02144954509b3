"""A spot request and what it says of its instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models import EC2Backend
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instances import Instance  # our own class holds its request, so its module imports this one
from moto.ec2.utils import random_spot_request_id

MESSAGES = {
    "fulfilled": "Your Spot request is fulfilled.",
    "instance-terminated-by-user": "Spot Instance terminated due to user-initiated termination.",
    "instance-terminated-no-capacity": "Your Spot Instance was terminated: there is no Spot capacity available.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your instance is still running.",
}


class SpotRequest(TaggedEC2Resource):
    """A one-time request: active while its instance lives, then closed."""

    def __init__(self, backend: EC2Backend, instance: Instance, options: Mapping[str, Any], price: float) -> None:
        self.ec2_backend = backend
        self.id = random_spot_request_id()
        self.instance_id = instance.id
        self.launched_availability_zone = instance.availability_zone
        self.instance_interruption_behavior = options.get("InstanceInterruptionBehavior") or "terminate"
        self.type = options.get("SpotInstanceType") or "one-time"
        self.spot_price = f"{float(options.get('MaxPrice') or price):.6f}"
        self.product_description = "Linux/UNIX"
        self.create_time = utcnow()
        self.state = "active"
        self.status = _status("fulfilled")
        self.launch_specification = {
            "ImageId": instance.image_id,
            "InstanceType": instance.instance_type,
            "KeyName": instance.key_name,
            "SubnetId": instance.subnet_id,
            "Placement": {"AvailabilityZone": instance.availability_zone},
            "SecurityGroups": [{"GroupId": g.id, "GroupName": g.name} for g in instance.security_groups],
            "Monitoring": {"Enabled": False},
        }

    @property
    def spot_instance_request_id(self) -> str:
        return self.id

    def tell(self, code: str) -> None:
        """Change the status alone: an interruption is seen here before the instance ends."""
        self.status = _status(code)

    def close(self) -> None:
        """The instance is gone. A status told earlier stays."""
        if self.state == "active":
            self.state = "closed"
            if self.status["Code"] == "fulfilled":
                self.tell("instance-terminated-by-user")


def _status(code: str) -> dict[str, Any]:
    return {"Code": code, "Message": MESSAGES[code], "UpdateTime": utcnow()}
