"""Who makes a call, other than the account's own user, and what counts for them."""

from __future__ import annotations

from dataclasses import dataclass

from xportal.sandbox.api.iam.policies import Policy


@dataclass(frozen=True)
class Session:
    """A role that somebody, as a rule a machine, has taken on; or an IAM user."""

    arn: str
    policies: tuple[Policy, ...]
    machine: str = ""  # the ARN of the instance that got these credentials from IMDS
    user: str = ""  # the IAM user's name
