"""One hash over the source that a stage can run: its module and every ``genomix*`` module reachable from it.

The closure is read from the syntax tree, not from what happens to be imported: imports inside functions count, and so
do the members that the registry finds at run time. It is a superset of what runs, so that a change can cost a
recomputation but never leave an old result standing. Files that a package carries beside its modules (templates,
tables) count as its source.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genomix.provenance import hash_json, sha256_bytes

OWN_PREFIX = "genomix"
"""Top-level packages whose names begin so are followed; all others are covered by their versions."""

_REGISTRY = "genomix.registry"


def source_hash(function: Callable[..., Any]) -> str:
    """Return the SHA-256 over the sources of the module that defines ``function`` and of all that it can import.

    Raises
    ------
    ValueError: when a module asks the registry for a package whose name is not written in that module.
    """
    return hash_json([[name, digest] for name, digest in sorted(source_files(function).items())])


def source_files(function: Callable[..., Any]) -> dict[str, str]:
    """Return ``{module name, or package name:data file: SHA-256}`` for the closure of ``function``'s module."""
    while isinstance(function, functools.partial):
        function = function.func
    start = inspect.unwrap(function).__module__
    path = find_module(start) or _loaded_file(start)
    if path is None:
        raise ValueError(f"the source of module {start!r} cannot be found")
    return _closure(start, path)


def _closure(start: str, start_path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting: list[tuple[str, Path]] = [(start, start_path)]
    seen = {start}
    while waiting:
        name, path = waiting.pop()
        source = _read(name, path)
        found[name] = source.digest
        if path.name == "__init__.py":
            found |= {f"{name}:{relative}": digest for relative, digest in _data_files(path.parent)}
        members = (member for package in source.registries for member in _members_of(package))
        for target in (*_parents(name), *source.names, *members):
            if target not in seen:
                seen.add(target)
                target_path = find_module(target)
                waiting += [(target, target_path)] if target_path is not None else []
    return found


def find_module(name: str) -> Path | None:
    """Return the file of one of our own modules, or None; nothing but the top-level package is imported."""
    top, _, rest = name.partition(".")
    if not top.startswith(OWN_PREFIX):
        return None
    for root in _roots(top):
        base = root.joinpath(*rest.split(".")) if rest else root
        for candidate in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if candidate.is_file():
                return candidate
    return None


@functools.cache
def _roots(top: str) -> tuple[Path, ...]:
    spec = importlib.util.find_spec(top)
    return tuple(Path(p) for p in (spec.submodule_search_locations or ())) if spec is not None else ()


def _loaded_file(name: str) -> Path | None:
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file else None


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


@dataclass(frozen=True)
class _Source:
    digest: str
    names: tuple[str, ...]  # modules that it names; some may turn out to be attributes
    registries: tuple[str, ...]  # packages whose members it asks the registry for


def _read(name: str, path: Path) -> _Source:
    status = path.stat()
    return _parse(name, path, status.st_size, status.st_mtime_ns)


@functools.cache
def _parse(name: str, path: Path, _size: int, _mtime_ns: int) -> _Source:
    text = path.read_bytes()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(text, filename=str(path))
    # Expressions, most of a tree, matter only where one of these is called; a third of a run that does nothing.
    calls = b"registry" in text or b"import_module" in text
    nodes, constants = list(ast.walk(tree) if calls else _statements(tree)), _string_constants(tree)
    registries = () if name == _REGISTRY else _asked_packages(nodes, constants, name)
    names = {*_imported(nodes, constants, package), *registries}
    return _Source(
        sha256_bytes(text), tuple(sorted(n for n in names if n.startswith(OWN_PREFIX))), tuple(sorted(set(registries)))
    )


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every statement of a module, however deeply nested."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(tree, name, ()):
            yield node
            yield from _statements(node)


def _imported(nodes: Sequence[ast.AST], constants: Mapping[str, str], package: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _last_name(node.func) == "import_module" and node.args:
            yield _literal(node.args[0], constants) or ""


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    anchor = parts[: len(parts) - node.level + 1]
    return ".".join([*anchor, node.module] if node.module else anchor)


def _asked_packages(nodes: Sequence[ast.AST], constants: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return the packages that a module's calls of ``members`` and ``member`` name."""
    bound = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == _REGISTRY
        for alias in node.names
    }
    calls = [node for node in nodes if isinstance(node, ast.Call) and _calls_registry(node, bound)]
    return tuple(_asked_package(call, name, constants) for call in calls)


def _calls_registry(call: ast.Call, bound: set[str]) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in bound
    is_registry = isinstance(call.func, ast.Attribute) and _last_name(call.func.value) == "registry"
    return is_registry and _last_name(call.func) in ("members", "member")


def _asked_package(call: ast.Call, name: str, constants: Mapping[str, str]) -> str:
    argument = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "package"), None)
    package = _literal(argument, constants)
    if package is None:
        raise ValueError(
            f"{name}, line {call.lineno}: name the package in the call of the registry, or as a constant of this "
            "module, so that its members count as source"
        )
    return package


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _literal(node: ast.expr | None, constants: Mapping[str, str]) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def _string_constants(tree: ast.Module) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            text = node.value.value
            found |= {t.id: text for t in targets if isinstance(t, ast.Name) and isinstance(text, str)}
    return found


def _members_of(package: str) -> Iterator[str]:
    path = find_module(package)
    if path is None or path.name != "__init__.py":
        return
    for entry in sorted(path.parent.iterdir()):
        if entry.suffix == ".py" and entry.stem != "__init__":
            yield f"{package}.{entry.stem}"
        elif (entry / "__init__.py").is_file():
            yield f"{package}.{entry.name}"


def _data_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (relative name, SHA-256) of a package's files that are not modules; folders that are packages are not."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__pycache__")) or path.name.endswith("~"):
            continue
        if path.is_dir() and not (path / "__init__.py").exists():
            yield from ((f"{path.name}/{relative}", digest) for relative, digest in _data_files(path))
        elif path.is_file() and path.suffix not in (".py", ".pyc", ".so") and path.name != "py.typed":
            yield path.name, _data_digest(path, path.stat().st_size, path.stat().st_mtime_ns)


@functools.cache
def _data_digest(path: Path, _size: int, _mtime_ns: int) -> str:
    return sha256_bytes(path.read_bytes())
