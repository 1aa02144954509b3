"""AWS's errors as ours: mapped here and nowhere else. Codes and meanings: EC2's error code reference."""

from __future__ import annotations

import re

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
# Of these also a region that is not enabled is told: it does not know the keys.
_UNKNOWN_KEYS = {"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException"}
_PERMISSION_CODES = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_QUOTA_CODES = {"MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "InstanceLimitExceeded", "VolumeLimitExceeded"}
# What is the matter with the account itself: in words, and what to do.
_ACCOUNT_CODES = {
    "PendingVerification": (
        "AWS still verifies this account, or its first use of this region",
        "wait for AWS's email: minutes as a rule, four hours at most; then the same command again. "
        "aws-verification@amazon.com helps if none comes",
    ),
    "OptInRequired": (
        "this account is not signed up for EC2",
        "finish the sign-up at https://portal.aws.amazon.com/billing/signup; AWS may still be checking the payment "
        "method, which takes up to a day",
    ),
    "Blocked": (
        "AWS has blocked this account",
        "AWS has sent an email that says why; https://console.aws.amazon.com/support/home answers",
    ),
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": (
        "the account has never had a spot machine: it lacks the role AWSServiceRoleForEC2Spot, and this user may not "
        "make it",
        "somebody who may has to do this once: aws iam create-service-linked-role --aws-service-name "
        "spot.amazonaws.com; or pay the full price with --on-demand",
    ),
}
# How IAM and newer answers of EC2 say what lacks; older ones of EC2 have it in an encoded part alone.
_IN_WORDS = re.compile(
    r"is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on resource: (?P<resource>.+?))?(?= because | with an explicit deny|\. |\.?$)"
)
_ENCODED = re.compile(r"\s*Encoded authorization failure message: (\S+)")
_EXPLICIT = "explicit deny"


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
    """An error was answered; `code` is AWS's code, or the HTTP `status` if no word is AWS's. `operation`: the call.

    `action`: the permission that lacks, if it is told. `encoded`: what tells it, and STS alone can read.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        operation: str,
        hint: str = "",
        status: int = 0,
        action: str = "",
        encoded: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.operation = operation
        self.status = status
        self.action = action
        self.encoded = encoded


class KeysRefused(NoCredentials):
    """AWS does not know the access key, there."""


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
        kind = KeysRefused if code in _UNKNOWN_KEYS else NoCredentials
        return kind(message, hint=f"check the credentials of this profile; {SANDBOX_HINT}")
    if code in _PERMISSION_CODES:
        return _not_permitted(code, text, operation, status)
    hint = ""
    if code in _ACCOUNT_CODES:
        what, hint = _ACCOUNT_CODES[code]
        message = f"AWS refused {operation}: {what} ({code})"
    elif code in _QUOTA_CODES:
        hint = "a quota of the account: Service Quotas in the AWS console raises it; another type may have its own"
    return AwsError(message, code=code, operation=operation, hint=hint, status=status)


def _not_permitted(code: str, text: str, operation: str, status: int) -> AwsError:
    encoded = _ENCODED.search(text)
    words = _ENCODED.sub("", text)
    told = _IN_WORDS.search(words)
    if told:
        action, resource = told["action"], told["resource"] or ""
        return forbidden(code, operation, status, action, resource, denied=_EXPLICIT in words)
    return AwsError(
        f"AWS refused {operation}: {words or code} ({code})",
        code=code,
        operation=operation,
        hint=f"this user or role lacks the permission for {operation}, or for something that it does; "
        "sts:DecodeAuthorizationMessage would let xportal say which",
        status=status,
        encoded=encoded[1] if encoded else "",
    )


def forbidden(code: str, operation: str, status: int, action: str, resource: str, *, denied: bool) -> AwsError:
    """The error that says which permission lacks; `denied`: a policy forbids it, whatever others allow."""
    on = f" on {resource}" if resource and resource != "*" else ""
    why = "a policy denies it" if denied else "no policy allows it"
    return AwsError(
        f"AWS refused {operation}: this user or role may not {action}{on}: {why} ({code})",
        code=code,
        operation=operation,
        hint=f"whoever manages the account's permissions has to {'stop denying' if denied else 'allow'} {action}{on}",
        status=status,
        action=action,
    )
