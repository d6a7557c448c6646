"""Start a search server: python search/search.py [--server-index 0] [--index 0,1]."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.addresses import split_address
from common.config import load
from common.cores import usable_cores
from common.errors import ConfigError
from common.internal_auth import InternalAuth
from common.process import argument_parser, natural, run
from common.server.serve import Serving, serve_threads
from search.app import MAX_BODY_BYTES, start_app
from search.manifest import folders_of
from search.log import open_log
from search.index_versions import IndexVersions, MayLoad, at_once

THREADS = 8
"""Requests at a time. Each worker of middle sends one or two at a time, with many queries."""


def main() -> None:
    """Load the shards, then serve them."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--server-index",
        type=natural,
        default=0,
        metavar="N",
        help="listen at this entry of Search.server-list (default: 0)",
    )
    parser.add_argument(
        "--replica", type=natural, default=0, metavar="N", help="at this address of it (default: 0)"
    )
    parser.add_argument(
        "--index",
        metavar="SHARDS",
        help="the shards to hold, as 0 or 0,1 (default: those dealt to the entry)",
    )
    arguments = parser.parse_args()
    loaded = load(arguments.config)
    search, prepare = loaded.config.search, loaded.config.prepare
    process = loaded.config.process
    try:
        replicas = search.replicas(arguments.server_index)
        host, port = search.bound(arguments.server_index, arguments.replica)
        listed, _ = split_address(replicas[arguments.replica])
        named = list(map(natural, arguments.index.split(","))) if arguments.index else []
    except IndexError:
        raise ConfigError("Search.server-list has no such entry or replica") from None
    except ValueError:
        raise ConfigError(f"--index {arguments.index}: write the shards as 0 or 0,1") from None
    threads = search.threads or max(1, usable_cores() // search.beside(listed))
    folders = folders_of(loaded.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)

    def choose(shard_count: int) -> list[int]:
        return named or search.shards_of(arguments.server_index, shard_count)

    inside = InternalAuth(loaded.config.inside, loaded.root)
    serving = Serving(host, port, THREADS, MAX_BODY_BYTES, process=process, tls=inside.tls)

    def versions() -> IndexVersions:
        may_load: MayLoad = at_once
        if arguments.replica > 0:
            from search.turns import Turns  # imported here, as its HTTP client takes 11 MB

            may_load = Turns(replicas[: arguments.replica], search.reload_s, inside).has_come
        cache = None
        if prepare.index_url:
            from search.object_store import ObjectStore  # imported here, as it is optional
            from search.version_cache import VersionCache

            store = ObjectStore(prepare.index_url)
            cache = VersionCache(folders, store, choose, prepare.keep_versions)
        changes = open_log(loaded.config.log, loaded.root)
        return IndexVersions(
            folders, choose, search.reload_s, may_load=may_load, cache=cache, changes=changes
        )

    serve_threads(lambda: start_app(versions(), search.ef_search, threads, inside, host), serving)


if __name__ == "__main__":
    run(main)
