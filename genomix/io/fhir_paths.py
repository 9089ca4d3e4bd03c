"""A small subset of FHIRPath, compiled once and applied to parsed resources.

Names joined by dots, ``[0]``, ``first()``, ``where(field = 'x')``, ``extension('url')``, ``ofType(Quantity)``,
``resolve()`` of a reference, ``value[x]`` for any type of a choice, and ``%resource`` at the beginning for the whole
resource where a path would start at an item of it.

>>> code = compile_path("code.coding.where(system = 'http://loinc.org').code")
>>> concept = {"coding": [{"system": "x", "code": "1"}, {"system": "http://loinc.org", "code": "2"}]}
>>> code.first({"code": concept}, Context())
'2'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Resource = dict[str, Any]


class Target(NamedTuple):
    """What a reference names: a resource type and an id; either may be unknown."""

    type: str | None
    id: str | None


_TYPE_AND_ID = re.compile(r"(?:^|/)([A-Z][A-Za-z]+)/([^/?#|\s]+)(?:/_history/[^/?#]*)?(?:\|[^/]*)?$")


@dataclass
class Context:
    """Where references of a resource can lead: its bundle, what it contains, and medications of the whole source.

    Parameters
    ----------
    root: the resource that is being read. local: fullUrl → resource of the same bundle.
    medications: id → Medication resource of the source.
    """

    root: Resource = field(default_factory=dict)
    local: dict[str, Resource] = field(default_factory=dict)
    medications: dict[str, Resource] = field(default_factory=dict)

    def target(self, reference: Any) -> Target:
        """Return type and id that a Reference names, by way of the bundle where it is there."""
        text = reference.get("reference") if isinstance(reference, dict) else None
        if not isinstance(text, str):
            return Target(None, None)
        text = text.strip()
        found = self.local.get(text)
        if found is not None:
            return Target(found["resourceType"], id_of(found, text))
        match = _TYPE_AND_ID.search(text)
        if match is not None and "?" not in text:
            return Target(match[1], match[2])
        if text.startswith(("urn:uuid:", "urn:oid:")):
            stated = reference.get("type")
            return Target(stated if isinstance(stated, str) else None, text.split(":", 2)[2])
        return Target(None, None)

    def resolve(self, reference: Any) -> Resource | None:
        """Return the resource that a Reference names, or None where it is not in this source."""
        text = reference.get("reference") if isinstance(reference, dict) else None
        if not isinstance(text, str):
            return None
        if text.startswith("#"):
            contained = self.root.get("contained")
            inside = contained if isinstance(contained, list) else []
            return next((c for c in inside if isinstance(c, dict) and c.get("id") == text[1:]), None)
        if text in self.local:
            return self.local[text]
        type_, id_ = self.target(reference)
        return self.medications.get(id_) if id_ is not None and type_ in ("Medication", None) else None


def id_of(resource: Resource, url: str | None) -> str | None:
    """Return a resource's id, or the last part of its fullUrl where it has none."""
    own = resource.get("id")
    if isinstance(own, str) and own.strip():
        return own.strip()
    return re.split(r"[/:]", url)[-1] if url else None


Step = Callable[[list[Any], Context], list[Any]]


class Path:
    """A compiled path: ``all`` returns every node, ``first`` the first one or None."""

    __slots__ = ("_names", "_steps", "field", "resolves", "text")

    def __init__(self, text: str, steps: list[Step], names: tuple[str, ...] | None) -> None:
        self.text = text
        self._steps = steps
        self._names = names
        self.resolves = "resolve()" in text
        self.field = text.removeprefix("%resource.")

    def all(self, node: Any, context: Context) -> list[Any]:
        """Return every node at the path."""
        if self._names is not None:
            here = node
            for name in self._names:
                if type(here) is not dict:
                    break
                here = here.get(name)
            else:
                if type(here) is not list:
                    return [] if here is None else [here]
            if here is None:
                return []
        nodes = [node]
        for step in self._steps:
            nodes = step(nodes, context)
            if not nodes:
                break
        return nodes

    def first(self, node: Any, context: Context) -> Any:
        """Return the first node at the path, None where there is none."""
        nodes = self.all(node, context)
        return nodes[0] if nodes else None


