"""What neurons write: the lens against gradients, planted tokens, chance, and the stage."""

import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from planted import (
    DESCRIPTORS,
    EXEMPLARS,
    HOSTILE,
    LABELS,
    LAYERS,
    RESULTS,
    TOPICS,
    WIDTH,
    WRITES,
    printed,
    run_exemplars,
    run_report,
    run_writes,
)
from scipy.sparse import csr_matrix
from scipy.stats import kstest, kurtosis
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    LlamaConfig,
)

import descry
from descry.cli.console.neuron import show_neuron
from descry.errors import InputError
from descry.evaluation.reads_and_writes import as_word, in_common, words_written
from descry.evaluation.writes import LEAST_MIXED, Lens, layer_writes, rates
from descry.io.parquet import read_table, table_provenance, write_table
from descry.models.checkpoints import MINILM, MINILM_COMMIT, Checkpoint, contents_sha256
from descry.models.heads import NoHeadError, headed_of, load_headed
from descry.models.unembedding import read_writers
from descry.provenance.verify.recompute import some_writes
from descry.stages.activations import Activations
from descry.workflow.params import parse

LENSES = ["gpt2", "llama", "gemma2", "opt", "gpt_neox", "bloom", "falcon", "phi", "gptj", "qwen2"]
ENCODERS = ["bert", "albert", "deberta_v2", "mpnet", "modernbert", "big_bird"]
HEADLESS = ["roberta", "t5", "mobilebert", "electra"]


def headed(folder, name):
    tiny.make(name, folder)
    return load_headed(Checkpoint(str(folder), contents_sha256(folder)), "float32", "cpu")


# The lens


@pytest.mark.parametrize("name", LENSES)
def test_the_lens_is_the_gradient_of_the_logits(tmp_path, name):
    """But for the norm's scale, and along the state itself, which a norm takes off."""
    one = headed(tmp_path, name)
    lens = read_writers(one, "ffn_hidden").unembedding
    model = one.model.double()
    outer = [m for path, m in model.base_model.named_modules() if not re.search(r"\d\.", path)]
    norm = [module for module in outer if "norm" in type(module).__name__.lower()][-1]
    state = []
    direction = torch.zeros(lens.matrix.shape[1], dtype=torch.float64, requires_grad=True)

    def add(_, given):
        state.append(given[0].detach()[0, -1])
        return (given[0] + direction,)

    hook = norm.register_forward_pre_hook(add)
    logits = model(input_ids=torch.tensor([[3, 9, 27, 81]])).logits[0, -1]
    hook.remove()
    if name == "gemma2":  # its last step bends the logits, each by its own slope
        cap = model.config.final_logit_softcapping
        logits = cap * torch.atanh(logits / cap)
    gradient = np.stack(
        [torch.autograd.grad(one, direction, retain_graph=True)[0].numpy() for one in logits]
    )
    gradient -= gradient.mean(axis=0)
    x = state[0].numpy()
    if "centred" in lens.how:
        x = x - x.mean()
    along = np.outer(lens.matrix @ x, x) / (x @ x)
    expected = (lens.matrix - along) / np.sqrt(np.mean(x**2))
    np.testing.assert_allclose(gradient, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ENCODERS)
def test_a_masked_head_is_folded_without_its_activation(tmp_path, name):
    one = headed(tmp_path, name)
    assert one.masked
    writers = read_writers(one, "ffn_hidden")
    assert "activation left out" in writers.unembedding.how
    weights = dict(one.model.named_parameters())
    found = writers.unembedding.matrix
    if name == "bert":
        norm = weights["cls.predictions.transform.LayerNorm.weight"].double()
        dense = weights["cls.predictions.transform.dense.weight"].double()
        last = weights["bert.encoder.layer.2.output.LayerNorm.weight"].double()
        centre = torch.eye(32, dtype=torch.float64) - 1 / 32
        table = one.model.get_output_embeddings().weight.double()
        expected = table @ torch.diag(norm) @ centre @ dense @ torch.diag(last) @ centre
        expected = (expected - expected.mean(dim=0)).detach().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (DistilBertConfig, {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}),
        (
            ElectraConfig,
            {"hidden_size": 32, "embedding_size": 16, "num_hidden_layers": 2}
            | {"num_attention_heads": 4, "intermediate_size": 48},
        ),
    ],
)  # fmt: skip
def test_heads_with_names_of_their_own(tmp_path, config, sizes):
    tokenizer = tiny.word_pieces()
    told = config(vocab_size=len(tokenizer), **sizes)
    model = AutoModelForMaskedLM.from_config(told).eval()
    found = read_writers(headed_of(model, tokenizer), "ffn_hidden")
    assert [one.shape for one in found.vectors] == [(48, 32)] * 2
    assert found.unembedding.matrix.shape == (len(tokenizer), 32)


