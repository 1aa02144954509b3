"""Key pairs, which are the locks of drives, and one-minute logins."""

from __future__ import annotations

from collections.abc import Mapping

from xportal.aws.answers import record
from xportal.aws.errors import AwsError
from xportal.aws.records import KeyPair
from xportal.aws.session import Aws
from xportal.aws.tags import OURS, from_aws, tag_filter, to_aws


def list_key_pairs(aws: Aws) -> list[KeyPair]:
    """The key pairs that carry our tag."""
    answer = aws.call(aws.ec2.describe_key_pairs, Filters=tag_filter(ours="1"))
    return [_key_pair(item) for item in answer["KeyPairs"]]


def find_key_pair(aws: Aws, name: str) -> KeyPair | None:
    """The key pair of that name, ours or not."""
    answer = aws.call(aws.ec2.describe_key_pairs, Filters=[{"Name": "key-name", "Values": [name]}])
    return next((_key_pair(item) for item in answer["KeyPairs"]), None)


def import_key_pair(aws: Aws, name: str, public_key: bytes, tags: Mapping[str, str]) -> str | None:
    """The new key pair's id, or None if one of that name exists: of two racing calls AWS lets one win."""
    try:
        answer = aws.call(
            aws.ec2.import_key_pair,
            KeyName=name,
            PublicKeyMaterial=public_key,
            TagSpecifications=[{"ResourceType": "key-pair", "Tags": to_aws({OURS: "1", **tags})}],
        )
    except AwsError as error:
        if error.code == "InvalidKeyPair.Duplicate":
            return None
        raise
    return answer["KeyPairId"]


def delete_key_pair(aws: Aws, key_pair_id: str) -> None:
    """Delete by id: compare and delete in one call. One that is gone already is fine."""
    try:
        aws.call(aws.ec2.delete_key_pair, KeyPairId=key_pair_id)
    except AwsError as error:
        if error.code not in ("InvalidKeyPair.NotFound", "InvalidKeyPairId.NotFound"):
            raise


def send_login_key(aws: Aws, instance_id: str, user: str, public_key: str) -> None:
    """Let `public_key` log in for 60 seconds (EC2 Instance Connect)."""
    client = aws.instance_connect()
    aws.call(client.send_ssh_public_key, InstanceId=instance_id, InstanceOSUser=user, SSHPublicKey=public_key)


@record
def _key_pair(item: object) -> KeyPair:
    data: dict[str, object] = dict(item)  # type: ignore[call-overload]
    return KeyPair(
        id=str(data["KeyPairId"]),
        name=str(data["KeyName"]),
        created=data["CreateTime"],  # type: ignore[arg-type]
        tags=from_aws(data.get("Tags")),  # type: ignore[arg-type]
    )
