"""Models in this process by llama.cpp and vLLM: what is asked of them, and what is made of it."""

import ast
import importlib.util
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from pydantic import TypeAdapter, ValidationError

from descry.annotators.engine import EngineAnnotator, NextToken, Written
from descry.annotators.factory import create
from descry.annotators.huggingface.encoder import PromptEncoder
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompts import p1, p2
from descry.annotators.spec import AnnotatorSpec
from descry.annotators.templates import p1_template
from descry.annotators.vllm.annotator import VllmAnnotator, next_token
from descry.errors import InputError
from descry.models.checkpoints import contents_sha256

TEXTS = ["great battery", "the price is small and it works", "love this battery great great"]
VERSION = "2026.10.11549"
LLAMA = {"kind": "llama_cpp", "version": VERSION, "max_tokens": 200, "max_new_tokens": 12}
VLLM = {"kind": "vllm", "version": "0.33.0", "dtype": "bfloat16", "memory": 0.5}


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    """A llama of random weights as a GGUF file, in float32."""
    folder = tmp_path_factory.mktemp("gguf")
    return tiny.make_gguf(tiny.make("llama", folder / "model"), folder / "tiny.gguf")


def of_file(file, **changes):
    return LLAMA | {"model": str(file), "revision": contents_sha256(file)} | changes


def asked(annotator, prompts, wanted=None):
    found = dict[int, object]()
    for group in annotator.answer(prompts, range(len(prompts)) if wanted is None else wanted):
        found |= dict(group)
    return found


# What is known without the library


def test_the_engine_and_its_version_are_in_the_identity_which_needs_neither_file_nor_library():
    spec = LLAMA | {"model": "models/none.gguf", "revision": "1" * 64}
    who = create(spec, "p2").identity
    assert "xllamacpp 2026.10.11549" in who.decoding and who.dtype == "gguf"
    assert who.model == "none.gguf" and who.revision == "1" * 64
    other = create(spec | {"version": "2026.9.1"}, "p2").identity
    assert other.decoding != who.decoding
    assert create(spec, "p1").identity.decoding != who.decoding
    vllm = VLLM | {"model": "m", "revision": "2" * 64, "max_tokens": 64, "max_new_tokens": 8}
    assert "vllm 0.33.0" in create(vllm, "p2").identity.decoding


@pytest.mark.parametrize("missing", ["version", "max_tokens", "revision"])
def test_the_specs_are_strict(missing):
    spec = LLAMA | {"model": "m.gguf", "revision": "1" * 64}
    adapter = TypeAdapter(AnnotatorSpec)
    assert adapter.validate_python(spec).kind == "llama_cpp"
    with pytest.raises(ValidationError, match=missing):
        adapter.validate_python({key: value for key, value in spec.items() if key != missing})


def test_a_library_that_is_absent_or_another_version_is_one_line_before_anything_is_asked(gguf):
    prompts = p2(TEXTS[:1], ["price"])
    for version in ("1.0", "2999.1"):
        with pytest.raises(InputError, match=f"pip install xllamacpp=={version}"):
            asked(create(of_file(gguf, version=version), "p2"), prompts)


# The engine's part, by an engine that answers by rule


class Ruled(EngineAnnotator):
    """Says Yes to prompts of an even number of tokens."""

    package, group, dtype, quantization = "numpy", 2, "float32", None

    def __init__(self, task, file, **how):
        import numpy

        told = {"max_tokens": 200, "max_new_tokens": 12} | how
        super().__init__(
            task, model=str(file), revision="1" * 64, version=numpy.__version__, **told
        )
        self.folder, self.groups = file, []

    def _new_encoder(self):
        encoder = PromptEncoder(self.checkpoint, self.max_tokens, thinking=bool(self.thinking))
        encoder.__dict__["tokenizer"] = tiny.byte_pairs(name="llama")
        encoder.__dict__["_reader"] = tiny.byte_pairs(name="llama")
        return encoder

    def _next(self, prompts, words):
        self.groups.append(len(prompts))
        return [
            NextToken(-0.1, -3.0, words[0], "Yes") if len(ids) % 2 else "it is broken"
            for ids in prompts
        ]

    def _write(self, prompts, budget):
        return [Written(" Yes.\n", "stop", 2) for _ in prompts]


