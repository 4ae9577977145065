"""A run as an RO-Crate: what is in it, what must not be, and what a validator says of it."""

import html
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote

import h5py
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from miniature import STAGES as MINIATURE
from planted import (
    ACTIVATIONS,
    ANNOTATIONS,
    ANNOTATOR,
    CANDIDATES,
    CORPUS,
    CURVES,
    DESCRIPTORS,
    EXEMPLARS,
    GOLD,
    HOSTILE_REVIEW,
    LABELS,
    METRICS,
    NEURONS,
    REVIEWS,
    build,
)

from descry.errors import InputError
from descry.io.dvc_files import md5
from descry.io.hashing import canonical, sha256_file
from descry.provenance.rocrate.export import export_crate
from descry.provenance.rocrate.redact import Private, private_of
from descry.reporting.explorer.packs import Pack, script

slow = pytest.mark.slow

# The terms of RO-Crate 1.1's context that crates use: any other is a fault to the validator.
_SCHEMA_ORG = """
    about actionStatus additionalProperty additionalType agent contentSize datePublished description
    encodingFormat exampleOfWork hasPart identifier instrument isBasedOn license mainEntity mentions
    name object position programmingLanguage result softwareRequirements softwareVersion step url
    value valueRequired version workExample ComputerLanguage ControlAction CreateAction CreativeWork
    Dataset HowTo HowToStep OrganizeAction Person PropertyValue SoftwareApplication
    SoftwareSourceCode
"""
CONTEXT = {name: f"http://schema.org/{name}" for name in _SCHEMA_ORG.split()} | {
    "File": "http://schema.org/MediaObject",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
}
# A process of its own: the validator's libraries warn of each other, and it patches rdflib.
VALIDATE = """
import io, json, socket, sys
from pathlib import Path
import requests
from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.services import validate
from rocrate_validator.utils.http import HttpRequester

def refuse(*_, **__):
    raise AssertionError("the network was asked for")

socket.getaddrinfo = socket.socket.connect = refuse
crate, profile, severity, context, home = sys.argv[1:]

class Shelf(requests.adapters.BaseAdapter):
    def send(self, request, **_):
        assert request.url == "https://w3id.org/ro/crate/1.1/context", request.url
        response = requests.Response()
        response.status_code, response.url, response.raw = 200, request.url, io.BytesIO(
            context.encode()
        )
        response.headers["Content-Type"] = "application/ld+json"
        return response

    def close(self):
        pass

settings = ValidationSettings(
    rocrate_uri=crate, profile_identifier=profile, requirement_severity=Severity[severity],
    offline=True, cache_path=Path(home, "cache"),
)
session = HttpRequester().session = requests.Session()
session.mount("https://", Shelf())
session.mount("http://", Shelf())
print(json.dumps([issue.message for issue in validate(settings).get_issues()]))
"""
# What the profiles recommend, and a run does not know.
UNKNOWN = {
    "The Application SHOULD have a url",
    "The SoftwareApplication SHOULD have a version or softwareVersion",  # the report's
    "The SoftwareApplication id SHOULD be an absolute URI",
    "The Action SHOULD have an endTime in ISO 8601 format",
    "The Action SHOULD have an agent that is a Person or Organization",  # a model is neither
    "The Root Data Entity SHOULD have a link to a Contextual Entity representing the `author` of"
    " the RO-Crate",
    "The `publisher` property of a `Root Data Entity` SHOULD be an `Organization`",
}

METADATA = "ro-crate-metadata.json"
PASSWORD, KEY, QUERY = "user:hunter2", "sk-planted-0123456789", "token=tr0ub4dor"
CODE = Path("src/descry/stages/label.py")
OUTSIDE = Path("elsewhere")  # beside the project: reviews and a model
SITE = Path("results/report")
IGNORED = {"results/report/data/commit.js", "results/report/.snakemake_timestamp"}
# A stage: what it reads, what it makes.
STAGES = {
    "corpus": ([OUTSIDE], [CORPUS]),
    "describe": ([CORPUS], [CANDIDATES]),
    "cluster": ([CANDIDATES], [DESCRIPTORS]),
    "activations": ([CORPUS], [ACTIVATIONS]),
    "exemplars": ([CORPUS, ACTIVATIONS], [EXEMPLARS]),
    "annotate": ([CORPUS, DESCRIPTORS], [ANNOTATIONS]),
    "label": ([CORPUS, EXEMPLARS, ANNOTATIONS, CODE], [LABELS, NEURONS]),
    "evaluate": ([LABELS, ANNOTATIONS, GOLD], [METRICS, CURVES]),
    "report": ([LABELS, METRICS, CORPUS], [SITE]),
}
REVIEWS_FOLDER = "#inputs/corpus.reviews/elsewhere/"
LEFT_OUT = {
    "inputs/corpus.reviews/elsewhere/my reviews.jsonl",
    *map(str, [CORPUS, ACTIVATIONS, SITE]),
}


