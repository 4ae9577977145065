"""Exports: what they say is the run's, in the forms that others take in."""

import csv
import gzip
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import planted
import pytest
import tiny
import yaml
from extracting import compute, section
from hypothesis import given
from hypothesis import strategies as st
from planted import HOSTILE, HOSTILE_REVIEW
from pydantic import BaseModel, ConfigDict, Field
from two_runs import copy_of, run_in
from typer.testing import CliRunner

import descry
from descry.activations.histogram import BINS
from descry.cli.app import app
from descry.cli.errors import told
from descry.errors import InputError
from descry.exports.circuit_tracer import feature, number
from descry.exports.contents import Explained
from descry.exports.target_tokens import pieces
from descry.io.hashing import sha256_file
from descry.io.json_files import read_json
from descry.io.parquet import read_table
from descry.io.readable import ANY

KINDS = ("neuronpedia", "circuit-tracer", "hf-dataset", "csv")
MOST = 90  # tokens: some reviews have more
LABELS = {"rule": "composition", "threshold": 0.2}  # a random model's sets: some have one


def a_run(folder, position="max"):
    """The planted reviews through a small model of random weights, by the real stages."""

    def extract():
        tiny.make("bert", Path("model"))
        told = section(Path("model"), position=position, max_tokens=MOST)
        compute(planted.CORPUS, planted.ACTIVATIONS, told)

    return run_in(folder / "run", before=extract, **LABELS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results whose target can be read anew; nobody changes them."""
    return a_run(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    """The folder of each kind of export."""
    base, run = tmp_path_factory.mktemp("exports"), descry.open(made)
    for kind in KINDS:
        descry.export(run, kind, base / kind, exemplars=4)
    return base


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_of(path):
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def bodies(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("upload/*/*.json"))]


# By token


@pytest.mark.parametrize("position", ["cls", "last", "max"])
def test_the_activation_that_was_ranked_is_that_of_the_token_which_is_named(tmp_path, position):
    run = descry.open(a_run(tmp_path, position))
    descry.export(run, "hf-dataset", tmp_path / "out", neurons=["L0:3", "L1:7"])
    rows = read_table(tmp_path / "out/data/exemplars.parquet", ANY).to_pylist()
    assert {row["neuron"] for row in rows} == {"L0:3", "L1:7"}
    for row in rows:
        assert row["activations"][row["place"]] == pytest.approx(row["activation"], rel=1e-3)
        assert row["tokens"][0] == "<s>" and row["tokens"][-1] == "</s>"
        assert len(row["tokens"]) == len(row["activations"])
    places = {
        row["place"] == {"cls": 0, "last": len(row["tokens"]) - 1}.get(position, -1) for row in rows
    }
    assert places == {position != "max"}


def test_tokens_read_as_the_sentence_when_they_are_joined(made, exported):
    rows = read_table(exported / "hf-dataset/data/exemplars.parquet", ANY).to_pylist()
    whole = 0
    for row in rows:
        shown = "".join(row["tokens"][1:-1])
        assert row["text"].replace("\x1b", "\ufffd").startswith(shown)
        whole += len(row["tokens"]) < MOST
    assert whole  # and of those that the model reads whole nothing is missing
    assert all(
        row["text"].replace("\x1b", "\ufffd") == "".join(row["tokens"][1:-1])
        for row in rows
        if len(row["tokens"]) < MOST
    )


@given(st.text(max_size=12), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6))
def test_pieces_of_whatever_spans_are_as_many_and_never_empty(text, steps):
    spans, at = [], 0
    for gap, size in steps:
        start = min(len(text), at + gap)
        at = min(len(text), start + size)
        spans.append((start, at))
    found = pieces(text, spans)
    assert len(found) == len(spans) and all(found)
    kept = "".join(found).replace("\ufffd", "")
    assert kept == "".join(c for c in text[:at] if c in "\n\t" or c.isprintable()).replace(
        "\ufffd", ""
    )


# CSV


def test_csv_has_the_numbers_of_the_run_to_the_last_digit(made, exported):
    run = descry.open(made)
    surest = {
        (row["layer"], row["neuron"], row["descriptor"]): row for row in run.surest.to_pylist()
    }
    rows = rows_of(exported / "csv/labels.csv")
    assert len(rows) == len(surest) > 5
    for row in rows:
        name = row["descriptor"].removeprefix("'")
        of = surest[int(row["layer"]), int(row["index"]), name]
        assert all(float(row[key]) == of[key] for key in ("f", "lift", "expected", "p", "q"))
        assert row["replicated"] == str(of["replicated"]) and int(row["count"]) == of["count"]


def test_no_cell_is_a_formula_and_every_line_is_one_row(exported):
    seen = 0
    for path in sorted((exported / "csv").glob("*.csv")):
        for row in rows_of(path):
            for key, cell in row.items():
                if key in ("text", "token", "descriptor", "labels", "descriptors"):
                    assert not re.match(r"[\s\x00-\x1f]*[=+\-@]", cell), (path, cell)
                    seen += cell.startswith("'")
    assert seen  # such as the token "-"


def test_the_histogram_counts_every_sentence(made, exported):
    rows = rows_of(exported / "csv/histograms.csv")
    sentences = len(descry.open(made).corpus)
    of_one = [row for row in rows if row["neuron"] == rows[0]["neuron"]]
    assert sum(int(row["sentences"]) for row in of_one) == sentences
    edges = [(float(row["low"]), float(row["high"])) for row in of_one]
    assert all(one[1] == two[0] for one, two in pairwise(edges))
    assert len(of_one) == BINS + 2


# Neuronpedia: the columns of its database, and the checks of its upload API
# (hijohnnylin/neuronpedia: apps/webapp/prisma/schema.prisma, utils/.../db_models, and
# apps/webapp/app/api/feature/upload-batch/route.tsx).


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Release(Strict):
    name: str
    description: str
    descriptionShort: str
    creatorName: str
    creatorNameShort: str
    creatorId: str
    visibility: Literal["PUBLIC"]
    urls: list[str]


class Model(Strict):
    id: str = Field(pattern=r"^[a-z0-9-_]{1,128}$")
    displayName: str
    displayNameShort: str
    creatorId: str
    visibility: Literal["PUBLIC"]
    layers: int
    neuronsPerLayer: int
    owner: str = Field(min_length=1)
    instruct: bool
    inferenceEnabled: bool


class SourceSet(Strict):
    modelId: str
    name: str
    description: str
    type: str
    creatorName: str
    creatorId: str
    visibility: Literal["PUBLIC"]
    urls: list[str]
    releaseName: str
    hasDashboards: bool
    allowInferenceSearch: bool


class Source(Strict):
    id: str
    modelId: str
    setName: str
    creatorId: str
    visibility: Literal["PUBLIC"]
    hasDashboards: bool
    inferenceEnabled: bool
    dataset: str
    num_prompts: int
    num_tokens_in_prompt: int


class Neuron(Strict):
    modelId: str
    layer: str
    index: str
    sourceSetName: str
    creatorId: str
    maxActApprox: float
    hasVector: bool
    frac_nonzero: float = Field(ge=0, le=1)
    freq_hist_data_bar_heights: list[float]
    freq_hist_data_bar_values: list[float]
    pos_str: list[str]
    pos_values: list[float]
    neg_str: list[str]
    neg_values: list[float]


class Activation(Strict):
    id: str
    tokens: list[str]
    dataIndex: str
    index: str
    layer: str
    modelId: str
    dataSource: str
    maxValue: float
    maxValueTokenIndex: int
    minValue: float
    values: list[float]
    creatorId: str
    qualifyingTokenIndex: int


class Explanation(Strict):
    id: str
    modelId: str
    layer: str
    index: str
    description: str
    authorId: str
    notes: str


class Logit(Strict):
    token: str = Field(min_length=1)
    value: float


class UploadedExplanation(Strict):
    text: str = Field(min_length=1, max_length=512)
    methodName: None
    modelName: None


class UploadedActivation(Strict):
    tokens: list[str] = Field(min_length=1, max_length=1024)
    values: list[float] = Field(min_length=1, max_length=1024)
    quantileMax: None
    quantileMin: None
    quantileFraction: None


class UploadedFeature(Strict):
    index: int = Field(ge=0, le=10_000_000)
    density: float = Field(ge=0, le=1)
    topLogits: list[Logit] | None = Field(max_length=20)
    bottomLogits: list[Logit] | None = Field(max_length=20)
    explanations: list[UploadedExplanation]
    activations: list[UploadedActivation] = Field(min_length=1)


class Upload(Strict):
    modelId: str = Field(pattern=r"^[^A-Z]+$")
    source: str = Field(pattern=r"^[^A-Z]+$")
    features: list[UploadedFeature] = Field(min_length=1, max_length=128)


TABLES: dict[str, Any] = {
    "features": Neuron,
    "activations": Activation,
    "explanations": Explanation,
}
METADATA = {"release": Release, "model": Model, "sourceset": SourceSet, "source": Source}


def test_every_line_has_the_columns_of_neuronpedias_database(made, exported):
    folders = sorted((exported / "neuronpedia/v1").glob("*/*"))
    layers = sorted({row["layer"] for row in descry.open(made).surest.to_pylist()})
    assert [folder.name for folder in folders] == [f"{n}-descry-ffn-output" for n in layers]
    found = {name: [] for name in TABLES}
    for folder in folders:
        for name, schema in METADATA.items():
            (line,) = (folder / f"{name}.jsonl").read_text().splitlines()
            schema.model_validate_json(line)
        for name, schema in TABLES.items():
            lines = lines_of(folder / name / "batch-0.jsonl.gz")
            assert len({tuple(sorted(line)) for line in lines}) == 1  # it looks at the first alone
            found[name] += [schema.model_validate(line) for line in lines]
            assert {line.layer for line in found[name][-len(lines) :]} == {folder.name}
    rows = read_table(exported / "hf-dataset/data/exemplars.parquet", ANY).to_pylist()
    assert len(found["activations"]) == len(rows)
    assert {(one.layer[0], one.index, one.dataIndex) for one in found["activations"]} == {
        (str(row["layer"]), str(row["index"]), row["id"]) for row in rows
    }
    for one in found["activations"]:
        assert len(one.tokens) == len(one.values)
        assert one.values[one.maxValueTokenIndex] == one.maxValue == max(one.values)
    for name in ("activations", "explanations"):
        assert len({one.id for one in found[name]}) == len(found[name])
    labels = descry.open(made).surest
    assert len(found["explanations"]) == len(labels)
    assert {json.loads(one.notes)["q"] for one in found["explanations"]} == set(
        labels["q"].to_pylist()
    )


def test_bodies_pass_the_checks_of_the_upload_api(exported):
    found = [Upload.model_validate(body) for body in bodies(exported / "neuronpedia")]
    assert found
    for body in found:
        indices = [one.index for one in body.features]
        assert len(set(indices)) == len(indices)
        for one in body.features:
            assert all(len(of.tokens) == len(of.values) for of in one.activations)
            assert all(token for of in one.activations for token in of.tokens)


# circuit-tracer: circuit_tracer.frontend.feature_models, and the numbers of its page (util.js).


class Example(Strict):
    tokens_acts_list: list[float]
    train_token_ind: int
    is_repeated_datapoint: bool
    tokens: list[str]


class Quantile(Strict):
    quantile_name: str
    examples: list[Example]


class Feature(Strict):
    transcoder_id: str
    index: int
    examples_quantiles: list[Quantile]
    top_logits: list[str]
    bottom_logits: list[str]
    act_min: float
    act_max: float
    quantile_values: list[float]
    histogram: list[float]
    activation_frequency: float


def unpaired(z):
    """As its page does it."""
    w = int((np.sqrt(8 * z + 1) - 1) // 2)
    y = z - w * (w + 1) // 2
    return w - y, y


def test_features_are_of_circuit_tracers_form_under_the_numbers_of_its_page(exported):
    folder = exported / "circuit-tracer"
    labels = dict(json.loads((folder / "clerps.json").read_text()))
    neurons = {
        (int(row["layer"]), int(row["index"])): row for row in rows_of(exported / "csv/neurons.csv")
    }
    files = sorted((folder / "features").glob("*.json"))
    assert {unpaired(int(path.stem)) for path in files} == neurons.keys()
    for path in files:
        found = Feature.model_validate_json(path.read_text())
        assert found.index == unpaired(int(path.stem))[1]
        (examples,) = found.examples_quantiles
        assert 3 <= len(examples.examples) <= 4
        assert labels[path.stem].replace(", ", "; ") == neurons[unpaired(int(path.stem))][
            "labels"
        ].removeprefix("'")


@given(
    st.lists(st.integers(0, 9), min_size=BINS + 2, max_size=BINS + 2).filter(any),
    st.floats(-20, 20, width=32),
    st.floats(0.0625, 5, width=32),
)
def test_a_features_bars_are_the_bins_between_its_ends(counts, low, step):
    edges = low + step * np.arange(-1, BINS + 2)
    one = Explained("L0:1", 0, 0, 1, [], [], None, {}, edges, np.array(counts), 0.5)
    found = Feature.model_validate(feature(one, "run"))
    assert found.act_max > found.act_min and len(found.histogram) >= 1
    width = (found.act_max - found.act_min) / len(found.histogram)
    assert width == pytest.approx(step, rel=1e-3)
    first = int(np.argmin(np.abs(edges - found.act_min)))
    assert found.histogram == counts[first : first + len(found.histogram)]
    if found.act_max > 0:  # all above 0 is shown
        above = [count for count, edge in zip(counts, edges, strict=False) if edge >= 0]
        assert sum(found.histogram) >= sum(above)
    else:
        assert sum(found.histogram) == sum(counts)
    assert found.quantile_values == sorted(found.quantile_values)
    assert len(found.quantile_values) == 99


@given(st.integers(0, 200), st.integers(0, 200_000))
def test_the_number_of_a_feature_is_that_of_the_page(layer, index):
    assert unpaired(number(layer, index)) == (layer, index)


# datasets


def test_the_card_names_the_files_that_are_there(exported):
    folder = exported / "hf-dataset"
    head = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    parts = {part["config_name"]: part["data_files"] for part in head["configs"]}
    assert {path.relative_to(folder).as_posix() for path in (folder / "data").iterdir()} == set(
        parts.values()
    )
    labels = read_table(folder / parts["labels"], ANY).to_pylist()
    assert [row["descriptor"] for row in labels] == [
        row["descriptor"].removeprefix("'") for row in rows_of(exported / "csv/labels.csv")
    ]


# The others' own loaders, where their packages are installed: docs/export.md says how.


def by_their_loader(package, code, *arguments):
    """Run code with a package of theirs, in a process of its own: their warnings are not ours."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    run = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


CLIENT = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
import neuronpedia
from neuronpedia.np_activation import Activation
from neuronpedia.np_explanation import Explanation
from neuronpedia.np_feature import Feature, Logit
from neuronpedia.requests.base_request import NPRequest
from neuronpedia.requests.feature_request import FeatureRequest

got = []
class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_): pass

