"""RunInstances: everything AWS checks first, then records, then the power."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.models.instances import Reservation
from moto.ec2.models.key_pairs import KeyPair
from moto.ec2.models.security_groups import SecurityGroup
from moto.ec2.models.subnets import Subnet
from moto.ec2.utils import random_reservation_id
from moto.iam.models import InstanceProfile

from xportal.sandbox.api.ec2 import spot_requests
from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.catalogue import TypeInfo, get_type, zones_of_types
from xportal.sandbox.api.ec2.errors import ApiError, invalid_value, not_found
from xportal.sandbox.api.ec2.images import get_image
from xportal.sandbox.api.ec2.instances import boot
from xportal.sandbox.api.ec2.prices import spot_price
from xportal.sandbox.api.ec2.records.image import Image
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.ec2.records.launch import DiskPlan, Launch
from xportal.sandbox.api.ec2.records.spot_request import SpotRequest
from xportal.sandbox.api.ec2.records.volume import Attachment, Volume
from xportal.sandbox.api.ec2.tags import tags_of
from xportal.sandbox.api.ec2.volumes import plan_volume
from xportal.sandbox.api.iam.instance_profiles import find_by_name

USER_DATA_MAX = 16_384
TAGGABLE = ("instance", "volume", "spot-instances-request", "network-interface")


def plan_launch(backend: Ec2Backend, params: Mapping[str, Any]) -> Launch:
    """Check the request as AWS does. Changes nothing; raises ApiError."""
    if not params.get("ImageId"):
        raise ApiError("MissingParameter", "The request must contain the parameter ImageId")
    low, high = params.get("MinCount", 1), params.get("MaxCount", 1)
    if not 1 <= low <= high:
        raise invalid_value(f"Value ({low}) for parameter minCount is invalid. It must be 1 to maxCount ({high})")
    image = get_image(backend, params["ImageId"])
    key = _key(backend, params.get("KeyName"))
    info = _type(params.get("InstanceType", "m1.small"), image)
    subnet = _subnet(backend, params, info)
    interface = _interface(params)
    market = params.get("InstanceMarketOptions") or {}
    options = market.get("SpotOptions", {}) if market.get("MarketType") == "spot" else None
    if options is not None:
        spot_requests.check_market(options, info.name, str(subnet.availability_zone))
    return Launch(
        image=image,
        type=info,
        subnet=subnet,
        groups=_groups(backend, params, interface, subnet),
        public=bool(interface.get("AssociatePublicIpAddress", subnet.map_public_ip_on_launch)),
        count=high,
        disks=_disks(backend, image, params.get("BlockDeviceMappings", [])),
        tags=tags_of(params, *TAGGABLE),
        key_name=key.key_name if key else None,
        login_key=key.public_key.strip() if key else None,
        user_data=_user_data(params.get("UserData")),
        spot=options,
        profile=_profile(backend, params.get("IamInstanceProfile") or {}),
        metadata_options={"HttpTokens": "required", "HttpPutResponseHopLimit": 2, **params.get("MetadataOptions", {})},
        shutdown_behaviour=params.get("InstanceInitiatedShutdownBehavior") or "stop",
        termination_protected=bool(params.get("DisableApiTermination", False)),
        client_token=params.get("ClientToken", ""),
    )


def check_capacity(backend: Ec2Backend, launch: Launch) -> None:
    """Refuse the launch as AWS does, with HTTP 500, when a fault hits it."""
    name, market = launch.type.name, "on-demand" if launch.spot is None else "spot"
    if not backend.faults.meet_launch(name, launch.zone, market):
        return
    if market == "spot":
        message = "There is no Spot capacity available that matches your request."
    else:
        others = ", ".join(z for z in zones_of_types(backend.region_name).get(name, ()) if z != launch.zone)
        message = (
            f"We currently do not have sufficient {name} capacity in the Availability Zone you requested "
            f"({launch.zone}). Our system will be working on provisioning additional capacity. You can currently get "
            f"{name} capacity by not specifying an Availability Zone in your request or choosing {others}."
        )
    raise ApiError("InsufficientInstanceCapacity", message, 500)


def run(backend: Ec2Backend, launch: Launch) -> Reservation:
    """Record the instances with their volumes and have them booted."""
    reservation = Reservation(random_reservation_id(), backend.account_id)
    backend.reservations[reservation.id] = reservation
    for index in range(launch.count):
        instance = Instance(backend, launch, index)  # type: ignore[abstract]  # moto leaves CloudFormation's out
        instance.reservation_id = reservation.id
        reservation.instances.append(instance)
        instance.add_tags(dict(launch.tags.get("instance", {})))
        for plan in launch.disks:
            _add_disk(backend, instance, plan, launch)
        if launch.spot is not None:
            _add_request(backend, instance, launch)
        if launch.profile:
            backend.associate_iam_instance_profile(instance.id, iam_instance_profile_name=launch.profile.name)
        boot(backend, instance)
    return reservation


def _add_disk(backend: Ec2Backend, instance: Instance, plan: DiskPlan, launch: Launch) -> None:
    volume = Volume(backend, plan.spec, launch.zone, stored=not plan.is_root)
    backend.volumes[volume.id] = volume
    volume.add_tags(dict(launch.tags.get("volume", {})))
    attachment = Attachment(volume, instance, plan.device, plan.delete_on_termination, "attaching", utcnow())
    volume.attachment = attachment
    instance.block_device_mapping[plan.device] = attachment


def _add_request(backend: Ec2Backend, instance: Instance, launch: Launch) -> None:
    price = spot_price(launch.type.name, launch.zone)
    request = SpotRequest(backend, instance, launch.spot or {}, price)
    backend.spot_instance_requests[request.id] = request
    request.add_tags(dict(launch.tags.get("spot-instances-request", {})))
    instance.spot = request


def _type(name: str, image: Image) -> TypeInfo:
    try:
        info = get_type(name)
    except KeyError as error:
        raise invalid_value(f"Invalid value '{name}' for InstanceType.") from error
    if image.architecture not in info.architectures:
        raise invalid_value(
            f"The architecture '{','.join(info.architectures)}' of the specified instance type does not match the "
            f"architecture '{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have "
            "matching architectures, and try again."
        )
    return info


def _interface(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The primary network interface, when the request spells it out."""
    interfaces = params.get("NetworkInterfaces", [])
    if len(interfaces) > 1:
        raise ApiError("UnsupportedOperation", "Sandbox machines have one network interface")
    if interfaces and (params.get("SubnetId") or params.get("SecurityGroupIds")):
        raise ApiError(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level subnet ID or security groups may not be specified together",
        )
    return interfaces[0] if interfaces else {}


