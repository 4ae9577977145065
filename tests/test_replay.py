"""In replay nobody is asked, and another annotator leaves the answers of the first."""

import pytest
import yaml
from miniature import clone_of

NO_TORCH = "raise ImportError('torch cannot be imported here')\n"
DESCRIBE = "descry stage describe candidates=out/candidates.parquet --replay"
ANNOTATE = "descry stage annotate annotations=out/annotations.h5 --replay"


@pytest.mark.slow
def test_a_missing_answer_ends_a_replay(built, tmp_path):
    clone = clone_of(built, tmp_path / "clone")
    for replay in (
        "snakemake --cores all describe --config replay=true",
        "SNAKEMAKE_PROFILE=profiles/replay snakemake --cores all describe",
    ):
        said = clone.sh(replay, status=1)
        assert "replay: 1 of 1 answers to p1 are not in cache/prompts" in said


@pytest.mark.slow
def test_the_labelling_stages_replay_where_torch_cannot_be_imported(repo):
    (repo.path / "blocked").mkdir()
    (repo.path / "blocked/torch.py").write_text(NO_TORCH)
    blocked = "PYTHONPATH=blocked:src"
    repo.sh(f"{blocked} python -c 'import torch'", status=1)
    for command in (DESCRIBE, ANNOTATE):
        assert "asked 0" in repo.sh(f"{blocked} {command}")
    for name in ("candidates.parquet", "annotations.h5"):
        made = (repo.path / "out" / name).read_bytes()
        assert made == (repo.path / "results" / name).read_bytes()


@pytest.mark.slow
def test_another_annotator_is_asked_anew_and_the_first_ones_answers_stay(repo):
    params = yaml.safe_load((repo.path / "params.yaml").read_text())
    ann = {"kind": "human", "model": "ann", "revision": "round-1"}
    params["annotate"] |= {"annotator": ann, "max_failures": 1.0}
    (repo.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    repo.sh("descry dvc && descry cache export before")
    said = repo.sh("descry forecast")
    assert "at most" not in said and "not known" not in said
    repo.sh("descry annotate-sheet sheet.csv --each 2")
    sheet = repo.path / "sheet.csv"
    sheet.write_text(sheet.read_text(encoding="utf-8-sig").replace(",\n", ",Yes\n"))
    repo.sh("descry annotate-sheet sheet.csv --import ann")
    repo.sh("snakemake --cores all annotate")
    assert "ann, round-1 (human)" in repo.sh("descry cache stats")
    repo.sh("descry cache export after")
    for file in (repo.path / "before").iterdir():
        assert (repo.path / "after" / file.name).read_bytes() == file.read_bytes()
