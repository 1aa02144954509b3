"""What IMDS says to a machine, from the API's records."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from moto.core.utils import utcnow
from moto.iam.models import InstanceProfile
from moto.sts.models import sts_backends

from xportal.sandbox.api.ec2.backend import Ec2Backend
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.iam.instance_profiles import find_by_arn
from xportal.sandbox.hardware import Metadata, RoleCredentials

FAILED = "AssumeRoleUnauthorizedAccess"  # IMDS's code where EC2 may not take the role on

CREDENTIALS_LIVE = timedelta(hours=6)
RENEWED_BEFORE = timedelta(hours=1)


def metadata_of(backend: Ec2Backend, instance: Instance) -> Metadata:
    options = instance.metadata_options
    tags = dict(backend.tags.get(instance.id, {})) if options.instance_metadata_tags == "enabled" else {}
    return Metadata(
        instance_id=instance.id,
        instance_type=instance.instance_type,
        image_id=instance.image_id,
        architecture=instance.architecture or "x86_64",
        region=backend.region_name,
        availability_zone=str(instance.availability_zone),
        account_id=backend.account_id,
        reservation_id=instance.reservation_id,
        launch_time=_aware(instance.launch_time),
        market=instance.lifecycle or "on-demand",
        public_ip=instance.public_ip,
        private_ip=instance.private_ip,
        public_hostname=instance.public_dns_name,
        private_hostname=instance.private_dns_name,
        mac=instance.mac,
        vpc_id=str(instance.vpc_id),
        subnet_id=str(instance.subnet_id),
        security_groups=tuple(group.name for group in instance.security_groups),
        key_name=instance.key_name,
        public_key=instance.login_key,
        user_data=base64.b64decode(str(instance.user_data)) if instance.user_data else None,
        mapping=_mapping(instance),
        tags=tags,
        http_endpoint=options.http_endpoint,
        http_tokens=options.http_tokens,
        hop_limit=options.http_put_response_hop_limit,
        role=_role(backend, instance),
        notice=instance.notice,
    )


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=timezone.utc)


def _mapping(instance: Instance) -> dict[str, str]:
    """block-device-mapping: ami and root, then ebs1, ebs2 ..."""
    root = instance.root_device_name
    data = [device for device in instance.block_device_mapping if device != root]
    return {"ami": root, "root": root, **{f"ebs{n}": device for n, device in enumerate(data, 1)}}


def _role(backend: Ec2Backend, instance: Instance) -> RoleCredentials | None:
    """Credentials of the instance's role, made new an hour before they expire."""
    profile = _profile(backend, instance)
    if profile is None or not profile.roles or backend.faults.role_gone:
        return None
    role = profile.roles[0]
    if instance.credentials is None or instance.credentials.expiration < _aware(utcnow() + RENEWED_BEFORE):
        assumed = sts_backends[backend.account_id][backend.partition].assume_role(
            backend.region_name, instance.id, role.arn, "", int(CREDENTIALS_LIVE.total_seconds()), ""
        )
        instance.credentials = RoleCredentials(
            role=role.name,
            profile_arn=profile.arn,
            access_key_id=assumed.access_key_id,
            secret_access_key=assumed.secret_access_key,
            token=assumed.session_token,
            last_updated=_aware(utcnow()),
            expiration=_aware(assumed.expiration),
        )
    return replace(instance.credentials, code=FAILED if backend.faults.role_failed else "Success")


def _profile(backend: Ec2Backend, instance: Instance) -> InstanceProfile | None:
    arn = (instance.iam_instance_profile or {}).get("Arn")
    return find_by_arn(backend.account_id, backend.partition, arn) if arn else None
