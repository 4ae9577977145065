"""However a stage's work is shared out, every piece is done once, and the bytes are the same."""

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
import tiny
from extracting import BLOCK, WORDS, activation_params, compute, section, sentences, write_corpus
from hypothesis import given
from hypothesis import strategies as st
from miniature import ROOT
from planted import (
    ANNOTATIONS,
    CACHE,
    CANDIDATES,
    CORPUS,
    DESCRIPTORS,
    EXEMPLARS,
    SCOPED,
    SPEC,
    Absent,
    Toy,
)

import descry.annotators.chunks
from descry.activations import outputs
from descry.annotators.client import AskOptions, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.prompt_cache.jsonl import export, load, opened
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p2
from descry.errors import InputError
from descry.io.atomic import part_of
from descry.io.parquet import read_table
from descry.io.sharding import WHOLE, Shard
from descry.models.hooked_model import HookedModel
from descry.stages import annotate, describe
from descry.stages.annotate import Annotate, annotate_sentences
from descry.stages.describe import Describe, describe_sentences
from descry.stages.graphs import graph_neurons
from descry.workflow.params import load as load_params

CHUNK = 7  # prompts: several slabs in a corpus of 60 sentences
SHIPPED = load_params(ROOT / "presets/sample.yaml")


def shards(number):
    return [Shard(index, number) for index in range(number)]


# What is whose


@given(st.integers(1, 50), st.integers(0, 10_000))
def test_every_piece_is_one_shards(number, piece):
    assert sum(shard.has(piece) for shard in shards(number)) == 1


@given(st.integers(1, 50), st.integers(0, 10_000))
def test_the_shard_before_the_first_has_no_piece(number, piece):
    before = Shard.parse(f"0-of-{number}")
    assert before.first and not before.has(piece)


def test_people_count_from_one():
    assert Shard.parse("1-of-1") == WHOLE
    assert [Shard.parse(f"{i}-of-3") for i in (1, 2, 3)] == shards(3)


@pytest.mark.parametrize(
    "text", ["", "3", "3/8", "9-of-8", "-1-of-8", "1-of-0", "03-of-8", "a-of-b"]
)
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InputError, match=r"not of the form 3-of-8"):
        Shard.parse(text)


# Prompts


class Noting(Toy):
    """An annotator that notes the slabs it is given, and what is wanted of them."""

    def __init__(self):
        super().__init__()
        self.chunks = []

    def answer(self, prompts, wanted):
        self.chunks.append(([prompt.text for prompt in prompts], sorted(wanted)))
        yield from super().answer(prompts, wanted)


PROMPTS = p2([f"The sound of number {i}." for i in range(11)], ["Sound", "Price"])


def asked(cache, annotator, shard=WHOLE, again=True):
    how = AskOptions("annotate", cache, 0.0, False, lambda *_: None, shard, again)
    tally = Counts()
    return list(answer_prompts(how, annotator, PROMPTS, lambda _: None, tally)), tally


@pytest.fixture
def small_slabs(monkeypatch):
    monkeypatch.setattr(descry.annotators.chunks, "CHUNK", CHUNK)


@pytest.mark.parametrize("number", [1, 2, 3, 9])
def test_the_annotator_sees_the_same_slabs(tmp_path, small_slabs, number):
    with PromptCache(tmp_path / "one") as cache:
        alone = Noting()
        asked(cache, alone)
    found = []
    with PromptCache(tmp_path / "several") as cache:
        for shard in shards(number):
            annotator = Noting()
            _, tally = asked(cache, annotator, shard)
            assert tally.total == tally.done == len(annotator.asked)
            found += annotator.chunks
    assert sorted(found) == sorted(alone.chunks)


def test_behind_the_shards_nothing_is_asked(tmp_path, small_slabs):
    with PromptCache(tmp_path) as cache:
        for shard in shards(3):
            asked(cache, Toy(), shard)
        chunks, tally = asked(cache, Absent(), again=False)
    assert (tally.cached, tally.asked, tally.total) == (22, 0, 22)
    assert sum(len(chunk.responses) for chunk in chunks) == 22


