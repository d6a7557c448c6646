"""Fuzz one target with libFuzzer (atheris): python -m tests.fuzz.fuzz TARGET SECONDS FOLDER.

Ends with status 0 when the time is up; else what broke it is printed and kept in the corpus.
"""

import sys
from pathlib import Path

import atheris

OURS = ["common", "front", "middle", "inference", "search", "PIL"]
"""Where what was reached guides what is tried next."""
TIMEOUT_S = 10
"""Of one input: it hangs."""
MEMORY_MB = 1500
"""Of the process, which takes 250 as it starts; the largest image that is decoded takes 1."""
ALLOCATION_MB = 256


def main() -> None:
    """Begin with the corpus, the target's seeds, and what an earlier run left in the folder."""
    name, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    with atheris.instrument_imports(include=OURS, enable_loader_override=False):
        from tests.fuzz.targets import CORPUS, TARGETS
    target = TARGETS[name]
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": seconds,
        "max_len": target.max_bytes,
        "timeout": TIMEOUT_S,
        "rss_limit_mb": MEMORY_MB,
        "malloc_limit_mb": ALLOCATION_MB,
        "artifact_prefix": f"{CORPUS / name}/broke-",
        "verbosity": 1,
    }
    told = [f"-{key}={value}" for key, value in options.items()]
    # What reaches more of the code is written into the first folder; the other is only read.
    atheris.Setup([sys.argv[0], *told, str(folder), str(CORPUS / name)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
