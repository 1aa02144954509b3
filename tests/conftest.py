"""What holds for every test: where it may run, and that the session leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests import traces
from tests.stories import prefork

IN_CI = os.environ.get("CI") == "true"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all` and `--aws`."""
    parser.addoption("--all", action="store_true", help="also the tests that take minutes or gigabytes")
    parser.addoption("--aws", action="store_true", help="ask AWS itself: with -m aws tests/contract, and credentials")


def pytest_configure() -> None:
    """A session that is told to end still takes down what it has set up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--all` or XPORTAL_TEST_ALL=1 the tests marked `all` are deselected."""
    if config.getoption("--all") or os.environ.get("XPORTAL_TEST_ALL") == "1":
        return
    left_out = [item for item in items if item.get_closest_marker("all")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `machine` needs Docker Engine and root: in CI it fails without them, elsewhere it is skipped."""
    if item.get_closest_marker("machine") is None:
        return
    lacking = traces.find_what_machines_lack()
    if lacking and IN_CI:
        pytest.fail(lacking)
    elif lacking:
        pytest.skip(lacking)


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the session that leaves a container, loop device, mount or process of its own."""
    session = traces.Session(tmp_path_factory.getbasetemp())
    os.environ[traces.MARK] = session.mark
    yield
    prefork.end()
    left = session.wait_until_nothing_is_left(deadline_s=10)
    assert not left, "the tests left behind:\n" + "\n".join(left)