def _subnet(backend: Ec2Backend, params: Mapping[str, Any], info: TypeInfo) -> Subnet:
    """Where it goes: the subnet asked for, the zone's default one, or any zone that offers the type."""
    places = zones_of_types(backend.region_name).get(info.name, ())
    asked = params.get("SubnetId") or _interface(params).get("SubnetId")
    zone = (params.get("Placement") or {}).get("AvailabilityZone")
    if asked:
        subnet = _get_subnet(backend, asked)
    else:
        known = [z.name for z in backend.describe_availability_zones()]
        if zone and zone not in known:
            raise invalid_value(f"Invalid availability zone: [{zone}]")
        defaults = backend.get_default_subnets()
        if not defaults:
            raise ApiError("VPCIdNotSpecified", "No default VPC for this user")
        zone = zone or next((place for place in places if place in defaults), known[0])
        if zone not in defaults:
            raise ApiError("MissingInput", f"No default subnet for availability zone: '{zone}'.")
        subnet = defaults[zone]
    if subnet.availability_zone not in places:
        choice = f"not specifying an Availability Zone or choosing {', '.join(places)}"
        raise ApiError(
            "Unsupported",
            f"Your requested instance type ({info.name}) is not supported in your requested Availability Zone "
            f"({subnet.availability_zone}). Please retry your request by {choice}.",
        )
    return subnet


def _get_subnet(backend: Ec2Backend, subnet_id: str) -> Subnet:
    found = next((by_id[subnet_id] for by_id in backend.subnets.values() if subnet_id in by_id), None)
    if found is None:
        raise not_found("InvalidSubnetID", subnet_id)
    return found


