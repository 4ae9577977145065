"""Real models, tiny and random: their neurons as prompts excite them, in batches as alone."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neurons import settings as numbers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, PreTrainedTokenizerFast

from descry.errors import InputError
from descry.models.checkpoints import Checkpoint, contents_sha256
from descry.models.hooked_model import HookedModel
from descry.n2g.augment import Augmenter
from descry.n2g.explain import explain, sample
from descry.n2g.graph import graph_json
from descry.n2g.layer_model import LayerNeurons, _around, mask_of
from descry.n2g.scoring import graph_scores
from descry.n2g.substitutes import NearestWords, speller
from descry.n2g.texts import read

NEAR = 1e-4
BOTH = ["bert", "gpt2"]
STRINGS = [
    "great price, small and cheap: it works",
    "I love this battery. It works and it works!",
    "Yes, this battery is great",
    "cheap and small 電",
    "the price is about the sentence being discussed",
    "small battery, small price; I love it",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder with a tiny model, by its name."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tiny.make(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(scope="module")
def subject(folders):
    """The neurons of a tiny model's layer 1."""
    made = {}

    def neurons(name, position="tokens", bos=False, max_tokens=64, layers=(1,)):
        given = name, position, bos, max_tokens, layers
        if given not in made:
            folder = folders(name)
            target = HookedModel(
                Checkpoint(str(folder), contents_sha256(folder)),
                site="ffn_output",
                position=position,
                layers=list(layers),
                dtype="float32",
                device="cpu",
                max_tokens=max_tokens,
            )
            made[given] = LayerNeurons(target, bos=bos, batch_tokens=256)
        return made[given]

    return neurons


def prompts_of(neurons, strings=STRINGS):
    return [text.tokens for text in read(strings, neurons.target.tokenizer, limit=neurons.limit)]


def every(neurons):
    return range(neurons.target.neurons)


# Activations


@pytest.mark.parametrize("name", [*BOTH, "t5", "llama"])
@pytest.mark.parametrize("position", ["tokens", "mean"])
def test_activations_of_a_batch_are_those_of_each_prompt_alone(subject, name, position):
    neurons = subject(name, position)
    prompts = prompts_of(neurons)
    together = neurons(prompts, [every(neurons)] * len(prompts))
    for prompt, values in zip(prompts, together, strict=True):
        [alone] = neurons([prompt], [every(neurons)])
        assert values.shape == alone.shape
        assert values == pytest.approx(alone, abs=NEAR)


@pytest.mark.parametrize("name", [*BOTH, "t5", "llama"])
def test_they_are_the_target_models_without_its_special_tokens(subject, name):
    neurons = subject(name)
    target = neurons.target
    for prompt, string in zip(prompts_of(neurons), STRINGS, strict=True):
        [ids] = target.tokenize([string])
        special = [k for k, token in enumerate(ids) if token in (0, 1, 3)]  # padding, ends, start
        whole = np.delete(target.activations([ids])[:, 0], special, axis=0)
        [found] = neurons([prompt], [every(neurons)])
        assert [token for token in ids if token not in (0, 1, 3)] == list(prompt)
        assert found == pytest.approx(whole, abs=NEAR)


def test_each_prompt_has_the_neurons_that_it_is_asked_for(subject):
    neurons = subject("bert")
    prompts = prompts_of(neurons)[:2]
    whole = neurons(prompts, [every(neurons)] * 2)
    one, other = neurons(prompts, [[3], [0, 7]])
    assert one.shape == (len(prompts[0]), 1) and other.shape == (len(prompts[1]), 2)
    assert one == pytest.approx(whole[0][:, [3]])
    assert other == pytest.approx(whole[1][:, [0, 7]])


def test_padding_is_never_a_token(subject):
    neurons = subject("bert")
    short, long = prompts_of(neurons, ["cheap", STRINGS[1]])
    values = neurons([short, long], [[0], [0]])
    assert [len(found) for found in values] == [1, len(long)]


def test_a_position_of_the_whole_text_gives_one_activation(subject):
    for position in ("cls", "last", "mean", "max"):
        neurons = subject("bert", position)
        assert neurons.whole and neurons.both_sides
        assert [v.shape for v in neurons(prompts_of(neurons), [[2, 5]] * 6)] == [(1, 2)] * 6


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bert", True), ("roberta", True), ("t5", True), ("gpt2", False), ("llama", False)],
)
def test_it_is_seen_whether_what_follows_counts(subject, name, expected):
    assert subject(name).both_sides is expected


