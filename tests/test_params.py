import re
from pathlib import Path

import pytest
import yaml

from descry.errors import InputError
from descry.workflow.params import (
    Params,
    load,
    parse,
    parse_price,
)

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "presets/sample.yaml"
ANNOTATORS = {
    "transformers": {
        "kind": "transformers",
        "model": "google/flan-t5-xl",
        "revision": "0" * 40,
        "dtype": "bfloat16",
        "device": "auto",
        "max_tokens": 512,
        "max_new_tokens": 64,
        "batch_tokens": 4096,
    },
    "openai": {
        "kind": "openai",
        "model": "tiny",
        "revision": "tiny-1",
        "dtype": "unknown",
        "base_url": "http://127.0.0.1:8000/v1",
        "api_key_env": None,
        "max_new_tokens": 64,
        "concurrency": 4,
        "timeout": 60.0,
        "retries": 5,
        "price": None,
    },
    "human": {"kind": "human", "model": "ann", "revision": "round-1"},
}


@pytest.fixture
def changed(tmp_path):
    """Write the sample preset with one value changed ("section.key"), and give its path."""

    def write(key, value):
        raw = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
        *parents, last = key.split(".")
        section = raw
        for parent in parents:
            section = section[int(parent) if parent.isdigit() else parent]
        if value is KeyError:
            del section[last]
        else:
            section[last] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(raw), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", ["sample", "paper"])
def test_presets_are_valid(name):
    assert isinstance(load(ROOT / f"presets/{name}.yaml"), Params)


def test_params_are_the_sample_preset():
    assert (ROOT / "params.yaml").read_bytes() == SAMPLE.read_bytes()


@pytest.mark.parametrize("name", ["sample", "paper"])
def test_dvc_changes_one_line_of_a_params_file_if_it_sets_one_value(tmp_path, name):
    """As `dvc exp run -S` does: lists in blocks, null as nothing, a comment one blank behind."""
    from dvc.utils.hydra import apply_overrides

    before = (ROOT / f"presets/{name}.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(before, encoding="utf-8")
    apply_overrides(path, ["label.broad=0.9"])
    after = path.read_text(encoding="utf-8")
    lines = zip(before.splitlines(), after.splitlines(), strict=True)
    assert [(old, new) for old, new in lines if old != new] == [
        (line := next(line for line in before.splitlines() if line.startswith("  broad: ")),
         line.replace("0.8", "0.9"))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("exemplars.top_percent", 0),
        ("exemplars.top_percent", 60),
        ("exemplars.top_percent", float("nan")),
        ("label.threshold", 0),
        ("label.threshold", 1),
        ("label.threshold", 1.5),
        ("corpus.max_invalid", -0.1),
        ("corpus.language", "english"),
        ("corpus.text_fields", []),
        ("describe.annotators", []),
        ("label.rule", "lift"),
        ("label.fdr", 0),
        ("label.fdr", 1),
        ("label.compose", -1),
        ("label.compose", 9),
        ("label.beam", 0),
        ("label.penalty", 0),
        ("label.penalty", 1.1),
        ("evaluate.thresholds", [0.1, 2.0]),
        ("evaluate.rates", []),
        ("evaluate.rates", [0.05, 1]),
        ("evaluate.permutations", 0),
        ("untrained.seed", -1),
        ("activations.device", "gpu"),
        ("activations.max_tokens", 7),
        ("activations.site", "hidden"),
        ("activations.site", ""),
        ("activations.site", "encoder..dense"),
        ("activations.site", "encoder.layer.**"),
        ("activations.site", "ffn_output:input"),
        ("activations.site", "encoder.dense:output"),
        ("activations.position", "first"),
        ("activations.layers", []),
        ("activations.layers", [0, -1]),
        ("activations.block", 0),
        ("activations.block", 1023),
        ("activations.block", 1500),
        ("activations.store", "both"),
        ("activations.store_dtype", "bfloat16"),
        ("activations.keep", 0),
        ("annotate.scope", "neurons"),
        ("annotate.neurons", 0),
        ("annotate.neurons", []),
        ("annotate.neurons", ["5:24"]),
        ("annotate.sample", -1),
        ("annotate.min_mass", 1.5),
        ("judge.max_failures", -0.1),
    ],
)
def test_a_value_out_of_range_is_named(changed, key, value):
    with pytest.raises(InputError, match=key.replace(".", r"\.")):
        load(changed(key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("corpus.seed", "0"),
        ("corpus.seed", True),
        ("corpus.min_words", 10.5),
        ("corpus.text_fields", "text"),
        ("label.threshold", "0.2"),
        ("cluster.method", "kmeans"),
        ("activations.layers", 3),
        ("activations.layers", ["0"]),
        ("activations.site", None),
        ("activations.block", 2048.0),
        ("activations.keep", True),
        ("exemplars.lowest", "yes"),
        ("exemplars.lowest", 1),
        ("exemplars.lowest", None),
        ("untrained.enabled", "no"),
        ("untrained.seed", None),
        ("label.compose", 2.0),
        ("evaluate.permutations", "1000"),
        ("evaluate.rates", 0.05),
        ("describe.examples", "none"),
        ("annotate.neurons", "L5:24"),
        ("annotate.annotator", None),
        ("judge.neurons", True),
        ("judge.seed", "0"),
        ("report", 3),
    ],
)
def test_a_value_of_another_type_is_named(changed, key, value):
    with pytest.raises(InputError, match=key.replace(".", r"\.")):
        load(changed(key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activations.site", "residual"),
        ("activations.site", "encoder.layer.*.output.dense"),
        ("activations.site", "h.*.mlp.c_proj:input"),
        ("activations.layers", [5, 0]),
        ("activations.block", 1024),
        ("exemplars.lowest", True),
        ("untrained.enabled", False),
        ("label.rule", "enrichment"),
        ("label.compose", 0),
        ("label.penalty", 1),
        ("evaluate.max_k", 2),
    ],
)
def test_a_value_in_range_is_taken_as_it_is(changed, key, value):
    section, name = key.split(".")
    assert getattr(getattr(load(changed(key, value)), section), name) == value


