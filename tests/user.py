"""The user of every cloud that tests start in their own process, and requests signed by AWS's own code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import create_loader

import xportal
from xportal.sandbox.api.ec2.staleness import FRESH_HEADER
from xportal.sandbox.api.iam import users
from xportal.sandbox.api.server import Cloud
from xportal.sandbox.secret import Secret

SECRET = Secret("AKIATESTTESTTESTTEST", "the-tests-secret")
POLICY = Path(xportal.__file__).parent / "aws" / "policies" / "user.json"
KEYS = {"aws_access_key_id": SECRET.access_key_id, "aws_secret_access_key": SECRET.secret_access_key}
# An IAM user, who may do what the least policy of the documentation says.
LEAST = Secret("AKIALEASTLEASTLEASTL", "the-least-user's-secret")
_LOADER = create_loader()


def make_session(region: str = "us-east-1", secret: Secret = SECRET) -> boto3.Session:
    """A session of AWS's SDK with the access key of the account's own user, or another. All read its data once."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _LOADER)
    return boto3.Session(
        aws_access_key_id=secret.access_key_id,
        aws_secret_access_key=secret.secret_access_key,
        region_name=region,
        botocore_session=session,
    )


def give_least(cloud: Cloud, document: str | None = None) -> None:
    """Have the cloud know the IAM user, with the policy of the documentation, or another, and no other."""
    with cloud.changing():
        key = users.give("least", document or POLICY.read_text())
        key.access_key_id, key.secret_access_key = LEAST.access_key_id, LEAST.secret_access_key


def make_client(service: str, **options: Any) -> Any:
    """A client of AWS's SDK for a service by its name, which the SDK's types know as a constant alone."""
    make: Callable[..., Any] = boto3.client
    return make(service, **options)


def see_now(client: Any) -> Any:
    """The client, which sees what is so now, however stale the lists are that others are shown."""
    client.meta.events.register("before-call", lambda params, **_: params["headers"].update({FRESH_HEADER: "1"}))
    return client


class Signing(requests.auth.AuthBase):
    """Signs for a service, as AWS's SDK does; `token` is a role's session token."""

    def __init__(self, service: str, secret: Secret = SECRET, token: str | None = None) -> None:
        self._signer = SigV4Auth(
            Credentials(secret.access_key_id, secret.secret_access_key, token), service, "us-east-1"
        )

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the headers that AWS's SDK adds."""
        kept = {name: value for name, value in request.headers.items() if name in ("Content-Type", "Host")}
        signed = AWSRequest(request.method, request.url, headers=kept, data=request.body or b"")
        self._signer.add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request
