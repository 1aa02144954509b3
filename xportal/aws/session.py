"""One account in one region: clients, AWS's own clock, and the place where calls can fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from xportal import foreign, local
from xportal.aws.answers import check_answer
from xportal.aws.errors import SANDBOX_HINT, SDK_ERRORS, AwsError, mapped, no_credentials
from xportal.aws.explaining import explained
from xportal.clock import SYSTEM, Clock
from xportal.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2_instance_connect import EC2InstanceConnectClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

P = ParamSpec("P")
T = TypeVar("T")

KNOWN_SECONDS = 30.0
PATIENCE_SECONDS = 1800.0
_TIMEOUTS: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60}
# How often a call is tried is said for every client: what else the environment has to say of that is not heard.
_USUAL = Config(retries={"mode": "standard", "total_max_attempts": 5}, **_TIMEOUTS)
_ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1}, **_TIMEOUTS)
_HURRIED = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=3, read_timeout=20)
_IN_PASSING = _ONCE.merge(Config(connect_timeout=3, read_timeout=5))


class Aws:
    """Clients of one account and region. Every call goes through `call` or `pages`, which map the errors."""

    def __init__(
        self,
        session: boto3.Session,
        region: str,
        tries: Config = _USUAL,
        clock: Clock = SYSTEM,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._session = session
        self.region = region
        self.clock = clock  # by which commands wait for what AWS does
        self.patience = patience  # the seconds for which they wait while nothing changes
        self._told: tuple[datetime, float] | None = None  # AWS's time, and the clock's as it was told
        self.ec2: EC2Client = self._client("ec2", tries)

    @cached_property
    def once(self) -> EC2Client:
        """A client that tries once. AWS reports missing capacity as HTTP 500, which the SDK would retry in the same
        empty zone, and CreateSnapshot made again after a lost answer is a second snapshot.
        """
        client: EC2Client = self._client("ec2", _ONCE)
        return client

    @property
    def endpoint(self) -> str:
        """The URL of the EC2 API that the clients use."""
        return self.ec2.meta.endpoint_url

    def has_profile(self, name: str) -> bool:
        """Whether AWS's files on this computer have a profile of that name."""
        return name in self._session.available_profiles

    def in_region(self, region: str) -> Aws:
        """The same account in another region, for a question in passing: asked once, and given up after seconds."""
        return Aws(self._session, region, _IN_PASSING, self.clock, self.patience)

    def hurried(self) -> Aws:
        """The same account for who waits at a prompt: an endpoint that does not answer is given up after seconds."""
        return Aws(self._session, self.region, _HURRIED, self.clock, self.patience)

    def ssm(self) -> SSMClient:
        """A client of Systems Manager, for its public parameters."""
        client: SSMClient = self._client("ssm", _USUAL)
        return client

    def iam(self) -> IAMClient:
        """A client of Identity and Access Management."""
        client: IAMClient = self._client("iam", _USUAL)
        return client

    def sts(self) -> STSClient:
        """A client of the Security Token Service, for a question in passing."""
        client: STSClient = self._client("sts", _IN_PASSING)
        return client

    def service_quotas(self) -> Any:
        """A client of Service Quotas, for a question in passing."""
        return self._client("service-quotas", _IN_PASSING)

    def instance_connect(self) -> EC2InstanceConnectClient:
        """A client of EC2 Instance Connect."""
        client: EC2InstanceConnectClient = self._client("ec2-instance-connect", _USUAL)
        return client

    def call(self, operation: Callable[P, T], *args: P.args, **params: P.kwargs) -> T:
        """`operation(**params)`; raises errors of xportal.errors alone."""
        try:
            return operation(*args, **params)
        except SDK_ERRORS as error:
            raise explained(self, mapped(error, self.endpoint)) from error

    def call_once_known(self, code: str, operation: Callable[P, T], *args: P.args, **params: P.kwargs) -> T:
        """`call`, again while AWS answers `code`: it may not know for some seconds what it has just made."""
        deadline = self.clock.monotonic() + KNOWN_SECONDS
        while True:
            try:
                return self.call(operation, *args, **params)
            except AwsError as error:
                if error.code != code or self.clock.monotonic() > deadline:
                    raise
            self.clock.sleep(1.0)

    def pages(self, operation: str, key: str, **params: Any) -> Iterable[Any]:
        """Every item of `key` over all pages of the EC2 call `operation`."""
        try:
            for page in self.ec2.get_paginator(operation).paginate(**params):  # type: ignore[call-overload]
                yield from page.get(key, [])
        except SDK_ERRORS as error:
            raise explained(self, mapped(error, self.endpoint)) from error

    def now(self) -> datetime:
        """AWS's own time, from the Date header of its last answer: computers' clocks are compared with nothing."""
        if self._told is None:
            self.call(self.ec2.describe_availability_zones)
        if self._told is None:
            raise Unreachable(f"{self.endpoint} answers without a Date header")
        told, when = self._told
        return told + timedelta(seconds=self.clock.monotonic() - when)

    def _client(self, service: str, config: Config) -> Any:
        client = self._made(service, config)
        if getproxies() and _is_loopback(client.meta.endpoint_url):
            client.close()  # no proxy leads to this computer itself
            client = self._made(service, config.merge(Config(proxies={})))
        client.meta.events.register_first("before-call.*.*", self._check_credentials)
        client.meta.events.register("before-parse.*.*", check_answer)
        client.meta.events.register("after-call.*.*", self._note_date)
        return client

    def _made(self, service: str, config: Config) -> Any:
        try:
            return self._session.client(service, region_name=self.region, config=config)  # type: ignore[call-overload]
        except BotoCoreError as error:
            raise mapped(error, "AWS") from error
        except (ValueError, OSError) as error:  # an endpoint that is no URL, a bundle of certificates that is not there
            raise UsageError(
                f"AWS's settings on this computer make no sense: {error}", hint="AWS_* variables, ~/.aws/config"
            ) from error

    def _check_credentials(self, **_: Any) -> None:
        """Have them refreshed, if they are to be, where whatever goes wrong with that is known to be theirs."""
        _check_credentials(self._session, self.endpoint)

    def _note_date(self, parsed: dict[str, Any], **_: Any) -> None:
        date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        told = foreign.http_date(date) if date else None
        if told:
            self._told = (told, self.clock.monotonic())