def params(base):
    """Params in which places and passwords of a machine stand."""
    server = f"https://{PASSWORD}@models.example/v1?{QUERY}"
    annotator = {"kind": "openai", "base_url": server, "api_key_env": "PLANTED_KEY", "price": None}
    target = {"model": f"{base}/models/bert", "revision": "a" * 64}
    return {name: {} for name in STAGES} | {
        "corpus": {"reviews": f"{base}/{OUTSIDE}/", "text_fields": ["reviewText"], "seed": 0},
        "activations": {"target": target, "layers": None},
        "annotate": {"annotator": annotator, "min_mass": 0.1},
        "label": {"threshold": 0.35, "rule": "composition"},
        "evaluate": {"gold": GOLD.as_posix()},
        "report": {"title": "A <b>miniature</b>"},
    }


def write_lock(root):
    """Record the present files as dvc.lock of the present params."""
    known = yaml.safe_load((root / "params.yaml").read_text())

    def entry(path):
        place = root.parent / path if path == OUTSIDE else root / path
        shown = place if path == OUTSIDE else path
        return {"path": str(shown), "hash": "md5", "md5": md5(place, root)}

    stages = {
        name: {
            "cmd": f"snakemake --cores all {name}",
            "deps": [entry(path) for path in (Path("Snakefile"), *reads)],
            "params": {"params.yaml": {name: known[name]}},
            "outs": [entry(path) for path in makes],
        }
        for name, (reads, makes) in STAGES.items()
    }
    text = yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False)
    (root / "dvc.lock").write_text(text)


def write_site(root):
    """A page over two packs, beside what DVC ignores in its folder."""
    shutil.rmtree(root / SITE, ignore_errors=True)
    (root / SITE / "data").mkdir(parents=True)
    (root / SITE / "index.html").write_text("<script src=app.js></script>\n")
    (root / SITE / "app.js").write_text("descry = {take: () => {}}\n")
    for pack in (Pack("run", {"title": "A"}), Pack("sentences-0", [{"text": HOSTILE_REVIEW}])):
        (root / SITE / f"data/{pack.name}.js").write_text(script(pack))
    (root / ".dvcignore").write_text("\n".join(sorted(IGNORED)))
    for path in IGNORED:
        (root / path).write_text(str(root))


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A folder with the planted run, whose reviews lie outside of the project."""
    base = tmp_path_factory.mktemp("planted")
    (base / "project").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base / "project")
        build()
    root = base / "project"
    write_site(root)
    (base / OUTSIDE).mkdir()
    (root / REVIEWS).rename(base / OUTSIDE / "my reviews.jsonl")
    (root / "Snakefile").write_text("rule all:\n")
    (root / CODE).parent.mkdir(parents=True)
    (root / CODE).write_text('"""Stage label."""\n')
    (root / "LICENSE").write_text("\nMIT License\n")
    (root / "data/answers").mkdir(parents=True)
    (root / "data/answers/p2--toy.jsonl").write_text('{"key":"0"}\n')
    described = {name: {"desc": f"What {name} does."} for name in STAGES}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": described}, sort_keys=False))
    return base


def copied(planted, base):
    shutil.copytree(planted, base, dirs_exist_ok=True)
    (base / "project/params.yaml").write_text(yaml.safe_dump(params(base)))
    write_lock(base / "project")
    os.utime(base / "project/dvc.lock", (1e9, 1e9))
    return base / "project"


@pytest.fixture
def project(planted, tmp_path, monkeypatch):
    """A copy of it, for a test to change."""
    monkeypatch.setenv("PLANTED_KEY", KEY)
    return copied(planted, tmp_path)


@pytest.fixture(scope="module")
def crate(planted, tmp_path_factory):
    """A crate of it, outside of git; beside it the project and the counts of the export."""
    base = tmp_path_factory.mktemp("exported")
    counts = export(copied(planted, base), base / "crate")
    (base / "counts.json").write_text(json.dumps(counts))
    return base / "crate"


@pytest.fixture(scope="module")
def entities(crate):
    return graph(crate)


def export(root, output, reviews=False, activations=False):
    return export_crate(root, output, reviews=reviews, activations=activations)


def graph(crate):
    """The entities of a crate, by id."""
    entities = json.loads((crate / METADATA).read_text())["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities)
    return {entity["@id"]: entity for entity in entities}


def ids(value):
    """What a property points to."""
    return [item["@id"] for item in (value if isinstance(value, list) else [value])]


def of_type(entities, kind):
    return {i: e for i, e in entities.items() if kind in e["@type"]}


def files_of(crate):
    return {p.relative_to(crate).as_posix() for p in crate.rglob("*") if p.is_file()}


def way_back(entities, start):
    """All that a file came of, by the stages' actions."""
    made_by = {
        result: action
        for action in of_type(entities, "CreateAction").values()
        if action["@id"] != "#run"
        for result in ids(action["result"])
    }
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if action := made_by.get(name):
            waiting += [action["@id"], *ids(action["object"]), *ids(action["instrument"])]
            waiting += ids(action.get("agent", []))
        waiting += ids(entities[name].get("hasPart", []))
    return found