def test_output_weights_are_what_a_neuron_adds(tmp_path):
    for name in ("gpt2", "llama", "bert"):
        one = headed(tmp_path / name, name)
        vectors = read_writers(one, "ffn_hidden").vectors
        modules = dict(one.model.base_model.named_modules())
        path = {"gpt2": "h.1.mlp.c_proj", "llama": "layers.1.mlp.down_proj"}
        module = modules[path.get(name, "encoder.layer.1.output.dense")]
        width = vectors[1].shape[0]
        with torch.inference_mode():
            expected = module(torch.eye(width)) - module(torch.zeros(1, width))
        np.testing.assert_allclose(vectors[1], expected, atol=1e-6)


def test_a_shared_layer_is_as_many_layers_as_calls(tmp_path):
    found = read_writers(headed(tmp_path, "albert"), "ffn_hidden").vectors
    assert len(found) == 3
    np.testing.assert_array_equal(found[0], found[2])


def test_a_norm_behind_the_feed_forward_part_is_folded(tmp_path):
    one = headed(tmp_path, "gemma2")
    plain = read_writers(one, "ffn_hidden").vectors[0]
    with torch.no_grad():  # Gemma's factor is 1 + weight
        one.model.model.layers[0].post_feedforward_layernorm.weight.fill_(2.0)
    np.testing.assert_allclose(read_writers(one, "ffn_hidden").vectors[0], 3 * plain, rtol=1e-4)


def test_padding_of_the_vocabulary_is_no_token(tmp_path):
    one = headed(tmp_path, "llama")
    one.model.resize_token_embeddings(len(one.tokenizer) + 10, mean_resizing=False)
    assert len(read_writers(one, "ffn_hidden").unembedding.tokens) == len(one.tokenizer)


@pytest.mark.parametrize("name", HEADLESS)
def test_no_head_is_said_in_a_line(tmp_path, name):
    with pytest.raises(NoHeadError) as error:
        read_writers(headed(tmp_path, name), "ffn_hidden")
    assert "language-model head" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "site", ["ffn_output", "residual", "h.*.mlp.act", "h.*.mlp.act:input", "h"]
)
def test_sites_without_output_weights(tmp_path, site):
    with pytest.raises(InputError, match="output weights"):
        read_writers(headed(tmp_path, "gpt2"), site)


def test_an_inner_linear_layer_writes_no_residual(tmp_path):
    with pytest.raises(InputError, match="the residual stream has 32"):
        read_writers(headed(tmp_path, "gpt2"), "h.*.mlp.c_fc:input")


# Chance


def noise(seed=0, tokens=500, width=48, vectors=200):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(tokens, width)) * rng.gamma(4, size=(tokens, 1))
    table -= table.mean(axis=0)
    weights = rng.standard_t(5, size=(vectors, width)) * rng.gamma(2, size=(vectors, 1))
    return weights.astype(np.float32), table.astype(np.float32)


def test_random_weights_have_uniform_p():
    found = []
    for seed in range(8):
        weights, table = noise(seed)
        found.append(layer_writes(weights, Lens(table), top=3, draws=5, seed=[seed]))
    for name in ("p", "p_mixed"):
        values = np.concatenate([getattr(one, name) for one in found])
        assert kstest(values, "uniform").pvalue > 0.01
        assert abs(np.mean(values < 0.05) - 0.05) < 0.02
    for q in rates(found):
        assert np.mean(q < 0.05) < 0.01
    beyond = [np.abs(one.told.up[:, 0]) > one.bound for one in found]
    assert np.mean(beyond) < 0.06