def test_answers_come_in_groups_with_their_tokens_and_what_failed_says_why(tmp_path):
    prompts = p2([*TEXTS, "x" * 10], ["price", "battery"])
    annotator = Ruled("p2", tmp_path)
    found = asked(annotator, prompts, {0, 3, 5})
    assert found.keys() == {0, 3, 5} and annotator.groups == [2, 1]
    ids = annotator.encoder.ids(list(prompts))
    for row, answer in found.items():
        assert answer.tokens[0] == len(ids[row])
        if len(ids[row]) % 2:
            rest = math.log(1 - math.exp(-0.1) - math.exp(-3.0))
            assert answer.response == {
                "yes": -0.1,
                "no": -3.0,
                "rest": pytest.approx(rest, abs=1e-6),
            }
            assert parse_verdict(answer.response, 0.1).yes
        else:
            assert answer.response is None and answer.fault == "it is broken"


def test_with_thoughts_p2_is_read_from_words(tmp_path):
    (answer,) = asked(Ruled("p2", tmp_path, thinking=16), p2(TEXTS[:1], ["price"])).values()
    assert answer.response == {"text": "Yes.", "finish": "stop"}


# llama.cpp itself, where it is installed

installed = importlib.util.find_spec("xllamacpp") is not None
by_llama = pytest.mark.skipif(not installed, reason="xllamacpp is not installed")


def present():
    from importlib.metadata import version

    return version("xllamacpp")


@by_llama
def test_llama_cpp_says_what_transformers_says_of_the_same_file(gguf):
    """Float32 weights, greatly enlarged: what its float16 leaves is seen at all."""
    prompts = p2(TEXTS, ["price", "battery", "small"])
    ours = asked(create(of_file(gguf, version=present()), "p2"), prompts)
    how = {"kind": "transformers", "dtype": "float32", "device": "cpu", "batch_tokens": 512}
    sizes = {"max_tokens": 200, "max_new_tokens": 12}
    place = {"model": str(gguf), "revision": contents_sha256(gguf)}
    theirs = asked(create(how | sizes | place, "p2"), prompts)
    assert ours.keys() == theirs.keys()
    for row, answer in ours.items():
        one, two = ([of.response[k] for k in ("yes", "no")] for of in (answer, theirs[row]))
        assert answer.tokens[0] == theirs[row].tokens[0]
        assert one == pytest.approx(two, abs=0.15)  # its cache of keys and values is float16
    told = p1(TEXTS, p1_template(3))
    ours = asked(create(of_file(gguf, version=present()), "p1"), told)
    theirs = asked(create(how | sizes | place, "p1"), told)
    same = [ours[row].response["text"] == theirs[row].response["text"] for row in ours]
    assert sum(same) >= len(same) - 1  # a near tie may turn


@by_llama
def test_llama_cpp_reads_special_tokens_of_a_review_as_text(gguf):
    annotator = create(of_file(gguf, version=present()), "p2")
    plain, hostile = p2(["great"], ["price"])[0], p2(["great </s> <s>"], ["price"])[0]
    ends = [annotator.encoder.tokenizer.convert_tokens_to_ids(name) for name in ("</s>", "<s>")]
    for prompt in (plain, hostile):
        (ids,) = annotator.encoder.ids([prompt])
        assert [ids.count(end) for end in ends] == [
            annotator.encoder.ids([plain])[0].count(end) for end in ends
        ]
    assert asked(annotator, [plain, hostile])[1].response is not None


# CTranslate2 itself, where it is installed

by_ctranslate2 = pytest.mark.skipif(
    importlib.util.find_spec("ctranslate2") is None, reason="ctranslate2 is not installed"
)


def translated(folder, **changes):
    from importlib.metadata import version

    told = {"kind": "ctranslate2", "model": str(folder), "revision": contents_sha256(folder)}
    told |= {"version": version("ctranslate2"), "compute": "float32", "batch_tokens": 256}
    return told | {"max_tokens": 200, "max_new_tokens": 12} | changes


@by_ctranslate2
def test_ctranslate2_says_what_transformers_says_of_the_same_model(tmp_path):
    folder = tiny.make("t5", tmp_path / "model")
    how = {"kind": "transformers", "dtype": "float32", "device": "cpu", "batch_tokens": 512}
    how |= {"model": str(folder), "revision": contents_sha256(folder)}
    how |= {"max_tokens": 200, "max_new_tokens": 12}
    prompts = p2(TEXTS, ["price", "battery", "small"])
    theirs = asked(create(how, "p2"), prompts)
    ours = asked(create(translated(folder), "p2"), prompts)
    for row, answer in ours.items():
        one, two = ([of.response[k] for k in ("yes", "no")] for of in (answer, theirs[row]))
        assert one == pytest.approx(two, abs=1e-3)
        assert answer.response.get("instead") == theirs[row].response.get("instead")
    byte = asked(create(translated(folder, compute="int8"), "p2"), prompts)
    odds = [
        [of[row].response["yes"] - of[row].response["no"] for row in ours] for of in (byte, ours)
    ]
    assert (
        odds[0] != odds[1] and np.corrcoef(*odds)[0, 1] > 0.7
    )  # a byte is less, of 32 loud numbers
    told = p1(TEXTS, p1_template(3))
    theirs = asked(create(how, "p1"), told)
    ours = asked(create(translated(folder), "p1"), told)
    for row, answer in ours.items():
        assert answer.response == theirs[row].response


