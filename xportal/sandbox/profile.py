"""The AWS profiles of the sandbox: a section in each of AWS's two files, nothing else in them is touched.

The credentials file is readable by its owner alone, whatever its mode was: it holds the sandbox's secret now.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from xportal.sandbox.secret import Secret

PROFILE = "xportal-sandbox"
USER_PROFILE = "xportal-sandbox-user"  # of the IAM user to whom a policy is given
REGION = "us-east-1"
_PRIVATE = 0o600
_HEADER = re.compile(r"^\s*\[\s*(.*?)\s*\]")


def write_profile(
    endpoint_url: str, secret: Secret, environ: Mapping[str, str] = os.environ, profile: str = PROFILE
) -> None:
    """Write the profile, or set it to this endpoint and access key. Idempotent."""
    _edit(_config_file(environ), f"profile {profile}", f"region = {REGION}\nendpoint_url = {endpoint_url}\n")
    keys = f"aws_access_key_id = {secret.access_key_id}\naws_secret_access_key = {secret.secret_access_key}\n"
    _edit(_credentials_file(environ), profile, keys, mode=_PRIVATE)


def remove_profile(endpoint_url: str, environ: Mapping[str, str] = os.environ) -> None:
    """Remove the profiles that are of this endpoint: another sandbox may have taken them. Idempotent."""
    config = _config_file(environ)
    for profile in (PROFILE, USER_PROFILE):
        if _is_of(config, profile, endpoint_url):
            _edit(config, f"profile {profile}", None)
            _edit(_credentials_file(environ), profile, None)


def with_section(text: str, section: str, body: str | None) -> str:
    """An AWS file's text with a section put in its place, appended, or (`body` None) removed."""
    lines = text.splitlines(keepends=True)
    span = _find_section(lines, section)
    new = [] if body is None else [f"[{section}]\n", *body.splitlines(keepends=True)]
    if span is None:
        if not new:
            return text
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return text + gap + "".join(new)
    start, end = span
    if not new and start and not lines[start - 1].strip():
        start -= 1  # the empty line that came with the section
    return "".join([*lines[:start], *new, *lines[end:]])


def _find_section(lines: list[str], section: str) -> tuple[int, int] | None:
    """From the section's header to behind its last setting; comments after that are the next section's."""
    start = next((i for i, line in enumerate(lines) if _names(line, section)), None)
    if start is None:
        return None
    end = next((i for i in range(start + 1, len(lines)) if _HEADER.match(lines[i])), len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith(("#", ";"))):
        end -= 1
    return start, end


def _names(line: str, section: str) -> bool:
    header = _HEADER.match(line)
    return header is not None and header[1].replace('"', "").split() == section.split()


def _is_of(config: Path, profile: str, endpoint_url: str) -> bool:
    lines = _read(config).splitlines()
    span = _find_section(lines, f"profile {profile}")
    return span is not None and any(
        line.partition("=")[2].strip() == endpoint_url for line in lines[span[0] : span[1]] if "endpoint_url" in line
    )


def _edit(path: Path, section: str, body: str | None, mode: int = 0o777) -> None:
    """Put the section into the file, with the rights that the file had, no more than `mode` allows."""
    old = _read(path)
    text = with_section(old, section, body)
    if text == old:
        if path.exists():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & mode)
        return
    if not text:
        path.unlink(missing_ok=True)  # there was nothing in it but ours
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f"{path.name}.xportal-{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE), "w") as file:
        file.write(text)
    if path.exists():
        before = path.stat()
        os.chown(new, before.st_uid, before.st_gid)
        new.chmod(stat.S_IMODE(before.st_mode) & mode)
    new.replace(path)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _config_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser().resolve()


def _credentials_file(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser().resolve()
