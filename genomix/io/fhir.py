"""HL7 FHIR R4 (https://hl7.org/fhir/R4/): bundles and NDJSON of bulk exports, plain or gzip.

Which paths become which events stands in view definitions (:mod:`genomix.io.fhir_views`). Every resource is one source
row of the table of its type, numbered within its file and type; types without a view are counted in ``left_out``, the
type in the place of the file. Files are told by their number, because a bundle is often named after its person. The
subject is the Patient's id as text.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson
import polars as pl

from genomix.errors import FormatError, InputNotFoundError, TruncatedInputError
from genomix.io.availability import AvailabilityRule
from genomix.io.fhir_paths import Context, Resource
from genomix.io.fhir_rows import Chunk
from genomix.io.fhir_views import Views, read_views, shipped_views
from genomix.io.record_conversion import ScannedFormat
from genomix.io.record_rows import LeftOutFile, RawRows, descriptions_of

LINES_PER_PART = 20_000
RESOURCES_PER_PART = 5_000
"""Resources that become events together at least, of as many bundles as it takes."""
NO_VIEW = "no view for this resource type"
NO_RESOURCE = "entry of a bundle without a resource"
MANIFEST = "the manifest of a bulk export"

_JSON = (".json", ".json.gz")
_NDJSON = (".ndjson", ".ndjson.gz")
_LOOKED_AT = 1 << 16
_A_TYPE = re.compile(rb'"resourceType"\s*:\s*"[A-Z][A-Za-z]+"')
_A_MEDICATION = re.compile(rb'"resourceType"\s*:\s*"Medication"')
_BOM = b"\xef\xbb\xbf"

_NOT_RECORDED = "the source says when it began or was done, not when it was written down: "
RULES: tuple[AvailabilityRule, ...] = (
    AvailabilityRule("", "discharge", _NOT_RECORDED + "diagnoses of a stay are coded at its end", "Condition"),
    AvailabilityRule("", "discharge", _NOT_RECORDED + "procedures of a stay are coded at its end", "Procedure"),
    AvailabilityRule("", "discharge", _NOT_RECORDED + "within a stay, known at its end", "AllergyIntolerance"),
)
"""What holds where a resource does not state itself when it was recorded (``recordedDate``, ``issued``, ...)."""


class FhirFormat(ScannedFormat):
    """FHIR R4 as a record format.

    Parameters
    ----------
    views: other views than the shipped ones, see :func:`genomix.io.fhir_views.read_views`.
    """

    name = "fhir"

    def __init__(self, views: Views | None = None) -> None:
        self._views = views

    def recognises(self, path: Path) -> bool:
        """Say whether a file, or one of the first files of a folder, begins as a FHIR resource does."""
        return any(_begins_as_fhir(file) for file in _files(path)[:3])

    def scan(self, path: Path, *, mapping: Path | None = None) -> FhirScan:
        """Open a folder of bundles or NDJSON files, or one file; ``mapping`` is a site's own file of views."""
        views = self._views or _shipped()
        return FhirScan(path, views if mapping is None else read_views(mapping))


RECORD_FORMAT = FhirFormat()


@cache
def _shipped() -> Views:
    return shipped_views()


class Document(NamedTuple):
    """One JSON document: its resources with their fullUrls, what references inside it can lead to, entries without."""

    resources: list[tuple[Resource, str | None]]
    local: dict[str, Resource]
    empty: int


class FhirScan:
    """Resources of a source, read once in parts of one file and one type; see ``RecordScan``.

    Parameters
    ----------
    path: a folder or a file. views: what to read. lines_per_part: lines of NDJSON that are held at once.

    Raises
    ------
    InputNotFoundError: nothing to read there.
    """

    source_format = "fhir"

    def __init__(self, path: Path, views: Views, *, lines_per_part: int = LINES_PER_PART) -> None:
        self.rules = RULES
        self.left_out: list[LeftOutFile] = []
        self.adjusted: dict[str, int] = {}
        self._views = views
        self._lines_per_part = lines_per_part
        self._files = _files(path)
        self._numbers = {file: number for number, file in enumerate(self._files, start=1)}
        self._descriptions: dict[str, str] = {}
        self._patients: set[str] = set()
        if not path.exists():
            raise InputNotFoundError(f"{path.name} does not exist", where=str(path))
        if not self._files:
            raise InputNotFoundError(
                "no FHIR file", where=str(path), hint="*.json bundles or *.ndjson files, also with .gz"
            )

    def parts(self) -> Iterator[RawRows]:
        """Yield every resource whose type has a view.

        Raises
        ------
        FormatError: broken JSON, or JSON that is no FHIR, with file and line. TruncatedInputError: a file that was cut.
        """
        medications = self._medications() if self._views.resolves else {}
        others: Counter[str] = Counter()
        chunk = self._chunk()
        for file in self._files:
            name = self._shown(file)
            first: Counter[str] = Counter()
            for documents in self._chunks(file):
                chunk.begin(name, first)
                for document in documents:
                    others[""] += document.empty
                    context = Context(local=document.local, medications=medications)
                    for resource, url in document.resources:
                        if resource["resourceType"] in self._views.views:
                            chunk.add(resource, context, url)
                        else:
                            others[resource["resourceType"]] += 1
                if chunk.size >= min(RESOURCES_PER_PART, self._lines_per_part):
                    yield from chunk.rows()
                    chunk = self._chunk()
        yield from chunk.rows()
        empty = others.pop("", 0)
        self.left_out += [LeftOutFile(type_, rows, NO_VIEW) for type_, rows in sorted(others.items())]
        if empty:
            self.left_out.append(LeftOutFile("Bundle", empty, NO_RESOURCE))

    def _chunk(self) -> Chunk:
        return Chunk(self._views, self.adjusted, self._descriptions, self._patients)

    def _shown(self, file: Path) -> str:
        """Return a file's number in the order of names: a bundle's name is often its person's."""
        return f"file {self._numbers[file]} of {len(self._files)}"

    def descriptions(self) -> pl.DataFrame:
        """Return code and description: the display of the coding, or the text of the concept."""
        return descriptions_of(self._descriptions)

    def _chunks(self, file: Path) -> Iterator[Iterator[Document] | list[Document]]:
        """Yield the documents that are turned into events together: a whole JSON file, or some lines of NDJSON."""
        if not _is_lines(file):
            content = _read(file)
            parsed = _parse(content, file, None)
            if isinstance(parsed, dict) and "transactionTime" in parsed and "output" in parsed:
                self.left_out.append(LeftOutFile(self._shown(file), 0, MANIFEST))
                return
            yield [_document(parsed, str(file))]
            return
        lines: list[tuple[int, bytes]] = []
        with _opened(file) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    lines.append((number, line))
                if len(lines) >= self._lines_per_part:
                    yield _of_lines(lines, file)
                    lines = []
        if lines:
            yield _of_lines(lines, file)

    def _medications(self) -> dict[str, Resource]:
        """Return the codes of Medication resources by id; files that name none are not parsed."""
        found: dict[str, Resource] = {}
        for file in self._files:
            lines = _is_lines(file)
            with _opened(file) as stream:
                texts = enumerate(stream, start=1) if lines else enumerate([stream.read()], start=1)
                for number, text in texts:
                    if b'"Medication"' not in text or not _A_MEDICATION.search(text):
                        continue
                    document = _document(_parse(text, file, number if lines else None), str(file))
                    for one, _ in document.resources:
                        if one["resourceType"] == "Medication" and isinstance(one.get("id"), str):
                            found[one["id"]] = {"resourceType": "Medication", "id": one["id"], "code": one.get("code")}
        return found


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name.endswith(_JSON + _NDJSON) else []
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.name.endswith(_JSON + _NDJSON) and p.is_file())


