"""The section Live of config.json."""

from typing import Annotated

from msgspec import Meta

from common.settings.section import Positive, Section

ALONE = "sqlite:data/log.sqlite"
"""The log of a system on one machine."""


class Live(Section, frozen=True):
    """Images that are put and deleted while the system runs."""

    log: Annotated[
        Annotated[str, Meta(pattern="^(auto|sqlite:.+|rediss?://.+)$")] | None,
        Meta(
            description="Where the log of puts and deletes is, which every middle writes and every"
            " search server reads. `sqlite:FILE`: on one machine, never on a network disk."
            " `redis://HOST:PORT/DB` or `rediss://`: a Redis of its own, 7.0 or later, with"
            " `appendonly yes`, `appendfsync always` and `maxmemory-policy noeviction`."
            " null: nothing can be put or deleted, and search servers ignore a log."
            " auto: `sqlite:data/log.sqlite` if all middle and search servers have one host in"
            " their addresses, else null."
        ),
    ] = "auto"
    upload_dir: Annotated[
        str, Meta(description="The folder for images that are put without a path of their own.")
    ] = "data/uploads"
    max_delta: Annotated[
        Positive,
        Meta(
            description="The most images that a shard takes between two runs of prepare."
            " A further put is refused: 503 `live_full`. These images are searched exactly."
        ),
    ] = 20_000