server = HTTPServer(("127.0.0.1", 0), Server)
Thread(target=server.serve_forever, daemon=True).start()
NPRequest.BASE_URL = f"http://127.0.0.1:{server.server_port}/api"
logits = lambda told: None if told is None else [Logit(**one) for one in told]
for path in sorted(Path(sys.argv[1]).rglob("upload/*/*.json")):
    body = json.loads(path.read_text())
    place = body["modelId"], body["source"]
    features = [
        Feature(
            *(own := (*place, one["index"])),
            one["density"],
            logits(one["topLogits"]),
            logits(one["bottomLogits"]),
            [
                Explanation(*own, of["text"], of["methodName"], of["modelName"])
                for of in one["explanations"]
            ],
            [Activation(*own, **of) for of in one["activations"]],
        )
        for one in body["features"]
    ]
    FeatureRequest(api_key="k").upload_batch(*place, features)
    assert got.pop() == body
    print("same", len(features))
server.shutdown()
"""


def test_neuronpedias_client_sends_the_bodies_as_they_are(exported):
    said = by_their_loader("neuronpedia", CLIENT, exported / "neuronpedia")
    sent = [int(line.split()[1]) for line in said.splitlines() if line.startswith("same")]
    assert sum(sent) == sum(len(body["features"]) for body in bodies(exported / "neuronpedia")) > 0


VIEWER = """
import functools, json, sys, urllib.request
from http.server import HTTPServer
from pathlib import Path
from threading import Thread
from circuit_tracer.frontend.feature_models import Model
from circuit_tracer.frontend.local_server import CircuitGraphHandler, DEFAULT_FRONTEND_DIR

