"""What association and burden share: names of columns, the number that means missing, and the refusal of relatives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genomix.io.plink import GenotypeStore


def names_of(text: str | None) -> list[str] | None:
    """Return comma-separated names, None for none given.

    >>> names_of("age, PC1,")
    ['age', 'PC1']
    """
    return None if text is None else [n.strip() for n in text.split(",") if n.strip()]


def missing_number(text: str) -> float | None:
    """Return the number that means missing, None for ``none``.

    Raises
    ------
    ConfigError: when it is no finite number.
    """
    from genomix.errors import ConfigError

    if text.lower() == "none":
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not math.isfinite(number):
        raise ConfigError(f"--missing-value {text!r} is no number", hint="a number, or none")
    return number


def check_idle_kinship(kinship: Path | None, *, allow_related: bool, quiet: bool) -> None:
    """Say that a table of kinship is not looked at, because relatives are allowed or an offset carries them.

    Raises
    ------
    InputNotFoundError: when there is no such table all the same.
    """
    from genomix.errors import InputNotFoundError
    from genomix_cli.console import say

    if kinship is None:
        return
    if not kinship.exists():
        raise InputNotFoundError(f"{kinship.name} does not exist", where=str(kinship))
    say(
        f"note: {kinship.name} is not looked at beside {'--allow-related' if allow_related else '--offset'}",
        quiet=quiet,
    )


def check_related(store: GenotypeStore, tested: Any, kinship: Path | None, quiet: bool) -> dict[str, Any]:
    """Refuse relatives among the ``tested`` samples; return how many pairs and by how many variants.

    Parameters
    ----------
    tested: 0-based samples of the store.
    kinship: table of pairs; None computes them.

    Raises
    ------
    LabelError: when two of them are first-degree relatives or closer.
    """
    from genomix.io.kinship_tables import read_kinship
    from genomix.variants.assoc_relatives import find_relatives, refuse_relatives
    from genomix.variants.relatives import FIRST_DEGREE
    from genomix_cli.console import say

    listed = None
    if kinship is not None:
        listed = read_kinship(kinship, store.samples["sample_id"].to_list(), reaching=FIRST_DEGREE)
        say(
            f"{kinship.name}: {listed.n_found:,} of its {listed.n_named:,} samples are in the genotypes; "
            "people whom it does not name are taken as unrelated",
            quiet=quiet,
        )
    found = find_relatives(store, tested, pairs=None if listed is None else listed.pairs)
    refuse_relatives(found, len(tested))
    if found.pairs is None:
        say(
            f"warning: {found.n_variants} autosomal variants are too few to tell whether samples are related; "
            "give --kinship",
            quiet=quiet,
        )
    return {"related_pairs": found.pairs, "variants": found.n_variants}
