"""What ssh asks for before it connects to an alias: the settings for the machine that the portal has now."""

from __future__ import annotations

from xportal import local
from xportal.aws.session import Aws
from xportal.errors import PortalNotUp
from xportal.portal.access import login_for
from xportal.portal.alias import machine_file, write_private
from xportal.portal.find import find_machine
from xportal.progress import Progress
from xportal.remote.ssh_config import machine_text


def refresh(aws: Aws, portal: str, name: str, progress: Progress) -> None:
    """Write the machine's address, login key and host key where the alias includes them.

    AWS is asked with short limits, and nothing is launched. Raises PortalNotUp, and all that a login raises.
    """
    written = machine_file(name)
    quick = aws.hurried()
    machine = find_machine(quick, portal)
    if machine is None:
        raise PortalNotUp(f'portal "{portal}" is down', hint=f"xportal up {portal}")
    login = login_for(quick, machine, progress.update)
    with local.files("ssh's configuration of a portal"):
        write_private(written, machine_text(login).encode())
