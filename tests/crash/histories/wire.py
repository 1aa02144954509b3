"""Requests to the sandbox's API without a socket, which takes half of a call's time: histories make 100,000 calls."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import xmltodict  # type: ignore[import-untyped]  # moto's
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.model import Shape
from botocore.parsers import QueryParser
from moto.core.serialize import AttributePickerContext, XFormedAttributePicker

from tests.crash.answers import make_answer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def quicken(patch: pytest.MonkeyPatch) -> None:
    """Have moto look up once, and not for each value of each answer, where a member's value lies in a class of its
    records: that is a sixth of a call's time. And have botocore read once what is answered again, as lists are.
    """
    find: Callable[..., Iterator[str]] = XFormedAttributePicker.get_possible_keys
    found: dict[tuple[object, ...], tuple[str, ...]] = {}

    def find_once(picker: XFormedAttributePicker, context: AttributePickerContext) -> tuple[str, ...]:
        shape, parent = context.shape, getattr(context.shape, "parent", None)
        about = (type(context.obj), context.key, shape.name, getattr(parent, "name", None))
        if about not in found:
            found[about] = tuple(find(picker, context))
        return found[about]

    patch.setattr(XFormedAttributePicker, "get_possible_keys", find_once)
    read: Callable[..., dict[str, Any]] = QueryParser._parse_body_as_xml  # type: ignore[attr-defined]  # private

    known: dict[tuple[object, ...], bytes] = {}

    def read_once(
        parser: QueryParser, response: dict[str, Any], shape: Shape | None, inject_metadata: bool = True
    ) -> Any:
        answer = (response["body"], shape and shape.name, inject_metadata)
        parsed = known.get(answer)
        if parsed is None:
            if len(known) > 1000:
                known.clear()
            parsed = known[answer] = pickle.dumps(read(parser, response, shape, inject_metadata))
        return pickle.loads(parsed)

    patch.setattr(QueryParser, "_parse_body_as_xml", read_once)
    patch.setattr(xmltodict, "_validate_name", cache(xmltodict._validate_name))


@dataclass(frozen=True)
class Direct:
    """Calls the API's application; `date` is the Date header that its server would add."""

    application: WSGIApplication
    date: Callable[[], str]

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