@pytest.mark.parametrize("key", ["corpus.sead", "describe.annotators.0.temperature", "n2g"])
def test_an_unknown_key_is_named(changed, key):
    with pytest.raises(InputError, match=key.replace(".", r"\.") + ": unknown key"):
        load(changed(key, 1))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("exemplars.top_precent", "top_percent"),
        ("exemplar", "exemplars"),
        ("activations.target.modle", "model"),
        ("cluster.embeder", "embedder"),
        ("describe.annotators.0.revison", "revision"),
        ("label.Threshold", "threshold"),
    ],
)
@pytest.mark.parametrize("instead", [True, False])
def test_a_misspelt_key_is_named_with_the_one_that_is_meant(changed, wrong, right, instead):
    *place, _ = wrong.split(".")
    value = 1
    if instead:
        raw = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
        for part in place:
            raw = raw[int(part) if part.isdigit() else part]
        value = raw[right]
    path = changed(wrong, value)
    if instead:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        inner = raw
        for part in place:
            inner = inner[int(part) if part.isdigit() else part]
        del inner[right]
        path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(InputError, match=rf"{wrong}: unknown key: did you mean {right}\?$"):
        load(path)


def test_a_misspelt_option_of_a_annotator_is_named_with_the_one_of_its_kind(changed):
    spec = ANNOTATORS["openai"] | {"concurency": 3}
    del spec["concurrency"]
    with pytest.raises(InputError, match=r"annotator\.concurency: .* mean concurrency\?$"):
        load(changed("annotate.annotator", spec))


def test_of_a_key_that_is_like_no_other_no_other_is_named(changed):
    with pytest.raises(InputError, match=r"label\.zzz: unknown key: remove it"):
        load(changed("label.zzz", 1))


@pytest.mark.parametrize("kind", ["transformers", "openai"])
def test_a_missing_option_of_a_annotator_comes_with_an_example_that_is_valid(changed, kind):
    for key in ANNOTATORS[kind].keys() - {"kind", "model"}:
        spec = ANNOTATORS[kind] | {}
        del spec[key]
        with pytest.raises(InputError, match=rf"{key}: missing key: .*`{key}: .*`") as error:
            load(changed("annotate.annotator", spec))
        example = re.search("`(.*)`", str(error.value))[1]
        load(changed("annotate.annotator", spec | yaml.safe_load(example)))


