"""From an HTTP request to a service of the API and back: credentials, routing, faults, error documents, the log."""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.request import Request
from moto.core.responses import BaseResponse
from moto.core.utils import get_service_model, utcnow
from moto.ec2.models import ec2_backends
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response

from xportal.sandbox.api.admin import ADMIN_PATH, Admin
from xportal.sandbox.api.authentication import NOT_VALIDATED, UNKNOWN, Callers, Claim, check_sender, read_claim
from xportal.sandbox.api.authorization import check_call, check_user
from xportal.sandbox.api.call_log import Call, CallLog, plain
from xportal.sandbox.api.ec2.backend import get_backend
from xportal.sandbox.api.ec2.calls.catalogue import ENABLED, OTHER_PARTITIONS
from xportal.sandbox.api.ec2.instance_connect import ConnectResponse
from xportal.sandbox.api.ec2.response import Ec2Response
from xportal.sandbox.api.ec2.staleness import FRESH_HEADER, Staleness
from xportal.sandbox.api.engine import Engine
from xportal.sandbox.api.errors import JSON_SERVICES, RefusedError, refusal
from xportal.sandbox.api.faults import CallTrouble, Faults
from xportal.sandbox.api.iam.responses import IamResponse
from xportal.sandbox.api.iam.session import Session
from xportal.sandbox.api.limits import check_limits
from xportal.sandbox.api.quotas import QuotasResponse
from xportal.sandbox.api.ssm import SsmResponse
from xportal.sandbox.api.sts import StsResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

SERVICES: dict[str, type[BaseResponse]] = {
    "ec2": Ec2Response,
    "ec2-instance-connect": ConnectResponse,
    "iam": IamResponse,
    "servicequotas": QuotasResponse,
    "ssm": SsmResponse,
    "sts": StsResponse,
}
READING = ("Describe", "Get", "List")
MAX_BODY = 1024**2  # bytes: more than the longest request that EC2 takes


class ApiRequest(Request):
    """moto's request, with werkzeug's server adding the Date header."""

    from_wsgi_server = True
    max_content_length = MAX_BODY


class AnswerLostError(ConnectionAbortedError):
    """A fault: the call was done, and its answer does not arrive."""


class Application:
    """The WSGI application, for the callers of one listener. With `admin` it answers the admin routes too."""

    def __init__(
        self,
        engine: Engine,
        faults: Faults,
        calls: CallLog,
        on_change: Callable[[], None],
        callers: Callers,
        staleness: Staleness,
        admin: Admin | None,
    ) -> None:
        self._engine = engine
        self._faults = faults
        self._calls = calls
        self._on_change = on_change
        self._callers = callers
        self._staleness = staleness
        self._admin = admin

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = ApiRequest(environ)
        if self._admin and request.path.startswith(ADMIN_PATH):
            return self._admin.answer(request)(environ, start_response)
        try:
            return self._answer(request)(environ, start_response)
        except AnswerLostError:
            environ["werkzeug.socket"].shutdown(SHUT_RDWR)
            raise  # the server takes it for a client that went away, and says nothing

    def _answer(self, request: ApiRequest) -> Response:
        service = "ec2"
        try:
            check_sender(request)
            claim = read_claim(request)
            service = claim.service
            _check_scope(claim)
            return self._serve(request, claim, self._callers.authenticate(request, claim))
        except RefusedError as refusal:
            return _error(refusal.service or service, refusal.code, refusal.message, refusal.status)
        except RequestEntityTooLarge:
            return _error(service, "RequestEntityTooLarge", f"The request is longer than {MAX_BODY} bytes", 413)
        except AnswerLostError:
            raise
        except Exception as error:
            log.exception("the API failed")
            return _error(service, "InternalError", f"The sandbox failed: {error!r}", 500)

    def _serve(self, request: ApiRequest, scope: Claim, session: Session | None) -> Response:
        _check_action(request, scope.service)
        handler = SERVICES[scope.service]()
        try:
            handler.setup_class(request, request.raw_url, request.headers)
        except (ValueError, KeyError) as error:
            raise RefusedError("MalformedQueryString", f"The request cannot be read: {error!r}") from error
        operation = handler._get_action() or "?"
        with self._engine.lock:
            trouble = self._faults.meet_call(scope.service, operation)
        try:
            if trouble.refusal:
                raise trouble.refusal
            response = self._act(handler, scope, session, operation, fresh=FRESH_HEADER in request.headers)
        except RefusedError as refusal:
            response = _error(scope.service, refusal.code, refusal.message, refusal.status)
        self._calls.add(_call(handler, scope, session, operation, response, trouble))
        time.sleep(trouble.late_s)
        if trouble.lost:
            raise AnswerLostError(operation)
        return response

    def _act(
        self, handler: BaseResponse, scope: Claim, session: Session | None, operation: str, *, fresh: bool
    ) -> Response:
        """Do what is asked, if the caller may; a change is saved before it is answered."""
        try:
            with self._engine.lock:
                params, backend = _parameters(handler), get_backend(scope.region)
                if session:
                    check_call(session, scope.service, operation, params, backend)
                else:
                    check_user(self._faults, scope.service, operation, params, backend)
                check_limits(scope.service, operation, params)
                stale_seconds = self._engine.settings.stale_seconds
                with self._staleness.shown(operation, backend, stale_seconds, fresh=fresh):
                    status, headers, body = handler.call_action()
                if not operation.startswith(READING):
                    self._staleness.note(stale_seconds)
        except NotImplementedError as error:
            raise RefusedError("InvalidAction", f"The sandbox does not provide {operation}: {error}") from error
        if not operation.startswith(READING):
            self._on_change()
        data = body if isinstance(body, bytes) else str(body).encode()
        kept = {name: value for name, value in headers.items() if name.lower() != "status"}
        return Response(data, status=int(status), headers=kept)


