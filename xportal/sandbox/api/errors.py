"""AWS's refusals, by their code and HTTP status."""

from __future__ import annotations

JSON_SERVICES = ("ec2-instance-connect", "servicequotas", "ssm")
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
