"""Requests to the sandbox's API without a socket, which takes a third of a call's time: tests make 200,000 calls.

What is sent is what AWS's SDK signed, and what answers is the application that the sandbox's listeners call: it checks
the signature, and faults hit as they would. Only HTTP on a socket is left out. `tests/contract/` goes over sockets.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from werkzeug.http import http_date

from tests.crash.answers import make_answer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


@dataclass(frozen=True)
class Direct:
    """Calls the API's application; `date` is the Date header that its server would add."""

    application: WSGIApplication
    date: Callable[[], str] = http_date

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse:
        """The answer. Raises ConnectionClosedError when the API gives none."""
        told: list[Any] = []

        def begin(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
            told.extend((status, headers))
            return _write_nothing

        try:
            body = b"".join(self.application(_environ(request), begin))
        except ConnectionAbortedError as error:
            raise ConnectionClosedError(endpoint_url=request.url) from error
        status, headers = told
        return make_answer(request.url, int(status[:3]), {**dict(headers), "Date": self.date()}, body)


def _write_nothing(_: bytes) -> None:
    raise AssertionError("the API writes its answers whole")


def text_of(request: AWSPreparedRequest) -> str:
    """A request's body, as EC2's protocol has it: a form."""
    body = request.body or ""
    assert isinstance(body, (str, bytes)), f"no form: {body!r}"
    return body if isinstance(body, str) else body.decode()


def _environ(request: AWSPreparedRequest) -> dict[str, Any]:
    url = urlsplit(request.url)
    body = text_of(request).encode()
    headers = {
        name: value.decode() if isinstance(value, bytes) else str(value) for name, value in request.headers.items()
    }
    return {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": url.path,
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": str(url.port),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BytesIO(body),
        "CONTENT_TYPE": headers["Content-Type"],
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": url.netloc,
        "werkzeug.socket": _NoSocket(),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }


class _NoSocket:
    def shutdown(self, how: int) -> None:
        """The application cuts the connection of an answer that is to be lost."""


class Wire:
    """Stands where botocore has its HTTP session."""

    def __init__(self, application: WSGIApplication) -> None:
        self._send = Direct(application)

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """The answer of the application."""
        return self._send(request)

    def close(self) -> None:
        """There is no connection."""