# What it says


def test_the_way_from_the_labels_leads_to_reviews_params_code_annotator_and_model(entities):
    back = way_back(entities, "results/labels.parquet")
    assert {"#run/label", "#run/annotate", "#run/exemplars", "#run/corpus"} <= back
    assert {"results/exemplars.h5", "results/annotations.h5"} <= back
    assert "#inputs/corpus.reviews/elsewhere/my%20reviews.jsonl" in back
    assert {"#value/label.threshold", "#value/corpus.seed", CODE.as_posix()} <= back
    assert {"#model/toy/bert", "#tool/label"} <= back
    assert {entities[i]["name"] for i in back if i.startswith("#annotator/")} == {ANNOTATOR.name}
    assert way_back(entities, "results/neurons.json") - {"results/neurons.json"} < back
    assert "gold.jsonl" not in back and "gold.jsonl" in way_back(entities, "results/metrics.json")


def test_every_link_leads_somewhere(entities):
    values = [value for entity in entities.values() for value in entity.values()]
    items = [item for value in values for item in (value if isinstance(value, list) else [value])]
    links = {item["@id"] for item in items if isinstance(item, dict)} - entities.keys()
    assert all(link.startswith("https://") for link in links)


def test_every_file_is_described_by_its_hash_size_and_format(crate, entities):
    files = of_type(entities, "File")
    here = {unquote(i): entity for i, entity in files.items() if not i.startswith("#")}
    assert here.keys() | {METADATA} == files_of(crate)
    for path, entity in here.items():
        assert entity["sha256"] == sha256_file(crate / path)
        assert entity["contentSize"] == str((crate / path).stat().st_size)
        assert "/" in entity["encodingFormat"]
    counts = {"files": len(here), "left out": len(LEFT_OUT), "entities": len(entities)}
    assert json.loads((crate.parent / "counts.json").read_text()) == counts


def test_the_run_reads_the_inputs_and_makes_all_that_its_stages_make(entities):
    made = {out for _, makes in STAGES.values() for out in map(str, makes)}
    whole = entities["#run"]
    assert {i.strip("#/") for i in ids(whole["result"])} == made
    inputs = {i for i in ids(whole["object"]) if not i.startswith("#value/")}
    assert inputs == {REVIEWS_FOLDER, "gold.jsonl"}
    assert ids(whole["instrument"]) == ids(entities["./"]["mainEntity"]) == ["Snakefile"]
    assert ids(entities["#engine"]["result"]) == ["#run"]
    assert entities["./"]["datePublished"] == "2001-09-09"  # of dvc.lock


def test_params_keep_their_types_and_their_names(entities):
    values = {
        "label.threshold": (0.35, "Float"),
        "corpus.seed": (0, "Integer"),
        "label.rule": ("composition", "Text"),
        "corpus.text_fields": ('["reviewText"]', "Text"),
        "activations.layers": ("null", "Text"),
        "annotate.annotator.api_key_env": ("PLANTED_KEY", "Text"),
    }
    for key, (value, kind) in values.items():
        assert entities[f"#value/{key}"]["value"] == value
        assert entities[f"#param/{key}"]["additionalType"] == kind
        assert entities[f"#param/{key}"]["name"] == key
    # One that names an input is that file.
    assert ids(entities["#param/evaluate.gold"]["workExample"]) == ["gold.jsonl"]
    assert ids(entities["#param/corpus.reviews"]["workExample"]) == [REVIEWS_FOLDER]
    assert not {"#value/evaluate.gold", "#value/corpus.reviews"} & entities.keys()


