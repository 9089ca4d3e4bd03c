"""Rules for the eight fixed columns of a VCF record, and for the order of records."""

from __future__ import annotations

import re

from genomix.io.vcf_findings import FindingLog, shown
from genomix.io.vcf_meta import VcfMeta
from genomix.io.vcf_reserved import NOT_NEGATIVE, FieldSpec, reserved_info
from genomix.io.vcf_rules_sv import check_sv
from genomix.io.vcf_values import QUICK, expected_count, is_cigar, is_negative, type_problem

_CHROM = re.compile(rb"<?[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*>?")
_CHROM_OLD = re.compile(rb"<[^\s,<>\"]+>|[^\s,<>\"]+")
_BASES = re.compile(rb"[ACGTNacgtn]+")
_SYMBOLIC = re.compile(rb"<[^\s,<>]+>")
_PLACE = rb"(?:<[^\s,<>]+>|[^\s,<>\[\]]+):[0-9]+"
_BREAKEND = re.compile(
    rb"[ACGTNacgtn.]+\[(?:%b)\[|[ACGTNacgtn.]+\](?:%b)\]|\[(?:%b)\[[ACGTNacgtn.]+|\](?:%b)\][ACGTNacgtn.]+"
    % (_PLACE, _PLACE, _PLACE, _PLACE)
    + rb"|\.[ACGTNacgtn]+|[ACGTNacgtn]+\.|\[(?:<[^\s,<>]+>)\[[ACGTNacgtn]+|[ACGTNacgtn]+\](?:<[^\s,<>]+>)\]"
)
_QUAL = re.compile(rb"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\+?(?:inf|infinity|nan)", re.IGNORECASE)
_INFO_KEY = re.compile(rb"[A-Za-z_][0-9A-Za-z_.]*|1000G")
_INFO_KEY_OLD = re.compile(rb"[^\s;=,]+")
_SPACE = re.compile(rb"\s")
_SNV = frozenset((b"A", b"C", b"G", b"T", b"N"))
_KNOWN_SYMBOLS = frozenset((b"*", b"NON_REF", b"X"))
_CACHE_ROWS = 10_000
_QUICK_VALUES = 1000


