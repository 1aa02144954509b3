"""EC2 Instance Connect: a login key for a minute, put on the machine by the hardware."""

from __future__ import annotations

import json
import uuid

from moto.core.exceptions import JsonRESTError
from moto.core.responses import BaseResponse

from xportal.errors import HardwareFailure
from xportal.sandbox.api.ec2.backend import get_backend
from xportal.sandbox.api.ec2.instances import find_instance


class ConnectResponse(BaseResponse):
    def __init__(self) -> None:
        super().__init__(service_name="ec2-instance-connect")

    def send_ssh_public_key(self) -> str:
        """Answers when the key is on the machine."""
        given = json.loads(self.body)
        backend = get_backend(self.region)
        instance = find_instance(backend, given["InstanceId"])
        if instance is None:
            raise JsonRESTError("EC2InstanceNotFoundException", f"Instance {given['InstanceId']} not found")
        if instance.state != "running":
            raise JsonRESTError("EC2InstanceStateInvalidException", f"Instance {instance.id} is {instance.state}")
        engine = backend.engine
        user, key = given["InstanceOSUser"], given["SSHPublicKey"]
        try:
            engine.call(instance.id, lambda: engine.hardware.install_login_key(instance.id, user, key))
        except HardwareFailure as error:
            raise JsonRESTError("ServiceException", f"The key was not installed: {error}") from error
        return json.dumps({"RequestId": str(uuid.uuid4()), "Success": True})
