"""Rules for structural variants, which VCF 4.4 and 4.5 state in section 3 (earlier versions only name the keys)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from genomix.io.vcf_findings import FindingLog, shown

_TYPES = (b"DEL", b"INS", b"DUP", b"INV", b"CNV")
_CLAIMS = {
    b"DEL": (b"D", b"J", b"DJ"), b"DUP": (b"D", b"J", b"DJ"), b"CNV": (b"D", b"."), b"INV": (b"J", b"DJ", b"."),
    b"INS": (b"J", b"DJ", b"."),
}  # fmt: skip
_PER_ALT = {b"CIPOS": 2, b"CIEND": 2, b"CILEN": 2, b"CICN": 2, b"MEINFO": 4, b"METRANS": 4}
_SPAN_ZERO = (b"CIPOS", b"CIRUC", b"CIRB")
_PER_REPEAT = {b"RUS": 1, b"RUL": 1, b"RUC": 1, b"RB": 1, b"CIRUC": 2, b"CIRB": 2}
_SAME_LENGTH = (b"CNV", b"DEL", b"DUP")
_REPEAT = b"CNV:TR"

Problem = tuple[str, str, str]


def check_sv(number: int, alts: list[bytes], info: bytes, keys: list[bytes], log: FindingLog) -> None:
    """Check one record of VCF 4.4 or later; ``keys`` are those of its FORMAT column."""
    values = {k: v for k, _, v in (part.partition(b"=") for part in info.split(b";"))}
    symbols = [alt[1:-1] if alt.startswith(b"<") else b"" for alt in alts]
    for rule, key, what in _problems(alts, symbols, values, keys):
        log.add(rule, number, key, what)


def _problems(
    alts: list[bytes], symbols: list[bytes], values: dict[bytes, bytes], keys: list[bytes]
) -> Iterator[Problem]:
    yield from _types(symbols)
    yield from _lengths(symbols, values, keys)
    yield from _claims(alts, symbols, values)
    yield from _intervals(values, len(alts))
    if any(symbol == _REPEAT for symbol in symbols):
        yield from _repeats(symbols, values)
    if b"CICN" in keys and b"CN" not in keys:
        yield "sv-format", "FORMAT", "CICN without CN"


def _types(symbols: list[bytes]) -> Iterator[Problem]:
    for symbol in symbols:
        first, colon, _ = symbol.partition(b":")
        if colon and first not in _TYPES:
            yield "sv-type", "ALT", f"<{symbol.decode(errors='replace')}> does not start with a type that is defined"


def _split(values: dict[bytes, bytes], key: bytes) -> list[bytes]:
    return values[key].split(b",") if values.get(key, b".") != b"." else []


def _lengths(symbols: list[bytes], values: dict[bytes, bytes], keys: list[bytes]) -> Iterator[Problem]:
    lengths = _split(values, b"SVLEN")
    compared: set[bytes] = set()
    for i, symbol in enumerate(symbols):
        kind = symbol.partition(b":")[0]
        if kind in _TYPES:
            length = lengths[i] if i < len(lengths) else b"."
            inferred = len(symbols) == 1 and values.get(b"END", b".") != b"."  # allowed for older files
            if length == b"." and not inferred:
                yield "sv-length", "INFO/SVLEN", f"<{symbol.decode(errors='replace')}> has no SVLEN"
            elif length != b"." and kind in _SAME_LENGTH:
                compared.add(length.lstrip(b"-"))
    if b"CN" in keys and len(compared) > 1:
        yield "sv-length", "INFO/SVLEN", "the record has FORMAT/CN, and alleles of different SVLEN"


def _claims(alts: list[bytes], symbols: list[bytes], values: dict[bytes, bytes]) -> Iterator[Problem]:
    claims = _split(values, b"SVCLAIM")
    for i, symbol in enumerate(symbols):
        claim = claims[i] if i < len(claims) else b"."
        allowed = _CLAIMS.get(symbol.partition(b":")[0])
        if allowed is None and (b"[" in alts[i] or b"]" in alts[i]):
            allowed = (b"J", b".")
        if allowed is not None and claim not in allowed:
            yield "sv-claim", "INFO/SVCLAIM", f"{shown(claim)} is no claim that {shown(alts[i])} can make"


def _intervals(values: dict[bytes, bytes], n_alts: int) -> Iterator[Problem]:
    for key, times in _PER_ALT.items():
        found = _split(values, key)
        if found and len(found) != times * n_alts:
            yield "sv-number", f"INFO/{key.decode()}", f"{len(found)} value(s), not {times} for each ALT"
    for key in _SPAN_ZERO:
        found = _split(values, key)
        for low, high in zip(found[::2], found[1::2], strict=False):
            if _number(low) > 0 or _number(high) < 0:
                yield "sv-interval", f"INFO/{key.decode()}", f"{shown(low + b',' + high)} does not hold 0"


def _number(value: bytes) -> float:
    """A number, or 0 where it is missing or not a number (which another rule tells)."""
    try:
        number = float(value)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _repeats(symbols: list[bytes], values: dict[bytes, bytes]) -> Iterator[Problem]:
    """Tandem repeats: as many values as RN says, units that fit their lengths."""
    stated = _split(values, b"RN")
    total = sum(int(_number(n)) for n in stated) if stated else sum(symbol == _REPEAT for symbol in symbols)
    for key, times in _PER_REPEAT.items():
        found = _split(values, key)
        if found and len(found) != times * total:
            yield "sv-number", f"INFO/{key.decode()}", f"{len(found)} value(s), RN asks for {times * total}"
    units, lengths = _split(values, b"RUS"), _split(values, b"RUL")
    if not units and not lengths:
        yield "sv-repeat", "INFO/RUS", "<CNV:TR> has neither RUS nor RUL"
    for unit, length in zip(units, lengths, strict=False):
        if b"." not in (unit, length) and len(unit) != _number(length):
            yield "sv-repeat", "INFO/RUL", f"the unit {shown(unit)} has RUL={length.decode(errors='replace')}"
    for interval, of in ((b"CIRUC", b"RUC"), (b"CIRB", b"RB")):
        if _split(values, interval) and not _split(values, of):
            yield "sv-repeat", f"INFO/{interval.decode()}", f"there is no {of.decode()}"
    counts = _split(values, b"RUC")
    if b"RUB" in values and (not counts or not all(count.isdigit() for count in counts)):
        yield "sv-repeat", "INFO/RUB", "RUB needs RUC with integers"


def phase_set_problems(genotype: bytes, fields: dict[bytes, bytes]) -> Iterator[Problem]:
    """Yield what is wrong with PSL, PSO and PSQ of one call (one value for each allele of GT)."""
    names = fields[b"PSL"].split(b",")
    phased = allele_phases(genotype)
    if len(names) != len(phased):
        return
    for name, is_phased in zip(names, phased, strict=True):
        if name != b"." and not is_phased:
            yield "phase-set", "FORMAT/PSL", f"the unphased allele of {shown(genotype)} is in {shown(name)}"
            return
    for key in (b"PSO", b"PSQ"):
        for name, value in zip(names, fields.get(key, b"").split(b","), strict=False):
            if name == b"." and value not in (b".", b""):
                yield "phase-set", f"FORMAT/{key.decode()}", f"{shown(value)} for an allele without PSL"
                return


def allele_phases(genotype: bytes) -> list[bool]:
    """Return whether each allele is phased; a first allele without a separator is if all others are.

    >>> allele_phases(b"0|1"), allele_phases(b"0/0|1"), allele_phases(b"/0")
    ([True, True], [False, False, True], [False])
    """
    separators = [c == ord("|") for c in genotype if c in b"/|"]
    if genotype[:1] in (b"/", b"|"):
        return separators
    return [all(separators), *separators]
