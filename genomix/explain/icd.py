"""Chapters of ICD-9-CM and ICD-10(-CM) diagnosis codes, by the codes' own ranges.

Names are shared by the two versions where their chapters cover the same; where they do not (ICD-9 has one chapter for
the nervous system and the sense organs) the name says so. Ranges: WHO ICD-10 (https://icd.who.int/browse10) with
ICD-10-CM's extensions (D49, U), and ICD-9-CM's table of contents (https://www.cdc.gov/nchs/icd/icd9cm.htm).
"""

from __future__ import annotations

import re

INFECTIONS = "infections"
NEOPLASMS = "neoplasms"
BLOOD = "blood and immune mechanism"
ENDOCRINE = "endocrine, nutrition and metabolism"
MENTAL = "mental and behavioural"
NERVOUS = "nervous system"
EYE = "eye"
EAR = "ear"
CIRCULATORY = "circulatory system"
RESPIRATORY = "respiratory system"
DIGESTIVE = "digestive system"
SKIN = "skin"
MUSCULOSKELETAL = "musculoskeletal system"
GENITOURINARY = "genitourinary system"
PREGNANCY = "pregnancy and childbirth"
PERINATAL = "perinatal conditions"
CONGENITAL = "congenital conditions"
SYMPTOMS = "symptoms and findings"
INJURY = "injury and poisoning"
EXTERNAL = "external causes"
FACTORS = "factors and contacts with health services"
SPECIAL = "codes for special purposes"

_ICD10 = (
    ("A00", "B99", INFECTIONS), ("C00", "D49", NEOPLASMS), ("D50", "D89", BLOOD), ("E00", "E90", ENDOCRINE),
    ("F00", "F99", MENTAL), ("G00", "G99", NERVOUS), ("H00", "H59", EYE), ("H60", "H95", EAR),
    ("I00", "I99", CIRCULATORY), ("J00", "J99", RESPIRATORY), ("K00", "K95", DIGESTIVE), ("L00", "L99", SKIN),
    ("M00", "M99", MUSCULOSKELETAL), ("N00", "N99", GENITOURINARY), ("O00", "O9A", PREGNANCY),
    ("P00", "P96", PERINATAL), ("Q00", "Q99", CONGENITAL), ("R00", "R99", SYMPTOMS), ("S00", "T98", INJURY),
    ("U00", "U99", SPECIAL), ("V00", "Y99", EXTERNAL), ("Z00", "Z99", FACTORS),
)  # fmt: skip
_ICD9 = (
    (1, 139, INFECTIONS), (140, 239, NEOPLASMS), (240, 279, "endocrine, nutrition, metabolism and immunity (ICD-9)"),
    (280, 289, "blood (ICD-9)"), (290, 319, MENTAL), (320, 389, "nervous system and sense organs (ICD-9)"),
    (390, 459, CIRCULATORY), (460, 519, RESPIRATORY), (520, 579, DIGESTIVE), (580, 629, GENITOURINARY),
    (630, 679, PREGNANCY), (680, 709, SKIN), (710, 739, MUSCULOSKELETAL), (740, 759, CONGENITAL), (760, 779, PERINATAL),
    (780, 799, SYMPTOMS), (800, 999, INJURY),
)  # fmt: skip
_SYSTEM = re.compile(r"^ICD-?(9|10)(-?CM)?$")
_PLAIN = re.compile(r"^(9|10)(-?CM)?$")


def icd_chapter(code: str) -> str | None:
    """Return the chapter of a diagnosis code such as ``ICD10CM//I21.4`` or ``DIAGNOSIS//ICD//9//41071``, else None.

    The version must be named by a part of the code; procedure codes have no chapter here.

    >>> icd_chapter("ICD10CM//I21.4"), icd_chapter("DIAGNOSIS//ICD//9//41071"), icd_chapter("LAB//50912")
    ('circulatory system', 'circulatory system', None)
    >>> icd_chapter("PROCEDURE//ICD//10//02100Z9") is None
    True
    """
    parts = code.upper().split("//")
    if any(p.startswith(("PROCEDURE", "PCS")) or "PCS" in p for p in parts):
        return None
    for at, part in enumerate(parts):
        found = _SYSTEM.match(part)
        rest = parts[at + 1 :]
        if found is None and part == "ICD" and rest:
            found, rest = _PLAIN.match(rest[0]), rest[1:]
        if found is not None and rest:
            return _of_icd10(rest[0]) if found[1] == "10" else _of_icd9(rest[0])
    return None


def _of_icd10(body: str) -> str | None:
    category = body.replace(".", "")[:3]
    if not re.match(r"^[A-Z][0-9][0-9A-Z]$", category):
        return None
    return next((name for low, high, name in _ICD10 if low <= category <= high), None)


def _of_icd9(body: str) -> str | None:
    plain = body.replace(".", "")
    if re.match(r"^E[0-9]{3}", plain):
        return EXTERNAL
    if re.match(r"^V[0-9]{2}", plain):
        return FACTORS
    if not re.match(r"^[0-9]{3}", plain):
        return None
    return next((name for low, high, name in _ICD9 if low <= int(plain[:3]) <= high), None)
