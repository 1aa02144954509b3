"""PORTAL [options] IMAGE [COMMAND…]: which words are ours and which are the command's."""

from __future__ import annotations

import pytest

from xportal.cli.docker_like import options_first

TAKES_VALUE = {"--name": True, "-e": True, "--env": True, "-i": False, "-t": False, "--rm": False, "--json": False}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("p img", "-- p img"),
        ("p img -- python -u x", "-- p img python -u x"),
        ("p img python -u x", "-- p img python -u x"),
        ("p --name n img python --name m", "--name n -- p img python --name m"),
        ("--json p --rm img ls --json", "--json --rm -- p img ls --json"),
        ("p -it -e A=1 img sh", "-it -e A=1 -- p img sh"),
        ("p -eA=1 -ite B img sh", "-eA=1 -ite B -- p img sh"),
        ("p --name=n img", "--name=n -- p img"),
        ("p --name -- img", "--name -- -- p img"),
        ("p -- img -e x", "-- p img -e x"),
        ("p img -- -- x", "-- p img -- x"),
        ("p img sh -c - -- x", "-- p img sh -c - -- x"),
        ("p - x", "-- p - x"),
        ("p --unknown img", "--unknown -- p img"),
        ("p", "-- p"),
        ("", "--"),
        ("--help", "--help --"),
    ],
)
def test_options_end_at_the_second_argument(line: str, expected: str) -> None:
    """Options before the image are ours wherever they stand; every word after it is the command's."""
    assert options_first(line.split(), TAKES_VALUE) == expected.split()