def test_a_stages_program_names_the_packages_that_its_results_record(crate, entities):
    with h5py.File(crate / ANNOTATIONS) as file:
        recorded = json.loads(file.attrs["descry"])["versions"]
    packages = [entities[i] for i in ids(entities["#tool/annotate"]["softwareRequirements"])]
    assert {p["name"]: p["softwareVersion"] for p in packages} == recorded
    assert entities["#tool/annotate"]["softwareVersion"] == recorded["descry"]
    assert "softwareVersion" not in entities["#tool/report"]  # an HTML page does not say


def test_an_annotator_and_a_target_model_are_known_by_revision_and_weights(entities):
    (agent,) = ids(entities["#run/annotate"]["agent"])
    properties = [entities[i] for i in ids(entities[agent]["additionalProperty"])]
    known = ANNOTATOR.as_json()
    assert entities[agent]["name"] == known.pop("name")
    assert {p["name"]: p["value"] for p in properties} == known
    assert entities[agent]["@type"] == "SoftwareApplication"
    assert "#model/toy/bert" in ids(entities["#run/activations"]["object"])
    assert entities["#model/toy/bert"]["version"] == "abc123"
    assert entities["#model/toy/bert/weights"]["value"] == "0" * 64


def test_an_annotator_who_is_a_person_is_one_and_without_a_licence_none_is_claimed(
    project, tmp_path
):
    who = ANNOTATOR.as_json() | {"name": "ann, round-1 (human)", "model": "human/ann"}
    with h5py.File(project / ANNOTATIONS, "r+") as file:
        file.attrs["annotator"] = canonical(who)
    write_lock(project)
    (project / "LICENSE").unlink()
    export(project, tmp_path / "crate")
    entities = graph(tmp_path / "crate")
    (person,) = of_type(entities, "Person").values()
    assert person["name"] == "ann, round-1 (human)"
    assert ids(entities["./"]["license"]) == ["#licence-of-the-data"]


def test_the_licence_is_that_of_the_code_and_unknown_for_what_quotes_reviews(entities):
    code, data = ids(entities["./"]["license"])
    assert entities[code]["name"] == "MIT License"
    assert "not known" in entities[data]["name"]
    assert ids(entities["#results/corpus.parquet"]["license"]) == [data]
    assert "license" not in entities["results/labels.parquet"]
    assert "example sentence" in entities["data/answers/p2--toy.jsonl"]["description"]


def git(root, *arguments):
    who = {"GIT_COMMITTER_DATE": "2024-05-06T07:08:09+02:00"}
    subprocess.run(["git", "-C", root, *arguments], check=True, env={**os.environ, **who})


def test_in_git_it_has_the_commit_its_date_and_what_has_changed_since(project, tmp_path):
    git(project, "init", "-q")
    git(project, "add", "Snakefile", "LICENSE")
    git(project, "commit", "-qm", "a run", "--author", "Ada Lovelace <ada@example.org>")
    sha = subprocess.check_output(["git", "-C", project, "rev-parse", "HEAD"], text=True).strip()
    export(project, tmp_path / "clean")
    entities = graph(tmp_path / "clean")
    assert entities["./"]["datePublished"] == "2024-05-06T05:08:09+00:00"
    assert entities["Snakefile"]["version"] == sha == entities["#git/commit"]["value"]
    assert entities["#git/tree"]["value"] == "clean"
    assert "Lovelace" not in (tmp_path / "clean" / METADATA).read_text()
    (project / "LICENSE").write_text("Another\n")
    export(project, tmp_path / "changed")
    assert graph(tmp_path / "changed")["#git/tree"]["value"] == "changed: LICENSE"
    (project / ".git/index").write_bytes(b"spoilt")
    export(project, tmp_path / "unknown")
    entities = graph(tmp_path / "unknown")
    assert entities["#git/commit"]["value"] == sha
    assert entities["#git/tree"]["value"].startswith("not known (git: ")


# What is left out