class RecordRules:
    """Checks the fixed columns of one record after another; keeps the last position's variants and small caches."""

    def __init__(self, meta: VcfMeta, log: FindingLog) -> None:
        self._meta, self._log = meta, log
        self._new = meta.version >= 3
        self._filters = {f.encode() for f in meta.filters} | {b"PASS", b"."}
        self._alts = {a.encode() for a in meta.alts} | _KNOWN_SYMBOLS
        self._specs = self._info_specs()
        self._quick: dict[tuple[bytes, int], re.Pattern[bytes] | None] = {}
        self._seen_filters: dict[bytes, bool] = {}
        self._reported: set[tuple[str, bytes]] = set()
        self._done: set[bytes] = set()
        self._contig: bytes | None = None
        self._length: int | None = None
        self._position = -1
        self._variants: dict[int, set[tuple[bytes, bytes]]] = {}
        self.multi_allelic = 0
        self.repeated_positions = 0
        self.unsorted = 0

    @property
    def n_contigs(self) -> int:
        """Number of contigs met so far."""
        return len(self._done)

    def _info_specs(self) -> dict[bytes, FieldSpec]:
        """Declared keys first, then the reserved ones that are not declared."""
        specs = {k.encode(): v for k, v in reserved_info(self._meta.version).items()}
        for key, spec in self._meta.info.items():
            specs[key.encode()] = spec
        return specs

    def check(self, number: int, columns: list[bytes]) -> int:
        """Check one record's columns and return its number of ALT alleles."""
        chrom, pos, identifier, ref, alt, qual, filters, info = columns[:8]
        position = self._place(number, chrom, pos)
        if identifier != b".":
            self._id(number, identifier)
        alts = self._alleles(number, position, ref, alt)
        if qual != b"." and _QUAL.fullmatch(qual) is None:
            self._log.add("qual", number, "QUAL", f"{shown(qual)} is not a number from 0 on")
        if not self._seen_filters.get(filters, False):
            self._filter(number, filters)
        if info != b".":
            self._info(number, info, len(alts), position, alts)
        if self._meta.version >= 4:
            check_sv(number, alts, info, columns[8].split(b":") if len(columns) > 8 else [], self._log)
        return len(alts)

    def _once(self, rule: str, number: int, field: str, value: bytes, what: str) -> None:
        """Log a thing that is not declared: once, however many records have it."""
        if (rule, value) not in self._reported:
            if len(self._reported) < _CACHE_ROWS:
                self._reported.add((rule, value))
            self._log.add(rule, number, field, what)

    def _place(self, number: int, chrom: bytes, pos: bytes) -> int:
        if chrom != self._contig:
            self._next_contig(number, chrom)
        if not (pos.isdigit() and len(pos) < 11):
            self._log.add("pos", number, "POS", f"{shown(pos)} is not a number from 0 on")
            return -1
        position = int(pos)
        if self._length is not None and position > self._length + 1:
            self._log.add("pos", number, "POS", f"{position} is beyond the contig's end ({self._length})")
        if position < self._position:
            self.unsorted += 1
            self._log.add("pos-order", number, "POS", f"{position} stands after {self._position}")
        elif position == self._position:
            self.repeated_positions += 1
            self._log.add("pos-repeated", number, "POS", f"a further record at {position}")
        if position > self._position:
            for past in [p for p in self._variants if p < position]:
                del self._variants[past]
            self._position = position
        return position

    def _next_contig(self, number: int, chrom: bytes) -> None:
        pattern = _CHROM if self._new else _CHROM_OLD
        bracketed = chrom.startswith(b"<")
        if pattern.fullmatch(chrom) is None or bracketed != chrom.endswith(b">"):
            self._log.add("chrom", number, "CHROM", f"{shown(chrom)} is not a contig name")
        bare = chrom.strip(b"<>")
        same = self._contig is not None and bare == self._contig.strip(b"<>")
        self._contig = chrom
        if same:  # 1 and <1> name one contig
            return
        if bare in self._done:
            self.unsorted += 1
            self._log.add("chrom-order", number, "CHROM", f"contig {shown(chrom)} again, after others")
        self._done.add(bare)
        self._position = -1
        self._variants.clear()
        contigs = self._meta.contigs
        name = bare.decode("utf-8", errors="replace")
        self._length = contigs.get(name)
        if contigs and name not in contigs and not bracketed:
            self._once("chrom-undeclared", number, "CHROM", chrom, f"contig {shown(chrom)} has no ##contig line")

    def _id(self, number: int, identifier: bytes) -> None:
        if b";" in identifier or _SPACE.search(identifier) or not identifier:
            parts = identifier.split(b";")
            if b"" in parts or _SPACE.search(identifier):
                self._log.add("id", number, "ID", f"{shown(identifier)} has an empty part or white space")
            elif len(set(parts)) < len(parts):
                self._log.add("id", number, "ID", f"{shown(identifier)} names one identifier twice")

    def _alleles(self, number: int, position: int, ref: bytes, alt: bytes) -> list[bytes]:
        if ref in _SNV and alt in _SNV and ref != alt:
            self._unique(number, position, ref, alt)
            return [alt]
        if _BASES.fullmatch(ref) is None:
            self._log.add("ref", number, "REF", f"{shown(ref)} is not made of A, C, G, T, N")
        lower = ref != ref.upper()
        if alt == b".":
            alts: list[bytes] = []
        else:
            alts = alt.split(b",")
            for one in alts:
                lower = self._alt(number, one) or lower
            self._distinct(number, position, ref, alts)
            self.multi_allelic += len(alts) > 1
        if lower:
            self._log.add("lower-case", number, "REF/ALT", "lower-case bases")
        return alts

    def _alt(self, number: int, one: bytes) -> bool:
        """Check one ALT and say whether it holds lower-case bases."""
        if _BASES.fullmatch(one):
            return one != one.upper()
        if one == b"*":
            return False
        if _SYMBOLIC.fullmatch(one):
            if one[1:-1] not in self._alts:
                self._once("alt-undeclared", number, "ALT", one, f"{shown(one)} has no ##ALT line")
        elif _BREAKEND.fullmatch(one) is None:
            self._log.add("alt", number, "ALT", f"{shown(one)} is neither bases, *, <ID> nor a breakend")
        return False

    def _distinct(self, number: int, position: int, ref: bytes, alts: list[bytes]) -> None:
        upper = ref.upper()
        seen: set[bytes] = set()
        for one in alts:
            bases = one.upper() if _BASES.fullmatch(one) else b""
            if bases == upper:
                self._log.add("alt-ref", number, "ALT", f"{shown(one)} is REF itself")
            elif (bases or one) in seen and not one.startswith(b"<"):
                self._log.add("alt-ref", number, "ALT", f"{shown(one)} stands twice")
            elif bases:
                self._unique(number, position, upper, bases)
            seen.add(bases or one)

    def _unique(self, number: int, position: int, ref: bytes, alt: bytes) -> None:
        """Look for the same variant in an earlier record; both are cut to where they differ."""
        if len(ref) > 1 or len(alt) > 1:
            position, ref, alt = trimmed(position, ref, alt)
        seen = self._variants.setdefault(position, set())
        if (ref, alt) in seen:
            what = f"{position} {shown(ref)} to {shown(alt)} stands in an earlier record, too"
            self._log.add("duplicate", number, "REF/ALT", what)
        seen.add((ref, alt))

    def _filter(self, number: int, filters: bytes) -> None:
        codes = filters.split(b";")
        fine = True
        if b"" in codes or _SPACE.search(filters) or b"0" in codes:
            self._log.add("filter", number, "FILTER", f"{shown(filters)} has an empty code, white space or the code 0")
            fine = False
        elif len(set(codes)) < len(codes):
            self._log.add("filter", number, "FILTER", f"{shown(filters)} names a code twice")
            fine = False
        elif len(codes) > 1 and b"." in codes:
            self._log.add("filter", number, "FILTER", f"{shown(filters)} has . beside other codes")
            fine = False
        elif len(codes) > 1 and b"PASS" in codes:
            self._log.add("filter-pass", number, "FILTER", f"{shown(filters)} has PASS beside other codes")
        for code in codes:
            if fine and code not in self._filters:
                self._once("filter-undeclared", number, "FILTER", code, f"{shown(code)} has no ##FILTER line")
        if fine and not (len(codes) > 1 and b"PASS" in codes) and len(self._seen_filters) < _CACHE_ROWS:
            self._seen_filters[filters] = True

    def _info(self, number: int, info: bytes, n_alts: int, position: int, alts: list[bytes]) -> None:
        if not self._new and _SPACE.search(info):
            self._log.add("info", number, "INFO", "white space (VCF 4.1 and 4.2 forbid it)")
        keys: list[bytes] = []
        end = svlen = None
        quick_table = self._quick
        for part in info.split(b";"):
            key, equals, value = part.partition(b"=")
            keys.append(key)
            quick = quick_table[key, n_alts] if (key, n_alts) in quick_table else self._prepare(number, key, n_alts)
            if quick is None or quick.fullmatch(value) is None or not equals:
                self._info_value(number, key, equals, value, n_alts)
            if key == b"END":
                end = value
            elif key == b"SVLEN":
                svlen = value
        if len(set(keys)) < len(keys):
            twice = next(k for i, k in enumerate(keys) if k in keys[:i])
            self._log.add("info-duplicate", number, "INFO", f"{shown(twice)} stands twice")
        if end is not None:
            self._end(number, position, end, svlen, alts)

    def _prepare(self, number: int, key: bytes, n_alts: int) -> re.Pattern[bytes] | None:
        """Check a key that is new for this number of ALTs, and return the pattern of its common values."""
        if (_INFO_KEY if self._new else _INFO_KEY_OLD).fullmatch(key) is None:
            what = "an empty key" if not key else f"{shown(key)} is not a key"
            self._log.add("info-key" if key else "info", number, "INFO", what)
            return None
        spec = self._specs.get(key)
        if spec is None:
            name = key.decode("utf-8", errors="replace")
            self._once("info-undeclared", number, f"INFO/{name}", key, f"{name} has no ##INFO line")
        quick = info_pattern(key, spec, n_alts)
        if len(self._quick) < _CACHE_ROWS:
            self._quick[key, n_alts] = quick
        return quick

    def _info_value(self, number: int, key: bytes, equals: bytes, value: bytes, n_alts: int) -> None:
        """The exact check of one ``key=value``."""
        name = f"INFO/{key.decode('utf-8', errors='replace')}"
        spec = self._specs.get(key)
        if spec is not None and spec.type == "Flag":
            if equals and value in (b"0", b"1"):
                self._log.add("info-flag-value", number, name, f"the Flag has the value {shown(value)}")
            elif equals:
                self._log.add("info-flag", number, name, f"the Flag has the value {shown(value)}")
            return
        if not equals:
            if spec is not None and spec.type is not None and spec.number != "0":
                self._log.add("info-type", number, name, f"a {spec.type} without a value")
            return
        if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
            self._log.add("info-quoted", number, name, "the value is quoted")
            return
        if not value or b"=" in value:
            self._log.add("info", number, name, f"the value {shown(value)} is empty or holds =")
        elif value != b".":
            self._typed(number, key, name, value, spec, n_alts)

    def _typed(self, number: int, key: bytes, name: str, value: bytes, spec: FieldSpec | None, n_alts: int) -> None:
        values = value.split(b",")
        if b"" in values:
            self._log.add("info", number, name, f"{shown(value)} has an empty value")
            return
        if spec is None:
            return
        # G is left out: an INFO field has no ploidy to count genotypes with
        wanted = expected_count(spec.number, n_alts, None)
        lenient = not n_alts and len(values) == expected_count(spec.number, 1, None)
        if wanted is not None and wanted != len(values) and not lenient:
            self._log.add(
                "info-number", number, name, f"{len(values)} value(s), Number={spec.number} asks for {wanted}"
            )
        negative = self._is_reserved(key)
        for one in values:
            problem = type_problem(spec.type, one, self._meta.version)
            if problem is None and negative and is_negative(one):
                problem = "is negative"
            if problem is None and key == b"CIGAR" and not is_cigar(one):
                problem = "is not a CIGAR string"
            if problem is not None:
                self._log.add("info-type", number, name, f"{shown(one)} {problem}")
                return

    def _is_reserved(self, key: bytes) -> bool:
        return key in NOT_NEGATIVE and key.decode() in reserved_info(self._meta.version)

    def _end(self, number: int, position: int, end: bytes, svlen: bytes | None, alts: list[bytes]) -> None:
        if not (end.isdigit() and len(end) < 11) or position < 0:
            return
        last = int(end)
        if last < position or (self._length is not None and last > self._length):
            self._log.add("end", number, "INFO/END", f"END={last} for a record at {position}")
        elif svlen is not None and alts in ([b"<DEL>"], [b"<DUP>"], [b"<INV>"]):
            digits = svlen.lstrip(b"-")
            if digits.isdigit() and len(digits) < 11 and int(digits) != last - position:
                self._log.add("svlen", number, "INFO/SVLEN", f"SVLEN={svlen.decode()}, END - POS = {last - position}")


