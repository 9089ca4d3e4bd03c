"""Make the pages of docs/reference from the code: commands, study file, tables, exit codes, registered members.

``python docs/make_reference.py`` writes them; ``--check`` exits with 1 when a page is not what the code says.
"""

from __future__ import annotations

import json
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic_core import PydanticUndefined

FOLDER = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Made by docs/make_reference.py; do not edit. -->\n\n"


def pages() -> dict[str, str]:
    """Return every page's text by file name."""
    return {
        "commands.md": commands(),
        "study-file.md": study_file(),
        "tables.md": tables(),
        "exit-codes.md": exit_codes(),
        "members.md": members_page(),
    }


def commands() -> str:
    """Return the help of every command, as typer's own command tree states it."""
    import typer.main

    from genomix_cli.app import app

    root: Any = typer.main.get_command(app)
    return "\n".join(["# Commands\n", *_described(root, "genomix")])


def _described(group: Any, name: str) -> Iterator[str]:
    """Yield the description of each command of a group, and of the groups in it."""
    for child, command in sorted(group.commands.items()):
        yield f"## {name} {child}\n\n{_plain(command.help or '')}\n"
        if hasattr(command, "commands"):
            yield from _described(command, f"{name} {child}")
            continue
        rows = [_parameter(p) for p in command.params if not getattr(p, "hidden", False)]
        yield "| option | meaning | default |\n|---|---|---|\n" + "\n".join(rows) + "\n"
        if command.epilog:
            yield f"{_plain(command.epilog)}\n"


def _plain(text: str) -> str:
    return text.replace("\b\n", "").replace("\b", "").strip()