def test_reviews_and_activations_are_described_but_left_out(crate, entities):
    project, readme = crate.parent / "project", (crate / "README.md").read_text()
    for path in LEFT_OUT - {str(SITE)}:
        assert not (crate / path).exists()
        entity = next(e for i, e in entities.items() if unquote(i) == f"#{path}")
        place = project / path
        place = place if place.exists() else crate.parent / OUTSIDE / place.name
        assert entity["sha256"] == sha256_file(place)
        assert entity["contentSize"] == str(place.stat().st_size)
        assert md5(place, project) in entity["description"]
    assert "dvc pull" in entities["#results/activations.h5"]["description"]
    assert "my reviews" not in readme  # its folder is enough
    assert "`inputs/corpus.reviews/elsewhere/` (1 files)" in readme
    for path in files_of(crate):
        assert HOSTILE_REVIEW[-60:].encode() not in (crate / path).read_bytes()


def test_a_page_that_is_left_out_is_described_as_a_whole(crate, entities):
    (entity,) = (e for i, e in entities.items() if "results/report" in i and "#param" not in i)
    assert (entity["@id"], entity["@type"]) == ("#results/report/", "Dataset")
    assert "hasPart" not in entity
    project = crate.parent / "project"
    assert md5(project / SITE, project) in entity["description"]
    assert entity["description"].endswith("It has 4 files.")
    assert ids(entity["license"]) == ["#licence-of-the-data"]
    assert ids(entities["#run/report"]["result"]) == ["#results/report/"]
    assert "- `results/report/` (4 files): it holds texts" in (crate / "README.md").read_text()


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"reviews": True}, {"results/activations.h5"}),
        ({"activations": True}, LEFT_OUT - {"results/activations.h5"}),
    ],
)
def test_reviews_and_activations_come_when_they_are_wanted(project, tmp_path, wanted, left):
    crate = tmp_path / "crate"
    counts = export(project, crate, **wanted)
    assert counts["left out"] == len(left)
    assert {path for path in LEFT_OUT if not (crate / path).exists()} == left


def test_what_is_wanted_comes_without_places_passwords_and_what_dvc_ignores(project, tmp_path):
    crate = tmp_path / "crate"
    assert export(project, crate, reviews=True, activations=True)["left out"] == 0
    entities, files = graph(crate), files_of(crate)
    parts = {f"{SITE}/{n}" for n in ("index.html", "app.js", "data/run.js", "data/sentences-0.js")}
    assert set(ids(entities["results/report/"]["hasPart"])) == parts
    assert {path for path in files if path.startswith(f"{SITE}/")} == parts
    assert entities[f"{SITE}/app.js"]["encodingFormat"] == "text/javascript"
    private = [str(tmp_path), "hunter2", KEY, "tr0ub4dor", str(Path.home())]
    for path in files:
        content = (crate / path).read_bytes()
        assert [text for text in private if text.encode() in content] == [], path
    assert not any(str(tmp_path).strip("/") in name for name in files)
    # Params and dvc.lock are written anew, and agree with the crate.
    anew = yaml.safe_load((crate / "params.yaml").read_text())
    expected = params("")
    expected["corpus"]["reviews"] = "inputs/corpus.reviews/elsewhere/"
    expected["activations"]["target"]["model"] = "bert"
    expected["annotate"]["annotator"]["base_url"] = "https://models.example/v1"
    assert anew == expected
    lock = yaml.safe_load((crate / "dvc.lock").read_text())["stages"]
    found = {dep["path"]: dep["md5"] for dep in [*lock["corpus"]["deps"], *lock["report"]["outs"]]}
    reviews = "inputs/corpus.reviews/elsewhere"
    assert (found[reviews], found[str(SITE)]) == (
        md5(crate / reviews, crate),
        md5(crate / SITE, crate),
    )
    assert lock["annotate"]["params"]["params.yaml"]["annotate"] == expected["annotate"]


def test_a_result_or_a_pack_that_names_a_place_or_a_password_is_left_out(project, tmp_path):
    told = Pack("run", {"made": {"annotate": {"base_url": f"https://{PASSWORD}@models.example"}}})
    (project / SITE / "data/run.js").write_text(script(told))
    with (project / CURVES).open("a") as file:
        file.write(f"made in {tmp_path}/project\n")
    write_lock(project)
    assert export(project, tmp_path / "crate", reviews=True, activations=True)["left out"] == 2
    entities = graph(tmp_path / "crate")
    assert "password" in entities["#results/report/data/run.js"]["description"]
    assert len(entities["#results/report/"]["hasPart"]) == 4
    assert (tmp_path / "crate" / SITE / "index.html").is_file()
    assert "a place on the machine" in entities["#results/curves.csv"]["description"]
    assert not (tmp_path / "crate" / CURVES).exists()