def test_what_failed_in_a_shard_is_not_asked_again_behind_it(tmp_path, small_slabs):
    def nonsense(_):
        return {"text": "Perhaps.", "finish": "stop"}

    def check(_):
        raise descry.annotators.client.UnparsableError("neither Yes nor No")

    with PromptCache(tmp_path) as cache:
        for annotator, shard, again in ((Toy(nonsense), Shard(0, 2), True), (Toy(), WHOLE, False)):
            tally = Counts()
            how = AskOptions("annotate", cache, 1.0, False, lambda *_: None, shard, again)
            list(answer_prompts(how, annotator, PROMPTS, check, tally))
            assert tally.failures == {"neither Yes nor No": 14 if again else 22}
        assert len(annotator.asked) == 8  # what the other shard would have asked


def test_failures_are_borne_as_if_there_were_one_shard(tmp_path, small_slabs):
    """A tenth of all may fail: all of them in one of ten shards."""

    def check(_):
        raise descry.annotators.client.UnparsableError("nothing")

    prompts = p2([f"Sentence {i}." for i in range(70)], ["Sound"])
    with PromptCache(tmp_path) as cache:
        how = AskOptions("annotate", cache, 0.1, False, lambda *_: None, Shard(3, 10))
        list(answer_prompts(how, Toy(lambda _: {"text": "?"}), prompts, check, Counts()))


# Stages that ask


def annotated(output, journals=None, shard=WHOLE, annotator=None, parts=()):
    how = {"progress": lambda *_: None, "shard": shard, "parts": parts, "cache_folder": CACHE}
    files = {"corpus": CORPUS, "descriptors": DESCRIPTORS, "exemplars": EXEMPLARS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, "create", lambda *_, **__: annotator or Toy())
        params = Annotate(**SCOPED, annotator=SPEC, cascade=None)
        return annotate_sentences(params, **files, annotations=output, journals=journals, **how)


@pytest.mark.parametrize("number", [2, 5])
@pytest.mark.parametrize("apart", [False, True])
def test_annotations_are_the_same_of_any_number_of_shards(run, small_slabs, number, apart):
    """Shards on one machine share a cache; on several machines each has its own, and a journal."""
    clean_cache()
    annotated(ANNOTATIONS)
    whole = ANNOTATIONS.read_bytes()
    clean_cache()
    journals = run / "journals" if apart else None
    counts = []
    for shard in shards(number):
        annotated(run / "shard.json", journals, shard)
        counts.append(json.loads((run / "shard.json").read_text())["asked"])
    assert all(counts) and CACHE.exists() is not apart
    ANNOTATIONS.unlink()
    annotated(ANNOTATIONS, journals, annotator=Absent(), parts=[run / "shard.json"])
    assert ANNOTATIONS.read_bytes() == whole
    if apart:
        assert len(list(journals.iterdir())) == number


def clean_cache():
    for file in sorted(CACHE.rglob("*")):
        file.unlink()
    if CACHE.exists():
        CACHE.rmdir()


def described(output, annotators, journals, shard=WHOLE):
    told = {"annotators": [SPEC] * len(annotators), "max_descriptors": 3, "max_words": 2}
    told |= {"examples": 1, "template": None, "seed": 0, "max_failures": 0.0}
    given = iter(annotators)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(describe, "create", lambda *_, **__: next(given))
        how = {"progress": lambda *_: None, "shard": shard, "journals": journals}
        files = {"corpus": CORPUS, "candidates": output, "cache_folder": CACHE}
        return describe_sentences(Describe(**told), **files, **how)


def topics(prompt):
    return {"text": ", ".join(prompt.sentence.split()[:2]) + ", a thing", "finish": "stop"}


def test_candidates_are_the_same_and_the_example_is_asked_once(run, small_slabs, tmp_path):
    clean_cache()
    described(CANDIDATES, [Toy(topics)], None)
    whole = CANDIDATES.read_bytes()
    clean_cache()
    workers = [Toy(topics) for _ in range(4)]
    for number, worker in enumerate(workers):
        described(tmp_path / "part.json", [worker], tmp_path / "j", Shard.parse(f"{number}-of-3"))
    assert [len(worker.asked) for worker in workers] == [1, 21, 21, 18]
    CANDIDATES.unlink()
    described(CANDIDATES, [Absent()], tmp_path / "j")
    assert CANDIDATES.read_bytes() == whole


# Journals

ASKER = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests")!r})
import descry.annotators.chunks, test_shards
from descry.annotators.prompt_cache.jsonl import opened
from descry.io.sharding import Shard

descry.annotators.chunks.CHUNK = 2
class Slow(test_shards.Toy):
    def answer(self, prompts, wanted):
        for group in super().answer(prompts, wanted):
            print(len(self.asked), flush=True)
            yield group
            time.sleep(0.02)
