"""`ssh xportal-NAME`: a portal's alias for ssh and all programs that use it, the same from machine to machine.

Each alias has a file of its own in xportal's directory. One line in ~/.ssh/config includes them all; it is added only
if the user agrees. Of ~/.ssh nothing else is written.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from xportal import local
from xportal.errors import Refused, UsageError
from xportal.remote.ssh_config import alias_text, include_line, is_included, with_include
from xportal.spec import check_name

if TYPE_CHECKING:  # ssh waits for this module, and AWS's SDK takes a second to import
    from xportal.aws.session import Aws

# Where the command that ssh runs finds what this command found.
KEPT = (
    "AWS_CONFIG_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_SHARED_CREDENTIALS_FILE",
    "XDG_STATE_HOME",
)
CHOOSE_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_DEFAULT_PROFILE", "AWS_PROFILE")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]")
_ALIAS = re.compile(r"xportal-[A-Za-z0-9_.-]{1,200}")
_SIGN = "# "  # before the place, in the first line of an alias's file


@dataclass(frozen=True)
class Place:
    """A portal, and how its account is reached: the credentials' profile, None without one, and the region."""

    portal: str
    profile: str | None
    region: str


@dataclass(frozen=True)
class Alias:
    """A name that ssh knows a portal by."""

    name: str
    place: Place

    @property
    def file(self) -> Path:
        """What ssh's configuration includes. That it exists means that the name is taken."""
        return _directory() / f"{self.name}.conf"

    @property
    def machine_file(self) -> Path:
        """The settings for the machine that the portal had when ssh last asked."""
        return machine_file(self.name)

    @property
    def pattern(self) -> Path:
        """All aliases' files."""
        return _directory() / "*.conf"

    def text(self, environ: Mapping[str, str] = os.environ) -> str:
        """What its file holds. Raises UsageError for paths that ssh's configuration cannot hold."""
        place = self.place
        profile = ["--profile", place.profile] if place.profile else []
        unset = [] if place.profile else [word for name in CHOOSE_CREDENTIALS for word in ("-u", name)]
        kept = [f"{name}={environ[name]}" for name in KEPT if name in environ]
        env = ["env", *unset, *kept] if unset or kept else []
        words = [*_program(), *profile, "--region", place.region, "ssh-config", place.portal, "--refresh", self.name]
        return alias_text(self.name, [*env, *words], self.machine_file)


def machine_file(name: str) -> Path:
    """Where the settings for the machine of an alias are. Raises UsageError for what is no alias of xportal's."""
    if not _ALIAS.fullmatch(name):
        raise UsageError(f"{name!r} is no alias of xportal's", hint="xportal ssh-config PORTAL")
    return _directory() / f"{name}.machine"


def place_of(aws: Aws, portal: str, profile: str | None, environ: Mapping[str, str] = os.environ) -> Place:
    """The place of a portal of this account. `profile`: the one that the command line names.

    Raises UsageError if the credentials are in the environment alone: programs that use ssh would have others.
    """
    check_name("portal", portal)
    if profile is None and "AWS_ACCESS_KEY_ID" in environ:
        raise UsageError(
            "the credentials are in AWS_ACCESS_KEY_ID, and a later ssh would not have them",
            hint="aws configure --profile NAME, then --profile NAME",
        )
    named = profile or environ.get("AWS_DEFAULT_PROFILE") or environ.get("AWS_PROFILE")
    return Place(portal, named or ("default" if aws.has_profile("default") else None), aws.region)


def alias_of(place: Place) -> Alias:
    """The alias that a portal has, or would get: a name that no portal of another profile or region has here."""
    names = [Alias(name, place) for name in _names(place)]
    own = next((alias for alias in names if _owner(alias.file) == place), None)
    return own or next(alias for alias in names if not alias.file.exists())


def ssh_config_file() -> Path:
    """The user's configuration of ssh."""
    return local.home() / ".ssh" / "config"


def is_installed() -> bool:
    """Whether the user's configuration includes the aliases' files."""
    path = ssh_config_file()
    with local.files("ssh's configuration"):
        return path.exists() and is_included(path.read_bytes(), _directory() / "*.conf", local.home())


def line_to_add() -> str:
    """The line that includes the aliases' files. Raises UsageError."""
    return include_line(_directory() / "*.conf")


def add_line() -> None:
    """Put the line at the top of the user's configuration, and change nothing else of it. Idempotent.

    A link stays a link, and the file that it leads to keeps its mode and owner. Raises Refused if that is read-only,
    LocalFileError.
    """
    line, path = line_to_add(), ssh_config_file()
    by_hand = f"put this line at its top: {line}"
    if is_installed():
        return
    with local.files("ssh's configuration", hint=by_hand):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        target = path.resolve()
        if not target.exists():
            write_private(target, with_include(b"", line))
            return
        told = target.stat()
        if not told.st_mode & stat.S_IWUSR or not os.access(target, os.W_OK):
            raise Refused(f"{path} is read-only", hint=by_hand)
        write_private(target, with_include(target.read_bytes(), line), like=target)


def write_alias(alias: Alias) -> None:
    """Write the alias's file, if it is not as it should be. Raises UsageError, LocalFileError."""
    told = json.dumps(asdict(alias.place), sort_keys=True)
    said = f"# Made by `xportal ssh-config {alias.place.portal} --install`; `--remove` removes it.\n"
    text = f"{_SIGN}{told}\n{said}{alias.text()}"
    with local.files("ssh's configuration of a portal", hint="XDG_STATE_HOME=DIR puts it elsewhere"):
        if not alias.file.exists() or alias.file.read_text() != text:
            write_private(alias.file, text.encode())


def remove_alias(alias: Alias) -> bool:
    """Remove the files of an alias; whether there were any. The line in the user's configuration stays."""
    if _owner(alias.file) != alias.place:
        return False
    with local.files("ssh's configuration of a portal"):
        alias.machine_file.unlink(missing_ok=True)
        alias.file.unlink(missing_ok=True)
    return True


def _directory() -> Path:
    return local.state_dir() / "ssh"


def _names(place: Place) -> Iterator[str]:
    """The names for a portal, the best first; the last one is nobody else's."""
    short = f"xportal-{place.portal}"
    profile = _NOT_PLAIN.sub("_", place.profile or "none")
    yield short
    yield f"{short}.{profile}"
    yield f"{short}.{profile}.{place.region}"
    yield f"{short}.{sha256(json.dumps(asdict(place)).encode()).hexdigest()[:16]}"


def _owner(path: Path) -> Place | None:
    """Whose alias a file is; None if there is none, or its first line does not tell."""
    try:
        first = path.read_text().partition("\n")[0]
        return Place(**json.loads(first.removeprefix(_SIGN)))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _program() -> list[str]:
    """This program, as a command that does not depend on the directory in which ssh is typed."""
    script = Path(sysconfig.get_path("scripts"), "xportal")
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "xportal"]


def write_private(path: Path, text: bytes, like: Path | None = None) -> None:
    """Write a file whole or not at all: for this user alone, or with another file's mode, owner and attributes."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if like:
            told = like.stat()
            if (told.st_uid, told.st_gid) != (draft.stat().st_uid, draft.stat().st_gid):
                os.chown(draft, told.st_uid, told.st_gid)
            shutil.copystat(like, draft)
            os.utime(draft)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
