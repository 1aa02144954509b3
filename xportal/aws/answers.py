"""What AWS answers, before it is believed: that AWS wrote it, and that its records have what xportal reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from xportal.aws.errors import NOT_AWS, TOO_MANY_REQUESTS, not_from_aws
from xportal.errors import Unreachable

R = TypeVar("R")

_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<([A-Za-z]+)")
_TOO_MANY = f"<Response><Errors><Error><Code>{NOT_AWS}</Code></Error></Errors><RequestID/></Response>".encode()


def check_answer(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    """A botocore handler of `before-parse`. A page that a proxy or a login page wrote is no answer of AWS's.

    The SDK would take some of them for empty lists. Of HTTP 5xx and 429 it is left the status, after which it tries
    again where it may. Raises AwsError for the other errors, Unreachable for what looks like success.
    """
    body, status = response_dict["body"], response_dict["status_code"]
    if not isinstance(body, bytes) or _is_from_aws(body, operation_model.service_model.resolved_protocol):
        return
    if status >= 500:
        response_dict["body"] = b""
    elif status == TOO_MANY_REQUESTS and body != _TOO_MANY:
        response_dict["body"] = _TOO_MANY
    else:
        raise not_from_aws(status, operation_model.name)


def _is_from_aws(body: bytes, protocol: str) -> bool:
    """Whether it begins as AWS's answers do: a JSON object, or an XML element whose name ends with Response."""
    if protocol == "json":
        return body.lstrip()[:1] in (b"{", b"")
    root = _ROOT.match(body)
    return root is not None and root[1].endswith(b"Response")


@contextmanager
def understood(what: str) -> Iterator[None]:
    """A block that reads `what` in an answer of AWS. Raises Unreachable where the answer lacks what is read."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise Unreachable(
            f"AWS's answer makes no sense: {what} ({type(error).__name__}: {error})", hint="the same command again"
        ) from error


def record(make: Callable[[Any], R]) -> Callable[[Any], R]:
    """`make`, which reads a record in an answer, raising Unreachable as `understood` does."""

    @wraps(make)
    def read(item: Any) -> R:
        with understood(make.__name__.strip("_").replace("_", " ")):
            return make(item)

    return read
