"""What interventions change at the output: against plain float64, and planted neurons."""

import numpy as np
import pytest
import tiny
import torch
from planted import (
    EFFECT_TABLE,
    EFFECTS,
    RESULTS,
    answers_changed,
    read_csv,
    run_interventions,
)
from scipy.special import logsumexp
from scipy.stats import entropy
from test_writes import extraction, llama
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import descry
from descry.errors import InputError
from descry.evaluation.effects import (
    Distribution,
    Embedding,
    Trial,
    beside,
    measured,
    others_like,
    token_spread,
)
from descry.io.json_files import read_json
from descry.models.checkpoints import contents_sha256
from descry.models.hooked_model import HookedModel
from descry.models.intervention import Edit, editable, edited
from descry.workflow.params import parse

EDITS = [Edit(0, 3, 0.0, 2.0), Edit(1, 5, 1.0, 4.0), Edit(1, 5, 1.0, 0.0)]  # the last does nothing


def model_of(folder, name):
    tiny.make(name, folder)
    auto = AutoModelForMaskedLM if name == "bert" else AutoModelForCausalLM
    model = auto.from_pretrained(folder).double().eval()
    told = {"site": "ffn_hidden", "position": "tokens", "layers": None, "max_tokens": 32}
    return model, HookedModel.of(model, AutoTokenizer.from_pretrained(folder), **told)


def test_effects_on_the_next_token(tmp_path):
    model, hooked = model_of(tmp_path, "llama")
    tokens = [3, 9, 27, 81, 11, 5]
    outcome = Distribution(hooked, model, masked=False)
    aim = outcome.aim(["battery talk", "a Price"])
    words = ("battery", "talk", "price", "Price")
    firsts = hooked.tokenizer([f" {word}" for word in words], add_special_tokens=False)
    assert sorted(aim.tolist()) == sorted({ids[0] for ids in firsts["input_ids"]})
    with editable(hooked):
        found = outcome.effects(Trial(tokens, EDITS, aim))
        nowhere = outcome.effects(Trial(tokens, EDITS, outcome.aim(["!"])))
        with torch.inference_mode(), edited([None, *EDITS], len(tokens)):
            logits = model(input_ids=torch.tensor([tokens] * 4)).logits.numpy()[:, hooked.sinks :]
    assert hooked.sinks == 1
    told = logits - logsumexp(logits, axis=2, keepdims=True)
    distance = entropy(np.exp(told[:1]), np.exp(told[1:]), axis=2).mean(axis=1)
    towards = logsumexp(told[:, :, aim.numpy()], axis=2).mean(axis=1)
    np.testing.assert_allclose(found[:, 0], 1000 * distance, atol=1e-2)
    np.testing.assert_allclose(found[:, 1], 1000 * (towards[1:] - towards[0]), atol=1e-2)
    np.testing.assert_array_equal(found[2], 0)
    assert (found[:2, 0] > 0.1).all()
    assert np.isnan(nowhere[:, 1]).all()


def test_effects_on_a_masked_token(tmp_path):
    model, hooked = model_of(tmp_path, "bert")
    tokens = hooked.tokenize(["great battery and price"])[0]
    outcome = Distribution(hooked, model, masked=True)
    aim = outcome.aim(["battery"])
    with editable(hooked):
        found = outcome.effects(Trial(tokens, EDITS, aim))
        possible = []
        for place in range(1, len(tokens) - 1):
            ids = [*tokens]
            ids[place] = hooked.tokenizer.mask_token_id
            with torch.inference_mode(), edited([None, *EDITS], len(ids)):
                logits = model(input_ids=torch.tensor([ids] * 4)).logits.numpy()[:, place]
            told = logits - logsumexp(logits, axis=1, keepdims=True)
            towards = logsumexp(told[:, aim.numpy()], axis=1)
            distance = entropy(np.exp(told[:1]), np.exp(told[1:]), axis=1)
            possible.append(np.stack([distance, towards[1:] - towards[0]], axis=1))
    assert np.isclose(1000 * np.array(possible), found, atol=1e-2).all(axis=(1, 2)).sum() == 1
    np.testing.assert_array_equal(found[2], 0)


@pytest.mark.parametrize("name", ["bert", "llama", "gpt_neox"])
def test_a_text_that_goes_in_once_has_the_same_effects(tmp_path, name):
    model, hooked = model_of(tmp_path, name)
    outcome = Distribution(hooked, model, masked=name == "bert")
    later = [Edit(1, 5, 0.0, 4.0), Edit(1, 6, 1.0, -3.0)]
    trials = [
        Trial(hooked.tokenize([text])[0], edits, outcome.aim(["battery"]))
        for text in ("great battery and price", "cheap")
        for edits in (EDITS, later)
    ]
    with editable(hooked):
        whole = [outcome.effects(trial) for trial in trials]
        found = measured(outcome, trials, hooked.device, lambda _: None)
    assert outcome.once
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)


