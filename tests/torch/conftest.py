"""What needs torch or TorchServe is tested in an environment of its own: `make torch`."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]