def _groups(
    backend: Ec2Backend, params: Mapping[str, Any], interface: Mapping[str, Any], subnet: Subnet
) -> tuple[SecurityGroup, ...]:
    ids = params.get("SecurityGroupIds") or interface.get("Groups") or []
    groups = [(name, backend.get_security_group_from_id(name)) for name in ids]
    groups += [(n, backend.get_security_group_from_name(n, subnet.vpc_id)) for n in params.get("SecurityGroups", [])]
    if not groups:
        groups = [("default", backend.get_default_security_group(subnet.vpc_id))]
    found = []
    for name, group in groups:
        if group is None:
            raise not_found("InvalidGroup", name)
        if group.vpc_id != subnet.vpc_id:
            raise ApiError(
                "InvalidParameter", f"Security group {group.id} and subnet {subnet.id} belong to different networks."
            )
        found.append(group)
    return tuple(found)


def _key(backend: Ec2Backend, name: str | None) -> KeyPair | None:
    if name is None:
        return None
    if name not in backend.key_pairs:
        raise not_found("InvalidKeyPair", name)
    return backend.key_pairs[name]


def _user_data(text: str | bytes | None) -> Base64EncodedString | None:
    if text is None:
        return None
    encoded = text.encode() if isinstance(text, str) else text
    try:
        size = len(base64.b64decode(encoded, validate=True))
    except binascii.Error as error:
        raise ApiError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from error
    if size > USER_DATA_MAX:
        raise invalid_value(f"User data is limited to {USER_DATA_MAX} bytes")
    return Base64EncodedString(encoded.decode())


def _profile(backend: Ec2Backend, asked: Mapping[str, str]) -> InstanceProfile | None:
    """The instance profile; one made moments ago is unknown to EC2 as yet, then its role is."""
    name = asked.get("Name") or asked.get("Arn", "").rpartition("/")[2]
    if not name:
        return None
    young = timedelta(seconds=backend.engine.settings.profile_seconds)
    profile = find_by_name(backend.account_id, backend.partition, name)
    if profile is None or utcnow() - profile.create_date < young / 2:
        raise invalid_value(
            f"Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
        )
    if not profile.roles or utcnow() - profile.create_date < young:
        raise invalid_value(f'IAM Instance Profile "{profile.arn}" has no associated IAM Roles')
    return profile


def _disks(backend: Ec2Backend, image: Image, asked: list[Mapping[str, Any]]) -> tuple[DiskPlan, ...]:
    """The image's root disk as changed by the request, then the request's other volumes."""
    root = image.root_device_name
    mapping: dict[str, dict[str, Any]] = {root: dict(image.block_device_mappings[0]["Ebs"])}
    for entry in asked:
        device = entry.get("DeviceName") or ""
        if not device.startswith("/dev/") or (device in mapping and device != root):
            raise ApiError("InvalidBlockDeviceMapping", f"The device name '{device}' is invalid or used twice")
        if "NoDevice" in entry:
            continue
        if "Ebs" not in entry:
            raise ApiError("MissingParameter", "The request must contain the parameter ebs")
        ebs = dict(entry["Ebs"])
        mapping[device] = _root(image, ebs) if device == root else ebs
    return tuple(_disk(backend, device, ebs, is_root=device == root) for device, ebs in mapping.items())


def _root(image: Image, ebs: Mapping[str, Any]) -> dict[str, Any]:
    changed = {**image.block_device_mappings[0]["Ebs"], **ebs}
    if changed["VolumeType"] != "gp3":
        changed |= {"Iops": ebs.get("Iops"), "Throughput": ebs.get("Throughput")}
    return changed


def _disk(backend: Ec2Backend, device: str, ebs: Mapping[str, Any], *, is_root: bool) -> DiskPlan:
    spec = plan_volume(backend, ebs, too_small="InvalidBlockDeviceMapping")
    # AWS's documents disagree on the default for data volumes. Here it is the one that loses data.
    return DiskPlan(device, spec, bool(ebs.get("DeleteOnTermination", True)), is_root)