places = {"frontend_dir": DEFAULT_FRONTEND_DIR, "data_dir": sys.argv[1]}
serve = functools.partial(CircuitGraphHandler, **places)
server = HTTPServer(("127.0.0.1", 0), serve)
Thread(target=server.serve_forever, daemon=True).start()
for path in sorted(Path(sys.argv[1], "features").glob("*.json")):
    place = f"http://127.0.0.1:{server.server_port}/data/features/{path.name}"
    text = urllib.request.urlopen(place).read().decode()
    Model.model_validate_json(text)
    assert text == path.read_text()
    print("loaded")
server.shutdown()
"""


def test_circuit_tracers_server_hands_out_features_that_its_model_takes(exported):
    said = by_their_loader("circuit_tracer", VIEWER, exported / "circuit-tracer")
    files = list((exported / "circuit-tracer/features").glob("*.json"))
    assert said.count("loaded") == len(files) > 0


def test_a_layers_file_has_each_neuron_where_the_index_says(exported):
    folder = exported / "circuit-tracer/features"
    index = json.loads(gzip.decompress((folder / "index.json.gz").read_bytes()))
    files = {unpaired(int(path.stem)): path for path in folder.glob("*.json")}
    assert {int(layer) for layer in index} == {layer for layer, _ in files}
    assert {one["filename"] for one in index.values()} == {p.name for p in folder.glob("*.bin")}
    for layer, one in index.items():
        whole = (folder / one["filename"]).read_bytes()
        assert one["offsets"][0] == 0 and one["offsets"][-1] == len(whole)
        for place, (start, stop) in enumerate(pairwise(one["offsets"])):
            assert (stop > start) == ((int(layer), place) in files)
            if stop > start:
                assert int.from_bytes(whole[start : start + 4], "little") == stop - start - 4
                text = zlib.decompress(whole[start + 4 : stop]).decode()
                assert f"{text}\n" == files[int(layer), place].read_text()


def inflated(whole):
    """All that a layer's file has."""
    found = b""
    while whole:
        length = 4 + int.from_bytes(whole[:4], "little")
        found, whole = found + zlib.decompress(whole[4:length]), whole[length:]
    return found