def _check_scope(claim: Claim) -> None:
    """The service and the region are ours."""
    if claim.service not in SERVICES:
        raise RefusedError("InvalidAction", f"The sandbox does not provide the service {claim.service}")
    if claim.region not in ec2_backends[DEFAULT_ACCOUNT_ID]:
        raise RefusedError("AuthFailure", f"Credential should be scoped to a valid region, not '{claim.region}'.", 401)
    if claim.region not in ENABLED and not claim.region.startswith(OTHER_PARTITIONS):
        raise refusal(claim.service, UNKNOWN, NOT_VALIDATED)  # a region that is not opted in to knows no key


def _check_action(request: ApiRequest, service: str) -> None:
    """A query's action is one that AWS has. (JSON services name theirs in a header, and moto checks it.)"""
    if service in JSON_SERVICES:
        return
    action = request.values.get("Action")
    if not action:
        raise RefusedError("MissingAction", "The request must contain the parameter Action")
    if action not in get_service_model(service).operation_names:
        raise RefusedError("InvalidAction", f"The action {action} is not valid for this web service.")


def _call(
    handler: BaseResponse,
    scope: Claim,
    session: Session | None,
    operation: str,
    response: Response,
    trouble: CallTrouble,
) -> Call:
    status, code = response.status_code, None
    if status >= 400:
        code = re.search(rb"<Code>([^<]+)</Code>|\"__type\": *\"([^\"]+)\"", response.get_data())
    return Call(
        time=utcnow().isoformat(timespec="milliseconds") + "Z",
        service=scope.service,
        region=scope.region,
        operation=operation,
        caller=session.arn if session else "",
        parameters=plain(_parameters(handler)),
        status=status,
        error=(code[1] or code[2]).decode() if code else None,
        faults=trouble.kinds,
    )


def _parameters(handler: BaseResponse) -> Any:
    """The request's, by AWS's names."""
    return handler.params if handler.automated_parameter_parsing else json.loads(handler.body or "{}")


def _error(service: str, code: str, message: str, status: int) -> Response:
    """An error document in the service's own protocol."""
    request_id = str(uuid.uuid4())
    if service in JSON_SERVICES:
        body = json.dumps({"__type": code, "message": message})
        return Response(body, status=status, content_type="application/x-amz-json-1.1")
    inner = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if service == "ec2":
        body = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    else:
        inner = f"<Error><Type>Sender</Type>{inner}</Error>"
        body = f"<ErrorResponse>{inner}<RequestId>{request_id}</RequestId></ErrorResponse>"
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{body}', status=status, content_type="text/xml")
