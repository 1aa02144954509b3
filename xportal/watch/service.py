"""A watch as a systemd service of this user, so that it goes on without a terminal."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from xportal import local
from xportal.errors import NotInstalled, UsageError

# Where the service finds what this command found; secrets are not written anywhere.
KEPT = (
    "AWS_CONFIG_FILE",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SHARED_CREDENTIALS_FILE",
    "XDG_STATE_HOME",
    "XPORTAL_SANDBOX_HOME",
)
_NO_UNIT_NAME = re.compile(r"[^A-Za-z0-9_.-]")


def unit_name(portal: str, profile: str, region: str) -> str:
    """The service that watches a portal of this account and region."""
    # No portal's name has a colon, which a unit's may have.
    return f"xportal-watch-{portal}:{_NO_UNIT_NAME.sub('_', profile)}:{region}.service"


def unit_text(name: str, portal: str, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """The unit's file: `words` are those of the command that it runs.

    A watch that has ended well (0; on SIGTERM, as at a logout, it is 130) is not started at the next login.
    """
    kept = "".join(f"Environment={_quoted(f'{key}={environment[key]}')}\n" for key in KEPT if key in environment)
    disable = f'test "$EXIT_STATUS" != 0 || systemctl --user disable {name}'
    return f"""[Unit]
Description=xportal: watch over portal {portal}

[Service]
{kept}ExecStart={_command([sys.executable, "-m", "xportal", *words])}
ExecStopPost={_command(["/bin/sh", "-c", disable])}
Restart=on-failure
RestartSec=60
# Only a person can do something about these.
RestartPreventExitStatus=2 3

[Install]
WantedBy=default.target
"""


def _quoted(word: str) -> str:
    """As systemd reads a word."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _command(words: Sequence[str]) -> str:
    """As systemd reads a command line, where alone it looks for variables."""
    return " ".join(_quoted(word.replace("$", "$$")) for word in words)


def install(
    portal: str, profile: str, region: str, words: Sequence[str], environment: Mapping[str, str] = os.environ
) -> str:
    """Write the unit and start it, now and with each login. Returns its name.

    Raises NotInstalled where there is no systemd for users, UsageError where the service would have no credentials.
    """
    if "AWS_ACCESS_KEY_ID" in environment:
        raise UsageError(
            "the credentials are in AWS_ACCESS_KEY_ID, and a service would not have them",
            hint="aws configure --profile NAME, then --profile NAME",
        )
    if not _answers():
        line = shlex.join([sys.executable, "-m", "xportal", *words])
        raise NotInstalled("systemd has no services for users here", hint=f"nohup {line} >> watch.log 2>&1 &")
    name = unit_name(portal, profile, region)
    home = Path(environment.get("XDG_CONFIG_HOME") or local.home() / ".config")
    path = home / "systemd" / "user" / name
    with local.files("the service's unit"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(unit_text(name, portal, words, environment))
    for command in (["daemon-reload"], ["enable", name], ["restart", name]):
        done = subprocess.run(["systemctl", "--user", *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotInstalled(f"systemd does not take the service: {' '.join(done.stderr.split())}", hint=str(path))
    return name


def _answers() -> bool:
    """Whether this user's systemd is there."""
    if shutil.which("systemctl") is None:
        return False
    return subprocess.run(["systemctl", "--user", "show-environment"], capture_output=True, check=False).returncode == 0
