"""docs/reference/config.md: every key of config.json, from the sections in common/settings/."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from common.config import Config
from devtools.reference.markdown import code, limits_of, type_of, wrapped

SOURCE = "common/settings/"
HEAD = """# config.json

Every command takes `--config FILE`; the default is `config.json` in the checkout, and `-` reads
standard input. The file is JSON: an object of sections, each an object of keys.

- A key that is missing has its default.
- An unknown key, a wrong type or a value over a limit stops the start; the message names the key.
- A relative path starts from the folder of `config.json`. With `-` it starts from the working
  folder.
- A service reads the file once, at its start: restart a service after a change.

```
{
  "Front": {"port": 8000, "keys-file": "keys.json"},
  "Search": {"server-list": ["10.0.0.1:9000", ["10.0.0.2:9000", "10.0.0.3:9000"]]}
}
```
"""
UNITS = {"-per-s": "per second", "-bytes": "bytes", "-ms": "ms", "-s": "s", "-pixels": "pixels"}
"""The units of keys, by the end of a key's name."""
MIB = 2**20


def page() -> str:
    """The page."""
    return HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    schemas = msgspec.json.schema(Config)["$defs"]
    for name in schemas["Config"]["properties"]:
        section = schemas[name]
        yield f"\n## {name}\n\n{wrapped(section['description'])}\n"
        for key, schema in section["properties"].items():
            yield f"\n### {name}.{key}\n\n{_facts(key, schema)}\n\n"
            yield f"{wrapped(schema['description'])}\n"


def _facts(key: str, schema: Mapping[str, Any]) -> str:
    """A key's type, unit, limits and default."""
    if "$ref" in schema:  # the description lists the keys of the object
        return "Object. Default: `{}`."
    unit = next((unit for end, unit in UNITS.items() if key.endswith(end)), "")
    facts = type_of(schema) + (f" ({unit})" if unit else "")
    if limits := limits_of(schema):
        facts += f", {limits}"
    default = schema["default"]
    shown = code(default)
    if unit == "bytes" and default % MIB == 0:
        shown += f" ({default // MIB} MiB)"
    return wrapped(f"{facts[0].upper()}{facts[1:]}. Default: {shown}.")
