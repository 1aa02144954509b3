"""Start, stop, reset and ask the sandbox: what its commands call. `say` is told of progress."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xportal
from xportal import local
from xportal.errors import HardwareFailure, NotInstalled, Refused, Unreachable, UsageError
from xportal.reports import (
    FaultReport,
    InterruptReport,
    ResetReport,
    SandboxDriveReport,
    SandboxMachineReport,
    SandboxReport,
    SandboxSettingsReport,
    SandboxUserReport,
)
from xportal.sandbox import admin
from xportal.sandbox.daemon import LAST_WORDS, SHUTDOWN_S, Lease, Place
from xportal.sandbox.profile import PROFILE, REGION, USER_PROFILE, remove_profile, write_profile
from xportal.sandbox.secret import Secret

Say = Callable[[str], None]

DEFAULT_PORT = 5577
_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = SHUTDOWN_S + 60.0
_KILL_DEADLINE_S = 10.0


def default_home() -> Path:
    """$XPORTAL_SANDBOX_HOME, or xportal/sandbox in the user's data directory."""
    given = os.environ.get("XPORTAL_SANDBOX_HOME")
    if given:
        return Path(given).absolute()
    data = os.environ.get("XDG_DATA_HOME") or local.home() / ".local" / "share"
    return Path(data) / "xportal" / "sandbox"


def quiet(_: str) -> None:
    """Say nothing."""


def start(home: Path | None = None, port: int | None = None, say: Say = quiet) -> SandboxReport:
    """Start the daemon and return when it answers. Idempotent.

    `port` None is the last one, or 5577. Refused when it runs already on another port,
    or when its home is not this user's alone; UsageError or NotInstalled when this computer cannot run it,
    HardwareFailure when it fails.
    """
    place = _place(home)
    lease = place.find_lease()
    if place.is_served():
        if lease and port not in (None, lease.port):
            raise Refused(f"the sandbox runs already, on port {lease.port}", hint="first: xportal sandbox stop")
        say("the sandbox runs already")
        return _write_profile_and_tell(place)
    port = port or (lease.port if lease else DEFAULT_PORT)
    image = _prepare(port, say)
    say("starting the sandbox's daemon")
    _spawn(place, port, image)
    _wait_until_answering(place)
    return _write_profile_and_tell(place)


def stop(home: Path | None = None, say: Say = quiet) -> SandboxReport:
    """Shut the machines down and end the daemon; state and drives stay. Idempotent."""
    place = _place(home)
    if place.is_served():
        say("shutting the sandbox down")
        _end_daemon(place)
    if place.home.exists():
        _clear_up(place)
    return status(place.home)


def status(home: Path | None = None) -> SandboxReport:
    """What the sandbox is and holds. Strictly read-only."""
    place = _place(home)
    lease = place.find_lease()
    endpoint_url = _endpoint(lease)
    told: dict[str, Any] | None = None
    if place.is_served():
        try:
            told = admin.call(endpoint_url, _get_secret(place), "GET", "status")
        except Unreachable:
            if place.is_served():  # not in the middle of its end
                raise
    return _status(place, endpoint_url, told)


def _status(place: Place, endpoint_url: str, told: dict[str, Any] | None) -> SandboxReport:
    """The status as the daemon told it; None when none lives."""
    running, told = told is not None, told or {}
    return SandboxReport(
        running=running,
        endpoint_url=endpoint_url,
        region=REGION,
        profile=PROFILE,
        home=str(place.home),
        machines=tuple(map(_machine, (m for m in told.get("instances", []) if m["state"] != "terminated"))),
        drives=_drives(told),
        faults=tuple(map(_fault, told.get("faults", []))),
    )


def reset(home: Path | None = None, say: Say = quiet) -> ResetReport:
    """Stop, and delete all of it: machines, drives, snapshots, state, the AWS profile. The image stays, as a cache."""
    place = _place(home)
    report = ResetReport(str(place.home))
    stop(place.home, say)
    remove_profile(_endpoint(place.find_lease()))
    if not place.home.exists():
        return report
    for path in sorted(place.home.iterdir()):
        if not _is_ours(path):
            say(f"left alone: {path}")
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not any(place.home.iterdir()):
        place.home.rmdir()
    return report


