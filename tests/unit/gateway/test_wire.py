"""The messages, against bytes that jina 3.34 with docarray 0.21 wrote."""

import base64

import numpy as np
import pytest

from common.errors import BadRequest
from gateway.documents import array_of, set_embedding
from gateway.wire import TABLES, Document, read_request

WRITTEN = base64.b64decode(
    "ChsKEDAxMjM0NTY3ODlhYmNkZWYaBy9lbmNvZGUSFAoSCgVsaW1pdBIJEQAAAAAAAAhAIq0BCqoBCnwKA29uZRohChgKDA"
    "ABAgMEBQYHCAkKCxIDAgIDGgN8dTEaBW51bXB5SgV1LnBuZ1oJaW1hZ2UvcG5neg4KA3R3byIFYSBjYXQwAYoBGQoXCgFh"
    "EhIyEAoJEQAAAAAAAPA/CgMaAXiSARMKCmNsaXBfc2NvcmUSBQ0AAAA/CioKBXRocmVlEgNpbWeCARsKEgoIAACAPwAAAE"
    "ASAQIaAzxmNBoFbnVtcHk="
)


def test_a_request_of_the_client_is_read() -> None:
    """Each field has its number and type."""
    request = read_request(WRITTEN)
    one, three = request.data.docs.docs

    assert request.header.request_id == "0123456789abcdef"
    assert request.header.exec_endpoint == "/encode"
    assert request.parameters["limit"] == 3.0
    assert (one.id, one.uri, one.mime_type) == ("one", "u.png", "image/png")
    assert np.array_equal(array_of(one.tensor), np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert list(one.tags["a"]) == [1.0, "x"]
    assert one.scores["clip_score"].value == 0.5
    assert [(match.id, match.text) for match in one.matches] == [("two", "a cat")]
    assert (three.id, three.blob) == ("three", b"img")


def test_an_embedding_is_written_as_the_client_writes_it() -> None:
    """The same bytes, so that docarray makes an array of numpy of it."""
    theirs = read_request(WRITTEN).data.docs.docs[1]
    ours = Document(id=theirs.id, blob=theirs.blob)
    set_embedding(ours, np.array([1, 2], np.float32))

    assert ours.SerializeToString() == theirs.SerializeToString()


def test_nothing_is_lost_on_the_way_through() -> None:
    """What is read is written again, byte for byte."""
    assert read_request(WRITTEN).SerializeToString(deterministic=True) == WRITTEN


@pytest.mark.parametrize("data", [b"\xff", WRITTEN[:-1], b"no protobuf"])
def test_what_is_no_request_is_refused(data: bytes) -> None:
    """With an error of ours."""
    with pytest.raises(BadRequest):
        read_request(data)


def test_no_table_has_a_name_twice() -> None:
    """A field would have two numbers."""
    for table in TABLES.values():
        names = [line.rpartition("/")[2].rpartition(" ")[2] for line in table.values()]
        assert len(set(names)) == len(names)