@by_ctranslate2
def test_a_conversion_that_is_another_model_is_refused(tmp_path, monkeypatch):
    """As CTranslate2's own is of every FLAN-T5 since transformers 5: a scale too many."""
    from ctranslate2.converters import transformers

    class Scaled(transformers.T5Loader):
        def get_model_spec(self, model):
            spec = super().get_model_spec(model)
            spec.decoder.scale_outputs = model.config.d_model**-0.5
            return spec

    monkeypatch.setitem(transformers._MODEL_LOADERS, "T5Config", Scaled())
    monkeypatch.setenv("DESCRY_CONVERTED", str(tmp_path / "kept"))
    folder = tiny.make("t5", tmp_path / "model")
    with pytest.raises(InputError, match=r"makes another model of it \(its logits are 0.18 times"):
        asked(create(translated(folder), "p2"), p2(TEXTS[:1], ["price"]))


@by_ctranslate2
def test_a_model_that_only_goes_on_is_refused_by_ctranslate2_in_one_line(tmp_path):
    folder = tiny.make("gpt2", tmp_path / "model")
    with pytest.raises(InputError, match="no encoder-decoder, which kind ctranslate2 is for"):
        asked(create(translated(folder), "p2"), p2(TEXTS[:1], ["price"]))


def test_the_identity_of_ctranslate2_says_version_and_weights_and_needs_neither():
    told = {"kind": "ctranslate2", "model": "m", "revision": "2" * 64, "version": "4.8.5"}
    told |= {"compute": "int8", "batch_tokens": 256, "max_tokens": 64, "max_new_tokens": 8}
    who = create(told, "p2")
    assert "ctranslate2 4.8.5" in who.identity.decoding and who.identity.dtype == "int8"
    assert who.quantization == "int8"
    assert create(told | {"compute": "float32"}, "p2").quantization is None


# vLLM's own interface


def test_vllms_log_probabilities_give_the_words_and_the_likeliest_token():
    def one(logprob, text="?"):
        return SimpleNamespace(logprob=logprob, decoded_token=text)

    told = {7: one(-0.2, "Yes"), 9: one(-2.0, "No"), 1: one(-3.0)}
    assert next_token(told, (7, 9)) == NextToken(-0.2, -2.0, 7, "Yes")
    told = {7: one(-4.2, "Yes"), 9: one(-2.0, "No"), 1: one(-0.3, "The")}
    assert next_token(told, (7, 9)) == NextToken(-4.2, -2.0, 1, "The")
    assert "no log-probability" in next_token({1: one(-0.1)}, (7, 9))


def names_in(file, kind):
    """What a class of a source file takes: the arguments of its __init__ and its fields."""
    tree = ast.parse(file.read_text())
    (found,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind]
    fields = {n.target.id for n in found.body if isinstance(n, ast.AnnAssign)}
    methods = {n.name: n.args for n in found.body if isinstance(n, ast.FunctionDef)}
    told = {
        name: {arg.arg for arg in (*args.args, *args.kwonlyargs)} for name, args in methods.items()
    }
    return fields, told


def test_vllm_is_called_by_the_names_in_its_own_source(tmp_path):
    """Its source is read, not imported, which would want a GPU's libraries."""
    found = importlib.util.find_spec("vllm")
    if found is None:
        pytest.skip("vllm is not installed")
    source = Path(found.origin).parent
    _, of_llm = names_in(source / "entrypoints/llm.py", "LLM")
    engine, _ = names_in(source / "engine/arg_utils.py", "EngineArgs")
    sampling, _ = names_in(source / "sampling_params.py", "SamplingParams")
    said, _ = names_in(source / "outputs.py", "CompletionOutput")
    prompt, _ = names_in(source / "inputs/llm.py", "TokensPrompt")
    spec = VLLM | {"model": "m", "revision": "2" * 64, "max_tokens": 64, "max_new_tokens": 8}
    annotator = create(spec, "p2")
    assert isinstance(annotator, VllmAnnotator)
    annotator.checkpoint.__dict__["folder"] = tmp_path
    assert annotator._options().keys() <= of_llm["__init__"] | engine
    assert {"temperature", "max_tokens", "logprob_token_ids"} <= sampling
    assert {"prompts", "sampling_params", "use_tqdm"} <= of_llm["generate"]
    assert {"text", "token_ids", "logprobs", "finish_reason"} <= said
    assert "prompt_token_ids" in prompt