_SEGMENT = re.compile(
    r"(?:(?P<call>where|first|ofType|extension|resolve)\((?P<args>(?:'[^']*'|[^()'])*)\)"
    r"|(?P<name>%resource|[A-Za-z_]\w*)(?P<choice>\[x\])?)(?P<index>(?:\[\d+\])*)"
)
_EQUALS = re.compile(r"\s*(?P<path>[\w.\[\]]+)\s*=\s*(?:'(?P<text>[^']*)'|(?P<word>true|false))\s*")


def compile_path(text: str) -> Path:
    """Compile a path.

    Raises
    ------
    ValueError: where it is not in the subset.
    """
    steps: list[Step] = []
    names: list[str] = []
    plain = True
    at = 0
    while True:
        match = _SEGMENT.match(text, at)
        if match is None:
            raise ValueError(f"path {text!r} cannot be read from character {at + 1} on")
        call, name = match["call"], match["name"]
        if call == "ofType":
            if not names or not steps:
                raise ValueError(f"path {text!r}: ofType() follows a name")
            type_ = match["args"].strip()
            names[-1] += type_[:1].upper() + type_[1:]
            steps[-1] = _name(names[-1])
        elif call is not None:
            plain = False
            steps.append(_call(call, match["args"].strip(), text))
        elif name == "%resource":
            if steps:
                raise ValueError(f"path {text!r}: %resource stands at the beginning")
            plain = False
            steps.append(lambda _, context: [context.root])
        else:
            plain = plain and not match["choice"]
            names.append(name)
            steps.append(_choice(name) if match["choice"] else _name(name))
        for index in re.findall(r"\d+", match["index"]):
            plain = False
            steps.append(_index(int(index)))
        at = match.end()
        if at == len(text):
            return Path(text, steps, tuple(names) if plain else None)
        if text[at] != ".":
            raise ValueError(f"path {text!r} cannot be read from character {at + 1} on")
        at += 1


def _name(name: str) -> Step:
    def step(nodes: list[Any], _: Context) -> list[Any]:
        return _flat([n.get(name) for n in nodes if type(n) is dict])

    return step


def _choice(name: str) -> Step:
    size = len(name)

    def step(nodes: list[Any], _: Context) -> list[Any]:
        return _flat(
            [
                value
                for n in nodes
                if type(n) is dict
                for key, value in n.items()
                if key.startswith(name) and key[size : size + 1].isupper()
            ]
        )

    return step


def _index(index: int) -> Step:
    return lambda nodes, _: nodes[index : index + 1]


def _call(call: str, args: str, text: str) -> Step:
    if call in ("first", "resolve"):
        if args:
            raise ValueError(f"path {text!r}: {call}() takes no argument")
        if call == "first":
            return _index(0)
        return lambda nodes, context: _flat([context.resolve(n) for n in nodes])
    if call == "extension":
        if not (len(args) > 2 and args[0] == args[-1] == "'"):
            raise ValueError(f"path {text!r}: extension() takes a URL in quotes")
        url = args[1:-1]
        extensions = _name("extension")
        return lambda nodes, context: [e for e in extensions(nodes, context) if type(e) is dict and e.get("url") == url]
    match = _EQUALS.fullmatch(args)
    if match is None:
        raise ValueError(f"path {text!r}: where() takes field = 'text'")
    inner = compile_path(match["path"])
    wanted: Any = match["text"] if match["text"] is not None else match["word"] == "true"
    return lambda nodes, context: [n for n in nodes if wanted in inner.all(n, context)]


def _flat(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if type(value) is list:
            found.extend(v for v in value if v is not None)
        elif value is not None:
            found.append(value)
    return found
