"""Rules for FORMAT and the samples' calls.

Most records pass by one comparison or one pattern over the whole line; only what does not match is taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from genomix.errors import Identifier
from genomix.io.vcf_findings import FindingLog, shown
from genomix.io.vcf_meta import VcfMeta
from genomix.io.vcf_reserved import COPY_NUMBER_GENOTYPES, FieldSpec, reserved_format
from genomix.io.vcf_rules_sv import phase_set_problems
from genomix.io.vcf_values import QUICK, expected_count, genotype_count, type_problem

_FORMAT_KEY = re.compile(rb"[A-Za-z_][0-9A-Za-z_.]*")
_FORMAT_KEY_OLD = re.compile(rb"[0-9A-Za-z]+")
_GT = re.compile(rb"(?:[0-9]+|\.)(?:[/|](?:[0-9]+|\.))*")
_GT_PREFIXED = re.compile(rb"[/|]?(?:[0-9]+|\.)(?:[/|](?:[0-9]+|\.))*")
_ALLELE = re.compile(rb"[0-9]+|\.")
_CACHE_CALLS = 20_000
_QUICK_VALUES = 1000
_UNSPECIFIED = FieldSpec(None, None)


class Plan:
    """How the calls of records with one FORMAT and one number of ALTs are checked."""

    def __init__(self, keys: list[bytes], specs: list[FieldSpec], n_alts: int, n_samples: int, version: int) -> None:
        self.keys, self.specs, self.n_alts, self.version = keys, specs, n_alts, version
        self.good: set[bytes] = set()
        self.only_gt = keys == [b"GT"]
        self._table = _classes(n_alts) if self.only_gt and n_alts < 10 else None
        self._diploid = (b"ASAT" * n_samples)[:-1]
        self._line: re.Pattern[bytes] | None = None
        self._phase_sets = version >= 4 and b"PSL" in keys and keys[0] == b"GT"
        if not self.only_gt and all(keys) and not self._phase_sets:
            call = _call_pattern(keys, specs, n_alts)
            self._line = re.compile(b"(?:%b\t)*+%b" % (call, call))

    def passes(self, calls: bytes) -> bool:
        """Say whether all calls of a line are certainly right; their number was counted before."""
        same_length = self._table is not None and len(calls) == len(self._diploid)
        if same_length and calls.translate(self._table) == self._diploid:
            return True
        if self._line is not None:
            return self._line.fullmatch(calls) is not None
        return self.good.issuperset(calls.split(b"\t"))

    def problems(self, call: bytes) -> Iterator[tuple[str, str, str]]:
        """Yield (rule, field, what is wrong) of one call: the exact check."""
        values = call.split(b":")
        if len(values) > len(self.keys):
            yield "call-fields", "", f"{len(values)} fields, FORMAT has {len(self.keys)}"
        ploidy: int | None = 2
        lenient = False
        for key, spec, value in zip(self.keys, self.specs, values, strict=False):
            name = f"FORMAT/{key.decode('utf-8', errors='replace')}"
            if key == b"GT":
                problem = self._genotype(value)
                if problem is not None:
                    yield problem[0], name, problem[1]
                ploidy = len(_ALLELE.findall(value)) or None
                lenient = value == b"."
            elif value != b".":
                yield from self._field(key, spec, name, value, ploidy, lenient)
        if self._phase_sets:
            fields = dict(zip(self.keys, values, strict=False))
            if fields.get(b"PSL", b".") != b".":
                yield from phase_set_problems(values[0], fields)

    def _genotype(self, value: bytes) -> tuple[str, str] | None:
        pattern = _GT if self.version < 4 else _GT_PREFIXED
        if pattern.fullmatch(value) is None:
            return "gt", f"{shown(value)} is not a genotype"
        highest = max((int(a[:9]) for a in _ALLELE.findall(value) if a != b"."), default=0)
        if highest == 1 and not self.n_alts:
            return "gt-no-alt", f"{shown(value)} names allele 1, ALT is ."
        if highest > self.n_alts:
            return "gt-range", f"{shown(value)} names allele {highest}, ALT has {self.n_alts}"
        return None

    def _field(
        self, key: bytes, spec: FieldSpec, name: str, value: bytes, ploidy: int | None, lenient: bool
    ) -> Iterator[tuple[str, str, str]]:
        if not value:
            if self.version < 5:  # 4.5 writes local-allele lists of no alleles as nothing
                yield "call-empty", name, "the field is empty"
            return
        values = value.split(b",")
        if b"" in values:
            yield "call-empty", name, f"{shown(value)} has an empty value"
            return
        number = "." if key in COPY_NUMBER_GENOTYPES else spec.number
        wanted = expected_count(number, self.n_alts, ploidy)
        if wanted is not None and len(values) != wanted:
            allowed = [genotype_count(self.n_alts + 1, 2)] if lenient and number == "G" else []
            if not self.n_alts:  # an ALT of "." may be counted as an allele that is not stated
                allowed.append(expected_count(number, 1, 2 if lenient else ploidy) or 0)
            if len(values) not in allowed:
                yield "call-number", name, f"{len(values)} value(s), Number={number} asks for {wanted}"
        for one in values:
            problem = type_problem(spec.type, one, self.version)
            if problem is not None:
                yield "call-type", name, f"{shown(one)} {problem}"
                return


class SampleRules:
    """Checks FORMAT and the calls of one record after another."""

    def __init__(self, meta: VcfMeta, log: FindingLog) -> None:
        self._meta, self._log = meta, log
        self._plans: dict[tuple[bytes, int], Plan] = {}
        self._formats: set[bytes] = set()
        self._undeclared: set[bytes] = set()
        self._specs = {k.encode(): v for k, v in reserved_format(meta.version).items()}
        for key, spec in meta.formats.items():
            self._specs[key.encode()] = spec

    def check(self, number: int, keys: bytes, calls: bytes, n_alts: int) -> None:
        """Check one record's FORMAT column and its calls (the text after it)."""
        plan = self._plans.get((keys, n_alts))
        if plan is None:
            plan = self._plan(keys, n_alts)
        if keys not in self._formats:
            self._format(number, keys)
        if not plan.passes(calls):
            self._apart(number, plan, calls)

    def _plan(self, keys: bytes, n_alts: int) -> Plan:
        names = keys.split(b":")
        specs = [self._specs.get(name, _UNSPECIFIED) for name in names]
        plan = Plan(names, specs, n_alts, len(self._meta.samples), self._meta.version)
        if len(self._plans) >= 512:
            self._plans.clear()
        self._plans[keys, n_alts] = plan
        return plan

    def _format(self, number: int, text: bytes) -> None:
        keys = text.split(b":")
        pattern = _FORMAT_KEY if self._meta.version >= 3 else _FORMAT_KEY_OLD
        bad = next((key for key in keys if pattern.fullmatch(key) is None), None)
        if bad is not None:
            self._log.add("format", number, "FORMAT", f"{shown(bad)} is not a key in VCF 4.{self._meta.version}")
        if b"GT" in keys[1:]:
            self._log.add("format-gt", number, "FORMAT", f"{shown(text)} does not start with GT")
        if len(set(keys)) < len(keys):
            self._log.add("format-duplicate", number, "FORMAT", f"{shown(text)} names a key twice")
        for key in keys:
            name = key.decode("utf-8", errors="replace")
            if key and name not in self._meta.formats and key not in self._undeclared:
                self._undeclared.add(key)
                self._log.add("format-undeclared", number, f"FORMAT/{name}", f"{name} has no ##FORMAT line")
        fine = bad is None and b"GT" not in keys[1:] and len(set(keys)) == len(keys)
        if fine and len(self._formats) < 4096:
            self._formats.add(text)

    def _apart(self, number: int, plan: Plan, calls: bytes) -> None:
        """Look at every call that was not seen to be right before."""
        good = plan.good
        for i, call in enumerate(calls.split(b"\t")):
            if call in good:
                continue
            problems = list(plan.problems(call))
            for rule, field, what in problems:
                who = Identifier("sample", self._meta.samples[i], i + 1)
                self._log.add(rule, number, field, what, who)
            if not problems:
                if len(good) >= _CACHE_CALLS:
                    good.clear()
                good.add(call)


