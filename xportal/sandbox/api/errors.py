"""AWS's refusals, by their code and HTTP status."""

from __future__ import annotations

from moto.ec2.exceptions import EC2ClientError


class ApiError(EC2ClientError):
    """An error document with AWS's `code`; `status` is the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code, message)
        self.http_status = status


JSON_SERVICES = ("ec2-instance-connect", "ssm")
Codes = tuple[tuple[str, int], tuple[str, int], tuple[str, int]]
"""A refusal's code and HTTP status: of EC2, of the other query services, of the JSON services."""


class RefusedError(Exception):
    """The request does not get as far as its service. `service` None: that of the request, where it names one."""

    def __init__(self, code: str, message: str, status: int = 400, service: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.service = code, message, status, service


def refusal(service: str, codes: Codes, message: str) -> RefusedError:
    """The refusal in the words of this service."""
    code, status = codes[0 if service == "ec2" else 2 if service in JSON_SERVICES else 1]
    return RefusedError(code, message, status, service)


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
