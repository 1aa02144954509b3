"""The request context, as AWS calls it: the resources and conditions that a call's policies are evaluated on.

Its resources are those that the call names, and those that it makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from xportal.sandbox.api.ec2 import instances
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.iam.policies import Access

_ONE = ("InstanceId", "SnapshotId", "VolumeId")
_MANY = ("InstanceIds", "Resources", "SnapshotIds", "VolumeIds")


def accesses(operation: str, params: Mapping[str, Any], backend: Ec2Backend) -> Iterator[Access]:
    """What EC2 evaluates: the action on each resource that the call names, and on those that it makes with their tags.

    Calls that name none of them need the resource "*", as those that describe do.
    """
    action = f"ec2:{operation}"
    if operation.startswith(("Describe", "Get")):
        yield Access(action, "*")
        return
    named = _named(params, backend) if operation != "CreateSnapshots" else _of_set(params, backend)
    new_tags = _new_tags(params)
    wanted: dict[str, str | tuple[str, ...]] = {f"aws:requesttag/{key}".lower(): new_tags[key] for key in new_tags}
    if new_tags:
        wanted["aws:tagkeys"] = tuple(new_tags)
    for record_id in named:
        tags = backend.tags.get(record_id, {})
        had = {f"{owner}:resourcetag/{key}".lower(): tags[key] for owner in ("aws", "ec2") for key in tags}
        yield Access(action, _arn(backend, record_id), {**had, **wanted})
    if operation in ("CreateSnapshot", "CreateSnapshots"):
        made = f"arn:{backend.partition}:ec2:{backend.region_name}::snapshot/*"
        yield Access(action, made, wanted)
        if wanted or params.get("CopyTagsFromSource"):
            yield Access("ec2:CreateTags", made, {**wanted, "ec2:createaction": operation})
    elif not named:
        yield Access(action, "*", wanted)


def _named(params: Mapping[str, Any], backend: Ec2Backend) -> list[str]:
    one = [params[name] for name in _ONE if params.get(name)]
    return one + [record_id for name in _MANY for record_id in params.get(name, [])]


def _of_set(params: Mapping[str, Any], backend: Ec2Backend) -> list[str]:
    """The instance of CreateSnapshots, and those of its volumes that are not excluded."""
    spec = params["InstanceSpecification"]
    instance = instances.find_instance(backend, spec["InstanceId"])
    attached = instance.block_device_mapping if instance else {}
    excluded = spec.get("ExcludeDataVolumeIds", [])
    root = instance.root_device_name if instance and spec.get("ExcludeBootVolume") else None
    volumes = [a.volume_id for device, a in attached.items() if device != root and a.volume_id not in excluded]
    return [spec["InstanceId"], *volumes]


def _new_tags(params: Mapping[str, Any]) -> dict[str, str]:
    """The tags in the request, whether it makes something or tags what there is."""
    tagged = {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags", [])}
    for spec in params.get("TagSpecifications", []):
        tagged |= {tag["Key"]: tag.get("Value", "") for tag in spec.get("Tags", [])}
    return tagged


def _arn(backend: Ec2Backend, record_id: str) -> str:
    kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(record_id), "unknown")
    account = "" if kind in ("image", "snapshot") else backend.account_id  # they may be shared: AWS leaves it empty
    return f"arn:{backend.partition}:ec2:{backend.region_name}:{account}:{kind}/{record_id}"