def connect(*, profile: str | None = None, region: str | None = None) -> Aws:
    """The account of `profile` (else AWS's own conventions), in `region` (else AWS_REGION's, or the profile's).

    Makes no call yet. Raises UsageError for an unknown profile, region or setting, NoCredentials if what should give
    them does not.
    """
    try:
        # The SDK hears AWS_DEFAULT_REGION alone; AWS's command line and other SDKs hear AWS_REGION first.
        session = boto3.Session(profile_name=profile, region_name=region or os.environ.get("AWS_REGION") or None)
        known = {r for p in session.get_available_partitions() for r in session.get_available_regions("ec2", p)}
    except BotoCoreError as error:
        raise mapped(error, "AWS") from error
    if not session.region_name:
        raise UsageError("no AWS region is set", hint=f"--region NAME, or aws configure; {SANDBOX_HINT}")
    if session.region_name not in known:
        raise UsageError(f"unknown AWS region {session.region_name!r}", hint="for example us-east-1 or eu-west-1")
    _check_credentials(session, "AWS")
    return Aws(session, session.region_name)


def _check_credentials(session: boto3.Session, endpoint: str) -> None:
    """Have the credentials at hand, if there are any. Raises NoCredentials if what should give them does not."""
    try:
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials else None
    except BotoCoreError as error:
        raise mapped(error, endpoint) from error
    except Exception as error:  # a credential_process may print anything, and files may hold anything
        raise no_credentials(_why(error)) from error
    parts = (frozen.access_key, frozen.secret_key, frozen.token) if frozen else ()
    if not all(part.isascii() and part.isprintable() for part in parts if part):  # they go into HTTP headers
        raise no_credentials("they hold characters that no credentials have")


def _why(error: Exception) -> str:
    """What went wrong with them, without what was read: it may be a secret."""
    if isinstance(error, OSError):
        return local.reason(error)
    if isinstance(error, RuntimeError):
        return str(error)  # the SDK's, of refreshed ones that are expired
    return f"what should give them (credential_process, a file) gives none ({type(error).__name__})"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
