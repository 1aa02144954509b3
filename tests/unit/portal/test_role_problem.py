"""What `up` makes of a machine that tries its role."""

from __future__ import annotations

from typing import Any

import pytest

from xportal.errors import RemoteFailed
from xportal.portal.agent import role_problem
from xportal.remote import Completed


class Trying:
    """A FAKE of a host whose agent says this."""

    def __init__(self, said: str) -> None:
        self.said = said

    def run(self, argv: list[str], **_: object) -> Completed:
        """`agent try-role`."""
        assert argv[-1] == "try-role"
        if not self.said:
            raise RemoteFailed("sudo ended with 1", status=1)
        return Completed(self.said, "", 0)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ('{"error": null}', ""),
        ('{"error": "AWS refused DescribeSnapshots"}', "AWS refused DescribeSnapshots"),
        ("", "the agent does not try it: sudo ended with 1"),
        ("no JSON", "the agent does not try it: Expecting value"),
    ],
)
def test_what_the_machine_says_of_its_role_is_passed_on(said: str, problem: str) -> None:
    """And nothing that it says, or does not, fails an `up`."""
    host: Any = Trying(said)
    assert role_problem(host).startswith(problem)
    assert bool(role_problem(host)) is bool(problem)
