"""Activations are those of a plain hook on one unpadded text, whatever the model and the batch."""

import copy
import functools
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import gelu, silu
from transformers import AutoModel, AutoTokenizer, T5EncoderModel

from descry.errors import InputError
from descry.models.batching import in_parallel, plan_batches
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, contents_sha256
from descry.models.hooked_model import HookedModel
from descry.models.hookpoints import ATTENTION_OUTPUT, FFN_HIDDEN, FFN_OUTPUT, RESIDUAL, SITES

POSITIONS = ["cls", "last", "mean", "max", "tokens"]
TEXTS = [
    "battery",
    "great price, small and cheap: it works",
    "I love this battery and the topics being discussed, " * 6,
    "é😀 <b>10/10</b> 電池",
    "cheap",
]
LONG = "Price " * 200
NEAR = 1e-4  # of the largest value of a layer


# What each family calls its modules, written out: nothing here asks sites.py.


@dataclass(frozen=True)
class Family:
    """The modules of a family.

    Attributes:
        layers: of its model without a head; of an encoder-decoder's encoder.
        ffn: below a layer, the second feed-forward matrix.
        hidden: the module that puts out what goes into it, or one and how to compute it by hand.
        attention: attention's last matrix, where that is a module.
        calls: as many as layers, where it makes others.
    """

    layers: tuple[str, ...]
    ffn: str
    hidden: "str | tuple[str, object]"
    attention: str | None
    calls: int = 0


def layers(path, number):
    return tuple(f"{path}.{i}" for i in range(number))


def gated(act, gate, value):
    """What a gated network multiplies, from its own input and weights."""

    def by_hand(module, given):
        return act(given @ module.get_parameter(f"{gate}.weight").T) * (
            given @ module.get_parameter(f"{value}.weight").T
        )

    return by_hand


def modernbert_gated(module, given):
    value, gate = (given @ module.Wi.weight.T).chunk(2, dim=-1)
    return gelu(value) * gate


tanh_gelu = functools.partial(gelu, approximate="tanh")
SILU = ("mlp", gated(silu, "gate_proj", "up_proj"))
BERT = Family(layers("encoder.layer", 3), "output.dense", "intermediate", "attention.output.dense")
ALBERT = layers("encoder.albert_layer_groups.0.albert_layers", 1)
GROUPS = [layers(f"encoder.albert_layer_groups.{group}.albert_layers", 2) for group in range(2)]
LLAMA = Family(layers("layers", 2), "mlp.down_proj", SILU, "self_attn.o_proj")
GPTJ = Family(layers("h", 2), "mlp.fc_out", "mlp.act", "attn.out_proj")
FAMILIES = {
    "bert": BERT,
    "roberta": BERT,
    "electra": BERT,
    "deberta": BERT,
    "deberta_v2": BERT,
    "mobilebert": BERT,
    "big_bird": BERT,
    "mpnet": Family(BERT.layers, "output.dense", "intermediate", "attention.attn.o"),
    "distilbert": Family(
        layers("transformer.layer", 3), "ffn.lin2", "ffn.activation", "attention.out_lin"
    ),
    "albert": Family(ALBERT, "ffn_output", "activation", "attention.dense", calls=3),
    "albert_groups": Family(
        GROUPS[0] + GROUPS[1], "ffn_output", "activation", "attention.dense", calls=8
    ),
    "modernbert": Family(layers("layers", 3), "mlp.Wo", ("mlp", modernbert_gated), "attn.Wo"),
    "gpt2": Family(layers("h", 2), "mlp.c_proj", "mlp.act", "attn.c_proj"),
    "gpt_neo": Family(layers("h", 2), "mlp.c_proj", "mlp.act", "attn.attention.out_proj"),
    "gptj": GPTJ,
    "codegen": GPTJ,
    "gpt_neox": Family(layers("layers", 2), "mlp.dense_4h_to_h", "mlp.act", "attention.dense"),
    "bloom": Family(layers("h", 2), "mlp.dense_4h_to_h", "mlp.gelu_impl", "self_attention.dense"),
    "falcon": Family(layers("h", 2), "mlp.dense_4h_to_h", "mlp.act", "self_attention.dense"),
    "llama": LLAMA,
    "qwen2": LLAMA,
    "mistral": LLAMA,
    "gemma2": Family(
        LLAMA.layers, LLAMA.ffn, ("mlp", gated(tanh_gelu, "gate_proj", "up_proj")), LLAMA.attention
    ),
    "phi": Family(layers("layers", 2), "mlp.fc2", "mlp.activation_fn", "self_attn.dense"),
    "opt": Family(layers("decoder.layers", 2), "fc2", "activation_fn", "self_attn.out_proj"),
    "xlnet": Family(layers("layer", 2), "ff.layer_2", "ff.activation_function", None),
    "bart": Family(layers("layers", 2), "fc2", "activation_fn", "self_attn.out_proj"),
    "t5": Family(
        layers("block", 2),
        "layer.1.DenseReluDense.wo",
        ("layer.1.DenseReluDense", gated(tanh_gelu, "wi_0", "wi_1")),
        "layer.0.SelfAttention.o",
    ),
}


