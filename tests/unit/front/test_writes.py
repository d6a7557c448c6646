"""Writes by the public API: who may, in which form, and what becomes of many."""

import asyncio
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from common.cache_epoch import CacheEpoch
from common.config import parse
from common.errors import NotFound, ServiceError, Unavailable
from front.app import create_app
from front.openapi.images import images
from front.openapi.writes import writes
from front.write_requests import MAX_WRITES, WriteResult
from front.writes import each
from middle.write_messages import Written

CONFIG = {
    "Middle": {"server-list": ["127.0.0.1:1"]},
    "Front": {"cors-origins": ["https://ours.example"]},
}
JSON = "application/json"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """Front without a middle: what is let in ends in 503, after a file was kept."""
    app = create_app(parse(json.dumps(CONFIG)), tmp_path_factory.mktemp("front"), CacheEpoch())
    yield app.test_client()
    app.extensions["closing"].close()


RED = {"image": "iVBORw0KGgo="}
ID = "0" * 32


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"image": ""},
        {"image": "%"},
        {"path": "/etc/passwd"},
        {**RED, "path": "a.png"},
        {**RED, "colour": "red"},
        {**RED, "metadata": {"list": [1]}},
        {**RED, "metadata": {"object": {}}},
        {**RED, "metadata": ["stock"]},
        {**RED, "metadata": {"large": 2**64}},
        {**RED, "metadata": {"": 1}},
        {**RED, "images": [RED]},
        {"images": []},
        {"images": [RED] * (MAX_WRITES + 1)},
        {"images": [RED, {}]},
        {"images": [{**RED, "metadata": {"list": []}}]},
        {"images": [RED], "metadata": {"stock": 1}},
    ],
)
def test_a_wrong_put_is_refused_whole(client: FlaskClient, message: dict[str, Any]) -> None:
    """Before anything is kept."""
    reply = client.post("/v1/images", json=message)

    expected = 415 if message == {"image": ""} else 400
    assert reply.status_code == expected, reply.get_json()


@pytest.mark.parametrize("message", [{}, {"metadata": 1}, {"metadata": {"a": []}}, {"stock": 1}])
def test_a_wrong_change_is_refused(client: FlaskClient, message: dict[str, Any]) -> None:
    """As the metadata of a put."""
    assert client.patch(f"/v1/images/{ID}", json=message).status_code == 400


@pytest.mark.parametrize(
    "message", [{}, {"ids": []}, {"ids": [ID] * (MAX_WRITES + 1)}, {"ids": [1]}, {"ids": ID}]
)
def test_wrong_ids_are_refused(client: FlaskClient, message: dict[str, Any]) -> None:
    """One to a thousand texts."""
    assert client.post("/v1/images/delete", json=message).status_code == 400


def test_only_json_and_forms_are_read(client: FlaskClient) -> None:
    """A page of another site could send anything else without asking first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert client.post("/v1/images", data=b"{}", content_type=kind).status_code == 415
    patched = client.patch(f"/v1/images/{ID}", data=b"{}", content_type="text/plain")
    assert patched.status_code == 415
    wrong = {"image": (io.BytesIO(b"x"), "a.png"), "metadata": "{"}
    assert client.post("/v1/images", data=wrong).status_code == 400


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 503),
        ("http://localhost", 503),
        ("https://ours.example", 503),
        ("https://evil.example", 403),
        ("http://localhost:1234", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_page_of_another_site_may_write_nothing(
    client: FlaskClient, origin: str | None, status: int
) -> None:
    """Kind J: a form is sent to 127.0.0.1 without a preflight; reading is another matter."""
    headers = {} if origin is None else {"Origin": origin}
    path = f"/v1/images/{ID}"
    replies = [
        client.post("/v1/images", json=RED, headers=headers),
        client.patch(path, json={"metadata": {}}, headers=headers),
        client.delete(path, headers=headers),
    ]
    assert [reply.status_code for reply in replies] == [status] * 3
    if status == 403:
        assert replies[0].get_json()["code"] == "forbidden"
    many = client.post("/v1/images/delete", json={"ids": [ID]}, headers=headers)
    assert many.status_code == (403 if status == 403 else 200)
    assert client.get("/v1/info", headers=headers).status_code == 503


async def test_each_write_has_a_result_of_its_own() -> None:
    """In order, so many at a time."""
    under_way: list[int] = []
    most: list[int] = []

    async def write(item: int, _deadline: float) -> Written:
        under_way.append(item)
        most.append(len(under_way))
        await asyncio.sleep(1 / (1 + item))
        under_way.remove(item)
        if item % 2:
            raise NotFound("no such image", "unknown_id")
        return Written(str(item), item)

    found = (await each(range(10), write, 3, 5.0, math.inf)).results

    assert [one.id for one in found] == ["0", None, "2", None, "4", None, "6", None, "8", None]
    assert {one.problem.code for one in found if one.problem} == {"unknown_id"}
    assert max(most) == 3


async def test_after_a_503_the_rest_is_not_tried() -> None:
    """It would wait as long, each; those under way go on, and an odd error ends its own alone."""
    tried: list[int] = []
    errors: dict[int, Exception] = {1: ValueError("odd"), 4: Unavailable("down")}

    async def write(item: int, deadline: float) -> Written:
        tried.append(item)
        assert deadline - asyncio.get_running_loop().time() == pytest.approx(5)
        await asyncio.sleep(1 if item == 3 else 0.1)
        if item in errors:
            raise errors[item]
        return Written(str(item), item)

    found = (await each(range(9), write, 2, 5.0, math.inf)).results

    assert tried == [0, 1, 2, 3, 4]
    assert found[3] == WriteResult("3", 3)
    codes = [one.problem.code if one.problem else None for one in found]
    assert codes == [None, "internal", None, None, *["unavailable"] * 5]


async def test_a_deadline_of_the_client_ends_all() -> None:
    """`X-Deadline-Ms` is for the whole request."""

    async def write(_item: int, deadline: float) -> Written:
        await asyncio.sleep(1)
        if deadline < asyncio.get_running_loop().time():
            raise ServiceError("late", "late", 503)
        return Written("a", 1)

    end = asyncio.get_running_loop().time() + 2.5
    found = (await each(range(4), write, 1, 60.0, end)).results

    assert [bool(one.problem) for one in found] == [False, False, True, True]


def test_writes_and_files_are_described() -> None:
    """Each by an operation."""
    described = [*images(), *writes({"path": {"type": "string"}})]

    assert {one.id for one in described} == {
        *("image", "thumbnail", "preview", "put", "patch", "delete", "deleteMany")
    }
