"""Reserved INFO and FORMAT keys with their Number and Type (VCF 4.1 to 4.5, sections 1.6.1, 1.6.2, 3 and 4)."""

from __future__ import annotations

from typing import NamedTuple


class FieldSpec(NamedTuple):
    """Number and Type of an INFO or FORMAT key; None where the specification leaves them open."""

    number: str | None
    type: str | None


def _table(text: str) -> dict[str, FieldSpec]:
    rows = (row.split() for row in text.strip().splitlines())
    return {
        key: FieldSpec(None if number == "-" else number, None if kind == "-" else kind)
        for number, kind, *keys in rows
        for key in keys
    }


_INFO_41 = _table("""
1 String AA
A Integer AC
A Float AF
1 Integer AN DP END MQ0 NS
1 Float BQ
A String CIGAR
0 Flag DB H2 H3 SOMATIC VALIDATED 1000G
1 - MQ
""")

_INFO_43 = _INFO_41 | _table("R Integer AD ADF ADR")

_INFO_SV_41 = _table("""
0 Flag IMPRECISE NOVEL
1 String SVTYPE DGVID DBVARID DBRIPID PARID EVENT
. Integer SVLEN HOMLEN DPADJ CNADJ CICNADJ
2 Integer CIPOS CIEND CILEN CICN
. String HOMSEQ BKPTID MATEID
4 String MEINFO METRANS
1 Integer CN
""")

_INFO_SV_43 = _INFO_SV_41 | _table("4 Integer SB")

_INFO_SV_44 = _table("""
0 Flag IMPRECISE NOVEL
1 String SVTYPE
4 Integer SB
A Integer SVLEN HOMLEN RN
. Integer CIPOS CIEND CILEN RUL RB CIRB RUB
A String HOMSEQ BKPTID DGVID DBVARID DBRIPID MATEID PARID EVENT EVENTTYPE SVCLAIM
. String MEINFO METRANS RUS
A Float CN
. Float CICN RUC CIRUC
""")

_FORMAT_41 = _table("""
1 String GT FT
1 Integer DP GQ PS PQ MQ
G Float GL GP
G Integer PL
G String GLE
2 Integer HQ
A Integer EC
""")

_FORMAT_43 = {k: v for k, v in _FORMAT_41.items() if k != "GLE"} | _table("""
R Integer AD ADF ADR
G Integer PP
""")

_FORMAT_44 = _FORMAT_43 | _table("""
P String PSL
P Integer PSO PSQ
""")

_FORMAT_45 = _FORMAT_44 | _table("""
1 Integer LEN
. Integer LAA
LR Integer LAD LADF LADR
LA Integer LEC
LG Float LGL LGP
LG Integer LPL LPP
""")

_FORMAT_SV = _table("""
1 - CN
1 Float CNQ
G Float CNL CNP
1 Integer NQ HAP AHAP
""")

NOT_NEGATIVE = frozenset(b"AC AD ADF ADR AF AN BQ DP END MQ MQ0 NS".split())
"""Reserved INFO keys that are counts, frequencies, depths, positions or root mean squares."""

COPY_NUMBER_GENOTYPES = frozenset({b"CNL", b"CNP"})
"""Keys whose "genotypes" are copy numbers, so that Number=G does not tell how many values there are."""


def reserved_info(version: int) -> dict[str, FieldSpec]:
    """Return the general reserved INFO keys of VCF 4.``version``."""
    return _INFO_41 if version < 3 else _INFO_43


def reserved_info_sv(version: int) -> dict[str, FieldSpec]:
    """Return the INFO keys of which a departure is worth a warning only."""
    if version >= 4:
        return _INFO_SV_44
    return _INFO_SV_41 if version < 3 else _INFO_SV_43


def reserved_format(version: int) -> dict[str, FieldSpec]:
    """Return the reserved FORMAT keys of VCF 4.``version``."""
    return {3: _FORMAT_43, 4: _FORMAT_44, 5: _FORMAT_45}.get(version, _FORMAT_41)


def reserved_format_sv() -> dict[str, FieldSpec]:
    """Return the FORMAT keys for structural variants."""
    return _FORMAT_SV
