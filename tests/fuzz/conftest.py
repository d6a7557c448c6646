import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/fuzz --seconds 600`: how long each target is fuzzed."""
    parser.addoption("--seconds", type=int, default=None, help="for each fuzz target")


@pytest.fixture(scope="session")
def seconds(pytestconfig: pytest.Config) -> int:
    """For each target."""
    return int(pytestconfig.getoption("seconds", None) or 6)