@pytest.mark.parametrize(
    ("key", "value", "share"),
    [
        ("label.threshold", 20, "20% is 0.2"),
        ("label.broad", 80.0, "80% is 0.8"),
        ("label.fdr", 1.5, "1.5% is 0.015"),
        ("corpus.max_invalid", 3, "3% is 0.03"),
        ("evaluate.thresholds", [0.1, 20], "20% is 0.2"),
        ("graphs.drop", 50, "50% is 0.5"),
    ],
)
def test_percent_in_the_place_of_a_share_are_named_as_such(changed, key, value, share):
    with pytest.raises(InputError, match=f"{key}.*it is a share, not percent: {share}$"):
        load(changed(key, value))


@pytest.mark.parametrize("value", [-1, 0, 1.0, 300])
def test_what_is_no_percentage_is_not_called_one(changed, value):
    with pytest.raises(InputError, match=r"label\.threshold: must be") as error:
        load(changed("label.threshold", value))
    assert "a share" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("activations.site", "mlp", "ffn_output, ffn_hidden, attention_output or residual"),
        ("corpus.language", "english", "two letters"),
        ("annotate.neurons", ["5:24"], "names such as L5:24"),
        ("activations.target.revision", "main", "descry pin"),
        ("activations.device", "gpu", "cuda:1"),
    ],
)
def test_the_form_of_a_value_is_said_in_words(changed, key, value, words):
    with pytest.raises(InputError, match=words) as error:
        load(changed(key, value))
    assert "pattern" not in str(error.value)


def test_a_judge_that_is_the_annotator_is_refused(changed):
    annotator = load(SAMPLE).annotate.annotator.model_dump()
    with pytest.raises(InputError, match=r"judge\.annotator is annotate\.annotator"):
        load(changed("judge.annotator", annotator))


@pytest.mark.parametrize("key", ["cluster.edits", "evaluate.gold"])
def test_an_optional_file_may_be_null_but_not_empty(changed, key):
    section, name = key.split(".")
    found = getattr(load(changed(key, None)), section)
    assert getattr(found, name) is None
    with pytest.raises(InputError, match=key):
        load(changed(key, ""))


@pytest.mark.parametrize("key", ["corpus.seed", "cluster.embedder.revision", "report"])
def test_a_missing_key_is_named(changed, key):
    with pytest.raises(InputError, match=key.replace(".", r"\.") + ": missing key"):
        load(changed(key, KeyError))


@pytest.mark.parametrize("kind", ANNOTATORS)
def test_a_annotator_may_be_of_any_kind(changed, kind):
    for stage in ("annotate", "judge"):
        params = load(changed(f"{stage}.annotator", ANNOTATORS[kind]))
        assert getattr(params, stage).annotator.model_dump() == ANNOTATORS[kind]


@pytest.mark.parametrize(
    "concept",
    ["", "<think>", "**Size**", "Size, Fit", "1. Size", '["Size"]', "None", "5", 3, "a\0b"],
)
def test_a_concept_of_the_example_is_a_topic_as_p1_gives_them(changed, concept):
    shot = {"sentence": "It fits.", "concepts": ["Shoe fit", "R&D"]}
    (given,) = load(changed("describe.examples", [shot])).describe.examples
    assert given.concepts == shot["concepts"]
    with pytest.raises(InputError, match=r"describe\.examples\.0\.concepts\.1: .*got") as caught:
        load(changed("describe.examples", [shot | {"concepts": ["Shoe fit", concept]}]))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("key", "value"), [("sentence", " "), ("concepts", [])])
def test_the_example_has_a_sentence_and_a_concept(changed, key, value):
    shot = {"sentence": "It fits.", "concepts": ["Fit"], key: value}
    with pytest.raises(InputError, match=rf"describe\.examples\.0\.{key}"):
        load(changed("describe.examples", [shot]))


@pytest.mark.parametrize("shot", [None, {"sentence": "It fits.", "concepts": ["Fit"]}])
def test_an_example_of_before_is_told_what_it_is_now(changed, shot):
    file = changed("describe.example", shot)
    with pytest.raises(
        InputError, match=r"describe\.example: is examples now: write `examples: 1`"
    ):
        load(file)