def test_a_decoder_prompt_is_not_changed_by_what_follows(subject):
    neurons = subject("gpt2")
    [whole] = neurons(prompts_of(neurons)[:1], [every(neurons)])
    [cut] = neurons([prompts_of(neurons)[0][:3]], [every(neurons)])
    assert cut == pytest.approx(whole[:3], abs=NEAR)


def test_one_layer_at_a_time(subject):
    with pytest.raises(InputError, match=r"one layer at a time, not \[0, 1\]"):
        subject("bert", layers=(0, 1))


def test_activations_that_are_not_finite_are_refused(subject, monkeypatch):
    neurons = subject("bert")
    monkeypatch.setattr(neurons.target, "activations", lambda batch: np.full((9, 1, 32), np.nan))
    with pytest.raises(InputError, match="activations are not finite"):
        neurons([(1,) * 7], [[0]])


# Special tokens and limits


@pytest.mark.parametrize(
    ("name", "before", "behind"),
    [("bert", (3,), (1,)), ("gpt2", (), ()), ("t5", (), (1,)), ("llama", (3,), ())],
)
def test_the_tokenizers_own_special_tokens_stand_around_a_prompt(subject, name, before, behind):
    neurons = subject(name)
    assert (neurons.before, neurons.behind) == (before, behind)
    assert neurons.limit == 64 - len(before) - len(behind)


def test_a_start_token_is_put_before_a_prompt_where_that_is_wished(subject):
    assert subject("gpt2", bos=True).before == (3,)
    assert subject("bert", bos=True).before == (3,)
    bare, begun = subject("gpt2"), subject("gpt2", bos=True)
    [prompt] = prompts_of(bare, ["great price"])
    [expected] = bare([(3, *prompt)], [[0]])
    assert begun([prompt], [[0]])[0] == pytest.approx(expected[1:], abs=NEAR)


def test_without_any_start_token_none_can_be_put_before_a_prompt():
    with pytest.raises(InputError, match="no start token: set bos to false"):
        _around(tokenizer_with(pad_token="[pad]"), True)
    assert _around(tokenizer_with(pad_token="[pad]"), False) == ((), ())
    assert _around(tokenizer_with(eos_token="<|endoftext|>"), True) == ((3,), ())


def test_a_text_longer_than_the_model_reads_is_cut_and_explained(subject):
    neurons = subject("bert", max_tokens=12)
    texts = read([" ".join(STRINGS)], neurons.target.tokenizer, limit=neurons.limit)
    assert len(texts[0].tokens) == neurons.limit == 10
    samples = sample({0: texts, 1: texts}, neurons)
    assert samples[0][0].activations.shape == (10,)
    assert len(explain(samples, neurons, numbers(), None)) == 2


def test_a_model_that_leaves_no_token_is_refused(subject):
    with pytest.raises(InputError, match="max_tokens 2 leaves no token"):
        subject("bert", max_tokens=2)
    assert subject("bert", max_tokens=3).limit == 1


# Masks