def test_a_model_that_holds_on_to_its_rows_is_given_all_of_them(tmp_path):
    model, hooked = model_of(tmp_path, "llama")
    outcome = Distribution(hooked, model, masked=False)
    trial = Trial([3, 9, 27, 81], EDITS, outcome.aim(["battery"]))
    with editable(hooked):
        whole = outcome.effects(trial)
        first, rows = model.model.layers[0].post_attention_layernorm, [len(EDITS) + 1]
        width = first.weight.shape[0]
        first.register_forward_pre_hook(lambda _, given: (given[0].view(rows[0], 4, width),))
        (found,) = measured(outcome, [trial], hooked.device, lambda _: None)
        assert not outcome.once
        np.testing.assert_array_equal(found, whole)
        rows[0] = -1
        measured(outcome, [trial], hooked.device, lambda _: None)
        assert outcome.once


def test_a_tokenizer_without_a_mask_is_told(tmp_path):
    model, hooked = model_of(tmp_path, "bert")
    hooked.tokenizer.mask_token = None
    with pytest.raises(InputError, match="its tokenizer has no token for a masked one"):
        Distribution(hooked, model, masked=True)


def test_effects_on_a_sentence_embedding(tmp_path):
    _, hooked = model_of(tmp_path, "bert")
    texts = ["great battery", "cheap and small", "this works"]

    def embed(text, edit=None):
        ids = hooked.tokenize([text])[0]
        with torch.inference_mode(), edited([edit], len(ids)):
            states = hooked.model(input_ids=torch.tensor([ids]))[0][0].numpy().mean(axis=0)
        return states / np.linalg.norm(states)

    with editable(hooked):
        outcome = Embedding(hooked, texts)
        trial = Trial(hooked.tokenize(["love this"])[0], EDITS, outcome.aim(["price", "cheap"]))
        found = outcome.effects(trial)
        plain = embed("love this")
        changed = np.stack([embed("love this", edit) for edit in EDITS])
        direction = np.mean([embed("price"), embed("cheap")], axis=0)
        direction -= np.mean([embed(text) for text in texts], axis=0)
    direction /= np.linalg.norm(direction)
    np.testing.assert_allclose(found[:, 0], 1000 * (1 - changed @ plain), atol=1e-6)
    np.testing.assert_allclose(found[:, 1], 1000 * (changed - plain) @ direction, atol=1e-6)
    np.testing.assert_allclose(found[2], 0, atol=1e-11)


