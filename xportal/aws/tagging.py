"""Tags set after the creating call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xportal.aws.errors import AwsError
from xportal.aws.session import Aws
from xportal.aws.tags import to_aws

TAGGED_AT_ONCE = 500  # EC2 takes a thousand
COPY_GONE = {"InvalidSnapshot.NotFound", "InvalidVolume.NotFound"}
GONE = {"InvalidID", "InvalidInstanceID.NotFound"}


def set_tags(aws: Aws, resource_id: str, tags: Mapping[str, str]) -> None:
    """Create or overwrite `tags` on a resource."""
    aws.call(aws.ec2.create_tags, Resources=[resource_id], Tags=to_aws(tags))


def set_tags_of_all(aws: Aws, copy_ids: Sequence[str], tags: Mapping[str, str]) -> None:
    """The same on many snapshots or volumes, in one call. One that is gone meanwhile keeps the others from nothing."""
    for begin in range(0, len(copy_ids), TAGGED_AT_ONCE):
        ids = list(copy_ids[begin : begin + TAGGED_AT_ONCE])
        try:
            aws.call(aws.ec2.create_tags, Resources=ids, Tags=to_aws(tags))
        except AwsError as error:
            if error.code not in COPY_GONE:
                raise
            for copy_id in ids if len(ids) > 1 else ():
                set_tags_of_all(aws, [copy_id], tags)


def tag_machine(aws: Aws, machine_id: str, tags: Mapping[str, str]) -> None:
    """The same on a machine that is about to end; one that AWS does not know any more is fine."""
    try:
        set_tags(aws, machine_id, tags)
    except AwsError as error:
        if error.code not in GONE:
            raise


def delete_tag(aws: Aws, resource_id: str, key: str) -> None:
    """Delete one tag; one that is not there is fine."""
    aws.call(aws.ec2.delete_tags, Resources=[resource_id], Tags=[{"Key": key}])
