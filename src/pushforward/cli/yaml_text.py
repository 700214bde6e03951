"""YAML as people mean it: ``3e-4`` is a number, ``1:30`` a text, and a key may not come twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from ..errors import InputError

__all__ = ["dump_yaml", "load_yaml"]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its traps."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that comes twice, of which YAML would take the last without a word."""
        keys = [key.value for key, _ in node.value]
        twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


# A copy: the resolvers of SafeLoader are shared by whoever else reads YAML in this process.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, found) for tag, found in pairs if not tag.endswith((":float", ":int"))]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$|[-+]?\.inf$"),
    list("-+.0123456789"),
)


class _Dumper(yaml.SafeDumper):
    """Writes in quotes what the loader above would not take for a text."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def load_yaml(text: str, where: str) -> Any:
    """Parse ``text``; ``where`` is what errors call it.

    Raises:
        InputError: it is not YAML; says in which line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"{where}{line}: {error.problem or 'not valid YAML'}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid YAML: {error}.") from None


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Write ``content`` as YAML, in its own order."""
    text: str = yaml.dump(_plain(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