def pairs():
    """(family, site, position): every two values of different kinds that go together, once or more.

    A site says where a family's values are, a position what is kept of them: what goes wrong, goes
    wrong of one of the three, or of two of them.
    """
    for number, (name, family) in enumerate(FAMILIES.items()):
        sites = [site for site in SITES if site != ATTENTION_OUTPUT or family.attention]
        positions = [kind for kind in POSITIONS if kind != "cls" or name in tiny.ENCODERS]
        for turn in range(max(len(sites), len(positions))):
            yield name, sites[(turn + number) % len(sites)], positions[turn % len(positions)]


CASES = list(pairs())


def test_the_cases_have_every_pair_of_a_family_a_site_and_a_position():
    for name, family in FAMILIES.items():
        _, sites, positions = zip(*(case for case in CASES if case[0] == name), strict=True)
        assert set(SITES) - set(sites) == (set() if family.attention else {ATTENTION_OUTPUT})
        assert set(POSITIONS) - set(positions) == (set() if name in tiny.ENCODERS else {"cls"})
    assert {case[1:] for case in CASES} == set(product(SITES, POSITIONS))


def test_every_tiny_model_with_feed_forward_layers_is_compared():
    every = {*tiny.ENCODERS, *tiny.DECODERS, *tiny.SEQ2SEQ}
    assert set(FAMILIES) == every - {"mamba"}


# The plain way: the class that the checkpoint was saved as, one text, no padding, no mask.


class Plain:
    """A checkpoint as its library would run it, with hooks on modules by their names."""

    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        kind = getattr(transformers, config["architectures"][0])
        whole = kind.from_pretrained(folder, dtype=torch.float32).eval()
        both_sides = config.get("is_encoder_decoder")
        self.model = whole.get_encoder() if both_sides else whole.base_model
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.seen = []

    def keep(self, value):
        first = value[0] if isinstance(value, tuple) else value
        self.seen.append(first.reshape(-1, first.shape[-1]).clone())  # Falcon adds to it later

    def hook(self, path, compute=None):
        """Keep what a module puts out, or what is computed of what goes into it."""
        module = self.model.get_submodule(path)

        def hook(_, given, output):
            self.keep(compute(module, given[0]) if compute else output)

        return module.register_forward_hook(hook)

    def values(self, hooked, texts, max_tokens=tiny.LIMIT):
        """Of every text: float32 [tokens, calls, neurons]."""
        hooks = [self.hook(*place) for place in hooked]
        found = []
        for text in texts:
            ids = self.tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]
            self.seen = []
            with torch.no_grad():
                self.model(input_ids=torch.tensor([ids]))
            found.append(torch.stack(self.seen, dim=1).numpy())
        for hook in hooks:
            hook.remove()
        return found


def hooked(name, site):
    """The places to hook for a site: paths, or paths and how to compute it."""
    family = FAMILIES[name]
    below = {
        FFN_OUTPUT: [family.ffn],
        FFN_HIDDEN: [family.hidden] if isinstance(family.hidden, str) else list(family.hidden),
        ATTENTION_OUTPUT: [family.attention],
        RESIDUAL: [None],
    }[site]
    return [
        (layer if below[0] is None else f"{layer}.{below[0]}", *below[1:])
        for layer in family.layers
    ]


