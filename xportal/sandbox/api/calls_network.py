"""EC2 calls on key pairs, security groups and tags."""

from __future__ import annotations

from collections.abc import Mapping

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models.security_groups import SecurityGroup

from xportal.sandbox.api import instances, keypairs
from xportal.sandbox.api.calls_base import Calls
from xportal.sandbox.api.errors import ApiError, not_found
from xportal.sandbox.api.filters import Accessor, page, select
from xportal.sandbox.api.tags import check_tags, tags_of


def _id(group: SecurityGroup) -> str:
    return str(group.id)


def _name(group: SecurityGroup) -> str:
    return str(group.name)


def _of_rules(name: str) -> Accessor:
    return lambda group: [getattr(rule, name) for rule in group.ingress_rules]


GROUP_FILTERS: Mapping[str, Accessor] = {
    "description": lambda g: g.description,
    "group-id": _id,
    "group-name": _name,
    "ip-permission.cidr": _of_rules("cidr_ipv4"),
    "ip-permission.from-port": _of_rules("from_port"),
    "ip-permission.protocol": _of_rules("ip_protocol"),
    "ip-permission.to-port": _of_rules("to_port"),
    "owner-id": lambda g: g.owner_id,
    "vpc-id": lambda g: g.vpc_id,
}


class NetworkCalls(Calls):
    def import_key_pair(self) -> ActionResult:
        given = self.given
        tags = tags_of(given, "key-pair").get("key-pair", {})
        keypairs.check_new(self.backend, given["KeyName"])
        self.error_on_dryrun()
        key = keypairs.import_key_pair(self.backend, given["KeyName"], given["PublicKeyMaterial"], tags)
        return ActionResult(key)

    def delete_key_pair(self) -> ActionResult:
        self.error_on_dryrun()
        key_id = keypairs.delete_key_pair(self.backend, self.given)
        return ActionResult({"Return": True, "KeyPairId": key_id})

    def describe_key_pairs(self) -> ActionResult:
        given = self.given
        found = select(keypairs.get_key_pairs(self.backend, given), given.get("Filters", []), keypairs.FILTERS)
        shown = [
            {
                "KeyPairId": key.id,
                "KeyName": key.key_name,
                "KeyType": key.key_type,
                "KeyFingerprint": key.key_fingerprint,
                "CreateTime": key.create_time,
                "Tags": key.tag_set,
                **({"PublicKey": key.public_key} if given.get("IncludePublicKey") else {}),
            }
            for key in found
        ]
        return ActionResult({"KeyPairs": shown})

    def describe_security_groups(self) -> ActionResult:
        given = self.given
        self.error_on_dryrun()
        found = [group for groups in self.backend.groups.values() for group in groups.values()]
        for parameter, name_of in (("GroupIds", _id), ("GroupNames", _name)):
            for name in (asked := given.get(parameter, [])):
                if name not in map(name_of, found):
                    raise not_found("InvalidGroup", name)
            found = [group for group in found if not asked or name_of(group) in asked]
        found = select(found, given.get("Filters", []), GROUP_FILTERS)
        shown, token = page(found, given, key=_id, ids="GroupIds")
        return ActionResult({"SecurityGroups": shown, "NextToken": token})

    def delete_security_group(self) -> ActionResult:
        group = self._group()
        self.error_on_dryrun()
        if group.name == "default":
            raise ApiError("CannotDelete", f'the specified group: "{group.id}" name: "default" cannot be deleted')
        users = [i for i in instances.all_instances(self.backend) if group in i.security_groups]
        if any(instance.state != "terminated" for instance in users):
            raise ApiError("DependencyViolation", f"resource {group.id} has a dependent object")
        self.backend.delete_security_group(group_id=group.id)
        self.backend.tags.pop(group.id, None)
        return ActionResult({"Return": True, "GroupId": group.id})

    def _group(self) -> SecurityGroup:
        asked = self.given.get("GroupId") or self.given.get("GroupName")
        group = self.backend.get_security_group_by_name_or_id(asked or "")
        if group is None:
            raise not_found("InvalidGroup", str(asked))
        return group

    def create_tags(self) -> ActionResult:
        given = self.given
        tags = {tag["Key"]: tag.get("Value", "") for tag in given.get("Tags", [])}
        check_tags(tags)
        for resource in given.get("Resources", []):
            self._check_exists(resource)
        self.backend.do_resources_exist(given.get("Resources", []))
        self.error_on_dryrun()
        self.backend.create_tags(given["Resources"], tags)
        return EmptyResult()

    def _check_exists(self, resource: str) -> None:
        """moto tags instances, key pairs and spot requests that it does not know."""
        if resource.startswith("i-"):
            instances.get_instance(self.backend, resource)
        if resource.startswith("key-") and resource not in {key.id for key in self.backend.key_pairs.values()}:
            raise not_found("InvalidKeyPair", resource)
        if resource.startswith("sir-") and resource not in self.backend.spot_instance_requests:
            raise not_found("InvalidSpotInstanceRequestID", resource)
