"""User errors: what they print, which exit code they carry, and that identifiers never slip into text."""

from __future__ import annotations

import pickle

import pytest

from genomix import errors
from genomix.errors import EXIT_CODES, GenomixError, Identifier

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, GenomixError)]


def test_every_cause_has_a_code_of_its_own_that_is_listed() -> None:
    codes = [c.exit_code for c in CLASSES]
    assert len(set(codes)) == len(codes)
    assert {c.exit_code: c.cause for c in CLASSES if c is not GenomixError}.items() <= EXIT_CODES.items()
    assert set(EXIT_CODES) == set(codes) | {0, 2, 130, 141, 143}


def test_codes_are_a_contract() -> None:
    names = {c.__name__: c.exit_code for c in CLASSES}
    assert names == {
        "GenomixError": 1, "InputNotFoundError": 3, "FormatError": 4, "TruncatedInputError": 5, "LinkError": 6,
        "LabelError": 7, "ConfigError": 8, "OutputError": 9, "LockedError": 10, "DeviceError": 11, "LeakageError": 12,
        "IntegrityError": 13, "MissingDependencyError": 14, "StrictError": 15,
    }  # fmt: skip


@pytest.mark.parametrize("show", [False, True])
def test_identifiers_show_only_when_asked(show: bool) -> None:
    people = (Identifier("sample", "NA12878", 3), Identifier("subject", "MRN-77"))
    error = GenomixError("two collide", where="a.vcf:12", hint="rename one", identifiers=people)
    text = error.render(show_identifiers=show)
    assert ("NA12878" in text, "MRN-77" in text) == (show, show)
    assert text.startswith("two collide (sample ")
    assert text.endswith("[a.vcf:12]. Try: rename one")


def test_no_ordinary_way_to_print_an_error_names_a_person() -> None:
    error = GenomixError("a bad call", identifiers=(Identifier("sample", "NA12878", 3),))
    assert str(error) == "a bad call (sample no. 3)"
    assert "NA12878" not in f"{error!r} {error.args}"


def test_a_message_is_one_line_without_its_optional_parts() -> None:
    assert str(GenomixError("it broke")) == "it broke"


def test_errors_survive_the_way_from_a_worker_process() -> None:
    error = errors.FormatError("a bad line", where="x:3", hint="mend it", identifiers=(Identifier("sample", "s", 1),))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.FormatError
    assert copy.render(show_identifiers=True) == error.render(show_identifiers=True)