def at(position, values):
    """[texts, layers, neurons] of every text's [tokens, layers, neurons]."""
    if position == "tokens":
        return np.concatenate(values)
    reduce = {
        "cls": lambda value: value[0],
        "last": lambda value: value[-1],
        "mean": lambda value: value.mean(0),
        "max": lambda value: value.max(0),
    }[position]
    return np.stack([reduce(value) for value in values])


def assert_close(found, wanted):
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    apart = np.abs(found - wanted).max(axis=(0, 2))
    assert (apart < NEAR * np.abs(wanted).max(axis=(0, 2))).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a tiny model, made once."""
    base = tmp_path_factory.mktemp("models")
    return functools.cache(lambda name: tiny.make(name, base / name))


@pytest.fixture
def own(folder, tmp_path):
    """A copy of a tiny model's folder, for a test to change."""
    return lambda name: Path(shutil.copytree(folder(name), tmp_path / "own"))


@pytest.fixture(scope="module")
def plain(folder):
    """What a plain hook sees at every token of TEXTS, computed once."""
    loaded = functools.cache(lambda name: Plain(folder(name)))
    return functools.cache(lambda name, site: loaded(name).values(hooked(name, site), TEXTS))


def load(folder, **changes):
    told = {"site": FFN_OUTPUT, "position": "mean", "layers": None, "sinks": 0}
    told |= {"dtype": "float32", "device": "cpu", "max_tokens": tiny.LIMIT}
    return HookedModel(Checkpoint(str(folder), contents_sha256(folder)), **told | changes)


@pytest.fixture(scope="module")
def target(folder):
    """A target that no test changes, loaded once."""

    @functools.cache
    def of(name, **changes):
        return load(folder(name), **changes)

    return of


def changed(target, **values):
    """The same loaded model as another target."""
    other = copy.copy(target)
    vars(other).update(values)
    return other


def computed(target, texts=TEXTS):
    return target.activations(target.tokenize(texts))


# Values


@pytest.mark.parametrize(("name", "site", "position"), CASES)
def test_activations_are_those_of_a_plain_hook_at(target, plain, name, site, position):
    values = plain(name, site)
    wanted = at(position, values)
    assert wanted.shape[1] == (FAMILIES[name].calls or len(FAMILIES[name].layers))
    assert wanted.std(axis=0).mean() > 0.01
    found = changed(target(name, site=site, position="tokens"), position=position)
    assert found.layers == list(range(wanted.shape[1]))
    assert found.neurons == wanted.shape[2]
    assert_close(computed(found), wanted)


def test_the_texts_are_of_very_different_lengths(target):
    for name in FAMILIES:
        lengths = [len(ids) for ids in target(name).tokenize(TEXTS)]
        assert max(lengths) > 10 * min(lengths)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_longer_text_in_the_batch_changes_nothing(target, name):
    alone = computed(target(name), TEXTS)
    assert_close(computed(target(name), [*TEXTS, LONG])[: len(TEXTS)], alone)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_stands_in_the_padding_changes_nothing(target, name):
    model = target(name, position="tokens")
    wanted = computed(model)
    for padding in (4, 20):
        assert_close(computed(changed(model, padding=padding)), wanted)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("name", ["bert", "mobilebert"])
def test_a_target_is_at_the_position_it_was_made_for(folder, plain, name, position):
    model = load(folder(name), position=position)
    assert_close(computed(model), at(position, plain(name, FFN_OUTPUT)))


@pytest.mark.parametrize("name", FAMILIES)
def test_where_a_token_sees_only_those_before_it_the_first_is_left_out(folder, name):
    decoder = name in (*tiny.CAUSAL, "opt", "codegen", "gptj", "gpt_neo", "phi")
    assert load(folder(name), sinks=None).sinks == int(decoder)


@pytest.mark.parametrize("position", ["mean", "max"])
@pytest.mark.parametrize("sinks", [1, 3])
def test_mean_and_max_go_over_the_tokens_behind_the_sinks(folder, position, sinks):
    every = load(folder("gpt2"), position="tokens")
    tokens = [every.activations([ids]) for ids in every.tokenize(TEXTS)]
    # A text that has no others keeps them.
    own = [values[sinks:] if len(values) > sinks else values for values in tokens]
    wanted = np.stack([getattr(values, position)(axis=0) for values in own])
    assert_close(computed(load(folder("gpt2"), position=position, sinks=sinks)), wanted)