with opened(Path("nowhere"), Path(sys.argv[1])) as cache:
    test_shards.asked(cache, Slow(), Shard.parse(sys.argv[2]))
"""


def test_a_shard_killed_on_another_machine_loses_no_answer_that_is_in_its_journal(tmp_path):
    command = [sys.executable, "-c", ASKER, tmp_path / "j", "1-of-2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        while int(process.stdout.readline()) < 5:
            pass
        os.kill(process.pid, signal.SIGKILL)
    (journal,) = (tmp_path / "j").iterdir()
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"key":"0123')  # torn in the middle of a line
    with opened(tmp_path / "nowhere", tmp_path / "j") as cache:
        kept = cache.stats()["answers"]
        assert 4 <= kept == whole.count(b'"key"')
        annotator = Toy()
        asked(cache, annotator)
    assert len(annotator.asked) == len(PROMPTS) - kept
    assert not (tmp_path / "nowhere").exists()


def test_a_torn_export_is_refused_all_the_same(tmp_path):
    with PromptCache(tmp_path / "a") as cache:
        asked(cache, Toy())
        export(cache, tmp_path / "out")
    (file,) = (tmp_path / "out").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    with PromptCache(tmp_path / "b") as cache, pytest.raises(InputError, match="not of an export"):
        load(cache, [file])


def test_journals_and_the_exports_of_separate_caches_merge_to_the_same(tmp_path, small_slabs):
    merged = []
    for name in ("journals", "exports"):
        with PromptCache(tmp_path / name / "merged") as whole:
            for index, shard in enumerate(shards(2)):
                place = tmp_path / name / str(index)
                if name == "journals":
                    with opened(place, place / "j") as cache:
                        asked(cache, Toy(), shard)
                    load(whole, [place / "j"])
                else:
                    with PromptCache(place / "cache") as cache:
                        asked(cache, Toy(), shard)
                        export(cache, place / "out")
                    load(whole, [place / "out"])
            asked(whole, Absent())
            export(whole, tmp_path / name / "all")
            merged.append(
                [path.read_bytes() for path in sorted((tmp_path / name / "all").iterdir())]
            )
    assert merged[0] == merged[1]


def test_two_answers_to_one_request_are_an_error(tmp_path):
    for said in ({"yes": -0.1, "no": -2.5}, {"yes": -2.5, "no": -0.1}):
        with opened(tmp_path, tmp_path / said["yes"].hex()) as cache:
            asked(cache, Toy(lambda _, said=said: said))
    journals = [next(path.iterdir()) for path in tmp_path.iterdir()]
    together = tmp_path / "together"
    together.mkdir()
    for path in journals:
        path.rename(together / path.name)
    with pytest.raises(InputError, match=r"two answers to one request"), opened(tmp_path, together):
        pass


def test_a_failure_stays_one_in_a_journal_until_there_is_an_answer(tmp_path):
    key = "0" * 64
    with opened(tmp_path, tmp_path / "j") as cache:
        record = {"reason": "refusal", "response": "None", "model": "m", "task": "p2"}
        cache.fail({key: record})
    with opened(tmp_path, tmp_path / "j") as cache:
        assert cache.failed([key])[key]["reason"] == "refusal"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "lustre", "fuse.sshfs", "beegfs"])
def test_no_database_is_opened_on_a_network_file_system(tmp_path, monkeypatch, kind):
    mounts = [("/", "ext4"), (str(tmp_path), kind), (str(tmp_path / "local"), "xfs")]
    found = [SimpleNamespace(mountpoint=place, fstype=name) for place, name in mounts]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: found)
    with pytest.raises(InputError, match=rf"network file system \({kind}\).*journals=true"):
        PromptCache(tmp_path / "cache")
    assert not (tmp_path / "cache/cache.db").exists()
    with PromptCache(tmp_path / "local/cache"):
        pass


# Activations and graphs


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.make("bert", tmp_path_factory.mktemp("bert"), words=WORDS)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(
        tmp_path_factory.mktemp("corpus") / "corpus.parquet", sentences(4500, most=3)
    )


def computed(corpus, output, told, **how):
    from descry.stages.activations import extract_activations

    how = {"progress": lambda *_: None} | how
    files = {"corpus": corpus, "activations": output}
    return extract_activations(activation_params(told), **files, **how)


@pytest.mark.parametrize("number", [2, 3, 9])
@pytest.mark.parametrize(
    "changes",
    [{}, {"store": "exemplars"}, {"position": "tokens"}],
    ids=["matrix", "kept", "tokens"],
)
def test_activations_are_the_same_of_any_number_of_shards(model, corpus, tmp_path, changes, number):
    """Five blocks, of tokens more: of nine shards some have nothing to do."""
    told = section(model, max_tokens=5) | changes
    assert compute(corpus, tmp_path / "activations.h5", told)["sentences cut"] > 0
    whole = (tmp_path / "activations.h5").read_bytes()
    parts = [tmp_path / "shards" / f"{i}.h5" for i in range(number)]
    for shard, part in zip(shards(number), parts, strict=True):
        computed(corpus, part, told, shard=shard)
    (tmp_path / "activations.h5").unlink()
    computed(corpus, tmp_path / "activations.h5", told, parts=parts)
    assert (tmp_path / "activations.h5").read_bytes() == whole
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == [p.name for p in parts]


@pytest.mark.parametrize("store", ["matrix", "exemplars"])
def test_a_shard_that_was_stopped_goes_on(model, corpus, tmp_path, monkeypatch, store):
    """The third of its three blocks fails; the next run computes that block alone."""
    told, shard = section(model, store=store), Shard(0, 2)
    computed(corpus, tmp_path / "whole.h5", told, shard=shard)
    seen, run = [], HookedModel.activations

    def fail(target, batch):
        seen.extend(batch)
        if len(seen) > 2 * BLOCK:
            raise KeyboardInterrupt
        return run(target, batch)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "SAVE", -1)
        patch.setattr(HookedModel, "activations", fail)
        with pytest.raises(KeyboardInterrupt):
            computed(corpus, tmp_path / "a.h5", told, shard=shard)
    assert part_of(tmp_path / "a.h5").exists()
    told_of = []
    progress = {"progress": lambda *done: told_of.append(done)}
    computed(corpus, tmp_path / "a.h5", told, shard=shard, **progress)
    total = 2 * BLOCK + (4500 - 4 * BLOCK)
    assert told_of[-1] == ("sentences", total, total)
    assert told_of[0][1] > BLOCK
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not part_of(tmp_path / "a.h5").exists()


def test_a_shard_of_another_model_is_refused(model, corpus, tmp_path):
    told = section(model)
    computed(corpus, tmp_path / "0.h5", told | {"max_tokens": 8}, shard=Shard(0, 2))
    computed(corpus, tmp_path / "1.h5", told, shard=Shard(1, 2))
    parts = [tmp_path / "0.h5", tmp_path / "1.h5"]
    with pytest.raises(InputError, match=r"0\.h5: .*max_tokens 8, now 64"):
        computed(corpus, tmp_path / "activations.h5", told, parts=parts)


def graphed(corpus, model, output, changes, scores=None, **how):
    few = {"neurons": 5, "texts": 6, "train": 4, **changes}
    sections = SHIPPED.graphs.model_copy(update=few), activation_params(section(model))
    files = {"corpus": corpus, "graphs": output, "scores": scores}
    return graph_neurons(*sections, **files, progress=lambda *_: None, **how)


@pytest.mark.parametrize("number", [2, 7])
@pytest.mark.parametrize(
    "changes", [{"together": 1}, {"together": 64}, {"together": 1, "method": "published"}]
)
def test_graphs_are_the_same_of_any_number_of_shards(model, corpus, tmp_path, number, changes):
    table, scores = tmp_path / "graphs.parquet", tmp_path / "graphs.csv"
    graphed(corpus, model, table, changes, scores)
    whole = table.read_bytes(), scores.read_bytes()
    assert len(read_table(table, "graphs")) == 5
    texts = tmp_path / "0.part"
    graphed(corpus, model, texts, changes, shard=Shard.parse(f"0-of-{number}"))
    parts = [tmp_path / f"{i}.part" for i in range(1, number + 1)]
    for shard, part in zip(shards(number), parts, strict=True):
        graphed(corpus, model, part, changes, shard=shard, parts=[texts])
    for file in (table, scores):
        file.unlink()
    graphed(corpus, model, table, changes, scores, parts=parts)
    assert (table.read_bytes(), scores.read_bytes()) == whole
    assert not list(tmp_path.glob(".*"))