@pytest.mark.parametrize("word", ["yes", True])
def test_an_answer_of_an_example_may_be_a_word_of_yaml(changed, word):
    shot = {"sentence": "It fits.", "descriptor": "Fit", "answer": word}
    params = load(changed("annotate.examples", [shot])).annotate
    assert params.shots == [shot | {"answer": "yes"}]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("examples", [{"sentence": "a", "descriptor": "b", "answer": "maybe"}], r"0\.answer: "),
        ("examples", [], "at least 1 item"),
        ("threshold", "otsu", "annotate.threshold: must be 'fitted', got"),
        ("threshold", None, "annotate.threshold: must be a valid number, got null"),
        ("threshold", float("inf"), "annotate.threshold: must be a finite number"),
        ("centre", "neuron", "must be 'sentence' or 'descriptor'"),
    ],
)
def test_how_log_odds_are_read_is_checked(changed, key, value, said):
    with pytest.raises(InputError, match=said):
        load(changed(f"annotate.{key}", value))


@pytest.mark.parametrize(
    "values", [{"template": "p.txt"}, {"centre": "sentence"}, {"threshold": "fitted"}]
)
def test_people_see_no_prompt_and_answer_in_words(changed, values):
    human = {"kind": "human", "model": "ann", "revision": "r1"}
    section = load(SAMPLE).annotate.model_dump() | {"annotator": human} | values
    with pytest.raises(InputError, match=r"annotate: (people read no prompt|answers in words)"):
        load(changed("annotate", section))


def test_several_annotators_may_describe_but_no_person(changed):
    several = [ANNOTATORS[kind] for kind in ("transformers", "openai")]
    several.append(load(SAMPLE).annotate.annotator.model_dump())
    assert len(load(changed("describe.annotators", several)).describe.annotators) == 3
    with pytest.raises(InputError, match=r"describe\.annotators\.3: .*'human'"):
        load(changed("describe.annotators", [*several, ANNOTATORS["human"]]))


def test_there_need_be_no_judge(changed):
    assert load(changed("judge.annotator", None)).judge.annotator is None


@pytest.mark.parametrize("neurons", [None, 5, ["L5:24", "L0:0"]])
def test_neurons_are_named_drawn_or_all(changed, neurons):
    assert load(changed("annotate.neurons", neurons)).annotate.neurons == neurons


@pytest.mark.parametrize("kind", ["local", "gpt", "", 3])
def test_an_unknown_kind_of_annotator_is_named_with_the_known(changed, kind):
    spec = ANNOTATORS["human"] | {"kind": kind}
    with pytest.raises(InputError, match=r"judge\.annotator: .*'human'"):
        load(changed("judge.annotator", spec))


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("transformers", "dtype", "float16"),
        ("transformers", "device", "gpu"),
        ("transformers", "max_tokens", 8),
        ("transformers", "revision", "main"),
        ("openai", "base_url", "ftp://host"),
        ("openai", "base_url", "http://name:password@host/v1"),
        ("openai", "api_key_env", "sk-123"),
        ("openai", "timeout", 0),
        ("openai", "concurrency", 0),
        ("openai", "retries", -1),
        ("openai", "price", [1.0]),
        ("openai", "revision", ""),
        ("human", "model", ""),
    ],
)
def test_a_bad_option_of_a_annotator_is_named_as_in_the_file(changed, kind, key, value):
    with pytest.raises(InputError, match=rf"params\.yaml: annotate\.annotator\.{key}: "):
        load(changed("annotate.annotator", ANNOTATORS[kind] | {key: value}))


def test_of_several_neurons_the_bad_one_is_named(changed):
    with pytest.raises(InputError, match=r"judge\.neurons\.1: .* got \"x\""):
        load(changed("judge.neurons", ["L5:24", "x"]))


def test_an_option_of_another_kind_is_unknown(changed):
    spec = ANNOTATORS["openai"] | {"device": "auto"}
    with pytest.raises(InputError, match=r"describe\.annotators\.1\.device: unknown key"):
        load(changed("describe.annotators", [ANNOTATORS["transformers"], spec]))


