"""The description of the API and its two pages."""

import pytest
from flask import Flask

from front.docs import POLICY, create_docs
from front.openapi.document import document


def test_the_description_names_scopes_where_there_are_keys() -> None:
    """Without keys only what is never open has one."""
    for has_keys in (True, False):
        paths = document(has_keys)["paths"]
        assert {"/v1/search", "/v1/classify", "/v1/info"} <= set(paths)
        operation = paths["/v1/search"]["post"]
        assert ("security" in operation) == has_keys
        assert ("401" in operation["responses"]) == has_keys
        assert "429" in operation["responses"]


def test_every_schema_that_is_named_is_there() -> None:
    """No reference leads nowhere."""
    description = document(True)
    names = description["components"]["schemas"]
    used = {part.split('"')[0] for part in str(description).replace("'", '"').split("schemas/")[1:]}

    assert used <= set(names)
    assert "Answer" in used


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_load_what_lies_here(path: str) -> None:
    """Their scripts are served, too; what is not there is not found."""
    app = Flask("unit")
    app.register_blueprint(create_docs(has_keys=False))
    client = app.test_client()
    page = client.get(path)

    assert page.headers["Content-Security-Policy"] == POLICY
    sources = [part.split('"')[0] for part in page.get_data(as_text=True).split('src="')[1:]]
    own = [source for source in sources if source.startswith("/docs/")]
    assert own
    for source in own:
        with client.get(source) as script:
            assert script.status_code == 200
    assert client.get("/docs/redoc/none.js").status_code == 404
    assert client.get("/openapi.json").get_json()["openapi"] == "3.1.0"
