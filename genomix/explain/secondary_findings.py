"""Genes of the ACMG list for reporting secondary findings, version 3.2 (doi:10.1016/j.gim.2023.100866): 81 genes.

What is found in them concerns a person's health beyond the question that was asked, and whether they want to know it is
theirs to say. So what a chain lists of these genes is withheld unless it was asked for.
"""

from __future__ import annotations

VERSION = "ACMG SF v3.2"
GENES = frozenset(
    [
        "ACTA2", "ACTC1", "ACVRL1", "APC", "APOB", "ATP7B", "BAG3", "BMPR1A", "BRCA1", "BRCA2", "BTD", "CACNA1S",
        "CALM1", "CALM2", "CALM3", "CASQ2", "COL3A1", "DES", "DSC2", "DSG2", "DSP", "ENG", "FBN1", "FLNC", "GAA",
        "GLA", "HFE", "HNF1A", "KCNH2", "KCNQ1", "LDLR", "LMNA", "MAX", "MEN1", "MLH1", "MSH2", "MSH6", "MUTYH",
        "MYBPC3", "MYH11", "MYH7", "MYL2", "MYL3", "NF2", "OTC", "PALB2", "PCSK9", "PKP2", "PMS2", "PRKAG2", "PTEN",
        "RB1", "RBM20", "RET", "RPE65", "RYR1", "RYR2", "SCN5A", "SDHAF2", "SDHB", "SDHC", "SDHD", "SMAD3", "SMAD4",
        "STK11", "TGFBR1", "TGFBR2", "TMEM127", "TMEM43", "TNNC1", "TNNI3", "TNNT2", "TP53", "TPM1", "TRDN", "TSC1",
        "TSC2", "TTN", "TTR", "VHL", "WT1",
    ]
)  # fmt: skip
"""HGNC symbols."""


def is_secondary(genes: str | None) -> bool:
    """Say whether one of the genes (joined by ``;``) is on the list.

    >>> is_secondary("AAA1;BRCA2"), is_secondary("AAA1"), is_secondary(None)
    (True, False, False)
    """
    return genes is not None and any(g.strip().upper() in GENES for g in genes.split(";"))


def can_be_recognised(genes: list[str]) -> bool:
    """Say whether genes are named by symbols, and not by identifiers that the list does not hold.

    >>> can_be_recognised(["BRCA2"]), can_be_recognised(["ENSG00000139618"]), can_be_recognised([])
    (True, False, True)
    """
    return not any(g.upper().startswith(("ENSG", "ENST", "HGNC:")) or g.isdigit() for g in genes)
