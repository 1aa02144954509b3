"""Trouble on demand. Each fault has its own random numbers: its n-th matching event always meets the same fate."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.core.utils import get_service_model

from xportal.sandbox.api.errors import RefusedError

_AT_TIMES = frozenset({"rate", "count", "seed"})
_OF_CALLS = _AT_TIMES | {"operations"}

# Each kind and its options.
KINDS: Mapping[str, frozenset[str]] = {
    "capacity": _AT_TIMES | {"type", "zone", "market"},
    "throttle": _OF_CALLS,
    "error": _OF_CALLS,
    "lost": _OF_CALLS,
    "slow": _OF_CALLS | {"seconds"},
    "snapshot-fail": _AT_TIMES,
    "snapshot-stuck": _AT_TIMES,
    "snapshot-slow": _AT_TIMES | {"seconds"},
    "role-gone": frozenset(),
    "role-failed": frozenset(),
    "forbid": frozenset({"operations"}),
    "quota": frozenset({"market", "family", "vcpus", "seconds"}),
    "account": frozenset({"problem"}),
    "disk-full": frozenset({"instance_id"}),
    "ssh-drop": frozenset({"instance_id"}),
}
SERVICES = ("ec2", "ec2-instance-connect", "iam", "service-quotas", "ssm", "sts")
PROBLEMS = ("pending-verification", "opt-in-required", "blocked", "free-plan", "no-spot-role", "unusable-key")
FAMILIES = ("standard", "g", "p")
_NEEDED = {
    "slow": "seconds",
    "snapshot-slow": "seconds",
    "disk-full": "instance_id",
    "ssh-drop": "instance_id",
    "forbid": "operations",
    "account": "problem",
}
_OPT_IN = "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe."
_THROTTLED = {"ec2": ("RequestLimitExceeded", 503), "ssm": ("ThrottlingException", 400)}


@dataclass
class Fault:
    """One fault in force: of the events that match, `rate` (0 to 1) are hit, `count` of them at most."""

    kind: str
    rate: float = 1.0
    count: int | None = None  # None: no end
    seed: int = 0
    operations: tuple[str, ...] = ()  # none: every call of EC2
    seconds: float = 0.0
    type: str | None = None  # None, here and below: any
    zone: str | None = None
    market: str | None = None  # spot | on-demand
    instance_id: str | None = None
    family: str | None = None  # of types, whose vCPUs are counted together
    vcpus: float = 0
    problem: str | None = None  # one of PROBLEMS
    hits: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @property
    def is_over(self) -> bool:
        """Whether it hit as often as it was to."""
        return self.count is not None and self.hits >= self.count

    def draws(self) -> bool:
        """Whether the next matching event is hit."""
        return self._random.random() < self.rate and not self.is_over

    def matches_call(self, service: str, operation: str) -> bool:
        return operation in self.operations if self.operations else service == "ec2"

    def matches_launch(self, instance_type: str, zone: str, market: str) -> bool:
        return self.type in (None, instance_type) and self.zone in (None, zone) and self.market in (None, market)

    def as_json(self) -> dict[str, Any]:
        """The kind, its options, and how often it hit."""
        return {
            "kind": self.kind,
            "hits": self.hits,
            **{name: getattr(self, name) for name in sorted(KINDS[self.kind])},
        }


@dataclass(frozen=True)
class CallTrouble:
    """What happens to one call: the answer comes `late_s` seconds late, or not at all, or is a refusal."""

    kinds: tuple[str, ...] = ()
    late_s: float = 0.0
    refusal: RefusedError | None = None

    @property
    def lost(self) -> bool:
        return "lost" in self.kinds


def make_fault(kind: str, **options: Any) -> Fault:
    """A fault by its kind and that kind's options. ValueError says what is wrong."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of fault; there are {', '.join(KINDS)}")
    strange = ", ".join(sorted(options.keys() - KINDS[kind]))
    if strange:
        raise ValueError(f"{kind} has no {strange}; it has {', '.join(sorted(KINDS[kind])) or 'no options'}")
    needed = _NEEDED.get(kind)
    if needed and not options.get(needed):
        raise ValueError(f"{kind} needs {needed}")
    fault = Fault(kind, **options)
    _check(fault)
    fault.operations = tuple(fault.operations)
    return fault


