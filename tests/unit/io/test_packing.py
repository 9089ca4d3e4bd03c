"""Packed codes come back as they were; alleles and codes say the same."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomix.io import packing
from genomix.io.packing import alleles_of_codes, codes_of_alleles, pack_codes, unpack_codes


@settings(deadline=None)  # the first call may load compiled kernels
@given(st.lists(st.sampled_from([0, 1, 2, -9]), max_size=40))
def test_two_bits_come_back(codes: list[int]) -> None:
    packed = pack_codes(np.array(codes, dtype=np.int8), phased=False)
    assert packed.nbytes == -(-len(codes) // 4)
    assert unpack_codes(packed, len(codes), phased=False).tolist() == codes


@settings(deadline=None)  # the first call may load compiled kernels
@given(st.lists(st.sampled_from([0, 1, 2, 3, 4, -9]), max_size=40))
def test_four_bits_come_back(codes: list[int]) -> None:
    packed = pack_codes(np.array(codes, dtype=np.int8), phased=True)
    assert packed.nbytes == -(-len(codes) // 2)
    assert unpack_codes(packed, len(codes), phased=True).tolist() == codes


@pytest.mark.parametrize(
    ("code", "alleles", "phased"),
    [(0, (0, 0), False), (1, (0, 1), False), (2, (1, 1), False), (3, (0, 1), True), (4, (1, 0), True)],
)
def test_a_code_is_its_alleles(code: int, alleles: tuple[int, int], phased: bool) -> None:
    assert alleles_of_codes(np.array([[code]], dtype=np.int8))[0, 0].tolist() == list(alleles)
    back = codes_of_alleles(np.array([[alleles]], dtype=np.int16), np.array([[phased]]))
    assert back.tolist() == [[code]]


def test_missing_and_phased_homozygotes() -> None:
    assert alleles_of_codes(np.array([-9, 2], dtype=np.int8)).tolist() == [[-9, -9], [1, 1]]
    pairs = np.array([[(-1, -1), (1, 1), (1, 0)]], dtype=np.int16)
    assert codes_of_alleles(pairs, np.array([[False, True, False]])).tolist() == [[-9, 2, 1]]


@pytest.mark.parametrize("phased", [False, True])
def test_compiled_kernels_give_the_same_bytes(phased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [0, 1, 2, -9, *([3, 4] if phased else [])]
    codes = np.random.default_rng(3).choice(np.array(values, dtype=np.int8), (11, 13))
    from genomix.io.kernels import packing_kernels

    compiled = [pack_codes(codes, phased=phased), alleles_of_codes(codes)]
    compiled.append(unpack_codes(compiled[0], codes.size, phased=phased))
    monkeypatch.setattr(packing, "_kernels", lambda: None)
    plain = [pack_codes(codes, phased=phased), alleles_of_codes(codes)]
    plain.append(unpack_codes(plain[0], codes.size, phased=phased))
    for a, b in zip(compiled, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    assert packing_kernels.__name__ in sys.modules


@settings(deadline=None)  # the first call may load compiled kernels
@given(st.lists(st.lists(st.sampled_from([0, 1, 2, 3, 4, -9]), min_size=3, max_size=3), max_size=9))
def test_rows_are_told_by_their_heterozygotes(rows: list[list[int]]) -> None:
    from genomix.io.kernels import packing_kernels  # loads numba, so that the compiled forms are taken

    codes = np.array(rows, dtype=np.int8).reshape(len(rows), 3)
    kinds = [(1 in row) + 2 * (3 in row or 4 in row) for row in rows]
    missing = sum(row.count(-9) for row in rows)
    assert packing._kernels() is packing_kernels
    assert packing.heterozygotes_of_rows(codes).tolist() == kinds
    assert packing.count_missing(codes) == missing
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_kernels", lambda: None)
        assert packing.heterozygotes_of_rows(codes).tolist() == kinds
        assert packing.count_missing(codes) == missing
