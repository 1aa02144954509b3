"""The tree of paths that IMDS answers: directories are dicts, files are text or bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Union

from xportal.sandbox.hardware import Metadata

Tree = Mapping[str, Union["Tree", str, bytes]]


def find_entry(metadata: Metadata, path: str) -> bytes | None:
    """What stands at `path`, below the version: a file's bytes, a directory's list, or None."""
    node: Tree | str | bytes = _tree(metadata)
    for part in path.strip("/").split("/"):
        if part == "":
            continue
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    if isinstance(node, Mapping):
        return "\n".join(_listed(name, child) for name, child in node.items()).encode()
    return node.encode() if isinstance(node, str) else node


def _listed(name: str, child: Tree | str | bytes) -> str:
    if isinstance(child, _Key):
        return f"{name}={child.key_name}"
    return f"{name}/" if isinstance(child, Mapping) else name


class _Key(dict[str, str]):
    """The one directory that IMDS lists by another name: `0=my-key`."""

    def __init__(self, key_name: str, line: str) -> None:
        super().__init__({"openssh-key": line})
        self.key_name = key_name


def _tree(m: Metadata) -> Tree:
    tree: dict[str, Tree | str | bytes] = {
        "dynamic": {"instance-identity": {"document": _identity(m)}},
        "meta-data": _meta_data(m),
    }
    if m.user_data is not None:
        tree["user-data"] = m.user_data
    return tree


def _meta_data(m: Metadata) -> Tree:
    zone = m.availability_zone
    entries: dict[str, Tree | str | bytes | None] = {
        "ami-id": m.image_id,
        "ami-launch-index": "0",
        "block-device-mapping": m.mapping,
        "events": _events(m),
        "hostname": m.private_hostname,
        "iam": _iam(m),
        "instance-action": "none",
        "instance-id": m.instance_id,
        "instance-life-cycle": m.market,
        "instance-type": m.instance_type,
        "local-hostname": m.private_hostname,
        "local-ipv4": m.private_ip,
        "mac": m.mac,
        "network": {"interfaces": {"macs": {m.mac: _interface(m)}}},
        "placement": {"availability-zone": zone, "region": m.region},
        "public-hostname": m.public_hostname if m.public_ip else None,
        "public-ipv4": m.public_ip,
        "public-keys": {"0": _Key(m.key_name, m.public_key)} if m.key_name and m.public_key else None,
        "reservation-id": m.reservation_id,
        "security-groups": "\n".join(m.security_groups),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
        "spot": _spot(m),
        "tags": {"instance": m.tags} if m.tags else None,
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


def _interface(m: Metadata) -> Tree:
    entries = {
        "device-number": "0",
        "local-hostname": m.private_hostname,
        "local-ipv4s": m.private_ip,
        "mac": m.mac,
        "owner-id": m.account_id,
        "public-ipv4s": m.public_ip,
        "security-groups": "\n".join(m.security_groups),
        "subnet-id": m.subnet_id,
        "vpc-id": m.vpc_id,
    }
    return {name: entry for name, entry in entries.items() if entry is not None}


def _events(m: Metadata) -> Tree | None:
    if m.rebalance is None:
        return None
    return {"recommendations": {"rebalance": json.dumps({"noticeTime": _utc(m.rebalance)})}}


def _spot(m: Metadata) -> Tree | None:
    if m.notice is None:
        return None
    time = _utc(m.notice.time)
    entries = {"instance-action": json.dumps({"action": m.notice.action, "time": time})}
    return {**entries, "termination-time": time} if m.notice.action == "terminate" else entries


def _iam(m: Metadata) -> Tree | None:
    if m.role is None:
        return None
    info = {"Code": "Success", "LastUpdated": _utc(m.role.last_updated), "InstanceProfileArn": m.role.profile_arn}
    if m.role.code != "Success":
        failed = {
            "Code": m.role.code,
            "Message": "EC2 cannot assume the role",
            "LastUpdated": _utc(m.role.last_updated),
        }
        return {"info": json.dumps(info), "security-credentials": {m.role.role: json.dumps(failed)}}
    credentials = {
        "Code": "Success",
        "LastUpdated": _utc(m.role.last_updated),
        "Type": "AWS-HMAC",
        "AccessKeyId": m.role.access_key_id,
        "SecretAccessKey": m.role.secret_access_key,
        "Token": m.role.token,
        "Expiration": _utc(m.role.expiration),
    }
    return {"info": json.dumps(info), "security-credentials": {m.role.role: json.dumps(credentials)}}


def _identity(m: Metadata) -> str:
    document = {
        "accountId": m.account_id,
        "architecture": m.architecture,
        "availabilityZone": m.availability_zone,
        "imageId": m.image_id,
        "instanceId": m.instance_id,
        "instanceType": m.instance_type,
        "pendingTime": _utc(m.launch_time),
        "privateIp": m.private_ip,
        "region": m.region,
        "version": "2017-09-30",
    }
    return json.dumps(document, indent=2)


def _utc(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
