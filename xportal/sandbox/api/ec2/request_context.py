"""The request context, as AWS calls it: the resources and conditions that a call's policies are evaluated on.

Its resources are those that the call names, and those that it makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, get_prefix

from xportal.sandbox.api.ec2 import instances
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.iam.instance_profiles import find_by_arn, find_by_name
from xportal.sandbox.api.iam.reference import ANY, arn_of, kinds_of

Context = dict[str, str | tuple[str, ...]]

# Parameters that name resources, wherever they stand in a request, and the kind of those that have no prefix.
_NAMING = {
    "GroupId": "", "GroupIds": "", "Groups": "", "ImageId": "", "InstanceId": "", "InstanceIds": "", "KeyName":
    "key-pair", "KeyPairId": "", "Resources": "", "SecurityGroupIds": "", "SnapshotId": "", "SnapshotIds": "",
    "SourceSnapshotId": "", "SpotInstanceRequestIds": "", "SubnetId": "", "VolumeId": "", "VolumeIds": "", "VpcId": "",
}  # fmt: skip
# What a call makes, beside what its TagSpecifications name.
_MADE = {
    "CopySnapshot": ("snapshot",),
    "CreateImage": ("image", "snapshot"),
    "CreateSecurityGroup": ("security-group",),
    "CreateSnapshot": ("snapshot",),
    "CreateSnapshots": ("snapshot",),
    "CreateVolume": ("volume",),
    "ImportKeyPair": ("key-pair",),
    "RunInstances": ("instance", "network-interface", "volume"),
}
_KINDS_OF_PREFIXES = {"ami": "image", "sg": "security-group", "sir": "spot-instances-request"}


@dataclass(frozen=True)
class Touched:
    """A resource that a call touches: what EC2's policies are evaluated on. `is_there`: it exists, or is being made."""

    action: str  # ec2:CreateSnapshot
    kind: str  # as the reference has it: volume; ANY for none
    arn: str
    context: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)  # keys in lower case
    is_there: bool = True


def touched(operation: str, params: Mapping[str, Any], backend: Ec2Backend) -> Iterator[Touched]:
    """What EC2 evaluates: the action on each resource that the call names and on those that it makes, then CreateTags
    on those that it tags, and iam:PassRole on the role that it passes on.

    An action for which AWS has no resources, as those that describe, is evaluated on "*".
    """
    action = f"ec2:{operation}"
    kinds = kinds_of(action)
    if not kinds:
        yield Touched(action, ANY, "*", _wanted(_all_new_tags(params)))
        return
    made = _MADE.get(operation, ())  # what has their names already, as a key pair may, is not what they are
    yield from (one for one in _named(action, params, backend) if one.kind in kinds and one.kind not in made)
    for kind in made:
        facts = {**_wanted(_new_tags(params, kind)), **_new_facts(kind, params, backend)}
        name = params.get("KeyName", "*") if kind == "key-pair" else "*"
        yield Touched(action, kind, _arn(backend, kind, name), facts)
    yield from _tagging(operation, params, backend)
    yield from _passing(params, backend)


def _named(action: str, params: Mapping[str, Any], backend: Ec2Backend) -> Iterator[Touched]:
    wanted = _wanted(_all_new_tags(params) if action in ("ec2:CreateTags", "ec2:DeleteTags") else {})
    excluded = params.get("InstanceSpecification", {}).get("ExcludeDataVolumeIds", ())
    seen = set()
    for kind, name in [*_names_in(params), *_volumes_of_set(params, backend)]:
        if (kind, name) in seen or name in excluded:
            continue
        seen.add((kind, name))
        record_id = _id_of_key(backend, name) if kind == "key-pair" else name
        is_there = kind not in _LOOKED_UP or _find(backend, kind, record_id) is not None
        # CreateTags names key pairs by their ids, and the reference has their names.
        arn = _arn(backend, kind, _name_of_key(backend, name) if kind == "key-pair" else name)
        yield Touched(action, kind, arn, {**_had(backend, kind, record_id), **wanted}, is_there)