@pytest.mark.parametrize(
    ("text", "price"), [(None, None), ("0.15,0.60", (0.15, 0.6)), ("1, 2", (1.0, 2.0))]
)
def test_a_price_is_two_numbers(text, price):
    assert parse_price(text) == price


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "1;2"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(InputError, match="not two numbers"):
        parse_price(text)


@pytest.mark.parametrize("revision", ["main", "v1.0", "1110a24", "", "G" * 40])
def test_a_branch_is_no_revision(changed, revision):
    with pytest.raises(InputError, match=r"activations\.target\.revision"):
        load(changed("activations.target.revision", revision))


def test_the_least_words_are_not_above_the_most(changed):
    with pytest.raises(
        InputError, match=r"corpus\.min_words 300 is more than corpus\.max_words 200"
    ):
        load(changed("corpus.min_words", 300))


def test_a_section_alone_is_checked_as_in_the_file():
    section = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))["corpus"]
    assert parse("corpus", section, "here") == load(SAMPLE).corpus
    with pytest.raises(InputError, match=r"here: corpus\.min_words"):
        parse("corpus", section | {"min_words": 300}, "here")
    with pytest.raises(InputError, match=r"here: corpus\.sead: unknown key"):
        parse("corpus", section | {"sead": 0}, "here")


def test_sections_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load(SAMPLE).label.threshold = 0.5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "line"), [("corpus:\n  seed: [0\n", 3), ("corpus:\n\tseed: 0\n", 2), ("a: b: c", 1)]
)
def test_broken_yaml_is_named_by_its_line(tmp_path, text, line):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"params\.yaml: line {line}: not valid YAML"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: \x00", "not valid YAML"),
        (b"seed: 2020-13-45", "not valid YAML"),
        (b"title: caf\xe9", "not UTF-8"),
        (b"", "not a mapping"),
        (b"- corpus", "not a mapping"),
    ],
)
def test_what_is_no_params_file_is_refused(tmp_path, content, message):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"params\.yaml: {message}"):
        load(path)


def test_a_params_file_that_is_missing_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "params.yaml", tmp_path):
        with pytest.raises(InputError, match=f"{path}: no such file"):
            load(path)


def _leaves(node, parent):
    """Every leaf below a node: the number of its line, and of its parent's."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line
            if isinstance(value, yaml.MappingNode) or _holds_mappings(value):
                yield from _leaves(value, line)
            else:
                yield line, parent
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _leaves(item, parent)


def _holds_mappings(node):
    return isinstance(node, yaml.SequenceNode) and isinstance(node.value[0], yaml.MappingNode)


@pytest.mark.parametrize("name", ["sample", "paper"])
def test_every_parameter_has_a_comment(name):
    text = (ROOT / f"presets/{name}.yaml").read_text(encoding="utf-8")
    lines = text.splitlines()
    leaves = list(_leaves(yaml.compose(text), 0))
    assert len(leaves) > 40
    bare = [lines[own] for own, parent in leaves if not {"#"} & {*lines[own], *lines[parent]}]
    assert bare == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("base_url", "https://me:hunter2@example.org/v1"), ("api_key_env", "sk-hunter2-abc")],
)
def test_a_secret_in_the_wrong_place_is_not_printed(key, value):
    spec = {
        "kind": "openai", "model": "m", "revision": "m", "dtype": "unknown",
        "base_url": "http://localhost:1/v1", "api_key_env": None, "max_new_tokens": 8,
        "concurrency": 1, "timeout": 1.0, "retries": 0, "price": None,
    } | {key: value}  # fmt: skip
    section = load(ROOT / "presets/sample.yaml").annotate.model_dump() | {"annotator": spec}
    with pytest.raises(InputError, match=f"annotate.annotator.{key}") as error:
        parse("annotate", section, "params.yaml")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [
        ("annotate", "labeller", "annotator"),
        ("describe", "labellers", "annotators"),
        ("score", "company", "distractors"),
    ],
)
def test_a_key_of_an_earlier_version_gets_its_new_name(tmp_path, section, old, new):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params[section][old] = params[section].pop(new)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(InputError, match=rf"{section}\.{old}: is called {new} now: rename it$"):
        load(tmp_path / "params.yaml")
