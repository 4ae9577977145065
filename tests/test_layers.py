"""Imports run one way: a module imports only from lower layers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "descry"
LAYERS = [
    {"errors", "hostile", "bits", "enrichment", "means", "alike", "outline", "yes_share"}
    | {"unwrapping", "previous", "numerals"},
    {"storage", "prompts", "splits", "threads", "sites", "shard", "git", "sets", "composed"}
    | {"topics", "read_only"},
    {"params", "reviews", "cache", "models", "matrix", "distribution", "exemplars", "labels"}
    | {"gold", "tidy", "drawing", "folders", "whole_folders", "dvc_cache", "processes"}
    | {"neighbours", "spill", "columns", "annotations", "answers"},
    {"labellers", "corpus", "clusters", "exports", "targets", "running", "lock", "differences"}
    | {"rules", "evaluation", "agreement", "alignment", "tables", "label_tables"},
    {"rendered", "journals", "asking", "extraction", "results", "scope", "scorers", "trials"}
    | {"nulls", "figures"},
    {"study", "label_scores", "n2g", "chance"},
    {"explorer"},
    {"stages", "audit", "pin", "workflow", "sheet", "startup"},
    {"questions", "sweep"},
    {"forecast", "upkeep"},
    {"verification", "reproduction", "crate"},
    {"show", "guard", "progress", "telling"},
    {"show_graphs"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


def part(path):
    """The layer's member that a file belongs to: a module, or the package around it."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("descry."):
            yield node.module.split(".")[1]
        if isinstance(node, ast.ImportFrom) and node.module == "descry":
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_imports_from_its_own_layer_or_a_higher_one(path):
    for name in imported(path):
        assert name == part(path) or LEVEL[name] < LEVEL[part(path)], f"{path} imports {name}"


NUMERICS = [
    "bits",
    "distribution",
    "exemplars",
    "labels",
    "evaluation",
    "running",
    "scope",
    "scorers",
    "trials",
    "sets",
    "enrichment",
    "composed",
    "means",
    "rules",
    "agreement",
    "alignment",
    "nulls",
    "chance",
    "yes_share",
]


@pytest.mark.parametrize("module", NUMERICS)
def test_numerics_read_no_files_and_load_no_torch(module):
    text = (SOURCE / f"{module}.py").read_text()
    assert not any(word in text for word in ("pathlib", "torch", "h5py", "pyarrow", "params"))


def test_the_command_line_starts_without_the_heavy_libraries():
    heavy = {"torch", "transformers", "pyarrow", "sklearn", "scipy", "snakemake", "openai"}
    code = f"import sys, descry.cli; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
