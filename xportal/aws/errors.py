"""AWS's errors as ours: mapped here and nowhere else. Codes and meanings: EC2's error code reference."""

from __future__ import annotations

from botocore import exceptions as botocore

from xportal.errors import AwsRefused, NoCredentials, Unreachable, UsageError, XportalError

SANDBOX_HINT = "no AWS account is needed to try xportal: xportal sandbox start, then xportal --sandbox up"

_CREDENTIAL_CODES = {
    "AuthFailure",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_PERMISSION_CODES = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_QUOTA_CODES = {"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded", "VolumeLimitExceeded"}


class AwsError(AwsRefused):
    """AWS answered an error; `code` is its code, `operation` the API call."""

    def __init__(self, message: str, *, code: str, operation: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.operation = operation


_TRANSIENT_CODES = {
    "ConcurrentSnapshotLimitExceeded",
    "InternalError",
    "InternalFailure",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SnapshotCreationPerVolumeRateExceeded",
    "Throttling",
    "Unavailable",
}


def is_transient(error: XportalError) -> bool:
    """Whether the same call may go well later. It may also have gone well already, with its answer lost."""
    return isinstance(error, Unreachable) or (isinstance(error, AwsError) and error.code in _TRANSIENT_CODES)


def mapped(error: botocore.ClientError | botocore.BotoCoreError, endpoint: str) -> XportalError:
    """The error of ours that says what `error` says."""
    if isinstance(error, botocore.ClientError):
        return _answered(error)
    if isinstance(
        error, botocore.NoCredentialsError | botocore.PartialCredentialsError | botocore.CredentialRetrievalError
    ):
        return NoCredentials(f"no AWS credentials: {error}", hint=f"aws configure, or: {SANDBOX_HINT}")
    if isinstance(error, botocore.ProfileNotFound):
        return UsageError(
            str(error), hint="xportal sandbox start makes the profile xportal-sandbox; aws configure makes others"
        )
    if isinstance(error, botocore.HTTPClientError | botocore.ConnectionError):
        local = "127.0.0.1" in endpoint or "localhost" in endpoint
        hint = "the sandbox? xportal sandbox start" if local else "check the network and the region's name"
        return Unreachable(f"{endpoint} does not answer ({type(error).__name__})", hint=hint)
    if isinstance(error, botocore.ParamValidationError):
        return UsageError(" ".join(str(error).split()))
    return AwsRefused(" ".join(str(error).split()))


def _answered(error: botocore.ClientError) -> XportalError:
    code = error.response.get("Error", {}).get("Code", "")
    text = error.response.get("Error", {}).get("Message", "")
    operation = error.operation_name
    message = f"AWS refused {operation}: {text or code} ({code})"
    if code in _CREDENTIAL_CODES:
        return NoCredentials(message, hint=f"check the credentials of this profile; {SANDBOX_HINT}")
    hint = ""
    if code in _PERMISSION_CODES:
        hint = f"this user or role lacks the permission for {operation}"
    elif code in _QUOTA_CODES:
        hint = "a quota of the account: Service Quotas in the AWS console raises it; another type may have its own"
    return AwsError(message, code=code, operation=operation, hint=hint)
