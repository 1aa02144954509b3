"""AWS's errors as ours: mapped here and nowhere else. Codes and meanings: EC2's error code reference."""

from __future__ import annotations

from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

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


# EC2's codes that come with HTTP 500 or 503 and decide all the same: nothing was done.
_REFUSED_AS_SERVER_ERROR = {
    "InsufficientAddressCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientHostCapacity",
    "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientVolumeCapacity",
    "RequestLimitExceeded",
    "Throttling",
    "UnfulfillableCapacity",
}
_IN_DOUBT_CODES = {"InternalError", "InternalFailure", "ServiceUnavailable", "Unavailable"}
_PASSING_CODES = {
    "ConcurrentSnapshotLimitExceeded",
    "RequestLimitExceeded",
    "SnapshotCreationPerVolumeRateExceeded",
    "Throttling",
}
TOO_MANY_REQUESTS = 429
NOT_AWS = "TooManyRequestsException"  # what a 429 that is not AWS's is taken for: the SDK tries again after it


class AwsError(AwsRefused):
    """An error was answered; `code` is AWS's code, or the HTTP `status` if no word is AWS's. `operation`: the call."""

    def __init__(self, message: str, *, code: str, operation: str, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.operation = operation
        self.status = status


def is_forbidden(error: AwsError) -> bool:
    """Whether the account's policies are what refused."""
    return error.code in _PERMISSION_CODES


def is_in_doubt(error: XportalError) -> bool:
    """Whether it is not known if the call was carried out: no answer came, or one that is not known to be a refusal.

    A code that is known decides, whatever the HTTP status. Without one, HTTP 5xx and 429 may come from a proxy that
    lost AWS's answer; any other status is a refusal.
    """
    if not isinstance(error, AwsError):
        return isinstance(error, Unreachable)
    if error.code in _REFUSED_AS_SERVER_ERROR | _PASSING_CODES:
        return False
    return error.code in _IN_DOUBT_CODES or error.status >= 500 or error.status == TOO_MANY_REQUESTS


def is_transient(error: XportalError) -> bool:
    """Whether the same call may go well later. It may also have gone well already, with its answer lost."""
    return is_in_doubt(error) or (isinstance(error, AwsError) and error.code in _PASSING_CODES)


def not_from_aws(status: int, operation: str) -> XportalError:
    """The error for an answer that AWS did not write: a proxy's or a login page's."""
    hint = "a proxy, a firewall or a network's login page may stand between this computer and AWS"
    if status >= 400:
        message = f"{operation} was answered by something else than AWS: HTTP {status}"
        return AwsError(message, code=str(status), operation=operation, hint=hint, status=status)
    return Unreachable(f"{operation} was answered by something else than AWS (HTTP {status})", hint=hint)


def no_credentials(why: object) -> NoCredentials:
    """There are none, or what should give them does not."""
    return NoCredentials(f"no AWS credentials: {' '.join(str(why).split())}", hint=f"aws configure, or: {SANDBOX_HINT}")


# What a call of the SDK raises; its parser's error is no BotoCoreError.
SDK_ERRORS = (botocore.ClientError, botocore.BotoCoreError, ResponseParserError)


def mapped(error: botocore.ClientError | botocore.BotoCoreError | ResponseParserError, endpoint: str) -> XportalError:
    """The error of ours that says what `error` says."""
    if isinstance(error, botocore.ClientError):
        return _answered(error)
    if isinstance(
        error,
        botocore.NoCredentialsError
        | botocore.PartialCredentialsError
        | botocore.CredentialRetrievalError
        | botocore.SSOError
        | botocore.LoginError,
    ):
        return no_credentials(error)
    if isinstance(error, botocore.ProfileNotFound):
        return UsageError(
            str(error), hint="xportal sandbox start makes the profile xportal-sandbox; aws configure makes others"
        )
    if isinstance(error, botocore.HTTPClientError | botocore.ConnectionError):
        local = "127.0.0.1" in endpoint or "localhost" in endpoint
        hint = "the sandbox? xportal sandbox start" if local else "check the network and the region's name"
        return Unreachable(f"{endpoint} does not answer ({_cause(error)})", hint=hint)
    if isinstance(error, ResponseParserError):
        return Unreachable(f"the answer of {endpoint} came in part, or is not AWS's", hint="the same command again")
    if isinstance(error, botocore.ParamValidationError):
        return UsageError(" ".join(str(error).split()))
    return AwsRefused(" ".join(str(error).split()))


def _cause(error: botocore.BotoCoreError) -> str:
    """What the system says of a connection that failed, in few words."""
    inner: object = error.kwargs.get("error") or error
    said = str(getattr(inner, "reason", None) or inner).rpartition(": ")[2]
    return f"{type(error).__name__}: {' '.join(said.split())}"[:200]


def _answered(error: botocore.ClientError) -> XportalError:
    code = error.response.get("Error", {}).get("Code", "")
    text = error.response.get("Error", {}).get("Message", "")
    operation = error.operation_name
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if not code or code == str(status) or code == NOT_AWS:
        return not_from_aws(status, operation)
    message = f"AWS refused {operation}: {text or code} ({code})"
    if code in _CREDENTIAL_CODES:
        return NoCredentials(message, hint=f"check the credentials of this profile; {SANDBOX_HINT}")
    hint = ""
    if code in _PERMISSION_CODES:
        hint = f"this user or role lacks the permission for {operation}"
    elif code in _QUOTA_CODES:
        hint = "a quota of the account: Service Quotas in the AWS console raises it; another type may have its own"
    return AwsError(message, code=code, operation=operation, hint=hint, status=status)
