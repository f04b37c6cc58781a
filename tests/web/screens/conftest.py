"""One server for all tests of the screens; a browser for each of their files."""

from __future__ import annotations

from collections.abc import Iterator

import chromium
import pytest
from playwright.sync_api import Browser
from site_under_test import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"))
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")  # while Playwright runs, no other test can start an event loop
def browser() -> Iterator[Browser]:
    try:
        with chromium.browser() as started:
            yield started
    except chromium.Unavailable as reason:
        pytest.skip(f"no browser here: {reason}")
