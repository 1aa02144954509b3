"""One account in one region: clients, AWS's own clock, and the place where calls can fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from xportal.aws.errors import SANDBOX_HINT, AwsError, mapped
from xportal.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2_instance_connect import EC2InstanceConnectClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_ssm import SSMClient

P = ParamSpec("P")
T = TypeVar("T")

KNOWN_SECONDS = 30.0
_TIMEOUTS: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60}


class Aws:
    """Clients of one account and region. Every call goes through `call` or `pages`, which map the errors."""

    def __init__(self, session: boto3.Session, region: str) -> None:
        self._session = session
        self.region = region
        self._clock: tuple[datetime, float] | None = None
        self.ec2: EC2Client = self._client(
            "ec2", Config(retries={"mode": "standard", "total_max_attempts": 5}, **_TIMEOUTS)
        )
        # Without retries: AWS reports missing capacity as HTTP 500, which the SDK would retry in the same empty zone,
        # and CreateSnapshot made again after a lost answer is a second snapshot.
        self.once: EC2Client = self._client("ec2", Config(retries={"total_max_attempts": 1}, **_TIMEOUTS))

    @property
    def endpoint(self) -> str:
        """The URL of the EC2 API that the clients use."""
        return self.ec2.meta.endpoint_url

    def ssm(self) -> SSMClient:
        """A client of Systems Manager, for its public parameters."""
        client: SSMClient = self._client("ssm", Config(**_TIMEOUTS))
        return client

    def iam(self) -> IAMClient:
        """A client of Identity and Access Management."""
        client: IAMClient = self._client("iam", Config(**_TIMEOUTS))
        return client

    def instance_connect(self) -> EC2InstanceConnectClient:
        """A client of EC2 Instance Connect."""
        client: EC2InstanceConnectClient = self._client("ec2-instance-connect", Config(**_TIMEOUTS))
        return client

    def call(self, operation: Callable[P, T], *args: P.args, **params: P.kwargs) -> T:
        """`operation(**params)`; raises errors of xportal.errors alone."""
        try:
            return operation(*args, **params)
        except (ClientError, BotoCoreError) as error:
            raise mapped(error, self.endpoint) from error

    def call_once_known(self, code: str, operation: Callable[P, T], *args: P.args, **params: P.kwargs) -> T:
        """`call`, again while AWS answers `code`: it may not know for some seconds what it has just made."""
        deadline = time.monotonic() + KNOWN_SECONDS
        while True:
            try:
                return self.call(operation, *args, **params)
            except AwsError as error:
                if error.code != code or time.monotonic() > deadline:
                    raise
            time.sleep(1.0)

    def pages(self, operation: str, key: str, **params: Any) -> Iterable[Any]:
        """Every item of `key` over all pages of the EC2 call `operation`."""
        try:
            for page in self.ec2.get_paginator(operation).paginate(**params):  # type: ignore[call-overload]
                yield from page.get(key, [])
        except (ClientError, BotoCoreError) as error:
            raise mapped(error, self.endpoint) from error

    def now(self) -> datetime:
        """AWS's own time, from the Date header of its last answer: computers' clocks are compared with nothing."""
        if self._clock is None:
            self.call(self.ec2.describe_availability_zones)
        if self._clock is None:
            raise Unreachable(f"{self.endpoint} answers without a Date header")
        told, when = self._clock
        return told + timedelta(seconds=time.monotonic() - when)

    def _client(self, service: str, config: Config) -> Any:
        client = self._session.client(service, config=config)  # type: ignore[call-overload]
        client.meta.events.register("after-call.*.*", self._note_date)
        return client

    def _note_date(self, parsed: dict[str, Any], **_: Any) -> None:
        date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date:
            self._clock = (parsedate_to_datetime(date).astimezone(timezone.utc), time.monotonic())


def connect(*, profile: str | None = None, region: str | None = None) -> Aws:
    """The account of `profile` (else AWS's own conventions), in `region` (else the profile's).

    Makes no call yet. Raises UsageError for an unknown profile or region, NoCredentials if there are none.
    """
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        known = {r for p in session.get_available_partitions() for r in session.get_available_regions("ec2", p)}
        if not session.region_name:
            raise UsageError("no AWS region is set", hint=f"--region NAME, or aws configure; {SANDBOX_HINT}")
        if session.region_name not in known:
            raise UsageError(f"unknown AWS region {session.region_name!r}", hint="for example us-east-1 or eu-west-1")
        return Aws(session, session.region_name)
    except (ClientError, BotoCoreError) as error:
        raise mapped(error, "AWS") from error