@pytest.mark.parametrize("name", FAMILIES)
def test_as_many_texts_as_tokens_are_not_mistaken_for_each_other(target, name):
    batch = np.random.default_rng(0).integers(6, 40, (4, 4)).tolist()
    alone = [target(name).activations([ids]) for ids in batch]
    assert_close(target(name).activations(batch), np.concatenate(alone))


@functools.cache
def one_by_one(target):
    """Activations of a text's tokens alone, computed once."""
    return functools.cache(lambda ids: target.activations([ids]))


ids = st.integers(6, 40)
batches = st.lists(st.lists(ids, min_size=1, max_size=50).map(tuple), min_size=1, max_size=10)


@pytest.mark.parametrize(
    ("name", "position"),
    [("bert", "cls"), ("roberta", "max"), ("gpt2", "last"), ("opt", "tokens"), ("xlnet", "mean")],
)
@settings(max_examples=20)
@given(batches, st.integers(1, 400))
def test_however_texts_are_batched_each_has_the_activations_it_has_alone(
    target, name, position, texts, budget
):
    model = target(name, position=position)
    for rows in plan_batches([len(text) for text in texts], budget):
        found = model.activations([texts[row] for row in rows])
        alone = [one_by_one(model)(texts[row]) for row in rows]
        assert_close(found, np.concatenate(alone))


def test_the_default_target_has_6_layers_of_384_neurons():
    checkpoint = Checkpoint(MINILM, MINILM_COMMIT)
    model = HookedModel(
        checkpoint,
        site=FFN_OUTPUT,
        position="cls",
        layers=None,
        dtype="float32",
        device="cpu",
        max_tokens=256,
    )
    assert (model.layers, model.neurons) == ([0, 1, 2, 3, 4, 5], 384)
    places = [(f"encoder.layer.{i}.output.dense",) for i in range(6)]
    assert_close(computed(model), at("cls", Plain(checkpoint.folder).values(places, TEXTS, 256)))


@pytest.mark.parametrize("position", POSITIONS)
def test_bfloat16_comes_as_float32_near_the_exact(folder, plain, position):
    found = computed(load(folder("bert"), dtype="bfloat16", position=position))
    wanted = at(position, plain("bert", FFN_OUTPUT))
    assert found.dtype == np.float32
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99
    assert not np.array_equal(found, wanted)


def test_a_value_that_the_model_changes_later_is_kept_as_it_was(own):
    folder = own("falcon")
    tiny.word_pieces().save_pretrained(folder)  # with a token at the start of every text
    places = hooked("falcon", FFN_OUTPUT)
    wanted = at("cls", Plain(folder).values(places, TEXTS))
    assert_close(computed(load(folder, position="cls")), wanted)


# What is not computed