def test_a_planted_token_comes_first():
    weights, table = noise()
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    weights[7] = 3 * table[123]
    weights[9] = -table[321]
    found = layer_writes(weights, Lens(table), top=3, draws=50, seed=[0])
    least = 1 / (1 + 50 * len(weights))
    assert found.told.promoted[7, 0] == 123 and found.told.suppressed[9, 0] == 321
    assert found.p[7] == found.p[9] == pytest.approx(least)
    q, _ = rates([found])
    assert set(np.flatnonzero(q < 0.05)) == {7, 9}


def test_what_a_whole_layer_writes_is_no_neurons_own():
    """Every vector leans to one token: permutations say that all write, mixtures that none does."""
    weights, table = noise()
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    weights = weights / np.linalg.norm(weights, axis=1, keepdims=True) + 2 * table[5]
    found = layer_writes(weights.astype(np.float32), Lens(table), top=1, draws=5, seed=[0])
    assert np.mean(found.p < 0.01) > 0.95
    assert np.mean(found.p_mixed < 0.01) < 0.05


def test_numbers_are_those_of_all_logits():
    weights, table = noise(vectors=LEAST_MIXED - 1)
    found = layer_writes(weights, Lens(table), top=4, draws=1, seed=[0])
    logits = weights.astype(np.float64) @ table.T.astype(np.float64)
    z = logits / logits.std(axis=1, keepdims=True)
    order = np.argsort(-z, axis=1)
    np.testing.assert_array_equal(found.told.promoted, order[:, :4])
    np.testing.assert_array_equal(found.told.suppressed, order[:, ::-1][:, :4])
    np.testing.assert_allclose(found.told.score, np.abs(z).max(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found.kurtosis, kurtosis(z, axis=1), rtol=1e-2, atol=1e-3)
    assert np.isnan(found.p_mixed).all()  # too few to mix


def test_a_neuron_without_weights_says_nothing():
    weights, table = noise()
    weights[3] = 0
    found = layer_writes(weights, Lens(table), top=2, draws=3, seed=[0])
    assert np.isnan(found.p[3]) and np.isnan(found.p).sum() == 1
    assert np.isfinite(found.bound)


def test_results_do_not_depend_on_threads():
    weights, table = noise(tokens=9000)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            one = layer_writes(weights, Lens(table), top=3, draws=2, seed=[1])
            found.append([*one.told, one.p, one.p_mixed, one.kurtosis])
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


# Words in common


def test_words_in_common_beside_other_neurons():
    columns = {word: place for place, word in enumerate(["battery", "price", "the"])}
    written = words_written([["battery", "Price", "xq", "."], ["the"], [], ["zzz"]], columns)
    np.testing.assert_allclose(written.toarray()[0], [0.5, 0.5, 0])
    read = csr_matrix([[1.0, 0.5, 1], [0, 0, 1], [0.5, 0, 1], [0, 0, 0]])
    writes = np.array([True, True, False, True])
    found = in_common(written, read, writes)
    np.testing.assert_allclose(found.own, [0.75, 1, np.nan, np.nan])
    np.testing.assert_allclose(found.other, [0.125, 1, np.nan, np.nan])
    np.testing.assert_allclose(found.p, [1 / 3, 1, np.nan, np.nan])


def test_a_word_has_three_letters():
    assert [as_word(token) for token in ("The", "of", "a1b", "été", "")] == [
        "the", None, None, "été", None
    ]  # fmt: skip


# The stage


def llama(folder, width=WIDTH):
    """A llama with the neurons of the planted study; L1:2 writes `battery`, which L0:1 reads."""
    tokenizer = tiny.byte_pairs([*tiny.WORDS, *TOPICS.values()])
    tokenizer.save_pretrained(folder)
    sizes = tiny._GROUPED | {"intermediate_size": width, "num_hidden_layers": LAYERS}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**tiny._ids(tokenizer) | sizes))
    place = tokenizer(" battery", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        for layer, neuron in ((1, 2), (0, 1)):
            weights = model.model.layers[layer].mlp.down_proj.weight
            weights[:, neuron] = model.lm_head.weight[place[0]]
    model.save_pretrained(folder)
    return place[0]


def extraction(folder, **changes):
    told = {"unit": "sentence", "peaks": 1, "sample": 100, "seed": 0, "dictionary": None}
    told |= {"site": "ffn_hidden", "position": "mean", "sinks": None}
    told |= {"layers": None, "dtype": "float32", "device": "cpu", "max_tokens": 64}
    told |= {"batch_tokens": 512, "block": 1024, "store": "matrix", "store_dtype": "float32"}
    if folder:
        told["target"] = {"model": str(folder), "revision": contents_sha256(folder)}
    return Activations(**told | {"keep": 10} | changes)


def test_the_stage_finds_what_was_planted(run, tmp_path):
    place = llama(tmp_path / "llama")
    counts = run_writes(extraction(tmp_path / "llama"))
    table = read_table(WRITES, "writes")
    rows = {(one["layer"], one["neuron"]): one for one in table.to_pylist()}
    assert len(rows) == LAYERS * WIDTH == counts["neurons"]
    for name in ((1, 2), (0, 1)):
        one = rows[name]
        assert one["writes"] and one["q"] < 0.05 and one["q_mixed"] is None
        assert one["promoted_id"][0] == place and one["promoted_token"][0] == "Ġbattery"
    assert sum(one["writes"] for one in rows.values()) == counts["write"]
    # L0:1 reads the sentences about batteries; neither does L1:2.
    for what in ("exemplars", "labels"):
        assert rows[0, 1][f"{what}_own"] == pytest.approx(1)
        assert rows[0, 1][f"{what}_other"] < 0.5
    assert rows[0, 1]["exemplars_p"] == pytest.approx(1 / WIDTH)
    made = table_provenance(table)
    assert made["how"].startswith("logit lens") and made["weights"]
    # The same bytes again.
    before = WRITES.read_bytes()
    run_writes(extraction(tmp_path / "llama"))
    assert WRITES.read_bytes() == before
    found = descry.open("results").neuron("L1:2").writes
    assert found["promoted_token"][0] == "Ġbattery"


@pytest.mark.parametrize("site", ["ffn_hidden", "ffn_output"])
def test_where_nothing_can_be_said_the_file_says_why(run, site):
    target = {"model": MINILM, "revision": MINILM_COMMIT}
    counts = run_writes(extraction(None, target=target, site=site))
    why = "no language-model head" if site == "ffn_hidden" else "no output weights"
    assert counts["neurons"] == 0 and why in counts["why"]
    assert pq.read_metadata(WRITES).num_rows == 0
    opened = descry.open("results")
    assert opened.neuron("L0:0").writes is None and why in opened.writes_nothing


def test_exemplars_of_other_neurons_are_refused(run, tmp_path):
    llama(tmp_path / "llama", WIDTH + 1)
    with pytest.raises(InputError, match=f"{EXEMPLARS}: not of the neurons of llama"):
        run_writes(extraction(tmp_path / "llama"))


def test_tokens_are_shown_visibly(run, tmp_path, capsys):
    llama(tmp_path / "llama")
    run_writes(extraction(tmp_path / "llama"))
    table = read_table(WRITES, "writes")
    rows = table.to_pylist()
    row = next(one for one in rows if (one["layer"], one["neuron"]) == (1, 2))
    row["promoted_token"][0] = f" {HOSTILE}\n"
    write_table(WRITES, pa.Table.from_pylist(rows, table.schema), table_provenance(table))
    show_neuron(RESULTS, "L1:2", rows=1)
    shown = "␣�[2J[red]:boom:␣<script>alert(1)</script>↵"
    said = printed(capsys)
    assert f"{shown} {row['promoted_z'][0]:.1f}" in said and "what it writes" in said
    quiet = next(f"L{one['layer']}:{one['neuron']}" for one in rows if not one["writes"])
    show_neuron(RESULTS, quiet, rows=1)
    assert "what it writes: nothing beyond chance: its furthest token" in printed(capsys)
    packs = run_report()
    assert packs["run"]["writes"]["write"] == sum(one["writes"] for one in rows)
    page = packs["neurons-0"][WIDTH + 2]["writes"]
    assert page["promoted"][0] == [shown, pytest.approx(row["promoted_z"][0], rel=1e-4)]
    run_writes(extraction(tmp_path / "llama", site="residual"))
    show_neuron(RESULTS, "L1:2", rows=1)
    assert "what it writes: neurons of site residual are coordinates" in printed(capsys)
    assert "coordinates" in run_report()["run"]["writes"]["undefined"]


def test_files_of_different_runs_are_refused(run, tmp_path):
    llama(tmp_path / "llama")
    table = read_table(LABELS, "label")
    made = table_provenance(table)
    rows = table.to_pylist()
    for row in rows:
        row["descriptor"] = f"no {row['descriptor']}"
    write_table(LABELS, pa.Table.from_pylist(rows, table.schema), made)
    with pytest.raises(InputError, match=f"{LABELS}: not of {DESCRIPTORS}: run `descry stage lab"):
        run_writes(extraction(tmp_path / "llama"))
    write_table(LABELS, table, made)
    run_exemplars(top_percent=20.0)
    with pytest.raises(InputError, match=f"{LABELS}: made of another exemplars.h5"):
        run_writes(extraction(tmp_path / "llama"))


# Verified, and in Python


def test_what_neurons_write_is_verified(run, tmp_path):
    llama(tmp_path / "llama")
    section = extraction(tmp_path / "llama")
    run_writes(section)
    params = SimpleNamespace(activations=section, writes=SimpleNamespace(top=5))
    number = LAYERS * WIDTH
    assert some_writes(descry.open("results"), params, number, 0).fault is None
    table = read_table(WRITES, "writes")
    rows = table.to_pylist()
    rows[5]["score"] *= 1.1
    write_table(WRITES, pa.Table.from_pylist(rows, table.schema), table_provenance(table))
    link = some_writes(descry.open("results"), params, number, 0)
    assert link.fault == "writes.parquet: its furthest token of L0:5 is another"
    run_writes(extraction(tmp_path / "llama", site="residual"))
    assert "coordinates" in some_writes(descry.open("results"), params, number, 0).checked


def test_neurons_and_directions_in_python(tmp_path):
    place = llama(tmp_path)
    whole = descry.writes(tmp_path, draws=20, device="cpu")
    found = descry.writes(tmp_path, layers=[1], draws=20, device="cpu")
    assert found["layer"].to_pylist() == [1] * WIDTH and len(whole) == LAYERS * WIDTH
    some = whole.slice(WIDTH).drop_columns(["q", "q_mixed", "writes"])
    assert found.drop_columns(["q", "q_mixed", "writes"]).equals(some)
    assert found["promoted_id"][2].as_py()[0] == place
    network = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert descry.writes((network, tokenizer), layers=[1], draws=20, device="cpu").equals(found)
    vectors = network.model.layers[1].mlp.down_proj.weight.detach().numpy().T
    of_vectors = descry.writes((network, tokenizer), vectors=vectors, draws=20, device="cpu")
    assert of_vectors["promoted_z"][2] == found["promoted_z"][2]
    by_layer = descry.writes((network, tokenizer), vectors={1: vectors}, draws=20, device="cpu")
    assert by_layer.equals(found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": [2]}, "layers: there is no layer 2: 0 to 1"),
        ({"vectors": np.zeros((3, 5))}, r"vectors: of shape \(3, 5\), not \[directions, 32\]"),
        ({"vectors": np.full((1, 32), np.nan)}, "vectors: not float, or NaN or infinite somewhere"),
        ({"vectors": np.ones((1, 32), dtype=int)}, "vectors: not float, or NaN"),
        ({"site": "nowhere.*.x:input"}, "no such module in this model"),
        ({"draws": 0}, "draws: 0 is no whole number from 1 on"),
        ({"fdr": 2.0}, "fdr: 2.0 is not above 0"),
    ],
)
def test_bad_arguments_are_told_in_a_line(tmp_path_factory, changes, words):
    folder = tmp_path_factory.getbasetemp() / "bad-llama"
    if not folder.exists():
        llama(folder)
    with pytest.raises(InputError, match=words):
        descry.writes(folder, **{"device": "cpu"} | changes)


def test_a_model_in_memory_without_a_head():
    bare = AutoModel.from_config(BertConfig(**tiny._BERT))
    with pytest.raises(NoHeadError, match="BertModel has no language-model head"):
        descry.writes((bare, tiny.word_pieces()))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("top", 0, "writes.top"), ("fdr", 1.0, "writes.fdr"), ("draws", 1.5, "writes.draws")],
)
def test_bad_params_are_told_in_a_line(key, value, words):
    good = {"enabled": True, "top": 5, "draws": 5, "fdr": 0.05, "seed": 0}
    with pytest.raises(InputError, match=words):
        parse("writes", good | {key: value}, "params")
