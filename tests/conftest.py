"""Fixtures of the whole suite."""

from collections.abc import Generator

import pytest
from hypothesis import settings
from tests.testing.server import add_server_logs, hotplate_server, redis_server, start_server

# the machine may be busy: no test judges how long an example takes
settings.register_profile("hotplate", deadline=None)
settings.load_profile("hotplate")

__all__ = ["hotplate_server", "redis_server", "start_server"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its servers printed."""
    report = yield
    add_server_logs(item, report)
    return report
