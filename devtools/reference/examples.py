"""The examples of docs/reference/api.md, and its text about all routes."""

HEAD = """# HTTP API

The public API is front's, at `http://127.0.0.1:8000` by default. The same description is at
`/openapi.json` for programs, at `/docs` and `/redoc` for people. Try the examples below from the
checkout while `make demo` runs.

- **Keys.** If `Front.keys-file` is set, a route with a scope needs a key:
  `Authorization: Bearer KEY`. A key opens the routes of its scopes.
- **Bodies** are JSON, or a form (`multipart/form-data`) where it is listed. An unknown field is an
  error: 400.
- **Errors** are problems by RFC 9457, `application/problem+json`. [errors.md](errors.md) lists
  their codes.
- **Ids.** Every reply has `X-Request-Id`: the client's own, if it sent one, or a new one. All
  services log it.
- **Deadlines.** With `X-Deadline-Ms` a client says how long the answer is of use to it.
  `Middle.deadline-ms` is the most; of what only embeds or puts `Middle.embed-deadline-ms`, of a
  segment `Middle.segment-deadline-ms`.
- **Cache.** `Cache-Control: no-cache` takes nothing from the prediction cache. The new answer is
  kept.

The page is at `/`; it needs no key. [metrics.md](metrics.md) lists what `/metrics` answers.

Middle answers `POST /search`, `/segment`, `/embed` and `/classify` with the same JSON, for load
tests. It takes neither forms nor `image_url`.
"""

EXAMPLES = {
    "searchByAddress": """
curl "http://127.0.0.1:8000/v1/search?text=a+red+flower&k=5"
""",
    "search": """
curl http://127.0.0.1:8000/v1/search -H "Content-Type: application/json" \\
     -d '{"text": "a castle", "k": 5, "dedup": "near", "min_score": 0.2}'
curl http://127.0.0.1:8000/v1/search -F image=@samples/owl.jpg -F k=5
""",
    "segment": """
curl http://127.0.0.1:8000/v1/segment -F image=@samples/owl.jpg -F "points=[[0.5, 0.5, 1]]"
curl http://127.0.0.1:8000/v1/segment -H "Content-Type: application/json" \\
     -d '{"id": "'$ID'", "box": [0.1, 0.1, 0.9, 0.9], "mask_format": "rle"}'
""",
    "classify": """
curl http://127.0.0.1:8000/v1/classify -F image=@samples/owl.jpg -F image=@samples/koala.jpg
curl http://127.0.0.1:8000/v1/classify -F image=@samples/owl.jpg -F label=cat -F label=owl \\
     -F "template=a photo of a {}."
""",
    "embed": """
curl http://127.0.0.1:8000/v1/embed -H "Content-Type: application/json" \\
     -d '{"texts": ["a cat", "a dog"]}'
""",
    "purge": """
curl -X DELETE http://127.0.0.1:8000/v1/cache -H "Authorization: Bearer $KEY"
""",
    "put": """
curl http://127.0.0.1:8000/v1/images -F image=@samples/owl.jpg -F 'metadata={"stock": 3}'
curl http://127.0.0.1:8000/v1/images -H "Content-Type: application/json" \\
     -d '{"images": [{"path": "samples/owl.jpg"}, {"path": "samples/koala.jpg"}]}'
""",
    "patch": """
curl -X PATCH "http://127.0.0.1:8000/v1/images/$ID" -H "Content-Type: application/json" \\
     -d '{"metadata": {"stock": 0}}'
""",
    "delete": """
curl -X DELETE "http://127.0.0.1:8000/v1/images/$ID"
""",
    "deleteMany": """
curl http://127.0.0.1:8000/v1/images/delete -H "Content-Type: application/json" \\
     -d '{"ids": ["'$ID'"]}'
""",
    "image": """
curl "http://127.0.0.1:8000/v1/images/$ID" -o image.jpg
""",
    "thumbnail": """
curl "http://127.0.0.1:8000/v1/images/$ID/thumbnail" -o thumbnail.jpg
""",
    "preview": """
curl "http://127.0.0.1:8000/v1/images/$ID/preview" -o preview.jpg
""",
    "browse": """
curl "http://127.0.0.1:8000/v1/images?limit=5"
""",
    "facets": """
curl "http://127.0.0.1:8000/v1/facets?field=folder&field=format"
""",
    "info": """
curl http://127.0.0.1:8000/v1/info
""",
    "healthz": """
curl http://127.0.0.1:8000/healthz
""",
    "ready": """
curl http://127.0.0.1:8000/ready
""",
    "metrics": """
curl http://127.0.0.1:8000/metrics
""",
}
"""Requests, by the operationId of a route."""

REPLIES = {
    "search": """
{"hits": [{"id": "933a764b597cb64bc3738ab466463cc5", "score": 0.36,
           "path": "samples/cat-chelsea.jpg",
           "thumbnail": "/v1/images/933a764b597cb64bc3738ab466463cc5/thumbnail", "metadata": {},
           "offline": false,
           "facts": {"size": 21630, "modified": "2026-06-03T08:14:51+00:00"}}],
 "coverage": {"shards": {"total": 2, "ok": 2, "timeout": 0, "failed": 0},
              "fraction": 1.0, "degraded": false},
 "index_version": "v000001", "position": 0, "model": "starter",
 "took_ms": {"embed": 5.1, "search": 1.9, "total": 7.0},
 "warnings": [], "request_id": "192c0b5abf3d6dea200972b1cb8aa757"}
""",
    "segment": """
{"box": [0.444, 0.206, 0.797, 0.944], "score": 0.64, "mask": "iVBORw0KGgoAAAANSUhEUgAA",
 "method": "grabcut", "took_ms": {"decode": 92.4, "total": 92.4},
 "request_id": "7f6a1d0cf9c04a1b8e1b3b9a52d4c9aa"}
""",
    "classify": """
{"results": [{"classes": [{"label": "great grey owl", "score": 0.34},
                          {"label": "house finch", "score": 0.13}]},
             {"problem": {"status": 415, "code": "unsupported_media_type",
                          "detail": "not an image in a format that is read (JPEG, PNG, ...)",
                          "title": "Unsupported Media Type"}}],
 "model": "starter", "method": "classifier",
 "took_ms": {"labels": 0.2, "images": 6.5, "total": 6.7},
 "warnings": [], "request_id": "cdb5d405edab0a9e559e65fae9f1e4e0"}
""",
    "embed": """
{"embeddings": [[0.031, -0.052, 0.007], [0.012, 0.044, -0.101]], "model": "starter",
 "warnings": [], "request_id": "9b0c5f0f6f0d4d7f8d0d3c6a4b1e2f30"}
""",
    "put": """
{"results": [{"id": "c9b34b1c7f0c236c33e82e88061f0aa6", "position": 7},
             {"problem": {"status": 415, "code": "unsupported_media_type",
                          "detail": "not an image in a format that is read (JPEG, PNG, ...)",
                          "title": "Unsupported Media Type"}}]}
""",
    "delete": """
{"id": "c9b34b1c7f0c236c33e82e88061f0aa6", "position": 8}
""",
    "info": """
{"images": 69, "index_version": "v000001", "model": "starter", "dim": 384, "shards": 2,
 "position": 0,
 "fields": {"folder": ["text"], "format": ["text"], "offline": ["boolean"], "path": ["text"]}}
""",
}
"""Shortened replies, by the operationId of a route."""
