"""The login user's home directory, on the drive. On the machine's own disk nobody can write to it."""

from __future__ import annotations

import pwd
from pathlib import Path

from .config import AgentConfig, Paths
from .files import write_whole
from .mounts import find_mount
from .process import AgentError, run, wait_until

USER_SECONDS = 60.0
# The machine's keys are where nobody's home covers them, so that ~/.ssh is the user's own.
KEYS = "/etc/xportal/keys"
SSHD = f"AuthorizedKeysFile .ssh/authorized_keys {KEYS}/%u\n"
SIGN = "the-drive-is-not-mounted"  # in the home directory on the machine's own disk, for who looks


def get_user(name: str) -> pwd.struct_passwd:
    """Wait for cloud-init to make the login user. Raises `AgentError` if it does not."""
    user = wait_until(lambda: next((user for user in pwd.getpwall() if user.pw_name == name), None), USER_SECONDS)
    if user is None:
        raise AgentError(f"this machine has no user {name}")
    return user


def let_keys_in(paths: Paths) -> None:
    """Before sshd starts: have it look for the machine's keys in `KEYS`, too. sshd obeys the first line of a kind."""
    settings = paths.root / "etc/ssh/sshd_config"
    text = settings.read_text(encoding="utf-8")
    if not text.startswith(SSHD):
        write_whole(settings, SSHD + text)


def open_home(config: AgentConfig) -> None:
    """Keep the machine's keys, and mount the drive's home over the root disk's, which goes with the machine.

    Nobody can write to that one any more, whether the drive is there yet, or not again. Idempotent.
    """
    user = get_user(config.login_user)
    home = Path(user.pw_dir)
    if find_mount(str(home)):
        return
    keys = Path(KEYS, user.pw_name)
    if not keys.exists():
        write_whole(keys, (home / ".ssh/authorized_keys").read_text(encoding="utf-8"))
    kept = config.main.root / "home" / user.pw_name
    is_open = find_mount(str(config.main.root))
    if kept.is_symlink():
        raise AgentError(f"{kept} is a link: it is not followed")
    if is_open and not kept.exists():
        populate(kept, home, user)
    run(["chown", "-R", "root:root", str(home)])
    home.chmod(0o755)
    (home / SIGN).touch()
    if is_open:
        run(["mount", "--rbind", str(kept), str(home)])


def populate(kept: Path, home: Path, user: pwd.struct_passwd) -> None:
    """The drive's first home: what the machine's has, less its .ssh. It appears whole or not at all."""
    new = kept.with_name(f".{kept.name}.new")
    run(["rm", "-rf", str(new)])
    new.mkdir(mode=0o700, parents=True)
    entries = [str(entry) for entry in home.iterdir() if entry.name not in (".ssh", SIGN)]
    if entries:
        run(["cp", "-a", "-t", str(new), *entries])
    run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(new)])
    new.rename(kept)
