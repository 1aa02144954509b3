"""The spec's file that is kept on a portal's drive."""

from __future__ import annotations

from collections.abc import Callable

from xportal.aws.session import Aws
from xportal.errors import Refused
from xportal.portal.access import open_portal
from xportal.portal.agent import deliver, kept_spec
from xportal.portal.up.ready import check_ready
from xportal.reports import KeptSpecReport


def get_kept_spec(aws: Aws, portal: str, tell: Callable[[str], None]) -> KeptSpecReport:
    """The file of the portal's last `up` with one. Raises PortalNotUp, MachineLost, Refused if there was none."""
    with open_portal(aws, portal, tell) as opened:
        check_ready(opened.machine, opened.status)
        deliver(opened.host)  # an agent of before does not know the question
        kept = kept_spec(opened.host)
    if kept is None:
        raise Refused(
            f'portal "{portal}" was never brought up with a spec', hint="xportal init writes one; xportal up FILE"
        )
    return KeptSpecReport(portal, kept.file, kept.digest, kept.text)