def called(target, texts=TEXTS[1:2]):
    """The modules that a pass begins, in order."""
    seen = []
    hooks = [
        module.register_forward_pre_hook(lambda _, __, path=path: seen.append(path))
        for path, module in target.model.named_modules()
        if path
    ]
    computed(target, texts)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_is_one_pass_but_where_a_token_s_neighbours_count(folder, name):
    model = load(folder(name), layers=[0])
    lengths = {len(ids) for ids in model.tokenize(TEXTS)}
    passes = called(model, TEXTS).count(f"{FAMILIES[name].layers[0]}.{FAMILIES[name].ffn}")
    assert passes == (len(lengths) if name == "mobilebert" else 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_computed_after_the_last_layer(target, name):
    family = FAMILIES[name]
    seen = called(target(name))
    matrices = [f"{layer}.{family.ffn}" for layer in family.layers]
    assert seen[-1] == matrices[-1]
    assert sum(path in matrices for path in seen) == (family.calls or len(family.layers))
    assert not any(path.split(".")[0] == "pooler" for path in seen)


@pytest.mark.parametrize("name", FAMILIES)
def test_with_the_first_layer_alone_the_second_is_never_begun(folder, name):
    family = FAMILIES[name]
    seen = called(load(folder(name), layers=[0]))
    assert seen[-1] == f"{family.layers[0]}.{family.ffn}"
    assert seen.count(seen[-1]) == 1
    later = tuple(f"{layer}." for layer in family.layers[1:])
    assert not any(f"{path}.".startswith(later) for path in seen)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_goes_into_a_matrix_is_had_without_multiplying_by_it(folder, name):
    family = FAMILIES[name]
    seen = called(load(folder(name), site=FFN_HIDDEN, layers=[0]))
    assert f"{family.layers[0]}.{family.ffn}" not in seen
    assert any(path.startswith(f"{family.layers[0]}.") for path in seen)


def test_there_is_no_head_to_compute(target):
    for name in ("bert", "roberta", "gpt2", "llama"):
        paths = [path for path, _ in target(name).model.named_modules()]
        assert not any("head" in path or "classifier" in path or "cls" in path for path in paths)


def test_the_head_that_a_checkpoint_came_with_does_not_matter(folder, target, tmp_path):
    bare, classifier = tmp_path / "bare", tmp_path / "classifier"
    for path, kind in [(bare, "BertModel"), (classifier, "BertForSequenceClassification")]:
        getattr(transformers, kind).from_pretrained(folder("bert")).save_pretrained(path)
        AutoTokenizer.from_pretrained(folder("bert")).save_pretrained(path)
    wanted = computed(target("bert"))
    for path in (bare, classifier):
        assert np.array_equal(computed(load(path)), wanted)


def test_an_encoder_saved_without_its_decoder_is_the_same_encoder(folder, target, tmp_path):
    T5EncoderModel.from_pretrained(folder("t5")).save_pretrained(tmp_path / "encoder")
    AutoTokenizer.from_pretrained(folder("t5")).save_pretrained(tmp_path / "encoder")
    assert np.array_equal(computed(load(tmp_path / "encoder")), computed(target("t5")))


def test_no_gradient_is_kept(folder):
    model = load(folder("bert"))
    values = []
    model.model.encoder.layer[0].register_forward_hook(lambda *call: values.append(call[2]))
    computed(model)
    assert values and not any(value.requires_grad for value in values)


def test_nothing_is_kept_of_a_pass_nor_of_one_that_failed(folder, monkeypatch):
    model = load(folder("bert"))
    wanted = computed(model)
    with monkeypatch.context() as broken:
        broken.setattr(model.model.encoder.layer[1], "forward", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            computed(model)
    model.model(input_ids=torch.tensor([[3, 6, 7, 1]]))  # not by activations(): hooks keep quiet
    assert np.array_equal(computed(model), wanted)


# Layers


@pytest.mark.parametrize("name", ["bert", "albert", "albert_groups", "gpt2"])
@pytest.mark.parametrize("chosen", [[0], [1], [0, 1], [1, 0], [1, 1, 0, 0]])
def test_layers_are_those_that_are_named_in_ascending_order_each_once(folder, plain, name, chosen):
    model = load(folder(name), layers=chosen)
    assert model.layers == sorted(set(chosen))
    assert_close(computed(model), at("mean", plain(name, FFN_OUTPUT))[:, model.layers])


def test_the_last_layer_can_be_had_alone(folder, plain):
    for name in ("bert", "albert", "albert_groups", "xlnet"):
        last = (FAMILIES[name].calls or len(FAMILIES[name].layers)) - 1
        wanted = at("mean", plain(name, FFN_OUTPUT))[:, [last]]
        assert_close(computed(load(folder(name), layers=[last])), wanted)


@pytest.mark.parametrize(("chosen", "wrong"), [([3], 3), ([0, 7, 1], 7), ([-1], -1)])
def test_a_layer_that_is_not_there_is_refused(folder, chosen, wrong):
    with pytest.raises(InputError) as caught:
        load(folder("albert"), layers=chosen)
    assert str(caught.value) == (
        f"activations.layers: {folder('albert')} has no layer {wrong}: its layers are 0 to 2"
    )


@pytest.fixture
def uneven(monkeypatch):
    """Models whose second layer has 20 hidden values, not 48."""
    plainly = AutoModel.from_pretrained

    def loaded(*given, **named):
        model, info = plainly(*given, **named)
        layer = model.encoder.layer[1]
        layer.intermediate.dense = torch.nn.Linear(32, 20)
        layer.output.dense = torch.nn.Linear(20, 32)
        return model, info

    monkeypatch.setattr(AutoModel, "from_pretrained", loaded)


def test_layers_of_different_widths_are_refused(folder, uneven):
    with pytest.raises(InputError) as caught:
        load(folder("bert"), site=FFN_HIDDEN)
    assert str(caught.value) == (
        "activations.layers: not of one width (0: 48, 1: 20, 2: 48): name those of one width"
    )


def test_layers_of_one_width_are_taken_among_others(folder, uneven):
    for chosen, width in [([0, 2], 48), ([1], 20)]:
        model = load(folder("bert"), site=FFN_HIDDEN, layers=chosen)
        assert computed(model).shape == (len(TEXTS), len(chosen), width)
        assert model.neurons == width


# Sites by their paths


@pytest.mark.parametrize(
    ("name", "path", "site"),
    [
        ("bert", "encoder.layer.*.output.dense", FFN_OUTPUT),
        ("bert", "encoder.layer.*.output.dense:input", FFN_HIDDEN),
        ("bert", "encoder.layer.*.intermediate", FFN_HIDDEN),
        ("bert", "encoder.layer.*", RESIDUAL),
        ("bert", "encoder.layer.*.attention.output.dense", ATTENTION_OUTPUT),
        ("bert", "encoder.layer.*.attention.output:input", "encoder.layer.*.attention.self"),
        ("albert", "encoder.albert_layer_groups.*.albert_layers.*.ffn_output", FFN_OUTPUT),
        ("llama", "layers.*.mlp", FFN_OUTPUT),
        ("gpt2", "h.*.mlp.act", FFN_HIDDEN),
        ("xlnet", "layer.*.ff.layer_2:input", FFN_HIDDEN),
        ("t5", "block.*", RESIDUAL),
    ],
)
def test_a_dotted_path_gives_what_the_site_of_a_name_gives(folder, target, name, path, site):
    wanted = computed(target(name, site=site))
    assert np.array_equal(computed(load(folder(name), site=path)), wanted)


def test_a_module_s_first_output_or_input_is_meant_where_it_has_more(folder):
    tuples = computed(load(folder("llama"), site="layers.*.self_attn"))
    assert np.array_equal(tuples, computed(load(folder("llama"), site=ATTENTION_OUTPUT)))
    by_keyword = computed(load(folder("llama"), site="layers.*.self_attn:input"))
    normed = load(folder("llama"), site="layers.*.input_layernorm")
    assert np.array_equal(by_keyword, computed(normed))


def test_a_module_that_puts_out_named_values_puts_out_the_first(folder, target):
    model = load(folder("bert"), site="encoder")
    assert model.layers == [0]
    assert np.array_equal(computed(model), computed(target("bert", site=RESIDUAL))[:, 2:])


def test_a_model_of_no_family_has_neurons_where_a_path_says(folder):
    model = load(folder("mamba"), site="layers.*.mixer.out_proj")
    places = [(f"layers.{i}.mixer.out_proj",) for i in range(2)]
    assert_close(computed(model), at("mean", Plain(folder("mamba")).values(places, TEXTS)))


def refused(folder, **changes):
    with pytest.raises(InputError) as caught:
        load(folder, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("site", [*SITES, "encoder.layer.*.output.dense"])
def test_a_model_without_the_module_is_refused_by_those_that_it_has(folder, site):
    message = refused(folder("mamba"), site=site)
    assert message.startswith(f"activations.site {site}: no such module in this model")
    assert "layers.*.mixer.in_proj" in message and "layers.*.mixer.out_proj" in message
    assert "layers.0" not in message


@pytest.mark.parametrize("path", ["encoder.layer.*.attention.self.dropout", "encoder.layer"])
def test_a_module_that_is_never_called_is_refused(folder, path):
    assert refused(folder("bert"), site=path) == (
        f"activations.site {path}: {folder('bert')} has it, never runs it"
    )


@pytest.mark.parametrize(("name", "path"), [("bert", "pooler.dense"), ("llama", "rotary_emb")])
def test_a_module_whose_values_are_not_a_token_s_is_refused(folder, name, path):
    assert refused(folder(name), site=path) == (
        f"activations.site {path}: in {folder(name)} it has no row for every token"
    )


# Position cls


@pytest.mark.parametrize("name", ["gpt2", "llama", "xlnet", "t5", "bart"])
def test_without_a_cls_token_position_cls_is_refused(folder, name):
    assert refused(folder(name), position="cls") == (
        f"activations.position cls: {folder(name)} has no [CLS] token at the start of a text: take"
        " last, mean or max"
    )


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_cls_token_that_no_text_starts_with_is_none(own):
    folder = own("bert")
    change(folder / "tokenizer.json", post_processor=None)
    assert "no [CLS] token at the start" in refused(folder, position="cls")


# Tokens

UNNUMBERED = ["bloom", "xlnet", "t5"]  # no table of positions


@pytest.mark.parametrize("name", FAMILIES)
def test_a_text_is_cut_at_max_tokens_before_anything_is_computed(folder, name):
    model = load(folder(name), max_tokens=8, position="tokens")
    (cut,) = model.tokenize([LONG])
    assert len(cut) == 8
    wanted = Plain(folder(name)).values(hooked(name, FFN_OUTPUT), [LONG], 8)
    assert_close(computed(model, [LONG]), at("tokens", wanted))


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(UNNUMBERED)))
def test_a_text_is_cut_where_the_model_s_positions_end(folder, name):
    model = load(folder(name), max_tokens=10_000, position="tokens")
    assert model.max_tokens == tiny.LIMIT
    found = computed(model, ["Price " * 2 * tiny.LIMIT])
    assert len(found) == tiny.LIMIT and np.isfinite(found).all()


@pytest.mark.parametrize("name", UNNUMBERED)
def test_a_model_without_a_table_of_positions_takes_any_number_of_tokens(folder, name):
    model = load(folder(name), max_tokens=700, position="tokens")
    assert len(computed(model, ["Price " * 800])) == 700


@pytest.mark.parametrize("name", ["bert", "roberta", "albert", "mpnet"])
def test_special_tokens_are_within_the_cut(folder, target, name):
    (ids,) = target(name, max_tokens=5).tokenize(["price " * 50])
    tokenizer = target(name).tokenizer
    assert (len(ids), ids[0], ids[-1]) == (5, tokenizer.cls_token_id, tokenizer.sep_token_id)


@pytest.mark.parametrize("name", FAMILIES)
def test_special_tokens_that_somebody_wrote_are_text(folder, target, name):
    model = target(name)
    special = set(model.tokenizer.all_special_ids) - {model.tokenizer.unk_token_id}
    written = f"great {' '.join(model.tokenizer.all_special_tokens)} price"
    (ids,) = model.tokenize([written])
    inner = ids[len(model.before) : len(ids) - len(model.behind)]
    assert special.isdisjoint(inner) and len(inner) > 2
    assert (tuple(ids[: len(model.before)]), tuple(ids[len(ids) - len(model.behind) :])) == (
        model.before,
        model.behind,
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_other_texts_have_the_tokens_that_the_library_gives_them(folder, target, name):
    plain = AutoTokenizer.from_pretrained(folder(name))
    for most in (9, 64):
        wanted = plain([*TEXTS, LONG], truncation=True, max_length=most)["input_ids"]
        ids, length = target(name, max_tokens=most).fit([*TEXTS, LONG])
        assert ids == wanted
        whole = plain([*TEXTS, LONG])["input_ids"]
        assert length.tolist() == [len(tokens) for tokens in whole]


def test_a_limit_without_room_for_a_token_is_refused(target, folder):
    with pytest.raises(InputError) as caught:
        target("bert", max_tokens=2).tokenize(["great"])
    assert str(caught.value) == f"{folder('bert')}: max_tokens 2 leaves no token of a text"


def test_a_text_without_a_token_is_refused(target, folder):
    with pytest.raises(InputError) as caught:
        target("gpt2").tokenize(["great", "", "cheap"])
    assert str(caught.value) == f"{folder('gpt2')}: no token in the text ''"


def test_a_text_without_words_has_an_encoder_s_special_tokens(target):
    assert computed(target("bert"), [""]).shape == (1, 3, 32)


def test_padding_that_the_model_does_not_know_is_not_given_to_it(own):
    folder = own("llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[beyond]"})
    tokenizer.save_pretrained(folder)
    change(folder / "config.json", pad_token_id=None)
    model = load(folder)
    assert model.tokenizer.pad_token_id == model.model.config.vocab_size
    assert_close(computed(model), np.concatenate([computed(model, [text]) for text in TEXTS]))


# The tokenizer's hash


def test_the_tokenizer_s_hash_is_its_behaviour_s_not_its_folder_s(own, target):
    assert load(own("bert")).tokenizer_sha256 == target("bert").tokenizer_sha256
    assert target("electra").tokenizer_sha256 == target("bert").tokenizer_sha256
    assert target("roberta").tokenizer_sha256 != target("bert").tokenizer_sha256


def one_token_more(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["lovely"])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    "otherwise",
    [
        one_token_more,
        lambda folder: change(folder / "tokenizer.json", normalizer={"type": "Lowercase"}),
        lambda folder: change(folder / "tokenizer.json", post_processor=None),
    ],
)
def test_a_tokenizer_that_does_otherwise_has_another_hash(own, target, otherwise):
    folder = own("bert")
    otherwise(folder)
    assert load(folder).tokenizer_sha256 != target("bert").tokenizer_sha256


