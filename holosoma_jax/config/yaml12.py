"""YAML as people mean it, read and written, and values as text for messages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml


def spell(name: str) -> str:
    """The one spelling of a key: '-' and '_' are the same."""
    return name.replace("-", "_")


class Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2, which are the ones people expect.

    PyYAML speaks YAML 1.1, where `1e-5` is text, `no` is false and `12:30` is a number. Keys are
    spelt with '_' ; a key given twice, a key that is not text and an anchor are errors.
    """

    spell = staticmethod(spell)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse references: they make values that contain themselves, and files that surprise."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                problem="references like *name are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping with canonical keys."""
        out: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"the key {show(key)} is not text"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            if (spelt := self.spell(key)) in out:
                problem = f"the key '{key}' is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            out[spelt] = self.construct_object(value_node, deep=True)
        return out


Loader.yaml_implicit_resolvers = {}  # instead of YAML 1.1's, which the base class brings
for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|None|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "[-+]?(0|[1-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


class NameLoader(Loader):
    """The same, with keys as they are written: names of joints, say."""

    spell = staticmethod(str)


class TextLoader(Loader):
    """The same syntax, every scalar kept as text."""


TextLoader.yaml_implicit_resolvers = {}


class _Dumper(yaml.SafeDumper):
    """Quotes text that `Loader` or a plain YAML 1.1 reader would take for something else."""

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        """One key a line."""
        return super().represent_mapping(tag, mapping, flow_style=False)


_Dumper.yaml_implicit_resolvers = {
    first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *resolvers]
    for first, resolvers in (yaml.SafeDumper.yaml_implicit_resolvers | Loader.yaml_implicit_resolvers).items()
}


def dump(mapping: Mapping[str, Any]) -> str:
    """YAML that `Loader` and other readers read back unchanged; lists of scalars on one line."""
    return yaml.dump(
        mapping, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )


def show(value: Any) -> str:
    """A value as it would be typed, cut to one short line."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = " ".join(str(value).split())
    if isinstance(value, str):
        text = "'" + " ".join(value.split()) + "'"
    return text if len(text) <= 80 else text[:76] + " ..."
