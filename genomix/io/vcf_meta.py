"""Rules for the header of a VCF file: the meta-information lines and the line of column names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from genomix.errors import FormatError, Identifier
from genomix.io.contigs import detect_build
from genomix.io.vcf_findings import FindingLog, shown
from genomix.io.vcf_reserved import (
    FieldSpec,
    reserved_format,
    reserved_format_sv,
    reserved_info,
    reserved_info_sv,
)

FIXED = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
_VERSION = re.compile(r"##fileformat=VCFv4\.([0-9]+)")
_KEY = re.compile(r"[^\s=,<>\"]+")
_UNQUOTED = re.compile(r"[^,\"]*")
_BARE = re.compile(r"[^,]*")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"")
_LISTED = re.compile(r"\[[^\]]*\]")
_INFO_ID = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*|1000G")
_OLD_ID = re.compile(r"[^\s;:=,<>\"]+")
_ALT_ID = re.compile(r"[^\s,<>]+")
_CONTIG_ID = re.compile(r"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*")
_OLD_CONTIG_ID = re.compile(r"[^\s,<>\"]+")
_SAMPLE_ID = re.compile(r"[^\s,<>\"*;:]+")
_FAMILY_VALUE = re.compile(r"[^\s,<>\":;]+")
_ALT_TYPES = ("DEL", "INS", "DUP", "INV", "CNV", "BND")
_TYPES = ("Integer", "Float", "Character", "String")
_NUMBERS = {1: "AG", 2: "AGR"}
_MORE_NUMBERS = {4: ("P",), 5: ("P", "LA", "LR", "LG", "M")}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^\s/@]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s/:?#]*)(?::[0-9]*)?(?:[/?#]\S*)?")
_IPV4 = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_HOST = re.compile(r"[0-9A-Za-z_%.~-]+")
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")
_DEFAULT_FIELDS = {
    "INFO": ("ID", "Number", "Type", "Description"),
    "FORMAT": ("ID", "Number", "Type", "Description"),
    "FILTER": ("ID", "Description"),
    "ALT": ("ID", "Description"),
    "contig": ("ID",),
    "META": ("ID",),
    "SAMPLE": ("ID",),
    "PEDIGREE": ("ID",),
}
_CHROMOSOME_NAME = 100
_QUOTED_FIELDS = ("Description", "Source", "Version")


@dataclass
class VcfMeta:
    """What a header declares, as far as the records are held against it.

    Parameters
    ----------
    version: the minor version: 3 for VCF 4.3.
    info, formats: declared keys with Number and Type.
    filters, alts: declared codes and symbolic alleles.
    contigs: declared contigs with their lengths, None where there is none.
    samples: sample names in file order.
    """

    version: int = 3
    info: dict[str, FieldSpec] = field(default_factory=dict)
    formats: dict[str, FieldSpec] = field(default_factory=dict)
    filters: set[str] = field(default_factory=set)
    alts: set[str] = field(default_factory=set)
    contigs: dict[str, int | None] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    build: str | None = None


class HeaderRules:
    """Checks header lines one by one and gathers what they declare."""

    def __init__(self, log: FindingLog) -> None:
        self.meta = VcfMeta()
        self._log = log
        self._ids: dict[str, set[str]] = {}
        self.has_begun = False

    def first_line(self, line: str) -> None:
        """Check the file format line and learn the version."""
        self.has_begun = True
        found = _VERSION.fullmatch(line)
        if found is None:
            self._log.add("fileformat", 1, "", f"the first line is {shown(line)}, not ##fileformat=VCFv4.x")
            return
        minor = int(found.group(1)[:4])
        if not 1 <= minor <= 5:
            self._log.add("version", 1, "", f"VCF 4.{minor} is not known here")
        self.meta.version = min(max(minor, 1), 5)

    def line(self, number: int, line: str) -> None:
        """Check one line that stands between the file format line and the line of column names."""
        key, equals, value = line[2:].partition("=")
        if not line.startswith("##") or not equals or not key or not value or any(c.isspace() for c in key):
            self._log.add("meta-syntax", number, "", f"{shown(line)} is not ##key=value")
        elif key == "fileformat":
            self._log.add("fileformat", number, "", "a second ##fileformat line")
        elif key in ("assembly", "pedigreeDB"):
            self._url(number, key, value)
        elif key in _DEFAULT_FIELDS and not (key == "PEDIGREE" and not value.startswith("<")):
            self._structured(number, key, value)
        elif value.startswith("<"):
            self._other(number, key, value)

    def _url(self, number: int, key: str, value: str) -> None:
        bare = value[1:-1] if value.startswith("<") and value.endswith(">") else value
        if not bare or any(c in bare for c in '<>" '):
            self._log.add("meta-url", number, key, f"{shown(value)} is not a URL")
        elif "://" not in bare:
            self._log.add("meta-url-missing", number, key, f"{shown(value)} is not a URL")
        elif not is_url(bare):
            self._log.add("meta-url", number, key, f"{shown(value)} has no valid host")

    def _other(self, number: int, key: str, value: str) -> None:
        """A structured line that the specification does not define."""
        pairs, problem = parse_structured(value)
        strict = self.meta.version >= 3
        if problem is not None:
            rule = "meta-structured" if strict else "meta-structured-other"
            self._log.add(rule, number, key, problem)
        elif "ID" not in pairs:
            if strict:
                self._log.add("meta-id", number, key, "a structured line without an ID")
        else:
            self._unique(number, key, pairs["ID"])

    def _structured(self, number: int, key: str, value: str) -> None:
        pairs, problem = parse_structured(value)
        if problem is not None:
            self._log.add("meta-structured", number, key, problem)
            return
        if "ID" not in pairs:
            if key != "PEDIGREE" or self.meta.version >= 3:
                self._log.add("meta-id", number, key, "the line has no ID")
                return
        elif not self._id(number, key, pairs["ID"]):
            return
        self._order(number, key, pairs)
        self._quotes(number, key, pairs)
        if key in ("INFO", "FORMAT"):
            self._declared(number, key, pairs)
        elif key == "contig":
            self._contig(number, pairs)
        elif key == "FILTER":
            self.meta.filters.add(pairs["ID"])
        elif key == "ALT":
            self._number_and_type(number, key, pairs)
            self.meta.alts.add(pairs["ID"])
        elif key in ("META", "SAMPLE"):
            self._sample(number, key, pairs)
        elif key == "PEDIGREE":
            self._pedigree(number, pairs)

    def _id(self, number: int, key: str, identifier: str) -> bool:
        pattern = self._id_pattern(key)
        if pattern.fullmatch(identifier) is None or (key == "FILTER" and identifier == "0"):
            self._log.add("meta-id-characters", number, f"{key} ID", f"{shown(identifier)} is not allowed as an ID")
            return False
        if key == "ALT" and ":" in identifier and identifier.split(":")[0] not in _ALT_TYPES:
            self._log.add(
                "meta-alt", number, "ALT ID", f"{shown(identifier)} starts with none of {', '.join(_ALT_TYPES)}"
            )
        self._unique(number, key, identifier)
        return True

    def _id_pattern(self, key: str) -> re.Pattern[str]:
        new = self.meta.version >= 3
        patterns = {"ALT": _ALT_ID, "SAMPLE": _SAMPLE_ID, "META": _SAMPLE_ID, "PEDIGREE": _SAMPLE_ID}
        if key in ("INFO", "FORMAT"):
            return _INFO_ID if new else _OLD_ID
        if key == "contig":
            return _CONTIG_ID if new else _OLD_CONTIG_ID
        return patterns.get(key, _OLD_ID)

    def _unique(self, number: int, key: str, identifier: str) -> None:
        seen = self._ids.setdefault(key, set())
        if identifier in seen:
            rule = "meta-duplicate" if self.meta.version >= 3 else "meta-duplicate-old"
            self._log.add(rule, number, f"{key} ID", f"a second line with ID {shown(identifier)}")
        seen.add(identifier)

    def _order(self, number: int, key: str, pairs: dict[str, str]) -> None:
        wanted = _DEFAULT_FIELDS[key]
        missing = [name for name in wanted if name not in pairs]
        if key == "PEDIGREE" and self.meta.version < 3:
            return
        if missing == ["Description"] and self.meta.version >= 4 and key in ("FILTER", "ALT"):
            self._log.add("meta-description", number, key, "Description missing")
        elif missing:
            self._log.add("meta-fields", number, key, f"{', '.join(missing)} missing")
        elif key != "contig" and self.meta.version < 4 and tuple(pairs)[: len(wanted)] != wanted:
            self._log.add("meta-fields", number, key, f"the fields do not start with {', '.join(wanted)}")

    def _quotes(self, number: int, key: str, pairs: dict[str, str]) -> None:
        strings = key in ("INFO", "FORMAT", "FILTER", "ALT")
        for name, value in pairs.items():
            quoted = value.startswith('"')
            if name in ("ID", "Number", "Type") and quoted:
                self._log.add("meta-structured", number, f"{key} {name}", f"{shown(value)} must not be quoted")
            elif strings and not quoted and name not in ("ID", "Number", "Type", "IDX"):
                rule = "meta-quotes" if name in _QUOTED_FIELDS else "meta-optional-quotes"
                self._log.add(rule, number, f"{key} {name}", f"{shown(value)} is not quoted")

    def _declared(self, number: int, key: str, pairs: dict[str, str]) -> None:
        """INFO and FORMAT: Number, Type, and what is reserved."""
        identifier, count, kind = pairs["ID"], pairs.get("Number"), pairs.get("Type")
        if count is not None and not self._is_number(count):
            self._log.add("meta-number", number, f"{key}/{identifier}", f"Number={count} is not allowed")
            count = None
        if kind is not None and kind not in _TYPES and not (kind == "Flag" and key == "INFO"):
            self._log.add("meta-type", number, f"{key}/{identifier}", f"Type={kind} is not allowed")
            kind = None
        if kind == "Flag" and count not in (None, "0"):
            self._log.add("meta-flag-number", number, f"{key}/{identifier}", f"a Flag with Number={count}")
        target = self.meta.info if key == "INFO" else self.meta.formats
        target.setdefault(identifier, FieldSpec(count, kind))
        self._reserved(number, key, identifier, count, kind)

    def _is_number(self, count: str) -> bool:
        version = self.meta.version
        if (count.isascii() and count.isdigit() and len(count) < 10) or count == ".":
            return True
        return (len(count) == 1 and count in _NUMBERS.get(version, "AGR")) or count in _MORE_NUMBERS.get(version, ())

    def _reserved(self, number: int, key: str, identifier: str, count: str | None, kind: str | None) -> None:
        version = self.meta.version
        spec = (reserved_info(version) if key == "INFO" else reserved_format(version)).get(identifier)
        rule = "meta-reserved"
        if spec is None:
            rule = "meta-reserved-sv"
            spec = (reserved_info_sv(version) if key == "INFO" else reserved_format_sv()).get(identifier)
        if spec is None:
            return
        if count is not None and spec.number is not None and count != spec.number:
            self._log.add(rule, number, f"{key}/{identifier}", f"Number={count}, reserved with Number={spec.number}")
        if kind is not None and spec.type is not None and kind != spec.type:
            self._log.add(rule, number, f"{key}/{identifier}", f"Type={kind}, reserved with Type={spec.type}")

    def _contig(self, number: int, pairs: dict[str, str]) -> None:
        length, md5 = pairs.get("length"), pairs.get("md5")
        known = length is not None and length.isascii() and length.isdigit() and len(length) < 19
        if length is not None and not known:
            self._log.add("meta-contig", number, "contig length", f"{shown(length)} is not a number")
        if md5 is not None and _MD5.fullmatch(md5.strip('"')) is None:
            self._log.add("meta-md5", number, "contig md5", f"{shown(md5)} is not an MD5 sum")
        if pairs["ID"] not in self.meta.contigs or known:
            self.meta.contigs[pairs["ID"]] = int(length) if length is not None and known else None

    def _sample(self, number: int, key: str, pairs: dict[str, str]) -> None:
        if key == "META":
            self._number_and_type(number, key, pairs)
            if "Values" in pairs and not pairs["Values"].startswith("["):
                self._log.add("meta-sample", number, "META Values", "the values are not listed between [ and ]")
        elif self.meta.version < 3:
            missing = [name for name in ("Genomes", "Mixture", "Description") if name not in pairs]
            if missing:
                self._log.add("meta-sample", number, "SAMPLE", f"{', '.join(missing)} missing")
            for name in ("Genomes", "Mixture"):
                if pairs.get(name, "").startswith('"'):
                    self._log.add("meta-sample", number, f"SAMPLE {name}", "the value must not be quoted")

    def _number_and_type(self, number: int, key: str, pairs: dict[str, str]) -> None:
        if "Number" in pairs and not self._is_number(pairs["Number"]):
            self._log.add("meta-number", number, key, f"Number={pairs['Number']} is not allowed")
        if "Type" in pairs and pairs["Type"] not in (*_TYPES, "Flag"):
            self._log.add("meta-type", number, key, f"Type={pairs['Type']} is not allowed")

    def _pedigree(self, number: int, pairs: dict[str, str]) -> None:
        for name, value in pairs.items():
            if name not in ("ID", "Description") and _FAMILY_VALUE.fullmatch(value) is None:
                self._log.add("meta-pedigree", number, f"PEDIGREE {name}", f"{shown(value)} is not an identifier")

    def columns(self, number: int, line: str) -> None:
        """Check the line of column names, and what the whole header leaves out."""
        names = line.split("\t")
        if tuple(names[:8]) != FIXED or names[8:9] not in ([], ["FORMAT"]):
            self._log.add("header-line", number, "", "the columns are not " + " ".join(FIXED) + " (FORMAT samples)")
        elif len(names) == 9:
            self._log.add("header-line", number, "", "FORMAT without any sample")
        self.meta.samples = names[9:]
        self._sample_names(number)
        self._contigs()

    def _sample_names(self, number: int) -> None:
        first: dict[str, int] = {}
        for ordinal, name in enumerate(self.meta.samples, start=1):
            who = Identifier("sample", name or "(empty)", ordinal)
            if not name:
                self._log.add("header-samples", number, "", "an empty sample name", who)
            elif name in first:
                self._log.add("header-samples", number, "", f"the name of sample no. {first[name]} again", who)
            elif any(c.isspace() for c in name):
                self._log.add("header-sample-space", number, "", "white space in a sample name", who)
            first.setdefault(name, ordinal)

    def _contigs(self) -> None:
        contigs = self.meta.contigs
        without = sum(length is None for length in contigs.values())
        if not contigs:
            self._log.add("contigs", 0, "", "there are no ##contig lines")
        elif without:
            self._log.add("contigs", 0, "", f"{without} of {len(contigs)} contigs have no length")
        try:
            self.meta.build = detect_build({k: v for k, v in contigs.items() if len(k) <= _CHROMOSOME_NAME})
        except FormatError as error:
            self._log.add("build", 0, "", error.what)
        else:
            if self.meta.build is None:
                self._log.add("build", 0, "", "the contig lengths do not tell the genome build")


def is_url(text: str) -> bool:
    """Say whether a text is a URL whose host is a name, an IPv4 address or a bracketed IPv6 address (RFC 3986, 1123).

    >>> is_url("ftp://user@host:8080/path/to/file?a=b"), is_url("http://8080:8080/file"), is_url("file:///a/b.fa")
    (True, False, True)
    """
    found = _URL.fullmatch(text)
    if found is None:
        return False
    host = found.group(1)
    if not host:
        return text.lower().startswith("file://")
    if host.startswith("["):
        return True
    last = host.rstrip(".").rpartition(".")[2]
    return _HOST.fullmatch(host) is not None and (_IPV4.fullmatch(host) is not None or not last.isdigit())


def parse_structured(value: str) -> tuple[dict[str, str], str | None]:
    """Return the fields of ``<key=value,...>``, quoted values with their quotes, and what is wrong or None.

    >>> parse_structured('<ID=q10,Description="Below 10, \\\\"low\\\\"">')[0]["Description"]
    '"Below 10, \\\\"low\\\\""'
    >>> parse_structured("<ID=q10")[1]
    'the line does not end with >'
    """
    if not value.startswith("<"):
        return {}, "the value does not start with <"
    if not value.endswith(">") or len(value) < 3:
        return {}, "the line does not end with >" if not value.endswith(">") else "there is nothing between < and >"
    pairs: dict[str, str] = {}
    at, end = 1, len(value) - 1
    while at < end:
        at += value[at] == " "
        key = _KEY.match(value, at, end)
        if key is None or value[key.end() : key.end() + 1] != "=":
            return pairs, f"{shown(value[at:end])} is not key=value"
        found = _value_at(value, key.end() + 1, end, may_hold_quotes=key.group() == "ID")
        if found is None:
            return pairs, f"the value of {key.group()} is empty, not closed, or holds quotes that are not escaped"
        if key.group() in pairs:
            return pairs, f"{key.group()} stands twice"
        pairs[key.group()] = found
        at = key.end() + 1 + len(found)
        if at < end:
            if value[at] != "," or at + 1 == end:
                return pairs, f"a comma is missing or too many after {key.group()}"
            at += 1
    return pairs, None


def _value_at(text: str, start: int, end: int, *, may_hold_quotes: bool) -> str | None:
    first = text[start : start + 1]
    pattern = {'"': _QUOTED, "[": _LISTED}.get(first, _BARE if may_hold_quotes else _UNQUOTED)
    found = pattern.match(text, start, end)
    if found is None or not found.group() or text[found.end() : found.end() + 1] == '"':
        return None
    return found.group()