def test_the_tokenizer_s_hash_does_not_change_with_use(folder):
    model = load(folder("bert"))
    before = model.tokenizer_sha256
    computed(model)
    assert before == model.tokenizer_sha256 == load(folder("bert")).tokenizer_sha256


# Threads


@pytest.mark.parametrize("name", ["bert", "albert", "deberta_v2", "gpt2", "xlnet", "t5"])
def test_batches_in_several_threads_are_those_of_one_after_the_other(target, name):
    model = target(name, position="tokens")
    batches = [model.tokenize(TEXTS[i % 5 :] + [LONG[: 7 * i]] * (i > 0)) for i in range(24)]
    wanted = [model.activations(batch) for batch in batches]
    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            for found, alone in zip(pool.map(model.activations, batches), wanted, strict=True):
                assert_close(found, alone)
    for found, alone in zip(in_parallel(model.activations, batches, "cpu"), wanted, strict=True):
        assert_close(found, alone)


def test_two_models_in_two_threads_do_not_see_each_other_s_values(target):
    models = [target("bert"), target("albert"), target("gpt2")] * 8
    wanted = [computed(model) for model in models]
    with ThreadPoolExecutor(4) as pool:
        batches = [model.tokenize(TEXTS) for model in models]
        found = pool.map(lambda model, batch: model.activations(batch), models, batches)
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other)


