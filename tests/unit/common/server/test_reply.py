"""Replies in JSON."""

import msgspec

from common.server.reply import json_reply


def test_a_message_is_sent_as_json() -> None:
    """With its type; text is UTF-8."""
    reply = json_reply({"text": "Schlösser", "scores": [0.5, None]})
    assert reply.content_type == "application/json"
    assert msgspec.json.decode(reply.get_data()) == {"text": "Schlösser", "scores": [0.5, None]}
