"""The login user's home directory, on the drive; the keys that open the machine are each machine's own."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

from ..core.config import AgentConfig
from ..core.mounts import find_mount
from ..core.process import AgentError, run, wait_until

USER_SECONDS = 60.0


def get_user(name: str) -> pwd.struct_passwd:
    """Wait for cloud-init to make the login user. Raises `AgentError` if it does not."""
    user = wait_until(lambda: find_user(name), USER_SECONDS)
    if user is None:
        raise AgentError(f"this machine has no user {name}")
    return user


def find_user(name: str) -> "pwd.struct_passwd | None":
    """The user, if there is one."""
    return next((user for user in pwd.getpwall() if user.pw_name == name), None)


def open_home(config: AgentConfig) -> None:
    """Mount the drive's home directory over the user's, with the root disk's authorized_keys in it. Idempotent.

    The keys are mounted first, so that at no moment a login finds none; and the drive has a copy, since a save unmounts
    them before the home, and may be killed in between. Nobody uses it later: the next machine first puts its own there.
    """
    user = get_user(config.login_user)
    home = Path(user.pw_dir)
    if find_mount(str(home)):
        return
    kept = Path(config.main.mount, "home", user.pw_name)
    if not kept.exists():
        populate(kept, home, user)
    keys = make_keys_file(home, user)
    shade = make_keys_file(kept, user)
    if find_mount(str(shade)) is None:
        with suppress(OSError):  # a full drive: only that one moment is left without
            shade.write_bytes(keys.read_bytes())
        run(["mount", "--bind", str(keys), str(shade)])
    run(["mount", "--rbind", str(kept), str(home)])


def populate(kept: Path, home: Path, user: pwd.struct_passwd) -> None:
    """The drive's first home: what the machine's has, less its .ssh. It appears whole or not at all."""
    new = kept.with_name(f".{kept.name}.new")
    run(["rm", "-rf", str(new)])
    new.mkdir(parents=True)
    entries = [str(entry) for entry in home.iterdir() if entry.name != ".ssh"]
    if entries:
        run(["cp", "-a", "-t", str(new), *entries])
    os.chown(new, user.pw_uid, user.pw_gid)
    new.chmod(home.stat().st_mode & 0o7777)
    new.rename(kept)


def make_keys_file(home: Path, user: pwd.struct_passwd) -> Path:
    """The home's authorized_keys, made empty where it is missing."""
    keys = home / ".ssh" / "authorized_keys"
    if not keys.parent.is_dir():
        keys.parent.mkdir(mode=0o700)
        os.chown(keys.parent, user.pw_uid, user.pw_gid)
    if not keys.exists():
        keys.touch(mode=0o600)
        os.chown(keys, user.pw_uid, user.pw_gid)
    return keys
