"""What strangers hand over runs no code, writes nowhere else, and secrets stay where they are."""

import json
import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path

import planted
import pytest
import tiny
import yaml
from faults import Trap
from miniature import check_out
from servers import Reply, completion, serving

from descry.annotators.factory import create
from descry.annotators.prompt_cache.jsonl import export
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p2
from descry.errors import InputError
from descry.labels.clustering import Descriptor, Edits, apply_edits
from descry.models.checkpoints import Checkpoint, contents_sha256
from descry.models.embedder import sentence_embedder
from descry.models.hooked_model import HookedModel
from descry.workflow import params

ROOT = Path(__file__).parents[1]
KEY = "sk-s3cr3t-0123456789abcdef"


# Models


@pytest.fixture
def sprung(tmp_path):
    """The folder that a model's code would make; never there."""
    pickle.loads(pickle.dumps(Trap(tmp_path / "works")))
    assert (tmp_path / "works").is_dir()
    yield tmp_path / "sprung"
    assert not (tmp_path / "sprung").exists()


def pickled(folder, sprung):
    """The model with its weights in a pickle that is a trap."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    return folder


def as_target(folder, **allowed):
    checkpoint = Checkpoint(str(folder), contents_sha256(folder), **allowed)
    how = {"layers": None, "dtype": "float32", "device": "cpu", "max_tokens": 64}
    HookedModel(checkpoint, site="ffn_output", position="mean", **how)


def as_embedder(folder, **allowed):
    checkpoint = Checkpoint(str(folder), contents_sha256(folder), **allowed)
    sentence_embedder(checkpoint)(["It works."])


def as_annotator(folder, **allowed):
    annotator = create(tiny.spec(folder) | allowed, "p2")
    list(annotator.answer(p2(["It works."], ["Price"]), [0]))


LOADERS = {"gpt2": as_annotator, "t5": as_annotator, "bert": as_target}
LOADS = pytest.mark.parametrize("name", LOADERS)


@pytest.fixture
def own(tmp_path):
    return lambda name: tiny.make(name, tmp_path / name)


def embedder(folder):
    """The folder as a sentence embedder: a model, and a matrix behind its pooling."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    dense = {"in_features": 32, "out_features": 4, "bias": False}
    dense["activation_function"] = "torch.nn.modules.linear.Identity"
    for path, config in (("1_Pooling", pooling), ("2_Dense", dense)):
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(config))
    return folder


@LOADS
def test_a_pickle_of_weights_is_refused_with_what_to_do(own, sprung, name):
    folder = pickled(own(name), sprung)
    with pytest.raises(InputError, match=r"pytorch_model\.bin is a pickle.*safetensors.*pickled"):
        LOADERS[name](folder)


@LOADS
def test_a_pickle_that_is_allowed_still_runs_no_code(own, sprung, name):
    folder = pickled(own(name), sprung)
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        LOADERS[name](folder, pickled=True)
    assert "is a pickle" not in str(caught.value)
    assert str(caught.value).isprintable()


@LOADS
def test_a_pickle_beside_safetensors_is_never_opened(own, sprung, name):
    folder = own(name)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(sprung)))
    LOADERS[name](folder)


