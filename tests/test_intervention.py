"""Interventions on neurons: against models whose weights do the same, and what they must not do."""

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from descry.errors import InputError
from descry.models.hooked_model import HookedModel
from descry.models.intervention import Edit, editable, edited

IDS = torch.tensor([[3, 9, 27, 81, 11, 5]])
FAMILIES = ["gpt2", "llama", "bert", "opt", "falcon", "gpt_neox", "xlnet", "albert"]


def double(folder, name, **changes):
    """A tiny model with its head in float64, and hooked."""
    tiny.make(name, folder)
    auto = AutoModelForMaskedLM if name in tiny.ENCODERS else AutoModelForCausalLM
    model = auto.from_pretrained(folder).double().eval()
    told = {"site": "ffn_hidden", "position": "tokens", "layers": None, "max_tokens": 32}
    hooked = HookedModel.of(model, AutoTokenizer.from_pretrained(folder), **told | changes)
    return model, hooked


def logits(model, rows=1):
    with torch.inference_mode():
        return model(input_ids=IDS.expand(rows, -1), attention_mask=torch.ones(rows, 6)).logits


class Changed(torch.nn.Module):
    """A linear layer one of whose inputs is changed by hand."""

    def __init__(self, inner, index, keep, add, first):
        super().__init__()
        self.inner, self.index, self.keep, self.add, self.first = inner, index, keep, add, first

    def forward(self, x):
        column = torch.zeros(x.shape[-1], dtype=x.dtype)
        column[self.index] = 1
        tokens = torch.arange(x.shape[1])[None, :, None] >= self.first
        wanted = self.keep * x + self.add
        return self.inner(torch.where(tokens & (column == 1), wanted, x))


@pytest.mark.parametrize("sinks", [0, 2])
@pytest.mark.parametrize(("keep", "add"), [(0.0, 0.7), (1.0, -1.3)])
@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_an_edit_is_what_a_changed_layer_does(tmp_path, name, keep, add, sinks):
    model, hooked = double(tmp_path, name, sinks=sinks)
    plain = logits(model)
    with editable(hooked), edited([None, Edit(1, 5, keep, add)], 6):
        found = logits(model, rows=2)
    path = {"gpt2": "h.1.mlp.c_proj", "llama": "layers.1.mlp.down_proj"}
    path = path.get(name, "encoder.layer.1.output.dense")
    parent, _, last = path.rpartition(".")
    outer = model.base_model.get_submodule(parent)
    setattr(outer, last, Changed(getattr(outer, last), 5, keep, add, sinks))
    hooked.remove_hooks()
    expected = logits(model)
    assert (expected - plain).abs().max() > 1e-4
    torch.testing.assert_close(found[1:], expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(found[:1], plain, rtol=1e-9, atol=1e-11)


def test_an_output_is_set_as_by_its_weights(tmp_path):
    """A neuron of ffn_output that is set to a value: a row of 0 and that bias."""
    model, hooked = double(tmp_path, "bert", site="ffn_output", sinks=0)
    with editable(hooked), edited([Edit(2, 7, 0.0, 1.5)], 6):
        found = logits(model)
    with torch.no_grad():
        dense = model.bert.encoder.layer[2].output.dense
        dense.weight[7], dense.bias[7] = 0.0, 1.5
    torch.testing.assert_close(found, logits(model), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_do_not_touch_each_other(tmp_path, name):
    """Each row has its own edit, whatever the layout of the family; and it is all undone."""
    model, hooked = double(tmp_path, name)
    edits = [None, Edit(0, 1, 0.0, 2.0), Edit(1, 1, 1.0, 2.0), None]
    plain = logits(model)
    with editable(hooked):
        with edited(edits, 6):
            together = logits(model, rows=4)
        alone = []
        for edit in edits:
            with edited([edit], 6):
                alone.append(logits(model))
        torch.testing.assert_close(logits(model), plain, rtol=0, atol=0)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-10)
    for row, edit in enumerate(edits):
        moved = (together[row] - plain[0]).abs().max() > 1e-6
        assert bool(moved) == (edit is not None)
    torch.testing.assert_close(logits(model), plain, rtol=0, atol=0)


def test_an_edit_changes_no_earlier_token_of_a_decoder(tmp_path):
    model, hooked = double(tmp_path, "gpt2", sinks=3)
    with editable(hooked), edited([None, Edit(0, 4, 0.0, 5.0)], 6):
        found = logits(model, rows=2)
    moved = (found[1] - found[0]).abs().amax(dim=1).numpy()
    np.testing.assert_array_equal(moved[:3], 0)
    assert (moved[3:] > 1e-6).all()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (Edit(2, 0, 0.0, 0.0), "layer 2: the model has layers 0 to 1"),
        (Edit(0, 500, 0.0, 0.0), "neuron 500: a layer has neurons 0 to 127"),
    ],
)
def test_what_there_is_not_is_told_in_a_line(tmp_path, edit, words):
    model, hooked = double(tmp_path, "gpt2")
    with pytest.raises(InputError, match=words), editable(hooked), edited([edit], 6):
        logits(model)