def _parameter(parameter: Any) -> str:
    names = ", ".join(f"`{o}`" for o in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    told = getattr(parameter, "show_default", None)
    default = told if isinstance(told, str) else parameter.default
    shown = (
        ""
        if default is None or default is False or callable(default) or "UNSET" in str(default).upper()
        else f"`{default}`"
    )
    return f"| {names} | {_cell(getattr(parameter, 'help', '') or '')} | {shown} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def study_file() -> str:
    """Return every key of the study file with type, default and bounds."""
    from genomix_pipelines import study_sections as study

    parts = [
        "# The study file\n",
        "Every key, its type and its default; unknown keys are errors. Paths start at the file's folder.\n",
    ]
    for title, section in _sections(study):
        parts.append(f"## {title}\n\n{_cell((section.__doc__ or '').split(': ', 1)[-1])}\n")
        rows = []
        for key, field in section.model_fields.items():
            if _is_section(field.annotation, study):
                continue
            value = field.get_default(call_default_factory=True)
            shown = "required" if value is PydanticUndefined else json.dumps(value, default=str)
            shown = "absent" if value is None else shown
            bounds = _bounds(field.annotation, field.metadata)
            rows.append(f"| `{key}` | {_cell(_type(field.annotation))} | {_cell(shown)} | {_cell(bounds)} |")
        parts.append(
            "| key | type | default | bounds |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
            if rows
            else "No options.\n"
        )
    return "\n".join(parts)


def _sections(study: ModuleType) -> Iterator[tuple[str, Any]]:
    for cls in vars(study).values():
        if isinstance(cls, type) and issubclass(cls, study.Section) and cls is not study.Section:
            doc = (cls.__doc__ or "").split(":")[0]
            if doc.startswith("["):
                yield doc, cls


def _is_section(annotation: Any, study: ModuleType) -> bool:
    options = [o for o in getattr(annotation, "__args__", None) or [annotation] if o is not type(None)]
    return all(isinstance(o, type) and issubclass(o, study.Section) for o in options)


def _type(annotation: Any) -> str:
    """Return a type as a reader of TOML would say it."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(inside[0])
    if origin is typing.Literal:
        return " or ".join(f'"{value}"' for value in inside)
    if origin in (typing.Union, types.UnionType):
        told = [_type(part) for part in inside if part is not type(None)]
        return " or ".join(told) + (", or absent" if type(None) in inside else "")
    if origin is tuple:
        return f"list of {_type(inside[0])}"
    if origin is dict:
        return "table of text"
    if hasattr(annotation, "model_fields"):
        return f"a table {(annotation.__doc__ or '').split(':')[0]}"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    return names.get(annotation, str(annotation))


def _bounds(annotation: Any, metadata: list[Any]) -> str:
    """Return the bounds of a value, also those inside an optional or a list."""
    found = list(metadata)
    for part in typing.get_args(annotation):
        if typing.get_origin(part) is typing.Annotated:
            found += [m for field in typing.get_args(part)[1:] for m in getattr(field, "metadata", [field])]
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length at least", "pattern": "like"}
    told = []
    for bound in found:
        for name, sign in signs.items():
            if getattr(bound, name, None) is not None:
                told.append(f"{sign} {getattr(bound, name)}")
    return ", ".join(dict.fromkeys(told))


def tables() -> str:
    """Return the columns of every artefact's frame."""
    import importlib
    import pkgutil

    import genomix.schemas
    from genomix.schemas.frame import FrameSchema

    parts = ["# Tables\n", "One schema per artefact; every file is checked against it when it is written and read.\n"]
    for info in pkgutil.iter_modules(genomix.schemas.__path__):
        module = importlib.import_module(f"genomix.schemas.{info.name}")
        for schema in vars(module).values():
            if isinstance(schema, FrameSchema):
                rows = [
                    f"| `{c.name}` | {c.dtype} | {'yes' if c.nullable else ''} | {c.unit or ''} | {_cell(c.meaning)} |"
                    for c in schema.columns
                ]
                key = f"Unique by {', '.join(f'`{k}`' for k in schema.key)}.\n\n" if schema.key else ""
                parts.append(
                    f"## {schema.name}\n\n{key}| column | type | nullable | unit | meaning |\n|---|---|---|---|---|\n"
                    + "\n".join(rows)
                    + "\n"
                )
    return "\n".join(parts)


def exit_codes() -> str:
    """Return the fixed exit codes."""
    from genomix.errors import EXIT_CODES

    rows = "\n".join(f"| {code} | {cause} |" for code, cause in sorted(EXIT_CODES.items()))
    return f"# Exit codes\n\nOne per cause, the same for every command.\n\n| code | cause |\n|---|---|\n{rows}\n"


def members_page() -> str:
    """Return every registered member: formats, families, models, sections, stages."""
    from genomix.registry import members

    parts = ["# Members\n", "What the registry finds; to add one, add a file.\n"]
    for title, package, attribute in (
        ("File formats", "genomix.io", "FORMAT"),
        ("Feature families", "genomix.features.families", "FAMILY"),
        ("Models", "genomix.models", "MODEL"),
        ("Report sections", "genomix.report.sections", "SECTION"),
        ("Stages", "genomix_pipelines.stages", "STAGE"),
    ):
        found = members(package, attribute)
        rows = [f"| `{name}` | {_cell(_about(package, name, attribute))} |" for name in sorted(found)]
        parts.append(f"## {title}\n\n| name | what it is |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _about(package: str, name: str, attribute: str) -> str:
    import importlib
    import pkgutil

    root = importlib.import_module(package)
    for info in pkgutil.iter_modules(root.__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        member = getattr(module, attribute, None)
        if member is not None and member.name == name:
            return (module.__doc__ or "").strip().split("\n")[0]
    return ""


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` compare them."""
    wrong = []
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        path, content = FOLDER / name, NOTE + text
        if "--check" in arguments:
            if not path.exists() or path.read_text() != content:
                wrong.append(name)
        else:
            path.write_text(content)
    if wrong:
        print("not what the code says: " + ", ".join(wrong) + " (run: make docs)", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
