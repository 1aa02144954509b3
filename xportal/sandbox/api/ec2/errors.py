"""EC2's refusals, by their code and HTTP status."""

from __future__ import annotations

from moto.ec2.exceptions import EC2ClientError


class ApiError(EC2ClientError):
    """An error document with AWS's `code`; `status` is the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code, message)
        self.http_status = status


def invalid_value(message: str) -> ApiError:
    return ApiError("InvalidParameterValue", message)


def not_found(kind: str, what: str) -> ApiError:
    """`kind` as in AWS's code: InvalidVolume, InvalidSnapshot, InvalidInstanceID ..."""
    return ApiError(f"{kind}.NotFound", f"The {_NOUNS[kind]} '{what}' does not exist")


_NOUNS = {
    "InvalidAMIID": "image id",
    "InvalidGroup": "security group",
    "InvalidInstanceID": "instance ID",
    "InvalidKeyPair": "key pair",
    "InvalidSnapshot": "snapshot",
    "InvalidSpotInstanceRequestID": "spot instance request ID",
    "InvalidSubnetID": "subnet ID",
    "InvalidVolume": "volume",
}