def _check(fault: Fault) -> None:
    numbers = {"rate": fault.rate, "seconds": fault.seconds, "seed": fault.seed, "count": fault.count or 0}
    numbers |= {"vcpus": fault.vcpus}
    for name, value in numbers.items():
        if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} is a number, not negative: {value!r}")
    if fault.rate > 1:
        raise ValueError(f"rate is between 0 and 1: {fault.rate}")
    if fault.market not in (None, "spot", "on-demand"):
        raise ValueError(f"market is spot or on-demand: {fault.market}")
    if fault.family not in (None, *FAMILIES):
        raise ValueError(f"family is {', '.join(FAMILIES)}: {fault.family}")
    if fault.problem not in (None, *PROBLEMS):
        raise ValueError(f"an account's problem is one of {', '.join(PROBLEMS)}: {fault.problem}")
    known = {name for service in SERVICES for name in get_service_model(service).operation_names}
    unknown = [name for name in fault.operations if name not in known]
    if unknown:
        raise ValueError(f"AWS has no operation {', '.join(unknown)}")


class Faults:
    """The faults in force. Used under the API's lock."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def as_json(self) -> list[dict[str, Any]]:
        return [fault.as_json() for fault in self._faults if not fault.is_over]

    @property
    def role_gone(self) -> bool:
        """Whether no machine has its role any more."""
        return any(self._of("role-gone"))

    @property
    def role_failed(self) -> bool:
        """Whether IMDS has no keys for any machine's role, and says that it failed to get some."""
        return any(self._of("role-failed"))

    def has_problem(self, problem: str) -> bool:
        """Whether the account has this problem."""
        return any(fault.problem == problem for fault in self._of("account"))

    def find_quota(self, family: str, *, spot: bool) -> Fault | None:
        """The quota that is in force for a family of types: of several the latest."""
        market = "spot" if spot else "on-demand"
        quotas = [f for f in self._of("quota") if f.family in (None, family) and f.market in (None, market)]
        return quotas[-1] if quotas else None

    def find_prohibition(self, operation: str) -> Fault | None:
        """What forbids the account's user to make a call; it counts as a hit."""
        return _strike(fault for fault in self._of("forbid") if operation in fault.operations)

    def meet_call(self, service: str, operation: str) -> CallTrouble:
        """What befalls a call before, and after, it is done."""
        if service == "ec2" and self.has_problem("opt-in-required"):
            return CallTrouble(("account",), refusal=RefusedError("OptInRequired", _OPT_IN, 401))
        calls = [f for f in self._of("throttle", "error", "lost", "slow") if f.matches_call(service, operation)]
        slow = _strike(f for f in calls if f.kind == "slow")
        other = _strike(f for f in calls if f.kind != "slow")
        return CallTrouble(
            kinds=tuple(fault.kind for fault in (slow, other) if fault),
            late_s=slow.seconds if slow else 0.0,
            refusal=_refusal(other, service) if other and other.kind != "lost" else None,
        )

    def meet_snapshot(self) -> Fault | None:
        """What befalls a new snapshot: a fault of kind snapshot-fail, -stuck or -slow."""
        return _strike(self._of("snapshot-fail", "snapshot-stuck", "snapshot-slow"))

    def meet_launch(self, instance_type: str, zone: str, market: str) -> bool:
        """Whether a launch fails for lack of capacity."""
        return _strike(f for f in self._of("capacity") if f.matches_launch(instance_type, zone, market)) is not None

    def _of(self, *kinds: str) -> list[Fault]:
        return [fault for fault in self._faults if fault.kind in kinds]


def _strike(faults: Iterable[Fault]) -> Fault | None:
    """All of them draw, so that none changes another's fate; the first one that drew a hit has it."""
    struck = [fault for fault in faults if fault.draws()]
    if not struck:
        return None
    struck[0].hits += 1
    return struck[0]


def _refusal(fault: Fault, service: str) -> RefusedError:
    """throttle: as the service says it. error: InternalError and Unavailable by turns."""
    if fault.kind == "throttle":
        code, status = _THROTTLED.get(service, ("Throttling", 400))
        return RefusedError(code, "Request limit exceeded.", status)
    if fault.hits % 2:
        return RefusedError("InternalError", "An internal error has occurred", 500)
    return RefusedError("Unavailable", "The server is overloaded and can't handle the request.", 503)
