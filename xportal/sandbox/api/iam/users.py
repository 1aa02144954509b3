"""IAM users beside the account's own, their access keys, and the policies that count for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam.models import AccessKey, IAMBackend, User, iam_backends
from moto.iam.policy_validation import IAMPolicyDocumentValidator

from xportal.sandbox.api.iam.policies import Policy


def find_by_key(access_key: str) -> tuple[User, AccessKey] | None:
    """The user whose active access key this is."""
    for user in _users():
        for key in user.access_keys:
            if key.access_key_id == access_key and key.status == "Active":
                return user, key
    return None


def policies_of(user: User) -> tuple[Policy, ...]:
    """The user's inline and attached policies and those of the user's groups, as they are now."""
    groups: list[Any] = _backend().get_groups_for_user(user.name)
    holders: list[Any] = [user, *groups]
    texts = [text for holder in holders for text in holder.policies.values()]
    attached = [policy for holder in holders for policy in holder.managed_policies.values()]
    texts += [version.document for policy in attached for version in policy.versions if version.is_default]
    return tuple(json.loads(text) for text in texts)


def give(name: str, document: str) -> AccessKey:
    """The access key of the user of that name, who may do what the policy says and no more; made if missing.

    Raises IAM's error for what is no policy.
    """
    backend = _backend()
    IAMPolicyDocumentValidator(document).validate()
    user = next((user for user in _users() if user.name == name), None) or backend.create_user("us-east-1", name)
    user.policies.clear()
    user.managed_policies.clear()
    backend.put_user_policy(name, name, document)
    key: AccessKey = next(iter(user.access_keys), None) or backend.create_access_key(name)
    return key


def arn_of(name: str) -> str:
    """The ARN of the user of that name."""
    return str(_backend().get_user(name).arn)


def _users() -> Iterator[User]:
    yield from _backend().users.values()


def _backend() -> IAMBackend:
    backend: IAMBackend = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    return backend
