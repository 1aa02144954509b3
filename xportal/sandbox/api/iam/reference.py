"""What AWS evaluates an action on: kinds of resources, the form of their ARNs, condition keys.

From the Service Authorization Reference: a policy that names another key, or an ARN of another form, fits no request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from xportal.sandbox.api.data import load

ANY = ""  # the kind of what an action is evaluated on without a resource
_FIELD = re.compile(r"\$\{[^}]+\}")
_TAG = "${TagKey}"
# The services whose actions have another prefix than their endpoint.
_PREFIXES = {"service-quotas": "servicequotas"}


def kinds_of(action: str) -> frozenset[str]:
    """The kinds of resources that the action (ec2:CreateSnapshot) is evaluated on; none that AWS does not know."""
    return frozenset(_keys(action)) - {ANY}


def known(action: str, kind: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Of a request's condition keys, in lower case, those that AWS has for the action on this kind of resource."""
    told = _keys(action)
    keys = [*told.get(kind, ()), *told.get(ANY, ())]
    exact = {key for key in keys if not key.endswith("/")}
    prefixes = tuple(key for key in keys if key.endswith("/"))
    return {key: value for key, value in context.items() if key in exact or (prefixes and key.startswith(prefixes))}


@cache
def _keys(action: str) -> dict[str, tuple[str, ...]]:
    """Of each kind the keys, in lower case; those of tags without the tag's key: aws:resourcetag/"""
    service, _, name = action.partition(":")
    told = load("authorization")
    kinds: Mapping[str, int] = told.get(service, {"actions": {}})["actions"].get(name, {})
    return {
        kind: tuple(key.partition(_TAG)[0].lower() if _TAG in key else key.lower() for key in told["keys"][number])
        for kind, number in kinds.items()
    }


def prefix_of(service: str) -> str:
    """The prefix of a service's actions in policies."""
    return _PREFIXES.get(service, service)


def arn_of(service: str, kind: str, place: Mapping[str, str], name: str) -> str:
    """The ARN in the form that AWS has for it; `place` has Partition, Region and Account."""
    form: str = load("authorization")[service]["resources"][kind]
    for field, value in place.items():
        form = form.replace(f"${{{field}}}", value)
    return _FIELD.sub(lambda _: name, form, count=1)