@pytest.mark.parametrize("told", [PASSWORD + "@models.example", KEY, "{base}/project/x"])
def test_code_that_names_a_place_or_a_password_is_refused_without_printing_it(
    project, tmp_path, told
):
    (project / CODE).write_text(f'WHERE = "{told.format(base=tmp_path)}"\n')
    write_lock(project)
    with pytest.raises(InputError, match="take it out") as error:
        export(project, tmp_path / "crate")
    assert "hunter2" not in str(error.value) and KEY not in str(error.value)
    assert not (tmp_path / "crate").exists()


def test_a_stage_that_is_no_more_and_a_section_of_none_do_not_tell(project, tmp_path):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    lock["stages"]["former"] = {"cmd": "cat /etc/passwd", "outs": [{"path": "/x", "md5": "0"}]}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    known = params(tmp_path) | {"mine": {"base_url": f"https://h/?{QUERY}", "at": f"{tmp_path}/x"}}
    (project / "params.yaml").write_text(yaml.safe_dump(known))
    export(project, tmp_path / "crate")
    assert "former" not in (tmp_path / "crate/dvc.lock").read_text()
    anew = yaml.safe_load((tmp_path / "crate/params.yaml").read_text())
    assert anew["mine"] == {"base_url": "https://h/", "at": "x"}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/data", "D"),
        ("/data/x.json", "D/x.json"),
        ("in '/data', not here", "in 'D', not here"),
        ("x/data", "x/data"),
        ("/database", "/database"),
        ("/data.old", "/data.old"),
        ("/data.", "D."),
        ("/data-2", "/data-2"),
        ("/data/more/x", "M/x"),
        ("https://me:pass@host/x", "https://host/x"),
        ("mail me@host", "mail me@host"),
        ("say word", "say "),
    ],
)
def test_a_place_is_replaced_where_it_stands_by_itself(text, cleaned):
    private = Private({"/data": "D", "/data/more": "M"}, ["word"])
    assert private.clean(text) == cleaned
    assert private.clean({text: [text, 1, None]}) == {cleaned: [cleaned, 1, None]}


@given(st.text(), st.text(), st.sampled_from(["/a b/ä", "p&ss\"w'<rd"]))
def test_what_is_private_is_found_in_any_text_as_json_or_xml_too(
    tmp_path_factory, before, behind, told
):
    private = Private({"/a b/ä": "x"}, ["p&ss\"w'<rd"])
    assert told not in private.clean(f"{before}\n{told}\n{behind}")
    path = tmp_path_factory.getbasetemp() / "told"
    for text in (told, json.dumps(told), json.dumps(told, ensure_ascii=False), html.escape(told)):
        path.write_bytes(f"{before}\n{text}\n{behind}".encode("utf-8", "replace"))
        assert private.is_in(path)


def test_nothing_is_private_of_an_empty_file_or_without_anything_private(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "file").write_text("/data")
    assert not Private({"/data": "D"}, []).is_in(tmp_path / "empty")
    assert not Private({}, []).is_in(tmp_path / "file")
    assert Private({}, []).clean("/data") == "/data"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/corpora/amazon", "inputs/corpus.reviews/amazon"),
        ("/corpora/amazon/", "inputs/corpus.reviews/amazon"),
        ("../amazon", "inputs/corpus.reviews/amazon"),
        ("{root}/data/amazon", "data/amazon"),
        ("data/amazon", "data/amazon"),
    ],
)
def test_an_input_outside_of_the_project_is_called_by_its_last_part(tmp_path, path, shown):
    path = path.format(root=tmp_path)
    private = private_of(tmp_path, {"corpus": {"reviews": path}}, {path.rstrip("/")})
    assert private.clean(path.rstrip("/")) == shown


@pytest.mark.parametrize(
    ("address", "cleaned"),
    [
        ("https://me:pass@host:8000/v1", "https://host:8000/v1"),
        ("https://a@host/v1?k=1#x", "https://host/v1"),
        ("https://host/v1/?k=1", "https://host/v1/"),
        ("https://host/v1/", "https://host/v1/"),
    ],
)
def test_an_address_keeps_neither_password_nor_query(tmp_path, address, cleaned):
    known = {"judge": {"annotator": {"base_url": address, "model": "k=1"}}}
    private = private_of(tmp_path, known, [])
    assert private.clean(known) == {"judge": {"annotator": {"base_url": cleaned, "model": "k=1"}}}
    assert private.clean(f"asked {address} today") == f"asked {cleaned} today"
    (tmp_path / "answers").write_text(json.dumps({"server": {"base_url": address}}))
    assert private.is_in(tmp_path / "answers") == (address != cleaned)