# Folders that cannot be loaded


def without(*names):
    def change(folder):
        for name in names:
            (folder / name).unlink()

    return change


def with_text(name, text):
    return lambda folder: (folder / name).write_text(text)


def with_config(**values):
    return lambda folder: change(folder / "config.json", **values)


def cut_short(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


BROKEN = {
    "config-not-json": (with_text("config.json", "{"), "not a valid JSON file"),
    "config-no-object": (with_text("config.json", "[1]"), "mapping"),
    "no-config": (without("config.json"), "model_type"),
    "unknown-type": (with_config(model_type="nonesuch"), "nonesuch"),
    "wrong-type": (with_config(hidden_size="x"), "hidden_size"),
    "unknown-activation": (with_config(hidden_act="nonesuch"), "nonesuch"),
    "no-tokenizer": (
        without("tokenizer.json", "tokenizer_config.json"),
        "no tokenizer's vocabulary in it",
    ),
    "no-vocabulary": (without("tokenizer.json"), "tokenizer"),
    "tokenizer-not-json": (with_text("tokenizer.json", "{"), "line 1"),
    "tokenizer-of-nothing": (with_text("tokenizer.json", "{}"), ""),
    "tokenizer-config-not-json": (with_text("tokenizer_config.json", "{"), "line 1"),
    "weights-cut-short": (cut_short, "not fully covered"),
    "weights-not-safetensors": (with_text("model.safetensors", "weights"), "header"),
    "weights-of-another-shape": (with_config(hidden_size=64), "mismatched"),
    "weights-of-another-model": (
        with_config(model_type="gpt2"),
        "no weights for 40 of the model's",
    ),
    "weights-of-fewer-layers": (
        with_config(num_hidden_layers=4),
        "no weights for 16 of the model's, such as encoder.layer.3.attention.output.LayerNorm.bias",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_folder_that_cannot_be_loaded_is_refused_in_one_line(own, broken):
    folder = own("bert")
    breaks, reason = BROKEN[broken]
    breaks(folder)
    message = refused(folder)
    assert message.startswith(f"{folder}: cannot be loaded (")
    assert reason in message
    assert len(message) < 500


def test_a_gpu_that_is_not_here_is_refused(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "device cuda: none on this machine" in refused(folder("bert"), device="cuda")
