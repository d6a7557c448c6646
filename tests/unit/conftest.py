"""A test that is a coroutine runs on an event loop with a fake clock."""

import gc
import inspect

import pytest

from devtools.fake_clock import run


def pytest_collection_finish() -> None:
    """Spare what is imported the collection of garbage that ends each test on a loop: 40 ms."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function; others are left to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
