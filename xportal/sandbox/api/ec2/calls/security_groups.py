"""EC2 calls on security groups."""

from __future__ import annotations

from collections.abc import Mapping

from moto.core.responses import ActionResult
from moto.ec2.models.security_groups import SecurityGroup

from xportal.sandbox.api.ec2 import instances
from xportal.sandbox.api.ec2.calls.base import Calls
from xportal.sandbox.api.ec2.errors import ApiError, not_found
from xportal.sandbox.api.ec2.filters import Accessor, page, select


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


class SecurityGroupCalls(Calls):
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