# Its page asks the hub; what it asks for comes from the folder, with the range of bytes.
PAGE = """
const fs = require("fs"), vm = require("vm"), zlib = require("zlib")
const [assets, folder, ...numbers] = process.argv.slice(2)
globalThis.window = globalThis
window.location = { hostname: "here", href: "http://here/" }
const any = new Proxy(function () {}, { get: () => any, apply: () => any })
window.d3 = any
window.pako = { inflate: (bytes) => zlib.unzipSync(bytes).toString() }
window.fetch = async (url, { headers = {} } = {}) => {
  const path = url.replace("https://huggingface.co/me/neurons/resolve/main/", `${folder}/`)
  if (path === url || !fs.existsSync(path)) return { ok: false, status: 404 }
  let bytes = fs.readFileSync(path)
  const range = /bytes=(\\d+)-(\\d+)/.exec(headers.Range ?? "")
  if (range) bytes = bytes.subarray(Number(range[1]), Number(range[2]) + 1)
  const copy = Uint8Array.from(bytes)
  return { ok: true, status: 200, arrayBuffer: async () => copy.buffer }
}
const load = (name) => vm.runInThisContext(fs.readFileSync(`${assets}/${name}`, "utf8"))
load("util.js")
load("feature_examples/init-feature-examples.js")
window.util.initRenderAll = () => any
window.initFeatureExamplesLogits = window.initFeatureExamplesList = () => {}
const { loadFeature } = window.initFeatureExamples({ containerSel: any })
const run = async () => {
  for (const number of numbers) {
    const found = await loadFeature("me/neurons", Number(number))
    const { colorScale, featureIndex, scan, ...feature } = found
    console.log(JSON.stringify([number, feature]))
  }
}
run()
"""
ASSETS = """
from circuit_tracer.frontend.local_server import DEFAULT_FRONTEND_DIR
print(DEFAULT_FRONTEND_DIR)
"""