def trimmed(position: int, ref: bytes, alt: bytes) -> tuple[int, bytes, bytes]:
    """Return a variant without the bases that both alleles share at their ends, last bases first.

    >>> trimmed(123, b"TAT", b"TGT")
    (124, b'A', b'G')
    """
    end = 0
    shortest = min(len(ref), len(alt))
    while end < shortest and ref[-1 - end] == alt[-1 - end]:
        end += 1
    start = 0
    while start < shortest - end and ref[start] == alt[start]:
        start += 1
    return position + start, ref[start : len(ref) - end], alt[start : len(alt) - end]


def info_pattern(key: bytes, spec: FieldSpec | None, n_alts: int) -> re.Pattern[bytes] | None:
    """Return a pattern of values that are certainly right for a key, or None."""
    if spec is None:
        return re.compile(rb"[^\s,;=\"]+(?:,[^\s,;=\"]+)*+")
    one = QUICK.get(spec.type or "", rb"[^\s,;=\"]++")
    if spec.type == "Flag" or key == b"CIGAR":
        return None
    if key in NOT_NEGATIVE:
        one = one.removeprefix(rb"-?")
    wanted = expected_count(spec.number, n_alts, None)
    if wanted is None:
        return re.compile(b"%b(?:,%b)*+" % (one, one))
    if not 1 <= wanted <= _QUICK_VALUES:
        return None
    return re.compile(b"%b(?:,%b){%d}" % (one, one, wanted - 1))
