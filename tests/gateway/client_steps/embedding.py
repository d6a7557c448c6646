"""Steps: texts and images in all their forms become embeddings."""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
from docarray import Document, DocumentArray

from tests.gateway.client_steps.given import TEXTS, Given, blob, step


@step
def is_ready(given: Given) -> None:
    assert given.client._client.is_flow_ready()


@step
def texts(given: Given) -> None:
    rows = given.client.encode(TEXTS)
    assert rows.dtype == (
        np.float64 if given.url.startswith("http") else np.float32
    )  # JSON has one
    given.same(rows, *TEXTS)


@step
def path_of_an_image(given: Given) -> None:
    given.same(given.client.encode([given.cat]), "cat")


@step
def data_uri(given: Given) -> None:
    given.same(given.client.encode([given.uri]), "cat")


@step
def mixed_in_order(given: Given) -> None:
    content = [TEXTS[0], given.cat, TEXTS[1], given.uri, given.other, TEXTS[2]] * 4
    names = [TEXTS[0], "cat", TEXTS[1], "cat", "other", TEXTS[2]] * 4
    given.same(given.client.encode(content), *names)


@step
def bytes_of_an_image(given: Given) -> None:
    found = given.client.encode([Document(blob=blob(given.cat))])
    given.same(found.embeddings, "cat")


@step
def tensor_of_pixels(given: Given) -> None:
    document = Document(uri=given.cat).load_uri_to_image_tensor()
    found = given.client.encode([document])
    assert float(found.embeddings[0] @ given.vectors["cat"]) > 0.99


@step
def documents_keep_what_they_had(given: Given) -> None:
    documents = DocumentArray([Document(text=text, tags={"n": i}) for i, text in enumerate(TEXTS)])
    found = given.client.encode(documents)
    assert [one.tags["n"] for one in found] == [0, 1, 2]
    assert [one.id for one in found] == [one.id for one in documents]


@step
def replies_echo_id_uri_and_tags_and_drop_the_image(given: Given) -> None:
    replies: list[Any] = []
    document = Document(blob=blob(given.cat), uri="here.jpg", tags={"a": {"b": [1.5, "x"]}})
    given.client.encode([document], on_done=replies.append)
    (found,) = replies[0].docs
    assert (found.id, found.uri, found.tags) == (document.id, "here.jpg", {"a": {"b": [1.5, "x"]}})
    assert not found.blob
    given.client.encode(
        [document], on_done=replies.append, parameters={"drop_image_content": False}
    )
    assert replies[1].docs[0].blob == document.blob


@step
def generator(given: Given) -> None:
    def content() -> Iterator[Document]:
        for text in TEXTS * 5:
            yield Document(text=text)

    given.same(given.client.encode(content()).embeddings, *TEXTS * 5)


@step
def thousand_texts_8_a_request(given: Given) -> None:
    given.same(given.client.encode(given.texts), *given.texts)


@step
def thousand_texts_64_a_request(given: Given) -> None:
    given.same(given.client.encode(given.texts, batch_size=64), *given.texts)


@step
def thousand_texts_in_one_request(given: Given) -> None:
    given.same(given.client.encode(given.texts, batch_size=1000), *given.texts)


@step
def callbacks(given: Given) -> None:
    done: list[Any] = []
    always: list[Any] = []
    failed: list[Any] = []
    given.client.encode(
        [*TEXTS, " "], batch_size=1, on_done=done.append, on_always=always.append,
        on_error=failed.append,
    )  # fmt: skip
    assert (len(done), len(always), len(failed)) == (3, 4, 1)
    assert "the text is empty" in failed[0].header.status.description


@step
def model_by_name(given: Given) -> None:
    rows = given.client.encode(TEXTS, parameters={"model_name": "clip"})
    given.same(rows, *TEXTS)
    given.same(given.client.encode(TEXTS, parameters={"model_name": "starter"}), *TEXTS)


@step
def asynchronous(given: Given) -> None:
    given.same(asyncio.run(given.client.aencode(TEXTS)), *TEXTS)
