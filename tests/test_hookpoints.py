"""The modules of a site are found by their paths alone, and what is not found names the choice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.models.hookpoints import (
    ATTENTION_OUTPUT,
    FFN_HIDDEN,
    FFN_OUTPUT,
    RESIDUAL,
    SITES,
    find_site,
    patterns,
)

# A family's layer, the second feed-forward matrix below it, attention's last matrix below it.
BERT = ("encoder.layer.{}", "output.dense", "attention.output.dense")
LLAMA = ("layers.{}", "mlp.down_proj", "self_attn.o_proj")
FAMILIES = {
    "BERT": BERT,
    "ALBERT": (
        "encoder.albert_layer_groups.{}.albert_layers.0",
        "ffn_output",
        "attention.dense",
    ),
    "MPNet": ("encoder.layer.{}", "output.dense", "attention.attn.o"),
    "DistilBERT": ("transformer.layer.{}", "ffn.lin2", "attention.out_lin"),
    "ModernBERT": ("layers.{}", "mlp.Wo", "attn.Wo"),
    "GPT-2": ("h.{}", "mlp.c_proj", "attn.c_proj"),
    "GPT-Neo": ("h.{}", "mlp.c_proj", "attn.attention.out_proj"),
    "GPT-NeoX": ("layers.{}", "mlp.dense_4h_to_h", "attention.dense"),
    "GPT-J": ("h.{}", "mlp.fc_out", "attn.out_proj"),
    "BLOOM": ("h.{}", "mlp.dense_4h_to_h", "self_attention.dense"),
    "Llama": LLAMA,
    "Phi": ("layers.{}", "mlp.fc2", "self_attn.dense"),
    "OPT": ("decoder.layers.{}", "fc2", "self_attn.out_proj"),
    "BART": ("layers.{}", "fc2", "self_attn.out_proj"),
    "T5": ("block.{}", "layer.1.DenseReluDense.wo", "layer.0.SelfAttention.o"),
}
NUMBER = 12  # layers: as many as make the tenth come before the second by its letters


def with_parents(paths):
    """All modules, as named_modules() names them: parents before their children, each once."""
    parts = (path.split(".") for path in paths)
    return list(dict.fromkeys(".".join(p[: end + 1]) for p in parts for end in range(len(p))))


def modules(layer, *below):
    """A model of NUMBER layers, with embeddings before them and a pooler behind."""
    below = (*below, "LayerNorm", "attention.self.query", "intermediate.dense")
    inside = [f"{layer.format(i)}.{name}" for i in range(NUMBER) for name in below]
    return with_parents(["embeddings.word_embeddings", *inside, "pooler.dense"])


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_s_matrices_are_found_in_the_order_of_its_layers(family):
    layer, feed_forward, attention = FAMILIES[family]
    paths = modules(*FAMILIES[family])
    layers = [layer.format(i) for i in range(NUMBER)]
    output, hidden = find_site(paths, FFN_OUTPUT), find_site(paths, FFN_HIDDEN)
    assert output.paths == tuple(f"{layer}.{feed_forward}" for layer in layers)
    assert (hidden.paths, hidden.input, output.input) == (output.paths, True, False)
    after = find_site(paths, ATTENTION_OUTPUT)
    assert after.paths == tuple(f"{layer}.{attention}" for layer in layers)
    assert not after.input


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"T5"}))
def test_the_residual_is_what_each_layer_puts_out(family):
    layer, paths = FAMILIES[family][0], modules(*FAMILIES[family])
    found = find_site(paths, RESIDUAL)
    assert found.paths == tuple(layer.format(i) for i in range(NUMBER))
    assert not found.input


def test_the_residual_of_t5_is_what_the_last_part_of_a_block_puts_out():
    found = find_site(modules(*FAMILIES["T5"]), RESIDUAL)
    assert found.paths == tuple(f"block.{i}.layer.1" for i in range(NUMBER))


@pytest.mark.parametrize("prefix", ["bert", "model.decoder", "0.auto_model"])
@pytest.mark.parametrize("site", SITES)
def test_where_the_layers_stand_in_the_model_does_not_matter(prefix, site):
    paths = modules(*BERT)
    there = find_site([f"{prefix}.{path}" for path in paths], site)
    here = find_site(paths, site)
    assert there.paths == tuple(f"{prefix}.{path}" for path in here.paths)
    assert there.input == here.input


def test_layers_may_be_the_model_itself():
    paths = with_parents(["0.mlp.c_proj", "1.mlp.c_proj"])
    assert find_site(paths, FFN_OUTPUT).paths == ("0.mlp.c_proj", "1.mlp.c_proj")
    assert find_site(paths, RESIDUAL).paths == ("0", "1")


def test_of_mobilebert_s_stacks_within_layers_the_layers_own_matrix_is_meant():
    inner = [f"encoder.layer.{i}.ffn.{k}.output.dense" for i in range(3) for k in range(4)]
    bottleneck = [f"encoder.layer.{i}.output.bottleneck.dense" for i in range(3)]
    outer = [f"encoder.layer.{i}.output.dense" for i in range(3)]
    paths = with_parents([*inner, *bottleneck, *outer])
    assert find_site(paths, FFN_OUTPUT).paths == tuple(outer)
    assert find_site(paths, RESIDUAL).paths == tuple(f"encoder.layer.{i}" for i in range(3))


def test_all_of_albert_s_groups_and_the_layers_within_them_are_found():
    paths = with_parents(
        f"encoder.albert_layer_groups.{group}.albert_layers.{layer}.ffn_output"
        for group in range(2)
        for layer in range(3)
    )
    assert find_site(paths, FFN_OUTPUT).paths == tuple(
        path for path in paths if path.endswith("ffn_output")
    )
    assert len(find_site(paths, FFN_OUTPUT).paths) == 6


def test_attention_is_no_feed_forward_matrix_though_its_name_ends_alike():
    paths = with_parents(["encoder.layer.0.attention.output.dense", "encoder.layer.0.output.dense"])
    assert find_site(paths, FFN_OUTPUT).paths == ("encoder.layer.0.output.dense",)
    assert find_site(paths, ATTENTION_OUTPUT).paths == ("encoder.layer.0.attention.output.dense",)


def test_a_matrix_outside_of_the_layers_is_none_of_them():
    paths = with_parents(["layers.0.mlp.down_proj", "adapter.mlp.down_proj", "mlp.down_proj"])
    assert find_site(paths, FFN_OUTPUT).paths == ("layers.0.mlp.down_proj",)


# Dotted paths


def test_a_star_stands_for_a_number_of_any_length():
    found = find_site(modules(*BERT), "encoder.layer.*.output.dense")
    assert found.paths == find_site(modules(*BERT), FFN_OUTPUT).paths
    assert len(found.paths) == NUMBER


def test_a_star_stands_for_nothing_but_a_number():
    paths = with_parents(["encoder.layer.0.output.dense", "encoder.layer.last.output.dense"])
    assert find_site(paths, "encoder.layer.*.output.dense").paths == (
        "encoder.layer.0.output.dense",
    )


def test_every_star_is_a_number_of_its_own():
    paths = with_parents(f"block.{i}.layer.{k}.wo" for i in range(2) for k in range(2))
    assert len(find_site(paths, "block.*.layer.*.wo").paths) == 4
    last = find_site(paths, "block.*.layer.1.wo").paths
    assert last == ("block.0.layer.1.wo", "block.1.layer.1.wo")


def test_a_path_without_a_star_is_one_module():
    assert find_site(modules(*BERT), "pooler.dense").paths == ("pooler.dense",)
    assert find_site(modules(*BERT), "encoder.layer.1").paths == ("encoder.layer.1",)


def test_input_behind_a_path_is_what_goes_into_the_module():
    found = find_site(modules(*LLAMA), "layers.*.mlp.down_proj:input")
    assert found == find_site(modules(*LLAMA), FFN_HIDDEN)


@pytest.mark.parametrize("path", ["layer.*.output.dense", "encoder.layer.*.output.dens", "output"])
def test_a_part_of_a_path_is_no_path(path):
    with pytest.raises(InputError):
        find_site(modules(*BERT), path)


@pytest.mark.parametrize("path", ["encoder.layer.0.output....se", "encoder.layer.(0).output", ".*"])
def test_nothing_but_the_star_has_a_meaning_in_a_path(path):
    with pytest.raises(InputError):
        find_site(modules(*BERT), path)


names = st.from_regex(r"[A-Za-z_]\w{0,5}(\.([A-Za-z_]\w{0,5}|\d{1,2})){0,4}", fullmatch=True)


@given(st.lists(names, unique=True, max_size=20))
def test_every_pattern_that_is_named_finds_modules(paths):
    for pattern in patterns(paths):
        assert find_site(paths, pattern).paths


# What is not found


@pytest.mark.parametrize("site", ["encoder.block.*.wo", "ffn_outputs", "output.dense:input", ""])
def test_a_path_that_is_not_there_is_refused_by_those_that_are(site):
    paths = with_parents(["embeddings.norm", "layers.0.mixer.out_proj", "layers.1.mixer.out_proj"])
    with pytest.raises(InputError) as caught:
        find_site(paths, site)
    assert str(caught.value) == (
        f"activations.site {site}: no such module in this model: name one by its path; it has"
        " layers.*.mixer, layers.*.mixer.out_proj"
    )


@pytest.mark.parametrize("site", SITES)
def test_a_site_that_no_family_s_names_find_is_refused_in_the_same_words(site):
    with pytest.raises(InputError, match=rf"activations\.site {site}: no such module.*mixer\.out"):
        find_site(with_parents(["layers.0.mixer.out_proj"]), site)


def test_a_model_may_have_one_site_and_not_another():
    paths = with_parents(["layer.0.rel_attn.layer_norm", "layer.0.ff.layer_2"])  # XLNet
    assert find_site(paths, FFN_OUTPUT).paths == ("layer.0.ff.layer_2",)
    with pytest.raises(InputError, match=r"layer\.\*\.rel_attn"):
        find_site(paths, ATTENTION_OUTPUT)


def test_patterns_are_the_paths_with_a_star_for_every_number_each_once():
    paths = with_parents(
        [
            "embeddings.norm",
            "block.0.layer.10.wo",
            "block.1.layer.2.wo",
            "h.0.lin2",
            "h.0.conv1d.0.1x1",
        ]
    )
    assert patterns(paths) == [
        "block.*.layer",
        "block.*.layer.*.wo",
        "h.*.lin2",
        "h.*.conv1d",
        "h.*.conv1d.*.1x1",
    ]
