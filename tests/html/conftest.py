"""A browser for all tests of the report, a page for each, and profiles to look at."""

import os
import textwrap

import chromium
import profiles
import pytest


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    assert chromium.find(), "these tests need Chromium: install Debian's package `chromium`"
    browser = chromium.Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser):
    """A page which, whatever a test does with it, asks the network for nothing and complains of nothing."""
    page = chromium.Page(browser)
    yield page
    requests, complaints = page.requests(), page.complaints()
    page.close()
    assert requests == []
    assert complaints == []


@pytest.fixture(scope="session")
def application(tmp_path_factory):
    """The source file of the known profile, older than the recording."""
    path = tmp_path_factory.mktemp("application") / "app.py"
    path.write_text(
        textwrap.dedent(
            """\
            import db


            def work(text):
                rows = db.query(text)

                # both
                return parse(rows)

            def fib(n):
                return n if n < 2 else fib(n - 1) + fib(n - 2)

            work("</script>")
            fib(30)
            """
        )
    )
    long_ago = profiles.START_UNIX_NS - 10**12
    os.utime(path, ns=(long_ago, long_ago))
    return path


@pytest.fixture(scope="session")
def known(tmp_path_factory, application):
    """The report of the known profile."""
    return profiles.write(profiles.known(str(application)), tmp_path_factory.mktemp("known") / "known.html")