def _is_lines(file: Path) -> bool:
    return file.name.endswith(_NDJSON)


def _begins_as_fhir(file: Path) -> bool:
    try:
        with _opened(file) as stream:
            begin = stream.read(_LOOKED_AT).removeprefix(_BOM).lstrip()
    except (FormatError, InputNotFoundError):
        return False
    return begin.startswith(b"{") and _A_TYPE.search(begin) is not None


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """Open a file, plain or gzip; what goes wrong while it is read becomes a user's error."""
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
            yield stream  # type: ignore[misc]  # both are binary streams; the stubs join them as object
    except EOFError as error:
        raise _cut(file) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(
            f"{file.name} is not a whole gzip file", where=str(file), hint="compare checksums with the source's"
        ) from error
    except OSError as error:
        raise InputNotFoundError(f"cannot read {file.name}: {error.strerror}", where=str(file)) from error


def _cut(file: Path, line: int | None = None) -> TruncatedInputError:
    where = str(file) if line is None else f"{file}:{line}"
    hint = "copy or export it again and compare checksums"
    return TruncatedInputError(f"{file.name} ends in the middle: it was cut", where=where, hint=hint)


def _read(file: Path) -> bytes:
    with _opened(file) as stream:
        return stream.read()


def _parse(text: bytes, file: Path, line: int | None) -> Any:
    """Parse one JSON document; its text goes into no message."""
    text = text.removeprefix(_BOM)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        at = error.lineno if line is None else line
        what = str(error.msg)
    if "end of data" in what or "EOF" in what:
        raise _cut(file, at)
    raise FormatError(
        f"{file.name} is not JSON: {what}", where=f"{file}:{at}",
        hint="one resource a line in .ndjson, one resource or Bundle in .json",
    )  # fmt: skip


def _of_lines(lines: list[tuple[int, bytes]], file: Path) -> Iterator[Document]:
    for number, line in lines:
        yield _document(_parse(line, file, number), f"{file}:{number}")


def _document(parsed: Any, where: str) -> Document:
    """Take a resource, or a Bundle apart."""
    resource = _resource(parsed, where)
    if resource["resourceType"] != "Bundle":
        return Document([(resource, None)], {}, 0)
    if resource.get("type") == "history":
        raise FormatError("a bundle of the type history holds old versions", where=where, hint="export current ones")
    entries = resource.get("entry", [])
    if not isinstance(entries, list):
        raise FormatError("the entry of the Bundle is no list", where=where, hint="a FHIR R4 Bundle")
    found: list[tuple[Resource, str | None]] = []
    local: dict[str, Resource] = {}
    empty = 0
    for number, entry in enumerate(entries, start=1):
        inside = entry.get("resource") if isinstance(entry, dict) else None
        if inside is None:
            empty += 1
            continue
        one = _resource(inside, f"{where}, entry {number}")
        url = entry.get("fullUrl")
        url = url.strip() if isinstance(url, str) and url.strip() else None
        if url is not None:
            local[url] = one
        found.append((one, url))
    return Document(found, local, empty)


def _resource(parsed: Any, where: str) -> Resource:
    type_ = parsed.get("resourceType") if isinstance(parsed, dict) else None
    if not isinstance(type_, str) or not (type_.isascii() and type_.isalpha() and len(type_) < 64):
        raise FormatError("JSON without a FHIR resourceType", where=where, hint="a FHIR R4 resource or Bundle")
    resource: Resource = parsed
    return resource
