"""The bundled VCF as text: allele counts of its autosomal SNVs, and a smaller VCF with fewer samples.

The demo is SIMULATED before any study reads it, so this reader knows the bundled file's form only (phased or unphased
diploid GT without missing calls on the autosomes) and refuses any other; studies read genotypes through ``genomix.io``.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from genomix.errors import FormatError
from genomix.io.bgzf import EOF_BLOCK, inflated_chunks

AUTOSOMES = frozenset(str(number) for number in range(1, 23))
FIXED_COLUMNS = 9
_BLOCK_BYTES = 65_280


class Snvs(NamedTuple):
    """Autosomal single-nucleotide variants: ``dosage`` is int8 (variants, samples), copies of ALT."""

    samples: list[str]
    contig: list[str]
    position: npt.NDArray[np.int64]
    ref: list[str]
    alt: list[str]
    dosage: npt.NDArray[np.int8]


def read_snvs(vcf: Path) -> Snvs:
    """Return the autosomal biallelic SNVs of a VCF in the bundled file's form.

    Raises
    ------
    FormatError: for a missing, haploid or multi-allelic call on an autosome.
    """
    lines = _read_lines(vcf)
    header = next(line for line in lines if line.startswith(b"#CHROM"))
    samples = header.decode().split("\t")[FIXED_COLUMNS:]
    rows: list[tuple[str, int, str, str]] = []
    dosages: list[npt.NDArray[np.int8]] = []
    for number, line in enumerate(lines, start=1):
        if line.startswith(b"#"):
            continue
        *fixed, calls = line.split(b"\t", FIXED_COLUMNS)
        contig, position, _, ref, alt = (field.decode() for field in fixed[:5])
        if contig not in AUTOSOMES or len(ref) != 1 or len(alt) != 1:
            continue
        rows.append((contig, int(position), ref, alt))
        dosages.append(_dosage(calls, len(samples), where=f"{vcf}:{number}"))
    contigs, positions, refs, alts = zip(*rows, strict=True)
    return Snvs(samples, list(contigs), np.array(positions), list(refs), list(alts), np.stack(dosages))


def _dosage(calls: bytes, n_samples: int, *, where: str) -> npt.NDArray[np.int8]:
    text = np.frombuffer(calls + b"\t", dtype=np.uint8)
    if text.size != 4 * n_samples:
        raise FormatError("a call is not diploid GT alone", where=where)
    alleles = text.reshape(n_samples, 4)[:, [0, 2]] - ord("0")
    if alleles.max() > 1:
        raise FormatError("a call is missing or has a third allele", where=where)
    counts: npt.NDArray[np.int8] = alleles.sum(axis=1).astype(np.int8)
    return counts


def _read_lines(vcf: Path) -> list[bytes]:
    return b"".join(inflated_chunks(vcf)).splitlines()


def subset_vcf(vcf: Path, samples: list[str]) -> bytes:
    """Return the bytes of a bgzipped VCF with every record of ``vcf`` and these samples, in the file's order.

    Raises
    ------
    FormatError: when a sample is not in the file.
    """
    wanted = set(samples)
    columns: list[int] = []
    out: list[bytes] = []
    for line in _read_lines(vcf):
        if line.startswith(b"##"):
            out.append(line)
            continue
        fields = line.split(b"\t")
        if line.startswith(b"#"):
            names = [name.decode() for name in fields[FIXED_COLUMNS:]]
            columns = [FIXED_COLUMNS + i for i, name in enumerate(names) if name in wanted]
            if len(columns) != len(wanted):
                raise FormatError(f"{len(wanted) - len(columns)} samples are not in the file", where=str(vcf))
        out.append(b"\t".join(fields[:FIXED_COLUMNS] + [fields[i] for i in columns]))
    return bgzip(b"\n".join(out) + b"\n")


def bgzip(data: bytes) -> bytes:
    """Return ``data`` as BGZF (SAM specification, section 4.1) with its empty end block.

    >>> import gzip
    >>> gzip.decompress(bgzip(b"abc")), bgzip(b"").endswith(EOF_BLOCK)
    (b'abc', True)
    """
    blocks = [_block(data[start : start + _BLOCK_BYTES]) for start in range(0, len(data), _BLOCK_BYTES)]
    return b"".join([*blocks, EOF_BLOCK])


def _block(data: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    head = struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, ord("B"), ord("C"), 2, len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))
