"""Roles that somebody has taken on, and the policies that count for them."""

from __future__ import annotations

import json

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import SERVICE_NAME_CONVERSION, iam_backends
from moto.sts.models import AssumedRole, sts_backends

from xportal.sandbox.api.iam.policies import Policy

SERVICE_NAME_CONVERSION["spot"] = "EC2Spot"  # moto lacks it: the role is AWSServiceRoleForEC2Spot


def find_assumed_role(access_key: str) -> AssumedRole | None:
    """The role that STS gave this access key for, expired or not."""
    found: AssumedRole | None = sts_backends[DEFAULT_ACCOUNT_ID]["aws"].get_assumed_role_from_access_key(access_key)
    return found


def policies_of(role: AssumedRole) -> tuple[Policy, ...]:
    """Its inline and its attached policies, as they are now. moto's NotFoundException when the role was deleted."""
    record = iam_backends[role.account_id][role.partition].get_role_by_arn(role.role_arn)
    attached = (version for policy in record.managed_policies.values() for version in policy.versions)
    texts = [*record.policies.values(), *(version.document for version in attached if version.is_default)]
    return tuple(json.loads(text) for text in texts)
