"""Every error a user can meet: what happened, to which resource, what is billed, what to do next.

The class decides the exit status; the text is the caller's. Nothing else in the
package decides how an error ends the program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class XportalError(Exception):
    """What happened, in one line; `hint` says what to do next; `billed` lists what still costs money."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "", billed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.billed = billed
        self.details: tuple[str, ...] = ()  # lines that are told before it


# 2: usage or spec


class UsageError(XportalError):
    """The command, an option or the spec is wrong; nothing was tried."""

    exit_status = 2


class SpecError(UsageError):
    """Fields of a specification that make no sense. `what` and `hint` name them as {0}, {1}, in the order of `paths`:
    where each stands in the specification, as `machine.max_price`.
    """

    def __init__(self, what: str, *paths: str, hint: str) -> None:
        super().__init__(_filled(what, paths), hint=_filled(hint, paths))
        self.paths = paths
        self._what = what
        self._then = hint

    def named(self, names: Mapping[str, str]) -> SpecError:
        """The same, with the names that whoever wrote the fields knows them by; a path without one stays."""
        return SpecError(self._what, *(names.get(path, path) for path in self.paths), hint=self._then)


def _filled(text: str, names: Sequence[str]) -> str:
    for number, name in enumerate(names):
        text = text.replace(f"{{{number}}}", name)  # what else is in braces is a user's
    return text


class TooDear(UsageError):
    """No offer is within the price that the user set; prices change."""


class NotInstalled(UsageError):
    """A program or service that this command needs is missing on this computer."""


# 3: refused by state


class Refused(XportalError):
    """The state of things forbids the command; nothing was changed."""

    exit_status = 3


class DriveInUse(Refused):
    """Another portal, or another computer's `up`, holds the drive's lock."""


class DriveForked(Refused):
    """Two copies of a drive both claim to be the newest; the user must choose."""


class SnapshotFailed(Refused):
    """The newest snapshot of a drive is in state `error`."""


class PortalNotUp(Refused):
    """The command needs a running machine and the portal has none."""


class GoingDown(Refused):
    """The machine is making its final save, or has made it: its drive is never used there again."""


class LoginRefused(Refused):
    """The machine answers, but not to our key or not with its own host key. Never a reason to end it."""


class KeyRefused(LoginRefused):
    """The machine answers with its own host key, and lets nobody in with our login key."""


class NoSuchDrive(Refused):
    """No drive has that name."""


class NoSuchCopy(Refused):
    """The drive has no such snapshot or volume to go on from."""


class NoSuchContainer(Refused):
    """The portal's machine has no container of that name."""


class ContainerConflict(Refused):
    """A container of that name exists already."""


class SpecContainersFailed(Refused):
    """The portal is up, and some of its spec's containers could not be made as they are defined."""


# 4: AWS said no


class AwsRefused(XportalError):
    """AWS answered no: permission, quota, a limit, or a wrong parameter."""

    exit_status = 4


class NotOurs(AwsRefused):
    """Something of the account has a name that xportal needs, and lacks its tag: it is neither used nor deleted."""


class NoCredentials(AwsRefused):
    """No AWS credentials, or credentials AWS does not accept."""


class Unreachable(AwsRefused):
    """The endpoint or the region does not answer."""


# 5: no capacity


class NoCapacity(XportalError):
    """Every offer was tried and none had capacity."""

    exit_status = 5


# 6: save incomplete


class SaveIncomplete(XportalError):
    """A save did not finish. Nothing is lost; the hint is the command that finishes it."""

    exit_status = 6


# 1: everything that is nobody's fault


class RemoteFailed(XportalError):
    """A command on the machine ended with a non-zero status."""

    def __init__(self, message: str, *, status: int, hint: str = "", billed: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint, billed=billed)
        self.status = status


class MachineLost(XportalError):
    """The machine does not answer, or answered with another host key."""


class MachineGone(MachineLost):
    """AWS, or somebody, has ended the machine: it will never answer."""


class DockerFailed(XportalError):
    """Docker on the machine or on this computer answered with an error."""


class LocalFileError(XportalError):
    """A file or directory of this computer that the command needs cannot be made, written or read."""


class HardwareFailure(XportalError):
    """The sandbox could not do on this computer what its cloud promised."""