def test_spread_over_tokens(tmp_path):
    _, hooked = model_of(tmp_path, "gpt2")
    texts = ["great battery and price", "this works", "small"] * 9
    mean, deviation = token_spread(hooked, texts)
    own = [hooked.activations([ids]) for ids in hooked.tokenize(texts)]
    reached = np.concatenate([one[1:] if len(one) > 1 else one for one in own])
    np.testing.assert_allclose(mean, reached.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(deviation, reached.std(axis=0), atol=1e-5)


# Beside other neurons


def test_the_interval_holds_what_it_promises():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        gaps = rng.exponential(size=30) - 1 + 0.5
        found = beside(gaps + 3, np.full(30, 3.0), seed)
        held += found.low <= 0.5 <= found.high
        assert found.difference == pytest.approx(gaps.mean())
    assert 0.87 < held / 200 < 0.99


def test_verdicts_and_what_is_undefined():
    assert beside(np.array([2.0, 3, 2]), np.zeros(3), 0).verdict == "is more than other neurons'"
    assert beside(np.array([-2.0, -3]), np.zeros(2), 0).verdict == "is less than other neurons'"
    mixed = beside(np.array([-1.0, 1, np.nan]), np.zeros(3), 0)
    assert mixed.neurons == 2 and mixed.verdict == "is not told from other neurons'"
    assert beside(np.array([1.0]), np.zeros(1), 0).verdict == "is undefined"
    assert beside(np.array([np.nan]), np.zeros(1), 0).neurons == 0


def test_others_write_about_as_much():
    size = np.array([1.0, 1.1, 0.9, 100, 0, 1.05, 50, 1.2, 0.5, 80])
    allowed = np.ones(10, dtype=bool)
    allowed[5] = False
    lots = [bytes([i]) for i in range(10)]
    assert others_like(0, size, allowed, 1, lots) == [1]  # of 1, 2, 7 and 8 the smallest lot
    assert others_like(0, size, allowed, 1, lots[::-1]) == [8]
    assert others_like(3, size, allowed, 1, lots) == [1]  # of 9, 6, 7 and 1
    assert others_like(0, size, allowed, 9, lots) == [1, 2, 3, 6, 7, 8, 9]  # not 5, nor silent 4


# The stage


def test_a_neuron_that_writes_its_label_is_told(run, tmp_path):
    """L0:1 reads sentences about batteries and writes ` battery`: raised, it makes it likelier."""
    llama(tmp_path / "llama")
    counts = run_interventions(extraction(tmp_path / "llama"), raised=30.0)
    rows = {
        (row["neuron"], row["intervention"], row["kind"]): row for row in read_csv(EFFECT_TABLE)
    }
    assert counts["neurons"] * 4 == len(rows) >= 12
    own = rows["L0:1", "raised", "label"]
    assert own["descriptor"] == "Battery" and own["sentences"] == "4"
    assert float(own["towards"]) > 50 > 10 > float(own["towards_others"])
    told = read_json(EFFECTS, "interventions")
    assert told["neurons"] == counts["neurons"]
    one = told["raised"]["label"]["distance"]
    values = [float(row["distance"]) for key, row in rows.items() if key[1:] == ("raised", "label")]
    assert one["value"] == pytest.approx(np.mean(values), abs=1e-5)
    assert one["low"] <= one["difference"] <= one["high"]
    opened = descry.open(RESULTS)
    assert opened.interventions["measures"]["distance"].startswith("KL divergence")
    assert opened.rows("interventions.csv")[0]["distance"] == pytest.approx(
        float(next(iter(rows.values()))["distance"])
    )
    before = EFFECTS.read_bytes(), EFFECT_TABLE.read_bytes()
    run_interventions(extraction(tmp_path / "llama"), raised=30.0)
    assert before == (EFFECTS.read_bytes(), EFFECT_TABLE.read_bytes())


def test_neurons_that_write_nothing_change_nothing(run, tmp_path):
    folder = tmp_path / "llama"
    llama(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight[:, [0, 2, 3, 4, 5, 6, 7]] = 0
    model.save_pretrained(folder)
    run_interventions(extraction(folder), neurons=["L0:1"], others=5)
    # Nobody writes as much as L0:1: there are no others, and no row.
    assert read_csv(EFFECT_TABLE) == []
    assert read_json(EFFECTS, "interventions")["neurons"] == 0
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight[:, :] *= 0
            layer.mlp.down_proj.weight[0, :] = 1e-12
    model.save_pretrained(folder)
    run_interventions(extraction(folder))
    assert all(abs(float(row["distance"])) < 1e-2 for row in read_csv(EFFECT_TABLE))


def test_a_model_without_a_head_is_read_by_its_embedding(run, tmp_path):
    folder = tmp_path / "bare"
    tiny.make("bert", folder)
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder)
    config.update({"intermediate_size": 8, "num_hidden_layers": 2})
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    counts = run_interventions(extraction(folder))
    assert counts["neurons"] > 2
    told = read_json(EFFECTS, "interventions")
    assert "cosine" in told["measures"]["distance"]
    assert told["raised"]["label"]["distance"]["value"] > 0


def test_where_it_is_not_enabled_the_files_say_so(run):
    assert run_interventions() == {"neurons": 0}
    assert "not enabled" in read_json(EFFECTS, "interventions")["undefined"]
    assert descry.open(RESULTS).rows("interventions.csv") == []


def test_other_answers_are_refused(run, tmp_path):
    llama(tmp_path / "llama")
    with pytest.raises(InputError, match="L7:0: no such neuron"):
        run_interventions(extraction(tmp_path / "llama"), neurons=["L7:0"])
    with answers_changed() as answer:
        answer[:] = 0  # no sentence of any label
    assert run_interventions(extraction(tmp_path / "llama"))["neurons"] == 0


@pytest.mark.parametrize("change", [{"raised": 0.0}, {"others": 0}, {"sentences": 1}])
def test_bad_params_are_told_in_a_line(change):
    good = {"enabled": True, "neurons": 3, "others": 2, "sentences": 4, "raised": 3.0}
    good |= {"words": 1, "seed": 0}
    (key,) = change
    with pytest.raises(InputError, match=f"interventions.{key}"):
        parse("interventions", good | change, "params")


def test_the_checkpoint_is_on_record(run, tmp_path):
    llama(tmp_path / "llama")
    run_interventions(extraction(tmp_path / "llama"), neurons=1)
    made = read_json(EFFECTS, "interventions")["made"]
    target = made["params"]["activations"]["target"]
    assert target["revision"] == contents_sha256(tmp_path / "llama") and made["weights"]