def interrupt(
    instance_id: str, *, home: Path | None = None, notice_seconds: float = 120.0, notice: bool = True
) -> InterruptReport:
    """Take a spot machine back: notice, then `notice_seconds`, then the power goes."""
    body = {"instance_id": instance_id, "notice_seconds": notice_seconds, "notice": notice}
    _ask(home, "POST", "interrupt", body)
    return InterruptReport(instance_id)


def change_settings(changes: dict[str, float | None], *, home: Path | None = None) -> SandboxSettingsReport:
    """Change some of the cloud's settings, by the names that the report has; all of them, as they are then."""
    return SandboxSettingsReport(**_ask(home, "POST", "settings", changes)["settings"])


def give_user(policy: str, *, home: Path | None = None) -> SandboxUserReport:
    """Let the sandbox's IAM user do what an IAM policy (JSON) says and nothing else, and write the profile of its key.

    The user is made if there is none. UsageError for what is no policy.
    """
    told = _ask(home, "POST", "user", {"policy": policy})
    endpoint_url = _endpoint(_place(home).find_lease())
    write_profile(endpoint_url, Secret(told["access_key_id"], told["secret_access_key"]), profile=USER_PROFILE)
    return SandboxUserReport(USER_PROFILE, told["arn"])


def add_fault(kind: str, options: dict[str, Any], *, home: Path | None = None) -> FaultReport:
    """Put a fault in force; what it is. UsageError for what is no fault, Refused when its machine cannot be harmed."""
    return _fault(_ask(home, "POST", "faults", {"kind": kind, **options}))


def list_faults(*, home: Path | None = None) -> list[FaultReport]:
    """The faults in force."""
    return [_fault(told) for told in _ask(home, "GET", "faults")["faults"]]


def clear_faults(*, home: Path | None = None) -> None:
    """End all faults and what they did. Idempotent."""
    _ask(home, "DELETE", "faults")


def _machine(told: dict[str, Any]) -> SandboxMachineReport:
    return SandboxMachineReport(
        **{name: told[name] for name in ("id", "state", "type", "zone", "region", "market", "public_ip", "volumes")},
        launched=_moment(told["launched"]),
        power_ends_at=_moment(told["power_ends_at"]) if told["power_ends_at"] else None,
    )


def _moment(told: str) -> datetime:
    """The emulator's times are in UTC, whether they say so or not."""
    moment = datetime.fromisoformat(told)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _drives(told: dict[str, Any]) -> tuple[SandboxDriveReport, ...]:
    """Volumes, then snapshots, of those that are some drive's."""
    records = [*told.get("volumes", []), *told.get("snapshots", [])]
    return tuple(
        SandboxDriveReport(record["tags"]["xportal:drive"], record["id"], record["state"], record["gib"])
        for record in records
        if "xportal:drive" in record["tags"]
    )


def _fault(told: dict[str, Any]) -> FaultReport:
    operations = told.get("operations")
    return FaultReport(**{**told, "operations": None if operations is None else tuple(operations)})


def _ask(home: Path | None, method: str, route: str, body: dict[str, Any] | None = None) -> Any:
    place = _place(home)
    return admin.call(_endpoint(place.find_lease()), _get_secret(place), method, route, body)


def _place(home: Path | None) -> Place:
    """The sandbox's home, `home` or the default one. Refused when it is not this user's alone."""
    place = Place(home or default_home())
    place.check()
    return place


def _get_secret(place: Place) -> Secret:
    secret = place.find_secret()
    if secret is None and place.is_served():
        raise Refused("a sandbox of an older version runs", hint="xportal sandbox stop, then xportal sandbox start")
    if secret is None:
        raise Unreachable("the sandbox was never started", hint="xportal sandbox start")
    return secret


