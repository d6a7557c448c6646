"""Each example of what is sent, in the description of the API, is sent as it stands there."""

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from devtools.services import Cluster
from front.openapi.document import document
from front.openapi.examples import KITTEN, RED_SQUARE
from front.openapi.parts import FORM, JSON

OWN_STATUS = {"delete /v1/cache": 403, "post /v1/images": 201}
"""Of what needs a key, where nobody has one; and of a put, which a deletion follows."""


class Sent(NamedTuple):
    """A request as the document has it."""

    method: str
    path: str
    how: dict[str, Any]


def requests() -> Iterator[Any]:
    """Each example of each operation."""
    for path, methods in document(has_keys=False)["paths"].items():
        for method, operation in methods.items():
            given = operation.get("parameters", [])
            named = {one["name"]: one["example"] for one in given if "example" in one}
            filled = path.replace("{id}", named.pop("id", ""))
            bodies = operation.get("requestBody", {}).get("content", {})
            if not bodies:
                address = f"{filled}?{urlencode(named, doseq=True)}" if named else filled
                yield pytest.param(Sent(method, address, {}), id=f"{method} {path}")
            for name, example in bodies.get(JSON, {}).get("examples", {}).items():
                how = {"json": example["value"]}
                yield pytest.param(Sent(method, filled, how), id=f"{method} {path} {name}")
            if FORM in bodies:
                how = {"fields": form_of(bodies[FORM]["schema"])}
                yield pytest.param(Sent(method, filled, how), id=f"{method} {path} form")


def form_of(schema: dict[str, Any]) -> list[tuple[str, Any]]:
    """The fields of a form that are not empty, and a file."""
    fields: list[tuple[str, Any]] = [("image", ("a.png", base64.b64decode(RED_SQUARE)))]
    for name, field in schema["properties"].items():
        value = field.get("example", field.get("default"))
        values = value if isinstance(value, list) else [value]
        given = [one for one in values if one not in (None, "")]
        fields += [(name, one if isinstance(one, str) else json.dumps(one)) for one in given]
    return fields


@pytest.mark.parametrize("sent", list(requests()))
def test_an_example_is_answered_as_it_is_described(cluster: Cluster, sent: Sent) -> None:
    """Kind H: with 200; the image that is named ships, but is not in every index."""
    response = cluster.front.request(sent.method.upper(), sent.path, **sent.how)

    expected = OWN_STATUS.get(f"{sent.method} {sent.path}", 200)
    asked = sent.how.get("json", {})
    if "images" in asked:  # many, each with a status of its own
        expected = 200
    elif "path" in asked:  # of a photo that ships
        expected = 400
    if KITTEN in f"{sent.path} {sent.how}":
        expected = 404
    assert expected == response.status, response.data