@pytest.mark.skipif(not shutil.which("node"), reason="no node on this machine")
def test_circuit_tracers_page_reads_the_binary_files(exported, tmp_path):
    assets = by_their_loader("circuit_tracer", ASSETS).strip()
    folder, page = exported / "circuit-tracer", tmp_path / "page.js"
    page.write_text(PAGE)
    files = {path.stem: path for path in (folder / "features").glob("*.json")}
    run = ["node", page, assets, folder, *files]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = dict(map(json.loads, done.stdout.splitlines()))
    assert found == {name: json.loads(path.read_text()) for name, path in files.items()}


LOADER = """
import json, sys
import datasets
datasets.disable_progress_bars()
for name in ("labels", "neurons", "exemplars"):
    found = datasets.load_dataset(sys.argv[1], name, cache_dir=sys.argv[2])["train"]
    print(json.dumps([name, found.to_list()]))
"""


def test_the_datasets_library_opens_the_folder(exported, tmp_path):
    said = by_their_loader("datasets", LOADER, exported / "hf-dataset", tmp_path)
    found = dict(map(json.loads, said.splitlines()))
    assert found.keys() == {"labels", "neurons", "exemplars"}
    for name, rows in found.items():
        assert rows == read_table(exported / f"hf-dataset/data/{name}.parquet", ANY).to_pylist()


