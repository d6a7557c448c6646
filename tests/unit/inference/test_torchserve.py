"""What an archive for TorchServe holds, and the key that TorchServe asks for."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common.config import Inference
from common.errors import BadRequest, ConfigError, ServiceError, Unavailable
from inference.torchserve import handler
from inference.torchserve.archive_settings import FILE, Contents, read_contents, write_contents
from inference.torchserve.token import Token


def test_contents_are_read_as_they_were_written(tmp_path: Path) -> None:
    """With all settings."""
    contents = Contents("clip", "tiny", "space", Inference(max_batch=7))
    write_contents(tmp_path, contents)

    assert read_contents(tmp_path) == contents


@pytest.mark.parametrize("damage", [None, b"", b'{"model":1}', b'{"model":"\xff"}'])
def test_contents_that_cannot_be_read_are_told_as_such(
    tmp_path: Path, damage: bytes | None
) -> None:
    """And where they are missing."""
    if damage is not None:
        (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(ConfigError, match=r"no proper serving\.json"):
        read_contents(tmp_path)


@pytest.mark.parametrize(
    ("role", "asked", "gpu", "device", "image"),
    [
        ("clip", "auto", None, "cpu", True),
        ("clip", "auto", 1, "cuda:1", True),
        ("mclip", "cuda", None, "cuda", False),
    ],
)
def test_a_worker_loads_what_its_role_needs_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, asked: Any, gpu: Any, device: str,
    image: bool,
) -> None:  # fmt: skip
    """TorchServe deals out GPUs. Eight workers beside each other do not take the first one."""
    write_contents(tmp_path, Contents(role, "tiny", "space", Inference(device=asked)))
    loaded: list[tuple[object, bool]] = []

    def load(_name: str, settings: Inference, *, image: bool) -> None:
        loaded.append((settings.device, image))
        raise ConfigError("that is enough")

    monkeypatch.setattr(handler, "load_model", load)
    context = SimpleNamespace(system_properties={"model_dir": str(tmp_path), "gpu_id": gpu})
    with pytest.raises(ConfigError, match="enough"):
        handler.Handler().initialize(context)
    assert loaded == [(device, image)]


async def test_without_a_key_file_no_key_is_shown() -> None:
    """An error of the server is passed on, and a refusal in TorchServe's words is told as one."""

    async def ask(headers: dict[str, str]) -> dict[str, str]:
        return headers

    async def fail(_headers: dict[str, str]) -> None:
        raise BadRequest("not like that")

    async def refuse(_headers: dict[str, str]) -> None:
        raise ServiceError("Token is missing", status=400)

    assert await Token(None).use(ask) == {}
    with pytest.raises(BadRequest, match="not like that"):
        await Token(None).use(fail)
    with pytest.raises(Unavailable, match="refuses our key"):
        await Token(None).use(refuse)


async def test_a_key_that_stays_refused_is_the_operator_s_to_mend(tmp_path: Path) -> None:
    """It was read again once."""
    file = tmp_path / "key_file.json"
    file.write_text('{"inference":{"key":"one"}}')
    shown: list[str] = []

    async def refuse(headers: dict[str, str]) -> None:
        shown.append(headers["Authorization"])
        raise ServiceError("InvalidKeyException", status=400)

    with pytest.raises(Unavailable, match="refuses our key"):
        await Token(file).use(refuse)
    assert shown == ["Bearer one"]
