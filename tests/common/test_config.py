"""config.json: its defaults, and what is refused."""

import json

import pytest

from common.config import CHECKOUT, Config, Search, parse
from common.errors import ConfigError
from common.settings.search import MAX_SHARD_IMAGES


def test_an_empty_configuration_is_all_defaults() -> None:
    """Every key has a default."""
    assert Config() == parse("{}")


def test_the_shipped_configuration_is_valid_and_says_the_defaults() -> None:
    """config.json changes nothing but what it must: it is there to be edited."""
    shipped = parse((CHECKOUT / "config.json").read_bytes())

    assert Config().search == shipped.search
    assert Config().inference == shipped.inference
    assert Config().prepare == shipped.prepare


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("Front", "prot", 1),
        ("Front", "port", "8000"),
        ("Front", "port", 65536),
        ("Middle", "port", 1.5),
        ("Inference", "clip", None),
        ("Search", "server-list", "127.0.0.1:9000"),
        ("Search", "server-list", [1]),
        ("Search", "ef-search", 0),
        ("Prepare", "feature-dim", -1),
        ("Prepare", "index_dir", "x"),
    ],
)
def test_an_unknown_key_or_wrong_type_is_refused_by_name(
    section: str, key: str, value: object
) -> None:
    """The message names the section and the key at fault."""
    with pytest.raises(ConfigError) as error:
        parse(json.dumps({section: {key: value}}))
    assert key in str(error.value)
    assert section in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"Nope": {}}'])
def test_what_is_no_configuration_is_refused(text: str) -> None:
    """Broken JSON and unknown sections do not start anything."""
    with pytest.raises(ConfigError, match="config"):
        parse(text)


@pytest.mark.parametrize("servers", [[], ["nohost"], ["a:b"], [["127.0.0.1:99999"]]])
def test_the_server_list_holds_addresses(servers: list[object]) -> None:
    """An entry that is not host:port, or none at all, is refused."""
    with pytest.raises(ConfigError, match="server-list"):
        parse(json.dumps({"Search": {"server-list": servers}}))


def test_shards_are_dealt_to_servers_and_an_entry_may_be_replicas() -> None:
    """Five shards on two servers; the second has two replicas."""
    search = parse(
        json.dumps({"Search": {"server-list": ["a:1", ["b:1", "c:1"]], "shards": 5}})
    ).search

    assert 5 == search.shards_for(10**6)
    dealt = search.shards_of(0, 5), search.shards_of(1, 5)
    assert [0, 1, 2, 3, 4] == sorted(dealt[0] + dealt[1])
    assert {2, 3} == set(map(len, dealt))
    assert search.replicas(1) == ("b:1", "c:1")


@pytest.mark.parametrize(
    ("servers", "images", "shards"),
    [
        (1, 0, 1),
        (1, MAX_SHARD_IMAGES, 1),
        (1, MAX_SHARD_IMAGES + 1, 2),
        (21, 916, 21),
        (3, 10**6, 6),
        (3, 10**7, 51),
    ],
)
def test_shards_are_chosen_by_servers_and_size(servers: int, images: int, shards: int) -> None:
    """Each server has as many, at least one, and none has more than 200,000 images."""
    search = Search(tuple(f"a:{number}" for number in range(servers)))

    assert shards == search.shards_for(images)


def test_servers_of_one_host_share_its_cores() -> None:
    """Replicas count, too: each is a process of its own."""
    search = parse(json.dumps({"Search": {"server-list": ["a:1", ["a:2", "b:1"], "a:3"]}})).search

    assert [3, 1, 0] == [search.beside(host) for host in "abc"]


def test_only_a_gateway_can_do_without_search_servers() -> None:
    """Then the system only embeds; else an empty list is a mistake."""
    assert parse('{"Search": {"server-list": []}, "Gateway": {}}').search.server_list == ()
    for text in ("{}", '{"Gateway": {}}'):
        wrong = {**json.loads(text), "Search": {"server-list": [[]] if "G" in text else []}}
        with pytest.raises(ConfigError, match=r"Search\.server-list"):
            parse(json.dumps(wrong))