# The folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_has_every_file_what_made_it_and_whose_texts_are_in_it(made, exported, kind):
    folder, manifest = exported / kind, read_json(exported / kind / "manifest.json", "export")
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert manifest["files"].keys() == files - {"manifest.json"}
    assert all(sha256_file(folder / name) == sha for name, sha in manifest["files"].items())
    assert "terms of the corpus" in manifest["licence"]
    assert manifest["made"]["params"]["kind"] == kind
    hashes = manifest["made"]["inputs"].values()
    assert sha256_file(made / "labels.parquet") in hashes
    text = json.dumps(manifest)
    assert str(made.parent) not in text and manifest["run"]["site"] == "ffn_output"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_run_gives_the_same_bytes_and_takes_its_own_place(made, exported, tmp_path, kind):
    run = descry.open(made)
    for _ in range(2):
        descry.export(run, kind, tmp_path / "out", exemplars=4)
    first, again = (
        {p.relative_to(base).as_posix(): p.read_bytes() for p in base.rglob("*") if p.is_file()}
        for base in (exported / kind, tmp_path / "out")
    )
    assert first == again


@pytest.mark.parametrize("change", ["added", "changed", "removed", "file", "foreign"])
def test_a_folder_that_is_not_ours_as_it_was_is_left_alone(made, tmp_path, change):
    run, out = descry.open(made), tmp_path / "out"
    if change == "file":
        out.write_text("mine")
    elif change == "foreign":
        out.mkdir()
        (out / "manifest.json").write_text('{"files": {}}')
    else:
        descry.export(run, "csv", out, sentences=False)
        if change == "added":
            (out / "notes.txt").write_text("mine")
        elif change == "changed":
            (out / "labels.csv").write_text("mine")
        else:
            (out / "labels.csv").unlink()
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} or out.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        descry.export(run, "csv", out, sentences=False)
    assert before == (
        {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} or out.read_bytes()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_without_sentences_no_word_of_a_review_is_in_any_file_and_no_model_is_loaded(
    made, tmp_path, monkeypatch, kind
):
    run = descry.open(made)
    monkeypatch.setattr("descry.exports.contents.target_of", None)
    descry.export(run, kind, tmp_path / "out", sentences=False)
    texts = run.corpus["text"].to_pylist()
    told = {
        " ".join(words[i : i + 3]) for words in map(str.split, texts) for i in range(len(words) - 2)
    }
    tokens = {"battery", "believed", "receipt", "neighbours"}
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix == ".parquet":
            table = read_table(path, ANY)
            said = json.dumps(table.to_pylist())
        elif path.is_file():
            data = path.read_bytes()
            read = {".gz": gzip.decompress, ".bin": inflated}.get(path.suffix, bytes)
            said = read(data).decode()
            if path.name == "manifest.json":
                said = json.dumps(json.loads(said)["files"])
            if path.name == "README.md":
                continue  # our own words
        else:
            continue
        assert not [part for part in told if part in said] and '"tokens": [' not in said, path
        assert not tokens & set(re.findall(r"\w+", said)), path
    manifest = read_json(tmp_path / "out/manifest.json", "export")
    assert "No text of a review" in manifest["licence"]


# On the command line


def told_line(*arguments):
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    assert result.exception is not None
    lines, status = told(result.exception)
    assert status == 2 and len(lines.splitlines()) == 1
    return lines


def test_the_command_writes_an_export_and_says_what_is_in_it(made, tmp_path):
    arguments = ["export", "csv", str(tmp_path / "out"), "--results", str(made)]
    result = CliRunner().invoke(app, [*arguments, "--neuron", "L0:3", "--exemplars", "2"])
    assert result.exit_code == 0, result.output
    assert "neurons 1" in result.output and "exemplars 2" in result.output
    assert len(rows_of(tmp_path / "out/exemplars.csv")) == 2


def test_bad_input_is_one_line(made, tmp_path):
    out, results = tmp_path / "out", ("--results", made)
    assert "no such kind: parquet" in told_line("parquet", out, *results)
    assert "no such neuron" in told_line("csv", out, *results, "--neuron", "L9:0")
    assert "--model Big Model" in told_line("neuronpedia", out, *results, "--model", "Big Model")
    assert "labels.parquet" in told_line("csv", out, "--results", tmp_path)
    assert not out.exists()


def test_a_run_without_labels_exports_what_is_asked_for_by_name_or_all(tmp_path, made):
    results = copy_of(made, tmp_path / "none")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(results.parent)
        planted.run_label(rule="composition", threshold=0.99)
    run = descry.open(results)
    with pytest.raises(InputError, match="--all"):
        descry.export(run, "csv", tmp_path / "out", sentences=False)
    counts = descry.export(run, "csv", tmp_path / "out", every=True, sentences=False)
    assert counts["neurons"] == len(run.neurons) and counts["labels"] == 0
    assert HOSTILE and HOSTILE_REVIEW in run.corpus["text"].to_pylist()
