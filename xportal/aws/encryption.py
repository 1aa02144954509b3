"""The key with which the account's disks are encrypted."""

from __future__ import annotations

from xportal.aws.answers import understood
from xportal.aws.errors import AwsError
from xportal.aws.session import Aws
from xportal.errors import Unreachable

OF_AWS = "alias/aws/ebs"
NEEDED = "kms:CreateGrant, Decrypt, DescribeKey, GenerateDataKeyWithoutPlaintext and ReEncrypt*"


def key_hint(aws: Aws) -> str:
    """What to do if a launch could not use the key: AWS says no more than "Client.InternalError" then."""
    key = _default_key(aws)
    if key == OF_AWS:
        return (
            "an encrypted disk could not be made: most often its snapshot's key is gone or disabled, or this user "
            f"lacks {NEEDED} on it; the AWS console shows the key (KMS_KEY_ID) of the snapshot"
        )
    return (
        f"disks are encrypted with {key or 'a key of the account'}, which the machine may not use. It needs {NEEDED}: "
        "in the key's policy for this user, and for spot machines as a grant: aws kms create-grant --key-id "
        f"{key or 'KEY'} --grantee-principal arn:aws:iam::ACCOUNT:role/aws-service-role/spot.amazonaws.com/"
        "AWSServiceRoleForEC2Spot --operations Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey "
        "GenerateDataKeyWithoutPlaintext DescribeKey CreateGrant"
    )


def _default_key(aws: Aws) -> str:
    """The key of disks that name none; "" if AWS does not say."""
    try:
        answer = aws.call(aws.ec2.get_ebs_default_kms_key_id)
        with understood("the default key"):
            return str(answer["KmsKeyId"])
    except (AwsError, Unreachable):
        return ""
