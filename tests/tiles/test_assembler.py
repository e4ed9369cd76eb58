"""What the assembler of NVIDIA's GPUs gets wrong is not in the kernels of block lists; no GPU is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cases import prepare

import maskdsl
from maskdsl.backends.block_mask_triton import kernel_for
from maskdsl.backends.launch_build import build_lists
from maskdsl.backends.targets import TARGETS

pytest.importorskip("triton")


@pytest.mark.parametrize("mask", [
    "abs(q // 3 - k // 3) <= 1 and abs(q % 3 - k % 3) <= 1",
    "max(abs(q // 9 - k // 9), abs(q // 3 % 3 - k // 3 % 3), abs(q % 3 - k % 3)) <= 1",
    "max(-q, k - 700, -3 * k) < min(-k, q, 5) or 0 - q % 5 < k * -1",
    "bit_length(q - k) < 4 and sign(q - k) <= 0",
])  # fmt: skip
def test_no_int_is_negated_by_an_instruction_of_its_own(mask: str, tmp_path: Path) -> None:
    """ptxas drops `neg` and `abs` from maxima of three: the first mask had no tiles on a GPU."""
    case = prepare(maskdsl.compile(f"mask m = {mask}"), {}, (1, 1, 256, 256), (128, 128))
    build_lists(kernel_for(case.verdict, both=False), [], TARGETS["sm_90"], tmp_path)
    texts = [file.read_text(encoding="utf-8") for file in tmp_path.glob("*.ptx")]
    assert len(texts) == 2
    for text in texts:
        assert not re.findall(r"\b(?:neg|abs)\.s32\b|\bsub\.s32\s+%r\d+, 0,", text)
        assert "max.s32" in text or "min.s32" in text
