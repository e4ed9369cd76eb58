"""`maskdsl.model`: the layers of models, by number, in kinds, with constants; and what it says to mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import maskdsl
from maskdsl.library.layers import Layers, split_doc
from maskdsl.library.models import find_model, stack
from maskdsl.library.registry import Registry

OWN = """
## Near.
## Layers: layer < layers - 1.
## Layers (wide, narrow): {where}.
mask near(window: int = 4) = 0 <= q - k < window
    requires window >= 1
example near(window = 1) | x

## Far.
## Layers: layer == layers - 1.
## Layers (wide): layer == 0.
mask far = k <= q
example far | x
"""


def own(folder: Path, where: str = "layer > 0") -> Registry:
    """A registry that knows the file as the model `own_model`."""
    path = folder / "own_model.mask"
    path.write_text(OWN.format(where=where))
    registry = Registry()
    registry.register(path)
    return registry


def test_a_layer_is_a_program() -> None:
    model = maskdsl.model("gemma3")
    assert model.layer(5).name == "gemma3_global" == model[11].name
    assert model.layer(4) is model.layer(0) is maskdsl.get("gemma3_local")
    assert (model.name, model.kind, model.kinds) == ("gemma3", None, (None, "image"))
    assert model.pattern == "gemma3_local: layer % 6 != 5; gemma3_global: layer % 6 == 5"
    assert [v.name for v in model.variants] == ["gemma3_local", "gemma3_global"]
    assert repr(model) == f"<model gemma3: {model.pattern}>"


def test_a_number_of_layers_makes_it_a_sequence() -> None:
    model = maskdsl.model("gemma4", total=8)
    assert len(model) == 8 and [p.name for p in model if p is not None] == [*model.names()]
    assert model.names()[4:] == ("gemma4_local", "gemma4_global", "gemma4_local", "gemma4_global")
    assert model.layers(7)[6] is maskdsl.get("gemma4_global")
    assert maskdsl.model("recurrent_gemma").names(4) == (None, None, "recurrent_gemma", None)
    assert maskdsl.model("recurrent_gemma", total=4).layers()[:2] == (None, None)


def test_a_kind_has_layers_of_its_own() -> None:
    assert maskdsl.model("gemma3", "image").layer(5).name == "gemma3_image_global"
    assert maskdsl.model("t5", kind="decoder")[0].name == "t5_decoder"


def test_constants_go_to_the_definitions_that_have_them() -> None:
    model = maskdsl.model("gemma3", window=512, query_pre_attn_scalar=168)
    assert model.layer(0) is maskdsl.get("gemma3_local", window=512, query_pre_attn_scalar=168)
    assert model.layer(5) is maskdsl.get("gemma3_global", query_pre_attn_scalar=168)


@pytest.mark.parametrize("name", ["longformer_encoder", "longformer", "models/longformer", "maskdsl/models/longformer"])
def test_a_model_is_found_by_the_beginning_of_its_name(name: str) -> None:
    assert maskdsl.model(name).name == "longformer_encoder"


@pytest.mark.parametrize(
    ("use", "code", "said"),
    [
        (lambda: maskdsl.model("gema3"), "E0211", "did you mean `gemma3`"),
        (lambda: maskdsl.model("casual"), "E0211", "the models are `afmoe`, "),
        (lambda: maskdsl.model("gemma3_local"), "E0211", "`gemma3_local` is a definition of the model `gemma3`"),
        (lambda: maskdsl.model("t5"), "E0213", "its kinds are `encoder`, `decoder`"),
        (lambda: maskdsl.model("gemma3", kind="imag"), "E0213", "did you mean `image`"),
        (lambda: maskdsl.model("mistral", kind="7b"), "E0213", "it is of one kind alone"),
        (lambda: maskdsl.model("gemma3", windw=3), "E0208", "did you mean `window`"),
        (lambda: maskdsl.model("gemma3", window=0).layer(0), "E0408", "window"),
        (lambda: maskdsl.model("gemma3").layer(-1), "E0213", "layers count from 0"),
        (lambda: maskdsl.model("gemma3", total=26).layer(26), "E0213", "and there are 26"),
        (lambda: maskdsl.model("gemma3").layer(6, total=6), "E0213", "and there are 6"),
        (lambda: maskdsl.model("gemma3", total=0), "E0213", "cannot have 0 layers"),
        (lambda: maskdsl.model("gemma4").layer(0), "E0213", "layer(0, total=…)"),
        (lambda: len(maskdsl.model("gemma3")), "E0213", 'maskdsl.model("gemma3", total=…)'),
        (lambda: maskdsl.model("recurrent_gemma").layer(1), "E0213", "recurrent_gemma: layer % 3 == 2"),
    ],
)
def test_mistakes_are_diagnostics(use: Callable[[], object], code: str, said: str) -> None:
    with pytest.raises(maskdsl.MaskError) as caught:
        use()
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert said in str(caught.value)


def test_a_model_without_a_known_number_of_layers_is_true() -> None:
    assert maskdsl.model("gemma3")


# ---------------------------------------------------------------- files of one's own


def test_lines_name_kinds() -> None:
    plain, layers = split_doc(["What it is.", "Layers: layer % 2 == 0.", "Layers (a, b): true", "Layers are many."])
    assert plain == ["What it is.", "Layers are many."]
    assert layers == (
        Layers(where="layer % 2 == 0"), Layers(kind="a", where="true"), Layers(kind="b", where="true"),
    )  # fmt: skip


def test_a_file_of_ones_own_is_a_model(tmp_path: Path) -> None:
    registry = own(tmp_path)
    model = find_model("own", registry)
    assert (model.name, model.kinds) == ("own_model", (None, "wide", "narrow"))
    assert registry.manifest(model.source, "near").doc == "Near."
    layers = stack(model, None, registry)
    assert [layers.at(i, 3) for i in range(3)] == ["near", "near", "far"]
    assert [stack(model, "narrow", registry).at(i) for i in range(2)] == [None, "near"]


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ("layer >= 0", "E0213", "2 definitions of `own_model` claim layer 0"),
        ("layer >= size(head)", "E0410", "has no value for layer 0"),
        ("layer > q", "E0412", "`q` is no part of a layer's number"),
        ("layer % layers", "E0301", "the layers of near:2:1"),
        ("layr > 0", "E0201", "did you mean `layer`"),
        ("layer // (layers - 1) == 0", "E0404", "divisor"),
    ],
)
def test_wrong_lines_are_diagnostics(tmp_path: Path, where: str, code: str, said: str) -> None:
    registry = own(tmp_path, where)
    with pytest.raises(maskdsl.MaskError) as caught:
        stack(find_model("own", registry), "wide", registry).at(0)
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert said in str(caught.value)


def test_two_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    registry = own(tmp_path)
    (tmp_path / "own_other.mask").write_text(OWN.format(where="true"))
    registry.register(tmp_path / "own_other.mask")
    with pytest.raises(maskdsl.MaskError, match="say which: `own_model` or `own_other`"):
        find_model("own", registry)
