"""Examples of what is sent and of what comes back; those that are sent work as they are."""

from typing import Any

from front.openapi.errors import REQUEST_ID

KITTEN = "74fed155cf2d98158e5ef9452cb02ea6"
"""The id of samples/kitten-with-yarn.jpg in the index that `make demo` makes."""
RED_SQUARE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGklEQVR42mM8ISfHQApgYiARjGoY1TB0NAAATx8BJMix"
    "HB8AAAAASUVORK5CYII="
)
"""A PNG of 16 x 16 pixels: any image file may stand here, in base64."""

UPLOADED = "c9b34b1c7f0c236c33e82e88061f0aa6"
"""The id of RED_SQUARE once it is put."""

IN_URL: dict[str, Any] = {"text": "a cat", "k": 3, "field": ["folder", "format"], "limit": 3}
SEARCHES = {
    "text": {"summary": "By text", "value": {"text": "a cat", "k": 3}},
    "image": {"summary": "By an image file in base64", "value": {"image": RED_SQUARE, "k": 3}},
    "region": {
        "summary": "By the right half of an image of the index",
        "value": {"id": KITTEN, "region": [0.5, 0, 1, 1], "k": 3},
    },
    "id": {
        "summary": "More like an image of the index: here one of samples/",
        "value": {"id": KITTEN, "k": 3},
    },
    "filter": {
        "summary": "Only among some images, by their fields",
        "value": {
            "text": "a cat",
            "filter": {
                "and": [
                    {"field": "folder", "prefix": "samples"},
                    {"not": {"field": "format", "in": ["gif", "webp"]}},
                ]
            },
        },
    },
    "facets": {
        "summary": "With the counts of values, for what a page offers next",
        "value": {"text": "a cat", "k": 3, "facets": ["folder", "format"]},
    },
    "options": {
        "summary": "With all options",
        "value": {
            "text": "ein Schloss am See",
            "k": 20,
            "model": "auto",
            "dedup": "near",
            "min_score": 0.1,
            "require_full": True,
        },
    },
}
SEARCH_FORM: dict[str, Any] = {
    **{"text": "", "image_url": "", "id": "", "region": "", "filter": "", "facets": []}
}
"""Nothing beside the file: Swagger UI would put the word "string" there."""
EMBEDDINGS = {
    "texts": {"summary": "Texts", "value": {"texts": ["a cat", "a dog"]}},
    "images": {"summary": "Image files in base64", "value": {"images": [RED_SQUARE]}},
}
CLASSES = {
    "labels": {
        "summary": "Into labels of your own (zero-shot)",
        "value": {
            "images": [RED_SQUARE],
            "labels": ["red", "green", "blue"],
            "template": "a {} square",
        },
    },
    "imagenet": {"summary": "Into ImageNet's classes", "value": {"images": [RED_SQUARE], "top": 3}},
}
CLASSIFY_FORM: dict[str, Any] = {
    "region": [],
    "label": ["cat", "dog", "owl"],
    "template": "a photo of a {}.",
}

SEGMENTS = {
    "click": {
        "summary": "What is under a click, on an image of the index",
        "value": {"id": KITTEN, "points": [[0.5, 0.5, 1]]},
    },
    "box": {
        "summary": "What is in a box of an image file in base64, without its corner",
        "value": {
            "image": RED_SQUARE,
            "box": [0.1, 0.1, 0.9, 0.9],
            "points": [[0.15, 0.15, 0]],
            "mask_format": "rle",
        },
    },
}
SEGMENT_FORM = {"image_url": "", "id": "", "box": "", "points": "[[0.5, 0.5, 1]]"}

ANSWER: dict[str, Any] = {
    "hits": [
        {
            "id": KITTEN,
            "score": 0.5436,
            "path": "samples/kitten-with-yarn.jpg",
            "thumbnail": f"/v1/images/{KITTEN}/thumbnail",
            "metadata": {},
            "offline": False,
            "facts": {"size": 21630, "modified": "2026-06-03T08:14:51+00:00"},
        }
    ],
    "coverage": {
        "shards": {"total": 2, "ok": 2, "timeout": 0, "failed": 0},
        "fraction": 1.0,
        "degraded": False,
    },
    "index_version": "v000001",
    "position": 0,
    "model": "starter",
    "took_ms": {"embed": 5.1, "search": 1.9, "total": 7.0},
    "warnings": [],
    "request_id": REQUEST_ID,
}
BROWSE_ANSWER: dict[str, Any] = {
    "images": [{name: value for name, value in ANSWER["hits"][0].items() if name != "score"}],
    "next": "krkyMDI2LTA2LTAzVDA4OjE0OjUxKzAwOjAwxBB0_tFVzy2YFY5e-UUssC6m",
    "coverage": ANSWER["coverage"],
    "index_version": "v000001",
    "position": 0,
    "request_id": REQUEST_ID,
}
FACETS_ANSWER = {
    "images": 69,
    "facets": {
        "folder": {"values": [{"value": "samples", "count": 69}], "more": 0},
        "format": {
            "values": [{"value": "jpg", "count": 69}],
            "more": 0,
        },
    },
    "coverage": ANSWER["coverage"],
    "index_version": "v000001",
    "position": 0,
    "request_id": REQUEST_ID,
}
EMBED_ANSWER = {
    "embeddings": [[0.6, 0.0, -0.8], [0.0, 0.28, 0.96]],
    "model": "starter",
    "warnings": [],
    "request_id": REQUEST_ID,
}
CLASSIFY_ANSWER = {
    "results": [{"classes": [{"label": "red", "score": 0.97}, {"label": "blue", "score": 0.02}]}],
    "model": "starter",
    "method": "zero-shot",
    "took_ms": {"labels": 0.4, "images": 6.5, "total": 6.9},
    "warnings": [],
    "request_id": REQUEST_ID,
}
SEGMENT_ANSWER = {
    "box": [0.25, 0.0, 0.75, 0.5],
    "score": 0.75,
    "mask": {"size": [4, 4], "counts": [4, 2, 3, 1, 6]},
    "method": "grabcut",
    "took_ms": {"decode": 140.2, "total": 140.3},
    "request_id": REQUEST_ID,
}
INFO = {
    "images": 69,
    "index_version": "v000001",
    "model": "starter",
    "dim": 384,
    "shards": 2,
    "position": 0,
    "fields": {
        **{name: ["text"] for name in ("path", "folder", "format", "modified", "when")},
        "size": ["number"],
        "offline": ["boolean"],
    },
}
PUTS: dict[str, Any] = {
    "image": {
        "summary": "An image file in base64",
        "value": {"image": RED_SQUARE, "metadata": {"colour": "red", "stock": 3}},
    },
    "path": {
        "summary": "A file in a folder of the collection",
        "value": {"path": "samples/owl.jpg", "metadata": {"stock": 1}},
    },
    "many": {
        "summary": "Many at once",
        "value": {"images": [{"image": RED_SQUARE}, {"path": "samples/owl.jpg"}]},
    },
}
PATCHES = {
    "change": {
        "summary": "Set a field, and remove another",
        "value": {"metadata": {"stock": 0, "colour": None}},
    }
}
DELETES = {"many": {"summary": "Two images", "value": {"ids": [UPLOADED, 32 * "0"]}}}
WRITTEN = {"id": UPLOADED, "position": 7}
WRITE_RESULTS: dict[str, Any] = {
    "results": [
        WRITTEN,
        {
            "problem": {
                "status": 404,
                "code": "unknown_id",
                "detail": "no image has this id",
                "title": "Not Found",
            }
        },
    ]
}
