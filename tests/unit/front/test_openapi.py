"""The description of the API: its schemas, its examples, its errors."""

import json
from typing import Any

import msgspec
import pytest
from openapi_schema_validator import OAS31Validator

from common import errors
from common.files import content_hash, location_hash
from devtools.services import CHECKOUT
from front.openapi import examples
from front.openapi.collection import collection
from front.openapi.document import document
from front.openapi.errors import ERRORS, error_responses
from front.openapi.operations import TAGS, operations
from front.openapi.parts import FORM, JSON, message
from front.openapi.schemas import schemas, without_null
from front.openapi.segment import segment
from front.write_requests import WriteResults
from middle.browse_messages import BrowseAnswer, FacetsAnswer
from middle.messages import Answer, ClassifyAnswer, EmbedAnswer, Info
from middle.segment_messages import SegmentAnswer
from middle.write_messages import Written

OPERATIONS = operations(schemas())
MESSAGES = {"components": {"schemas": schemas()}}


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """What is wrong with a value by a schema of the document."""
    return [error.message for error in OAS31Validator({**schema, **MESSAGES}).iter_errors(value)]


@pytest.mark.parametrize("has_keys", [True, False])
def test_optional_fields_are_not_required_and_there_is_no_choice_of_null(has_keys: bool) -> None:
    """`anyOf` with null says the same in a way that nobody reads, and samples of it are null."""
    assert "anyOf" not in json.dumps(document(has_keys))
    found = schemas()
    assert "text" not in found["SearchQuery"]["required"]
    assert ["string", "null"] == found["SearchQuery"]["properties"]["text"]["type"]  # we take it
    assert ["string", "null"] == found["Answer"]["properties"]["model"]["type"]  # by id: no model
    assert "array" == found["Classified"]["properties"]["classes"]["type"]  # we leave it out
    problem = found["Classified"]["properties"]["problem"]
    assert "#/components/schemas/Problem" == problem["$ref"]
    assert {"type": "string"} == without_null({"type": ["string", "null"]})


def test_a_segment_s_prompt_is_text_in_a_form() -> None:
    """Points as JSON, as they are in a body of JSON; a box with commas."""
    body = segment(schemas()["SegmentRequest"]["properties"]).body
    assert body is not None
    fields = body[FORM]["schema"]["properties"]

    assert {"image", "image_url", "id", "points", "box", "mask_format"} == set(fields)
    assert ("string", "string") == (fields["points"]["type"], fields["box"]["type"])


def test_null_is_nowhere_where_values_are_text() -> None:
    """In addresses and forms there is no such thing."""
    parameters = [one["schema"] for operation in OPERATIONS for one in operation.parameters]
    bodies = [operation.body or {} for operation in OPERATIONS]
    forms = [body[FORM] for body in bodies if FORM in body]

    assert 4 == len(forms)
    assert "null" not in json.dumps([parameters, forms])


def test_every_operation_is_told_of() -> None:
    """Its group, what it is in a line, and what it does."""
    for operation in OPERATIONS:
        assert operation.tag in TAGS
        assert operation.summary
        assert operation.description
    assert {operation.tag for operation in OPERATIONS} == set(TAGS)
    assert len(OPERATIONS) == len({operation.id for operation in OPERATIONS})


def test_examples_are_what_the_schemas_say() -> None:
    """Of what is sent, and of what comes back, errors too."""
    for operation in OPERATIONS:
        for content in (operation.body or {}).values():
            for example in content.get("examples", {}).values():
                assert [] == faults(content["schema"], example["value"]), operation.id
        replies = {**operation.replies, **error_responses(operation.errors)}
        for reply in replies.values():
            for content in reply.get("content", {}).values():
                given = [one["value"] for one in content.get("examples", {}).values()]
                for example in [*given, *([content["example"]] if "example" in content else [])]:
                    assert [] == faults(content["schema"], example), operation.id


def test_examples_of_replies_are_those_of_our_types() -> None:
    """With every field, as they come."""
    pairs: list[tuple[Any, type]] = [
        (examples.ANSWER, Answer),
        (examples.BROWSE_ANSWER, BrowseAnswer),
        (examples.FACETS_ANSWER, FacetsAnswer),
        (examples.EMBED_ANSWER, EmbedAnswer),
        (examples.CLASSIFY_ANSWER, ClassifyAnswer),
        (examples.SEGMENT_ANSWER, SegmentAnswer),
        (examples.INFO, Info),
        (examples.WRITTEN, Written),
        (examples.WRITE_RESULTS, WriteResults),
    ]
    for example, kind in pairs:
        reply = msgspec.json.encode(msgspec.convert(example, kind))
        assert example == msgspec.json.decode(reply)


def test_the_image_of_the_examples_is_one_that_ships() -> None:
    """An id is made of a file's content and its path, so that it holds wherever we are."""
    path = "samples/kitten-with-yarn.jpg"
    content = content_hash((CHECKOUT / path).read_bytes())

    assert f"{content}{location_hash(path):016x}" == examples.KITTEN
    assert path == examples.ANSWER["hits"][0]["path"]


def test_every_error_has_its_status_in_the_table() -> None:
    """Those of common/errors.py; 499 goes to nobody."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, errors.ServiceError)]

    assert len(ours) > 10
    for kind in ours:
        # NotFound always comes with another code
        if kind not in (errors.ClientDisconnected, errors.NotFound):
            assert kind.status == ERRORS[kind.code].status


def test_the_errors_of_an_operation_are_grouped_by_status() -> None:
    """Each status names its codes, and no other is one of it."""
    found = error_responses(["no_index", "bad_request", "wrong_length"])

    assert ["400", "503"] == list(found)
    assert "- `bad_request`: " in found["400"]["description"]
    schema = found["400"]["content"]["application/problem+json"]["schema"]
    good = {"status": 400, "code": "wrong_length"}
    assert [] == faults(schema, good)
    assert faults(schema, {**good, "code": "no_index"})
    assert faults(schema, {**good, "status": 503})


def test_a_body_in_json_has_its_examples() -> None:
    """Swagger UI sends the first."""
    content = message("SearchQuery", examples.SEARCHES)[JSON]

    assert {"text": "a cat", "k": 3} == next(iter(content["examples"].values()))["value"]


def test_a_field_to_count_may_be_repeated_in_the_address() -> None:
    """It is a list there, and wanted; the filter is text."""
    _, facets, _ = collection(schemas())
    by_name = {one["name"]: one for one in facets.parameters}
    assert ("array", True) == (by_name["field"]["schema"]["type"], by_name["field"]["required"])
    assert "string" == by_name["filter"]["schema"]["type"]