def test_weights_in_an_honest_pickle_load_where_that_is_allowed(own):
    import torch
    from safetensors.torch import load_file

    folder = own("bert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    as_target(folder, pickled=True)
    with pytest.raises(InputError, match="is a pickle"):
        as_target(folder)


def test_a_pickle_in_a_module_of_an_embedder_is_refused(own, sprung):
    folder = embedder(own("bert"))
    weights = folder / "2_Dense/pytorch_model.bin"
    weights.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(InputError, match=r"2_Dense/pytorch_model\.bin is a pickle"):
        as_embedder(folder)
    with pytest.raises(InputError, match="cannot be loaded"):
        as_embedder(folder, pickled=True)


def test_every_file_of_an_embedder_s_modules_is_in_its_revision(own):
    folder = embedder(own("bert"))
    before = contents_sha256(folder)
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    assert contents_sha256(folder) != before


@LOADS
def test_a_model_s_own_code_is_neither_run_nor_asked_about(own, sprung, name, capfd):
    folder = own(name)
    (folder / "mine.py").write_text(f"import os\nos.mkdir({str(sprung)!r})\n")
    config = json.loads((folder / "config.json").read_text())
    named = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM")
    config |= {"model_type": "mine", "auto_map": dict.fromkeys(named, "mine.Mine")}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot be loaded"):
        LOADERS[name](folder)
    assert "[y/N]" not in "".join(capfd.readouterr())


def test_a_module_of_an_embedder_is_no_code_of_its_own(own, sprung, monkeypatch):
    folder = own("bert")
    code = f"import os\nos.mkdir({str(sprung)!r})\n"
    (folder / "mine.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "mine.Mine"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match="cannot be loaded"):
        as_embedder(folder)


def test_a_permission_stands_in_params_only_where_it_is_given():
    value = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())["activations"]
    section = params.parse("activations", value, "x")
    assert section.model_dump() == value
    value["target"]["pickled"] = True
    assert params.parse("activations", value, "x").model_dump() == value
    value["target"]["pickled"] = False
    with pytest.raises(InputError, match=r"activations\.target\.pickled"):
        params.parse("activations", value, "x")


# The shell


EVIL = """it's "a" $(touch pwned) `touch pwned`; touch pwned #.jsonl"""


@pytest.mark.slow
def test_a_path_runs_no_command(tmp_path):
    repo = check_out(tmp_path / "repo")
    lines = [file.read_bytes() for file in (repo.path / "data/sample").glob("*.jsonl")]
    (repo.path / "data" / EVIL).write_bytes(b"".join(lines))
    repo.set(**{"corpus.reviews": f"data/{EVIL}", "report.title": EVIL})
    shown = repo.sh("snakemake -n -p --quiet host --cores 1 corpus")
    command = next(line for line in shown.splitlines() if "descry stage corpus" in line)
    assert f"reviews=data/{EVIL}" in shlex.split(command, comments=False)
    repo.sh("snakemake --cores 1 corpus")
    assert (repo.path / "results/corpus.parquet").is_file()
    assert not list(repo.path.rglob("pwned*"))


def test_what_a_user_names_is_quoted_wherever_a_rule_s_command_has_it():
    files = [ROOT / "Snakefile", *(ROOT / "src/descry/workflow/rules").glob("*.smk")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    commands = re.findall(r"descry stage .*", text)
    assert commands == ['descry stage {params.stage:q} $asking 2>&1 | tee {log}"']


# Secrets


def test_a_key_is_in_no_file_and_no_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planted.RESULTS.mkdir()
    planted.write_reviews()
    planted.run_corpus()
    params_file = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())
    section = params_file["describe"]
    with serving(lambda *_: Reply(completion(f"price, {KEY}, sound"))) as server:
        spec = {"kind": "openai", "model": "tiny", "revision": "tiny-2026-01-01", "dtype": "q4"}
        spec |= {"base_url": server.url, "api_key_env": "MY_KEY", "max_new_tokens": 16}
        spec |= {"concurrency": 2, "timeout": 20.0, "retries": 0, "price": None}
        section["annotators"] = [spec]
        told = ["stage", "describe", f"corpus={planted.CORPUS}", f"candidates={planted.CANDIDATES}"]
        told += ["-p", json.dumps(section)]
        output = descry(*told)
        assert {said["authorization"] for said in server.headers} == {f"Bearer {KEY}"}
    output += descry("cache", "export") + descry("cache", "stats")
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"price" in files and list(Path("data/answers").glob("*.jsonl"))
    assert KEY.encode() not in files and KEY not in output


def descry(*arguments):
    """What the command prints, the key being in its environment."""
    command = [sys.executable, "-m", "descry", *map(str, arguments)]
    environment = {**os.environ, "MY_KEY": KEY}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "url", [f"https://me:{KEY}@host/v1", f"https://host/v1?key={KEY}", f"https://host/v1#{KEY}"]
)
def test_an_address_with_a_secret_in_it_is_refused_unseen(url):
    value = yaml.safe_load((ROOT / "presets/sample.yaml").read_text())["judge"]
    spec = {"kind": "openai", "model": "tiny", "revision": "r", "dtype": "q4", "base_url": url}
    spec |= {"api_key_env": None, "max_new_tokens": 16, "concurrency": 1}
    value["annotator"] = spec | {"timeout": 20.0, "retries": 0, "price": None}
    with pytest.raises(InputError, match="base_url") as caught:
        params.parse("judge", value, "params.yaml")
    assert KEY not in str(caught.value)


# Names


UP = ["../../up", "/descry-up", "..", "a/b", "CON", "-rf", "x" * 300, "~", "$(touch up)"]


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_descriptor_s_name_is_no_path(tmp_path, monkeypatch):
    names = [*UP[:3], "x" * 300, planted.HOSTILE]
    topics = dict(zip(names, planted.TOPICS.values(), strict=True))
    monkeypatch.setattr(planted, "TOPICS", topics)
    monkeypatch.setattr(planted, "NAMES", [planted.BROAD, *topics])
    folder = tmp_path / "a/b/project"
    folder.mkdir(parents=True)
    planted.made_in(folder, planted.build)
    inside = {f"a/b/project/{name}" for name in files_in(folder)}
    assert files_in(tmp_path) == {"a", "a/b", "a/b/project"} | inside
    made = {planted.RESULTS, planted.CACHE, planted.REVIEWS, planted.GOLD}
    assert {path.name for path in folder.iterdir()} == {path.name for path in made}
    assert not [name for name in files_in(folder) if "up" in name or "xxx" in name]
    assert not Path(UP[1]).exists()


@pytest.mark.parametrize("word", ["a\x00b", "\x1b[2J", "\ud800", "a\nb"])
@pytest.mark.parametrize("where", ["rename", "merge", "drop", "phrase"])
def test_an_edit_with_control_characters_is_refused_in_one_line(word, where):
    edits = {
        "rename": Edits(rename={"price": word}),
        "merge": Edits(merge={word: ["price"]}),
        "drop": Edits(drop=[word]),
        "phrase": Edits(rename={word: "Price"}),
    }
    with pytest.raises(InputError, match="control characters") as caught:
        apply_edits([Descriptor("price", (("price", 3),))], edits[where])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("origin", [{"task": "../../up", "model": "m"}, {"task": "p1"}, {}])
def test_an_export_is_written_nowhere_else(tmp_path, origin):
    stored = [
        lambda cache: cache.store(origin, {"0" * 64: {"response": {}, "sentence": "0" * 16}}),
        lambda cache: cache.fail({"0" * 64: origin}),
    ]
    for number, store in enumerate(stored):
        with PromptCache(tmp_path / str(number)) as cache:
            store(cache)
            with pytest.raises(InputError, match="impossible task or model"):
                export(cache, tmp_path / "a/answers")
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}