def _names_in(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The kind and name of each resource that a request names, at any depth."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _names_in(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _names_in(item, name)
    elif name in _NAMING and isinstance(value, str):
        yield _NAMING[name] or _kind_of(value), value


def _kind_of(record_id: str) -> str:
    prefix = get_prefix(record_id)
    return _KINDS_OF_PREFIXES.get(prefix) or EC2_PREFIX_TO_RESOURCE.get(prefix, "unknown")


def _volumes_of_set(params: Mapping[str, Any], backend: Ec2Backend) -> Iterator[tuple[str, str]]:
    """The volumes of CreateSnapshots' instance."""
    spec = params.get("InstanceSpecification", {})
    instance = instances.find_instance(backend, spec.get("InstanceId", ""))
    for device, attachment in (instance.block_device_mapping if instance else {}).items():
        if not (instance and spec.get("ExcludeBootVolume") and device == instance.root_device_name):
            yield "volume", attachment.volume_id


def _tagging(operation: str, params: Mapping[str, Any], backend: Ec2Backend) -> Iterator[Touched]:
    """Tags in the creating call are CreateTags on what it makes, with ec2:CreateAction."""
    kinds = {spec.get("ResourceType", "") for spec in params.get("TagSpecifications", []) if spec.get("Tags")}
    if params.get("CopyTagsFromSource"):
        kinds.add("snapshot")
    for kind in sorted(kinds & kinds_of("ec2:CreateTags")):
        context: Context = {**_wanted(_new_tags(params, kind)), "ec2:createaction": operation}
        yield Touched("ec2:CreateTags", kind, _arn(backend, kind, "*"), context)


def _passing(params: Mapping[str, Any], backend: Ec2Backend) -> Iterator[Touched]:
    asked = params.get("IamInstanceProfile") or {}
    if not asked:
        return
    found = find_by_name(backend.account_id, backend.partition, asked.get("Name", "")) or find_by_arn(
        backend.account_id, backend.partition, asked.get("Arn", "")
    )
    for role in found.roles if found else ():
        yield Touched("iam:PassRole", "role", role.arn, {"iam:passedtoservice": "ec2.amazonaws.com"})


def _all_new_tags(params: Mapping[str, Any]) -> dict[str, str]:
    """All tags in the request, whether it makes something or tags what there is."""
    tags = _pairs(params.get("Tags", []))
    for spec in params.get("TagSpecifications", []):
        tags |= _pairs(spec.get("Tags", []))
    return tags


def _new_tags(params: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Those for what is made of this kind."""
    specs = [spec for spec in params.get("TagSpecifications", []) if spec.get("ResourceType") == kind]
    return {key: value for spec in specs for key, value in _pairs(spec.get("Tags", [])).items()}


def _pairs(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in tags}


def _wanted(tags: Mapping[str, str]) -> Context:
    context: Context = {f"aws:requesttag/{key}".lower(): value for key, value in tags.items()}
    return {**context, "aws:tagkeys": tuple(tags)} if tags else context


def _had(backend: Ec2Backend, kind: str, record_id: str) -> Context:
    tags = backend.tags.get(record_id, {})
    context: Context = {f"{owner}:resourcetag/{key}".lower(): tags[key] for owner in ("aws", "ec2") for key in tags}
    return {**context, **_facts(kind, _find(backend, kind, record_id))}


def _facts(kind: str, record: Any) -> Context:
    """What is so of a resource, by AWS's condition keys."""
    if record is None:
        return {}
    if kind == "volume":
        return {
            "ec2:encrypted": str(record.encrypted).lower(),
            "ec2:volumeid": record.id,
            "ec2:volumesize": str(record.size),
            "ec2:volumetype": record.volume_type,
        }
    if kind == "instance":
        return {
            "ec2:availabilityzone": record.availability_zone,
            "ec2:instanceid": record.id,
            "ec2:instancetype": record.instance_type,
        }
    if kind == "snapshot":
        return {"ec2:owner": record.owner_id, "ec2:snapshotid": record.id, "ec2:volumesize": str(record.volume_size)}
    return {}


def _new_facts(kind: str, params: Mapping[str, Any], backend: Ec2Backend) -> Context:
    """What will be so of what is made."""
    if kind == "snapshot" and "VolumeId" in params:
        return {"ec2:parentvolume": _arn(backend, "volume", params["VolumeId"])}
    if kind == "instance" and "InstanceType" in params:
        market = (params.get("InstanceMarketOptions") or {}).get("MarketType") or "on-demand"
        return {"ec2:instancetype": params["InstanceType"], "ec2:instancemarkettype": market}
    return {}


def _find(backend: Ec2Backend, kind: str, record_id: str) -> Any:
    """The record of one of the kinds that are looked up; None for what there is not."""
    if kind == "instance":
        return instances.find_instance(backend, record_id)
    records: dict[str, dict[str, Any]] = {
        "image": backend.amis,
        "key-pair": {key.id: key for key in backend.key_pairs.values()},
        "security-group": {group_id: group for groups in backend.groups.values() for group_id, group in groups.items()},
        "snapshot": backend.snapshots,
        "volume": backend.volumes,
    }
    return records.get(kind, {}).get(record_id)


_LOOKED_UP = ("image", "instance", "key-pair", "security-group", "snapshot", "volume")


def _id_of_key(backend: Ec2Backend, name: str) -> str:
    return backend.key_pairs[name].id if name in backend.key_pairs else name


def _name_of_key(backend: Ec2Backend, key_id: str) -> str:
    return next((key.key_name for key in backend.key_pairs.values() if key.id == key_id), key_id)


def _arn(backend: Ec2Backend, kind: str, name: str) -> str:
    place = {"Partition": backend.partition, "Region": backend.region_name, "Account": backend.account_id}
    return arn_of("ec2", kind, place, name)