def test_a_home_that_is_the_whole_disk_is_no_place(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/")
    private = private_of(tmp_path, {}, [])
    assert private.clean("yes / no") == "yes / no"
    assert private.clean(f"{tmp_path}/results") == "./results"


def test_a_key_too_short_to_tell_from_a_word_is_not_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_KEY", "good")
    private = private_of(tmp_path, {"score": {"annotator": {"api_key_env": "PLANTED_KEY"}}}, [])
    assert private.clean("good, and PLANTED_KEY") == "good, and PLANTED_KEY"


# Its bytes, and where they go


def test_the_same_run_gives_the_same_bytes_and_a_zip_holds_what_a_folder_holds(project, tmp_path):
    for name in ("first", "second"):
        export(project, tmp_path / name)
        export(project, tmp_path / f"{name}.zip")
    folders = [
        {path: sha256_file(tmp_path / name / path) for path in files_of(tmp_path / name)}
        for name in ("first", "second")
    ]
    assert folders[0] == folders[1]
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        archive.extractall(tmp_path / "packed")
    packed = tmp_path / "packed"
    assert {path: sha256_file(packed / path) for path in files_of(packed)} == folders[0]


def test_without_the_package_that_writes_crates_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "descry.provenance.rocrate.entities", None)
    with pytest.raises(InputError, match=r"rocrate is not installed: .*descry\[crate\]"):
        export_crate(tmp_path, tmp_path / "crate", reviews=False, activations=False)


def test_an_empty_folder_is_filled_and_any_other_refused(project, tmp_path):
    (tmp_path / "empty").mkdir()
    export(project, tmp_path / "empty")
    assert (tmp_path / "empty" / METADATA).is_file()
    (tmp_path / "file.zip").touch()
    before = files_of(tmp_path)
    for name in ("empty", "file.zip"):
        with pytest.raises(InputError, match=rf"{name}: exists already: name another"):
            export(project, tmp_path / name)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["crate", "crate.zip"])
def test_a_crate_that_fails_on_the_way_leaves_nothing(project, tmp_path, monkeypatch, name):
    copied = shutil.copy

    def failing(source, target):
        if Path(source).name == "neurons.json":
            raise KeyboardInterrupt
        return copied(source, target)

    before = files_of(tmp_path)
    monkeypatch.setattr(shutil, "copy", failing)
    with pytest.raises(KeyboardInterrupt):
        export(project, tmp_path / name)
    assert files_of(tmp_path) == before and not (tmp_path / name).exists()


def test_names_with_spaces_and_signs_are_quoted(project, tmp_path):
    name = "50% of #1 – ä.jsonl"
    (tmp_path / OUTSIDE / "my reviews.jsonl").rename(tmp_path / OUTSIDE / name)
    write_lock(project)
    export(project, tmp_path / "crate", reviews=True)
    path = f"inputs/corpus.reviews/elsewhere/{name}"
    assert (tmp_path / "crate" / path).is_file()
    entity = "inputs/corpus.reviews/elsewhere/50%25%20of%20%231%20%E2%80%93%20%C3%A4.jsonl"
    assert graph(tmp_path / "crate")[entity]["name"] == path


# What is no run


def remove(path):
    return lambda root: (root / path).unlink()


def change(path):
    return lambda root: (root / path).write_bytes((root / path).read_bytes() + b"\n")


def forget(root):
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    del lock["stages"]["label"]
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))


def set_threshold(root):
    known = yaml.safe_load((root / "params.yaml").read_text())
    known["label"]["threshold"] = 0.5
    (root / "params.yaml").write_text(yaml.safe_dump(known))


def empty(path):
    return lambda root: (root / path).write_bytes(b"")


