"""The sandbox's own routes, JSON under /_xportal: status, faults, interruptions, the log of calls.

They are answered on this computer's loopback only, never inside a machine, and only to the
sandbox's user: each request is signed, as those to AWS's services are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from moto.core.exceptions import ServiceException
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from xportal.errors import HardwareFailure
from xportal.sandbox.admin import SERVICE
from xportal.sandbox.api import fault_control
from xportal.sandbox.api.authentication import Callers, check_sender, read_claim
from xportal.sandbox.api.call_log import CallLog
from xportal.sandbox.api.ec2 import instances
from xportal.sandbox.api.ec2.backend import Ec2Backend, all_backends
from xportal.sandbox.api.ec2.interruption import interrupt
from xportal.sandbox.api.ec2.records.instance import Instance
from xportal.sandbox.api.engine import Engine
from xportal.sandbox.api.errors import RefusedError
from xportal.sandbox.api.faults import Faults
from xportal.sandbox.api.iam import users

ADMIN_PATH = "/_xportal/"
USER = "xportal-user"
Json = dict[str, Any]


class WrongRequestError(Exception):
    """The admin request is refused, with this status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Admin:
    """GET status, calls, faults; POST faults, interrupt, settings, user; DELETE faults, calls."""

    def __init__(
        self, engine: Engine, faults: Faults, calls: CallLog, callers: Callers, describe: Callable[[], Json]
    ) -> None:
        self._engine, self._faults, self._callers, self._describe = engine, faults, callers, describe
        self._routes: dict[tuple[str, str], Callable[[Json], Json]] = {
            ("GET", "status"): lambda _: self._status(),
            ("GET", "calls"): lambda _: {"calls": calls.as_json()},
            ("DELETE", "calls"): lambda _: _done(calls.clear),
            ("GET", "faults"): lambda _: {"faults": faults.as_json()},
            ("DELETE", "faults"): lambda _: _done(lambda: fault_control.end(faults)),
            ("POST", "faults"): self._add_fault,
            ("POST", "interrupt"): self._interrupt,
            ("POST", "settings"): self._change_settings,
            ("POST", "user"): self._give_user,
        }

    def answer(self, request: Request) -> Response:
        try:
            self._check_user(request)
            body, status = self._route(request), 200
        except (WrongRequestError, RefusedError) as refusal:
            body, status = {"error": str(refusal)}, refusal.status
        except RequestEntityTooLarge as refusal:
            body, status = {"error": str(refusal)}, 413
        except HardwareFailure as failure:
            body, status = {"error": failure.message}, 409
        return Response(json.dumps(body, default=str), status=status, content_type="application/json")

    def _check_user(self, request: Request) -> None:
        """RefusedError unless the sandbox's user signed this for these routes; a role is not enough."""
        check_sender(request)
        claim = read_claim(request)
        if claim.service != SERVICE or self._callers.authenticate(request, claim) is not None:
            raise RefusedError("AccessDenied", "only the sandbox's user may do this", 403)

    def _route(self, request: Request) -> Json:
        route = self._routes.get((request.method, request.path.removeprefix(ADMIN_PATH).rstrip("/")))
        if route is None:
            raise WrongRequestError(f"no such route: {request.method} {request.path}", 404)
        try:
            given = json.loads(request.data or b"{}")
        except ValueError as error:
            raise WrongRequestError(f"not JSON: {error}") from error
        if not isinstance(given, dict):
            raise WrongRequestError("the body is not a JSON object")
        with self._engine.lock:
            return route(given)

    def _status(self) -> Json:
        return {
            **self._describe(),
            "settings": vars(self._engine.settings),
            "faults": self._faults.as_json(),
            "instances": [
                _instance(backend, i) for backend in all_backends() for i in instances.all_instances(backend)
            ],
            "volumes": [
                {"id": v.id, "state": v.state, "gib": v.size, "zone": v.availability_zone, "tags": _tags(backend, v.id)}
                for backend in all_backends()
                for v in backend.volumes.values()
                if v.stored
            ],
            "snapshots": [
                {
                    "id": s.id,
                    "state": s.status,
                    "gib": s.volume_size,
                    "started": s.start_time,
                    "tags": _tags(backend, s.id),
                }
                for backend in all_backends()
                for s in backend.snapshots.values()
                if s.owner_id == backend.account_id
            ],
        }

    def _add_fault(self, given: Json) -> Json:
        options = {name: value for name, value in given.items() if name != "kind"}
        try:
            fault = fault_control.begin(self._faults, str(given.get("kind")), options)
        except ValueError as error:
            raise WrongRequestError(str(error)) from error
        except KeyError as error:
            raise WrongRequestError(f"no running machine {error.args[0]}", 404) from error
        return fault.as_json()

    def _interrupt(self, given: Json) -> Json:
        for backend in all_backends():
            instance = instances.find_instance(backend, given.get("instance_id", ""))
            if instance is None:
                continue
            if instance.state != "running":
                raise WrongRequestError(f"{instance.id} is {instance.state}", 409)
            notice = bool(given.get("notice", True))
            seconds = float(given.get("notice_seconds", 120))
            interrupt(backend, instance, seconds, notice=notice)
            return {"instance_id": instance.id, "power_ends_at": instance.power_ends_at}
        raise WrongRequestError(f"no instance {given.get('instance_id')}", 404)

    def _change_settings(self, given: Json) -> Json:
        settings = self._engine.settings
        for name, value in given.items():
            is_off = value is None and name == "snapshot_bytes_per_second"
            if not hasattr(settings, name) or not (
                is_off or (isinstance(value, (int, float)) and 0 <= value < math.inf)
            ):
                raise WrongRequestError(f"settings are finite numbers, not negative: {', '.join(vars(settings))}")
        for name, value in given.items():
            setattr(settings, name, value and float(value))
        return {"settings": vars(settings)}

    def _give_user(self, given: Json) -> Json:
        """The policy comes as text, as IAM takes it."""
        try:
            with self._engine.changing():
                key = users.give(USER, str(given.get("policy")))
        except ServiceException as error:
            raise WrongRequestError(f"no IAM policy: {error.message}") from error
        return {
            "arn": users.arn_of(USER),
            "access_key_id": key.access_key_id,
            "secret_access_key": key.secret_access_key,
        }


def _done(work: Callable[[], None]) -> Json:
    work()
    return {}


def _tags(backend: Ec2Backend, record_id: str) -> Json:
    return dict(backend.tags.get(record_id, {}))


def _instance(backend: Ec2Backend, instance: Instance) -> Json:
    return {
        "id": instance.id,
        "state": instance.state,
        "type": instance.instance_type,
        "zone": instance.availability_zone,
        "region": backend.region_name,
        "market": instance.lifecycle or "on-demand",
        "public_ip": instance.public_ip,
        "private_ip": instance.private_ip,
        "launched": instance.launch_time,
        "power_ends_at": instance.power_ends_at,
        "volumes": {device: a.volume_id for device, a in instance.block_device_mapping.items()},
        "tags": _tags(backend, instance.id),
    }
