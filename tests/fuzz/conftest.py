import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/fuzz/search.py --seconds 600`: how long each target is fuzzed."""
    parser.addoption("--seconds", type=int, default=None, help="for each fuzz target")


@pytest.fixture(scope="session")
def seconds(pytestconfig: pytest.Config) -> int | None:
    """For each target; None: nothing is searched for."""
    seconds: int | None = pytestconfig.getoption("seconds", None)
    return seconds