def _classes(n_alts: int) -> bytes:
    """A table that turns a diploid call into letters: A for an allele that exists, S for a separator, T for a tab."""
    table = bytearray(b"X" * 256)
    for allele in b"." + b"0123456789"[: n_alts + 1]:
        table[allele] = ord("A")
    table[ord("/")] = table[ord("|")] = ord("S")
    table[ord("\t")] = ord("T")
    return bytes(table)


def _call_pattern(keys: list[bytes], specs: list[FieldSpec], n_alts: int) -> bytes:
    """A pattern of calls that are certainly right: haploid or diploid, with the common spellings of values."""
    has_gt = keys[0] == b"GT"
    rest = list(zip(keys, specs, strict=True))[int(has_gt) :]
    if not has_gt:
        return _tail(rest, n_alts, 2).removeprefix(b"(?::").removesuffix(b")?+")
    allele = b"(?:%b|\\.)" % (b"|".join(b"%d" % a for a in range(n_alts, -1, -1)))
    diploid = b"%b[/|]%b%b" % (allele, allele, _tail(rest, n_alts, 2))
    if any(spec.number in ("G", "P") for _, spec in rest):
        return diploid
    return b"%b(?:[/|]%b)?+%b" % (allele, allele, _tail(rest, n_alts, 2))


def _tail(fields: list[tuple[bytes, FieldSpec]], n_alts: int, ploidy: int) -> bytes:
    """The pattern of the fields that follow, each of which may end the call."""
    pattern = b""
    for key, spec in reversed(fields):
        pattern = b"(?::%b%b)?+" % (_field_pattern(key, spec, n_alts, ploidy), pattern)
    return pattern


def _field_pattern(key: bytes, spec: FieldSpec, n_alts: int, ploidy: int) -> bytes:
    one = b"(?:%b|\\.)" % QUICK.get(spec.type or "", rb"[^\s:,]++")
    wanted = expected_count(None if key in COPY_NUMBER_GENOTYPES else spec.number, n_alts, ploidy)
    if wanted is None:
        return b"%b(?:,%b)*+" % (one, one)
    if wanted > _QUICK_VALUES:
        return b"\\."
    return b"(?:%b(?:,%b){%d}|\\.)" % (one, one, wanted - 1) if wanted > 0 else b"\\."
