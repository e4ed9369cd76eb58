"""What `import maskdsl` offers: names, constants, masks, libraries, and what it says when something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import maskdsl
from maskdsl.library.manifest import Manifest
from maskdsl.library.registry import Registry


def codes(call: Any, *args: Any, **kwargs: Any) -> list[str]:
    with pytest.raises(maskdsl.MaskError) as caught:
        call(*args, **kwargs)
    return [d.code for d in caught.value.diagnostics]


def dense(program: Any, q_len: int, kv_len: int) -> list[list[int]]:
    """The mask of the first batch row and head, as FlexAttention would evaluate it."""
    zero, q, k = torch.tensor(0), torch.arange(q_len)[:, None], torch.arange(kv_len)
    return [[int(x) for x in row] for row in program.mask_mod(zero, zero, q, k).expand(q_len, kv_len).tolist()]


def test_importing_is_cheap() -> None:
    text = "import sys, maskdsl; print(sorted({'torch', 'pydantic', 'lark', 'numpy'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_getting_and_showing_code_needs_no_torch() -> None:
    text = "import sys, maskdsl; maskdsl.list(); maskdsl.get('causal').source; maskdsl.get('packed_causal').source; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_names() -> None:
    assert {"MaskError", "compile", "get", "list", "load", "register"} <= {*maskdsl.__all__} <= {*dir(maskdsl)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        maskdsl.nothing  # noqa: B018


class TestFinding:
    def test_by_name_and_path(self) -> None:
        assert maskdsl.get("gemma2_local", window=7).manifest.path == "models/gemma2_local"
        assert maskdsl.get("models/gemma2_local", window=7) is maskdsl.get("gemma2_local", window=7)
        assert codes(maskdsl.get, "gemma2_lokal") == ["E0211"]

    def test_list_has_manifests(self) -> None:
        manifests = maskdsl.list()
        assert all(isinstance(m, Manifest) for m in manifests)
        (window,) = [m for m in manifests if m.name == "sliding_window"]
        assert (window.kind, window.parameters[0].default, window.facts) == ("mask", 4096, ("window >= 1",))

    def test_load(self, tmp_path: Path) -> None:
        file = tmp_path / "my.mask"
        file.write_text("mask near(w: int) = abs(q - k) <= w\nmask far = not near(1)\n", encoding="utf-8")
        assert dense(maskdsl.load(file, "near", w=1), 2, 3) == [[1, 1, 0], [1, 1, 1]]
        assert dense(maskdsl.load(str(file), "far"), 2, 3) == [[0, 0, 1], [0, 0, 0]]
        assert codes(maskdsl.load, file) == ["E0211"]
        assert codes(maskdsl.load, file, "other") == ["E0211"]
        assert codes(maskdsl.load, tmp_path / "none.mask") == ["E0107"]
        file.write_text("mask near = k == q\n", encoding="utf-8")
        assert dense(maskdsl.load(file), 2, 2) == [[1, 0], [0, 1]]

    def test_compile(self) -> None:
        assert dense(maskdsl.compile("mask band(w: int) = 0 <= q - k < w", w=1), 2, 2) == [[1, 0], [0, 1]]
        two = "mask a = k < 1\nmask c = a and q < 1"
        assert dense(maskdsl.compile(two), 2, 2) == [[1, 0], [0, 0]]
        assert dense(maskdsl.compile(two, "a"), 2, 2) == [[1, 0], [1, 0]]
        assert codes(maskdsl.compile, "mask a = slope[q]") == ["E0201"]
        assert codes(maskdsl.compile, "mask a = = b") == ["E0101"]
        assert codes(maskdsl.compile, "") == ["E0211"]

    @pytest.mark.parametrize("given", [None, 3, b"mask a = k <= q", ["mask a = k <= q"]])
    def test_what_is_no_text(self, given: Any) -> None:
        assert codes(maskdsl.compile, given) == codes(maskdsl.get, given) == ["E0301"]

    @pytest.mark.parametrize("path", ["a\0b.mask", "a" * 5000])
    def test_what_names_no_file(self, path: str) -> None:
        assert codes(maskdsl.load, path) == codes(maskdsl.register, path) == ["E0107"]

    def test_imports_in_a_text_are_the_librarys(self) -> None:
        assert dense(maskdsl.compile("from causal import causal\nmask a = causal and k > 0"), 2, 2) == [[0, 0], [0, 1]]

    def test_register(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        registry = Registry()
        monkeypatch.setattr("maskdsl.api.shared", lambda: registry)
        maskdsl.register("mask registered_text = k == 0")
        assert dense(maskdsl.get("registered_text"), 1, 2) == [[1, 0]]
        (tmp_path / "one.mask").write_text("mask registered_file = k == 1", encoding="utf-8")
        maskdsl.register(tmp_path)
        assert dense(maskdsl.get("registered_file"), 1, 2) == [[0, 1]]
        assert codes(maskdsl.register, tmp_path / "two.mask") == ["E0107"]
        assert codes(maskdsl.register, "mask = 3") == ["E0101"]


class TestConstants:
    @pytest.mark.parametrize(
        ("given", "code"),
        [
            ({"windw": 3}, "E0208"), ({"window": 1.5}, "E0302"), ({"window": True}, "E0301"), ({"window": 0}, "E0408"),
            ({"window": "3"}, "E0301"), ({"window": [3]}, "E0301"), ({"window": 2**31}, "E0106"),
            ({"window": 10**5000}, "E0106"),
        ],
    )  # fmt: skip
    def test_refused(self, given: dict[str, Any], code: str) -> None:
        assert codes(maskdsl.get, "sliding_window", **given) == [code]

    def test_a_constant_without_default_is_needed(self) -> None:
        assert codes(maskdsl.compile, "mask m(w: int) = k < w") == ["E0209"]

    def test_a_table_is_no_constant(self) -> None:
        assert codes(maskdsl.get, "alibi", slope=[1.0]) == ["E0208"]

    def test_numpy_numbers(self) -> None:
        assert maskdsl.get("sliding_window", window=np.int64(5)) is maskdsl.get("sliding_window", window=5)

    def test_equal_numbers_of_other_types_are_other_constants(self) -> None:
        text = "score s(cap: float) = min(score, cap)"
        assert maskdsl.compile(text, cap=2) is not maskdsl.compile(text, cap=3)
        assert codes(maskdsl.compile, "mask m(w: int) = k < w", w=1.0) == ["E0302"]
        assert dense(maskdsl.compile("mask m(w: int) = k < w", w=1), 1, 2) == [[1, 0]]


class TestMasksGiven:
    BLOCKS = "mask blocks(inner: mask, side: int = 2) = inner at (q = q // side, k = k // side) requires side > 0"

    @pytest.mark.parametrize("inner", ["causal", "base/causal", "k <= q", maskdsl.get("causal")], ids=str)
    def test_by_name_text_or_program(self, inner: Any) -> None:
        assert dense(maskdsl.compile(self.BLOCKS, inner=inner), 3, 3) == [[1, 1, 0], [1, 1, 0], [1, 1, 1]]

    @pytest.mark.parametrize(
        ("inner", "code"),
        [
            ("softcap", "E0303"), ("gemma2_local", "E0303"), (3, "E0303"), ("nowhere", "E0211"), ("k <=", "E0102"),
            ("score > 0.0", "E0401"),
        ],
    )  # fmt: skip
    def test_refused(self, inner: Any, code: str) -> None:
        assert codes(maskdsl.compile, self.BLOCKS, inner=inner) == [code]

    def test_missing(self) -> None:
        assert codes(maskdsl.compile, self.BLOCKS) == ["E0209"]

    def test_its_tables_and_facts_come_along(self) -> None:
        program = maskdsl.compile(self.BLOCKS, inner="prefix_lm")
        assert program.tables == ("prefix",)
        assert dense(program.bind(prefix=[1]), 3, 4) == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
        assert codes(program.bind, prefix=[-1]) == ["E0605"]

    def test_tables_of_one_name_are_one_table(self) -> None:
        text = """
            mask both(inner: mask, prefix: int[batch]) = inner and k < 2 * prefix[b] requires prefix[b] < 100"""
        program = maskdsl.compile(text, inner="prefix_lm")
        assert program.tables == ("prefix",)
        assert dense(program.bind(prefix=[1]), 1, 3) == [[1, 0, 0]]
        assert codes(program.bind, prefix=[-1]) == ["E0605"] == codes(program.bind, prefix=[100])
        other = "mask m(inner: mask, document: int[batch]) = inner or k < document[b]"
        assert codes(maskdsl.compile, other, inner="packed_causal") == ["E0309"]


class TestPrograms:
    def test_kinds(self) -> None:
        assert maskdsl.get("causal").score_mod is None
        softcap = maskdsl.get("softcap", cap=2.0)
        assert softcap.mask_mod is None and softcap.score_mod is not None
        zero = torch.tensor(0)
        assert softcap.score_mod(torch.tensor(1.0), zero, zero, zero, zero).item() == pytest.approx(2 * np.tanh(0.5))

    def test_tables_come_first(self) -> None:
        alibi = maskdsl.get("alibi")
        for use in ("mask_mod", "score_mod"):
            assert codes(getattr, alibi, use) == ["E0609"]
        assert codes(alibi.block_mask, 1, 1, 8, 8) == ["E0609"]
        q = torch.ones(1, 1, 8, 16)
        assert codes(alibi.attention, q, q, q) == ["E0609"]

    def test_source_is_the_mods(self) -> None:
        namespace: dict[str, Any] = {}
        exec(maskdsl.get("sliding_window", window=2).source, namespace)
        made = namespace["make_mask_mod"]()
        assert made(*map(torch.tensor, (0, 0, 5, 4))).item() and not made(*map(torch.tensor, (0, 0, 5, 3))).item()

    def test_sizes_that_only_a_call_knows(self) -> None:
        slopes = maskdsl.get("alibi_slopes")
        assert codes(getattr, slopes, "score_mod") == ["E0609"] == codes(getattr, slopes, "source")
        score_mod = slopes.bind(sizes={"head": 8}).score_mod
        assert score_mod is not None
        at = [torch.tensor(x) for x in (4.0, 0, 0, 3, 1)]
        assert score_mod(*at).item() == 3.0

    def test_lengths_that_only_a_call_knows(self) -> None:
        right = maskdsl.get("causal_bottom_right")
        assert codes(getattr, right, "mask_mod") == ["E0609"]
        assert dense(right.bind(sizes={"q_len": 2, "kv_len": 3}), 2, 3) == [[1, 1, 0], [1, 1, 1]]

    @pytest.mark.parametrize("sizes", [{"head": 0}, {"head": 1.5}, {"heads": 8}])
    def test_sizes_that_make_no_sense(self, sizes: dict[str, Any]) -> None:
        assert codes(maskdsl.get("alibi_slopes").bind, sizes=sizes) == ["E0607"]

    def test_sizes_that_a_table_has_already(self) -> None:
        program = maskdsl.get("alibi")
        assert codes(program.bind, slope=[1.0, 0.5], sizes={"head": 3}) == ["E0607"]
        assert program.bind(slope=[1.0, 0.5], sizes={"head": 2}).sizes["head"] == 2

    def test_a_table_may_be_called_self(self) -> None:
        program = maskdsl.compile("mask m(self: int[batch], name: int) = k < self[b] + name", name=1)
        assert dense(program.bind(self=[0]), 1, 2) == [[1, 0]]
        query = np.zeros((1, 1, 1, 4))
        assert program.reference(query, query, query, self=[1]).shape == (1, 1, 1, 4)

    def test_a_table_may_be_called_sizes(self) -> None:
        program = maskdsl.compile("mask m(sizes: int[batch]) = k < sizes[b]")
        assert dense(program.bind(sizes=[1]), 1, 2) == [[1, 0]]

    def test_what_they_print(self) -> None:
        alibi = maskdsl.get("alibi")
        assert repr(alibi) == "<score alibi(slope: float[head])>"
        assert repr(alibi.bind(slope=[1.0, 2.0])) == "<score alibi bound to (slope=(2,))>"


class TestBlockMasks:
    def test_sizes_and_lists(self) -> None:
        mask = maskdsl.get("causal").block_mask(2, 4, 300, 300, device="cpu")
        assert mask.shape == (1, 1, 300, 300) and mask.kv_num_blocks.tolist() == [[[1, 1, 3]]]
        assert maskdsl.get("causal").block_mask(2, 4, 300, 300, device="cpu") is mask

    def test_per_row(self) -> None:
        bound = maskdsl.get("prefix_lm").bind(prefix=[0, 300])
        mask = bound.block_mask(2, 4, 300, 300, block_size=100)
        assert mask.full_kv_num_blocks is not None
        assert mask.full_kv_num_blocks.tolist() == [[[0, 1, 2]], [[3, 3, 3]]]

    def test_a_written_table_makes_another_mask(self) -> None:
        prefix = torch.tensor([0, 0])
        bound = maskdsl.get("prefix_lm").bind(prefix=prefix)
        before = bound.block_mask(2, 1, 256, 256)
        assert bound.block_mask(2, 1, 256, 256) is before
        prefix.fill_(256)
        assert bound.block_mask(2, 1, 256, 256).full_kv_num_blocks.tolist() == [[[2, 2]]] * 2  # type: ignore[union-attr]

    def test_made_in_inference_mode(self) -> None:
        with torch.inference_mode():
            mask = maskdsl.compile("mask inferred = k <= q").block_mask(1, 1, 8, 8, device="cpu")
        assert not mask.kv_indices.is_inference()

    def test_sizes_that_disagree(self) -> None:
        bound = maskdsl.get("prefix_lm").bind(prefix=[0, 0])
        assert codes(bound.block_mask, 3, 1, 8, 8) == ["E0607"]


class TestCalls:
    @staticmethod
    def qkv(batch: int = 1, heads: int = 2, length: int = 8) -> tuple[Tensor, Tensor, Tensor]:
        return (torch.ones(batch, heads, length, 16),) * 3

    @pytest.mark.parametrize("name", ["attention", "reference"])
    def test_tables_that_disagree_with_the_call(self, name: str) -> None:
        def call(program: Any, qkv: Any, **tables: Any) -> Any:
            if name == "reference":
                return program.reference(*qkv, **tables)
            return program.bind(**tables).attention(*qkv)

        assert codes(call, maskdsl.get("alibi"), self.qkv(), slope=[1.0]) == ["E0607"]
        assert codes(call, maskdsl.get("prefix_lm"), self.qkv(), prefix=[1, 2]) == ["E0607"]
        assert codes(call, maskdsl.get("document"), self.qkv(), document=[[0] * 7]) == ["E0607"]
        assert codes(call, maskdsl.get("causal"), [x[0] for x in self.qkv()]) == ["E0608"]

    def test_a_fact_that_only_the_call_decides(self) -> None:
        text = """
            mask m(seen: bool[rows]) = seen[clamp(q // 4, 0, size(rows) - 1)]
                requires size(rows) * 4 >= size(position)"""
        bound = maskdsl.compile(text).bind(seen=[True])
        assert codes(bound.attention, *self.qkv()) == ["E0605"]

    def test_reference_takes_arrays_tensors_and_lists(self) -> None:
        q = np.random.default_rng(0).standard_normal((1, 2, 4, 8))
        alibi = maskdsl.get("alibi")
        expected = alibi.reference(q, q, q, slope=np.array([0.1, 0.2]))
        assert expected.dtype == np.float64 and expected.shape == q.shape
        tensor = torch.from_numpy(q)
        assert np.array_equal(alibi.reference(tensor, tensor, tensor, slope=np.array([0.1, 0.2])), expected)
        assert np.allclose(alibi.reference(q.tolist(), q, q, slope=[0.1, 0.2]), expected, atol=1e-6)
        assert np.allclose(alibi.reference(tensor.bfloat16(), tensor, tensor, slope=[0.1, 0.2]), expected, atol=0.1)

    @pytest.mark.parametrize("value", ["a", None, [[1.0], [1.0, 2.0]], object()])
    def test_reference_of_what_is_no_array(self, value: Any) -> None:
        assert codes(maskdsl.get("causal").reference, value, value, value) == ["E0608"]

    def test_reference_of_nothing(self) -> None:
        q, k = np.ones((1, 1, 3, 4)), np.ones((1, 1, 0, 4))
        assert not maskdsl.get("causal").reference(q, k, k).any()


def test_texts_cannot_run_python() -> None:
    """Names in a definition never become Python of their own."""
    for name in ("__import__", "exec", "torch", "mask_mod", "None", "q_idx", "dtype", "class", "print"):
        try:
            program = maskdsl.compile(f"mask m({name}: int[batch]) = k < {name}[b]")
        except maskdsl.MaskError:
            continue
        assert dense(program.bind(**{name: [1]}), 1, 2) == [[1, 0]]