def tokenizer_with(**special):
    words = {"so": 0, "it": 1, "good": 2} | {
        token: 3 + k for k, token in enumerate(special.values())
    }
    made = Tokenizer(models.WordLevel(words, unk_token="so"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, **special)


@pytest.mark.parametrize("name", [*BOTH, "t5", "roberta"])
def test_a_model_is_masked_by_its_own_mask_or_padding(subject, name):
    tokenizer = subject(name).target.tokenizer
    own = tokenizer.mask_token_id if name in ("bert", "roberta") else tokenizer.pad_token_id
    assert subject(name).mask == own


def test_gpt2_is_masked_by_its_only_special_token_and_not_by_token_1():
    # The public code masks with id 1, a quotation mark of GPT-2's.
    only = {"eos_token": "<|endoftext|>"}
    gpt2 = tokenizer_with(**only, bos_token="<|endoftext|>", unk_token="<|endoftext|>")
    assert mask_of(gpt2) == gpt2.eos_token_id == gpt2.unk_token_id != 1
    assert mask_of(tokenizer_with(**only)) == 3


def test_a_tokenizer_without_any_special_token_cannot_mask():
    with pytest.raises(InputError, match="no token that could mask another"):
        mask_of(tokenizer_with())


@pytest.mark.parametrize("name", BOTH)
def test_saliency_masks_real_prompts_by_that_token(subject, name):
    neurons = subject(name)
    asked = []

    class Watched:
        mask, limit, both_sides, whole = neurons.mask, neurons.limit, neurons.both_sides, False

        def __call__(self, prompts, some):
            asked.extend(prompts)
            return neurons(prompts, some)

    texts = read(STRINGS, neurons.target.tokenizer, limit=neurons.limit)
    assert not any(neurons.mask in text.tokens for text in texts)
    explain(sample({0: texts}, Watched()), Watched(), numbers(), None)
    masked = [prompt for prompt in asked if neurons.mask in prompt]
    assert masked and all(prompt.count(neurons.mask) == 1 for prompt in masked)
    special = {neurons.target.tokenizer.convert_tokens_to_ids(t) for t in ("<s>", "</s>")}
    assert not special & {token for prompt in asked for token in prompt}


# The whole way


def nearest(neurons):
    tokenizer = neurons.target.tokenizer
    embeddings = neurons.target.model.get_input_embeddings().weight
    return Augmenter(NearestWords(tokenizer, embeddings, number=2), speller(tokenizer))


@pytest.mark.parametrize("position", ["tokens", "mean"])
@pytest.mark.parametrize("name", BOTH)
def test_neurons_explained_together_are_those_explained_alone(subject, name, position):
    neurons = subject(name, position)
    texts = read(STRINGS, neurons.target.tokenizer, limit=neurons.limit)
    samples = sample(dict.fromkeys((0, 3, 8, 20), texts), neurons)
    graphs = explain(samples, neurons, numbers(), nearest(neurons))
    for graph in graphs:
        own = sample({graph.neuron: texts}, neurons)
        [alone] = explain(own, neurons, numbers(), nearest(neurons))
        one, other = (np.array(g.trie.ends, dtype=float) for g in (graph, alone))
        assert (alone.trie.keys, alone.trie.parents) == (graph.trie.keys, graph.trie.parents)
        assert one == pytest.approx(other, abs=NEAR, nan_ok=True)
        assert graph.highest == pytest.approx(alone.highest, abs=NEAR)
        assert (graph.positive, graph.negative) == (alone.positive, alone.negative)
    assert any(graph.positive + graph.negative for graph in graphs)


@pytest.mark.parametrize("name", BOTH)
def test_a_graph_finds_every_token_that_it_was_made_from(subject, name):
    neurons = subject(name)
    texts = read(STRINGS, neurons.target.tokenizer, limit=neurons.limit)
    samples = sample(dict.fromkeys(range(6), texts), neurons)
    graphs = explain(samples, neurons, numbers(step=99, keys=0.0), None)  # nothing is cut off
    own = {k: [(one.text.tokens, one.activations) for one in some] for k, some in samples.items()}
    found = [graph_scores(g, own[g.neuron], own[g.neuron], firing=0.5)["graph"] for g in graphs]
    recalls = [one.recall for one in found if one.fires]
    assert len(recalls) >= 4
    assert set(recalls) == {1.0}


@pytest.mark.parametrize("name", BOTH)
def test_the_same_texts_give_the_same_graph(subject, name):
    neurons = subject(name)
    texts = read(STRINGS, neurons.target.tokenizer, limit=neurons.limit)
    one, other = (explain(sample({4: texts}, neurons), neurons, numbers(), None) for _ in range(2))
    assert graph_json(one[0]) == graph_json(other[0])


@settings(max_examples=20)
@given(cut=st.integers(1, 6), length=st.integers(1, 6))
def test_a_part_of_a_text_is_a_text_of_its_own(folders, subject, cut, length):
    neurons, model = subject("bert"), AutoModel.from_pretrained(folders("bert")).eval()
    part = prompts_of(neurons)[0][cut : cut + length]
    seen = []
    layer = model.encoder.layer[1].output.dense
    layer.register_forward_hook(lambda *given: seen.append(given[2]))
    with torch.inference_mode():
        model(input_ids=torch.tensor([[3, *part, 1]]))
    [found] = neurons([part], [every(neurons)])
    assert found == pytest.approx(seen[0][0, 1:-1].numpy(), abs=NEAR)