def empty_params(root):
    (root / "params.yaml").write_text("")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("dvc.lock"), "dvc.lock: no such file: run `snakemake --cores all && dvc repro`"),
        (forget, "dvc.lock: no stage label: run `snakemake --cores all && dvc repro`"),
        (remove(NEURONS), "neurons.json: not here: run `dvc pull`, or run `snakemake --cores all"),
        (remove(ACTIVATIONS), "activations.h5: not here: run `dvc pull`"),
        (remove(SITE / "app.js"), "results/report: not as dvc.lock records it: run `snakemake"),
        (change(SITE / "data/run.js"), "results/report: not as dvc.lock records it"),
        (remove(ANNOTATIONS), "annotations.h5: not here: run `dvc pull`"),
        (remove("Snakefile"), "Snakefile: not here"),
        (empty(ANNOTATIONS), "annotations.h5: not as dvc.lock records it: run `snakemake"),
        (change(NEURONS), "neurons.json: not as dvc.lock records it: run `snakemake"),
        (change("Snakefile"), "Snakefile: not as dvc.lock records it: run `snakemake"),
        (change(CODE), "label.py: not as dvc.lock records it: run `snakemake"),
        (change(f"../{OUTSIDE}/my reviews.jsonl"), "elsewhere: not as dvc.lock records it"),
        (set_threshold, "params.yaml: label has changed since stage label: run `snakemake"),
        (empty_params, "params.yaml: corpus has changed since stage corpus"),
        (remove("params.yaml"), "params.yaml: no such file"),
        (remove("dvc.yaml"), "dvc.yaml: no such file"),
    ],
)
def test_what_is_no_whole_run_is_refused_in_one_line(project, tmp_path, damage, message):
    damage(project)
    with pytest.raises(InputError) as error:
        export(project, tmp_path / "crate")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "crate").exists()


# What a validator says of it


def faults(crate, home, profile="provenance-run-crate", severity="REQUIRED"):
    """The messages of the validator, which is kept from the network."""
    context = json.dumps({"@context": CONTEXT})
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", VALIDATE, crate, profile, severity, context, home],
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout))


@slow
@pytest.mark.parametrize("everything", [False, True])
def test_a_crate_has_all_that_its_profiles_require_and_recommend_and_is_known(
    project, tmp_path, everything
):
    # Provenance Run Crate has the rules of Workflow and Process Run Crate and of RO-Crate 1.1.
    git(project, "init", "-q")
    git(project, "commit", "-qm", "a run", "--allow-empty")
    crate = tmp_path / ("crate" if everything else "crate.zip")
    export(project, crate, reviews=everything, activations=everything)
    assert faults(crate, tmp_path, severity="RECOMMENDED") <= UNKNOWN


def without_type(entities):
    entities["Snakefile"]["@type"].remove("ComputationalWorkflow")


def without_instrument(entities):
    del entities["#run/label"]["instrument"]


def without_parts(entities):
    entities["./"]["hasPart"].remove({"@id": "results/labels.parquet"})


def with_unknown_term(entities):
    entities["results/labels.parquet"]["sha265"] = "0"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_type, "Main Workflow must have types File, SoftwareSourceCode, ComputationalWork"),
        pytest.param(without_instrument, "The Action MUST have an instrument", marks=slow),
        pytest.param(without_parts, "does not conform to shape MinCount 1", marks=slow),
        pytest.param(with_unknown_term, "sha265", marks=slow),
    ],
)
def test_the_validator_sees_a_damaged_description(crate, tmp_path, damage, message):
    shutil.copytree(crate, tmp_path / "crate")
    whole, entities = json.loads((crate / METADATA).read_text()), graph(crate)
    damage(entities)
    damaged = json.dumps(whole | {"@graph": list(entities.values())})
    (tmp_path / "crate" / METADATA).write_text(damaged)
    assert any(message in fault for fault in faults(tmp_path / "crate", tmp_path))


@slow
def test_the_miniature_and_a_clone_of_it_are_one_crate_from_which_every_label_leads_back(
    built, clone, tmp_path
):
    crate = tmp_path / "crate"
    counts = export(built.path, crate)
    export(clone.path, tmp_path / "here")
    assert (crate / METADATA).read_bytes() == (tmp_path / "here" / METADATA).read_bytes()
    assert faults(crate, tmp_path, severity="RECOMMENDED") <= UNKNOWN
    entities = graph(crate)
    assert counts["entities"] == len(entities)
    actions = {f"#run/{stage}" for stage in MINIATURE} | {"#run"}
    assert set(of_type(entities, "CreateAction")) == actions
    back = way_back(entities, "results/labels.parquet")
    assert {"#data/sample/Books.jsonl", "#value/annotate.annotator.model"} <= back
    assert "src/descry/stages/label.py" in back and "src/descry/stages/report.py" not in back
    for path in files_of(crate):
        content = (crate / path).read_bytes()
        outside = str(tmp_path), str(built.path), str(Path.home())
        assert not any(text.encode() in content for text in outside), path