def _endpoint(lease: Lease | None) -> str:
    return f"http://127.0.0.1:{lease.port if lease else DEFAULT_PORT}"


def _is_ours(path: Path) -> bool:
    return path.name.split(".")[0] in ("store", "machines", "state", "secret", "daemon")


def _prepare(port: int, say: Say) -> str:
    """The machine image's tag, once all is there that the sandbox needs."""
    if sys.platform != "linux":
        raise UsageError("the sandbox needs Linux", hint="use it in a virtual machine, or use AWS")
    if os.geteuid() != 0:
        raise UsageError("the sandbox needs root, for its disks", hint="sudo -E xportal sandbox start")
    if find_spec("moto") is None:
        raise NotInstalled("the sandbox's emulator is not installed (moto)", hint="pip install 'xportal[sandbox]'")
    from xportal.sandbox.hardware.docker import Engine
    from xportal.sandbox.image import ensure_image

    _check_port(port)
    with Engine.connect() as engine:
        return ensure_image(engine.client, say)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"port {port} is taken on 127.0.0.1", hint="xportal sandbox start --port ANOTHER"
            ) from error


def _spawn(place: Place, port: int, image: str) -> None:
    place.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    packages = str(Path(xportal.__file__).resolve().parents[1])
    python_path = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH")]))
    # The emulator uses AWS's SDK: the caller's AWS settings, a profile not yet written first of all, are none of its.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with place.log.open("wb") as log:
        subprocess.run(
            daemon_argv(place, port, image),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={**kept, "PYTHONPATH": python_path},
            check=False,
        )


def daemon_argv(place: Place, port: int, image: str) -> list[str]:
    """The daemon's command line; it leaves its parent by itself."""
    options = {"--home": str(place.home), "--port": str(port), "--image": image}
    return [sys.executable, "-m", "xportal.sandbox.daemon", *[word for pair in options.items() for word in pair]]


def _wait_until_answering(place: Place) -> None:
    """Wait for the daemon's first answer. HardwareFailure, with its last words, when it ends before."""

    def answers() -> bool:
        try:
            return place.is_served() and status(place.home).running
        except Unreachable:
            return False

    # The daemon holds the home's lock from before `_spawn` returned: without it, it has ended.
    _wait_until(lambda: answers() or not place.is_served(), _START_DEADLINE_S)
    if not answers():
        _end_daemon(place)
        raise HardwareFailure(
            f"the sandbox's daemon did not start: {_last_words(place)}", hint=f"the whole story: {place.log}"
        )


def _end_daemon(place: Place) -> None:
    """Ask the daemon to end, wait for it, in the end kill it. Nothing when none lives."""
    lease = place.find_lease()
    for number, deadline_s in ((signal.SIGTERM, _STOP_DEADLINE_S), (signal.SIGKILL, _KILL_DEADLINE_S)):
        if lease and place.is_served():
            with contextlib.suppress(ProcessLookupError):
                os.kill(lease.pid, number)
            _wait_until(lambda: not place.is_served(), deadline_s)


def _last_words(place: Place) -> str:
    """Why the daemon ended, as it said itself, or the last line of what it said."""
    lines = place.log.read_text(errors="replace").strip().splitlines() if place.log.exists() else []
    reasons = [line.partition(LAST_WORDS)[2] for line in lines if LAST_WORDS in line]
    return next(iter(reasons), lines[-1] if lines else "it said nothing")


def _write_profile_and_tell(place: Place) -> SandboxReport:
    told = status(place.home)
    write_profile(told.endpoint_url, _get_secret(place))
    return told


def _clear_up(place: Place) -> None:
    """Release what a daemon that died left: machines, devices, mounts."""
    from xportal.sandbox.hardware.docker import Engine
    from xportal.sandbox.hardware.machines import RealHardware

    with Engine.connect() as engine:
        RealHardware(place.home, "", engine).close(SHUTDOWN_S)


def _wait_until(condition: Callable[[], bool], deadline_s: float) -> bool:
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
