"""Tags set after the creating call."""

from __future__ import annotations

from collections.abc import Mapping

from xportal.aws.session import Aws
from xportal.aws.tags import to_aws


def set_tags(aws: Aws, resource_id: str, tags: Mapping[str, str]) -> None:
    """Create or overwrite `tags` on a resource."""
    aws.call(aws.ec2.create_tags, Resources=[resource_id], Tags=to_aws(tags))


def delete_tag(aws: Aws, resource_id: str, key: str) -> None:
    """Delete one tag; one that is not there is fine."""
    aws.call(aws.ec2.delete_tags, Resources=[resource_id], Tags=[{"Key": key}])
