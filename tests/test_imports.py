"""What importing the package costs, and what of it a stage depends on.

That imports run one way is a contract of import-linter: pyproject.toml, `make check`.
"""

import ast
import json
import subprocess
import sys

import pytest

from descry.workflow.code import Code
from descry.workflow.package import CHECKOUT
from descry.workflow.source_imports import SourceImports

PACKAGES = sorted(CHECKOUT.rglob("*/__init__.py"))


@pytest.mark.parametrize("init", PACKAGES, ids=lambda path: path.parent.name)
def test_a_package_passes_nothing_on(init):
    """Else each stage that imports one module of a room would depend on all of the room."""
    first, *rest = ast.parse(init.read_text()).body
    assert isinstance(first, ast.Expr)  # the docstring
    assert all(isinstance(node, ast.Assign | ast.ImportFrom) for node in rest)
    assert not [node for node in rest if "descry" in ast.unparse(node)]


def test_figures_do_not_depend_on_the_page_of_the_explorer():
    code = Code(CHECKOUT)
    figures, report = (code.imported(CHECKOUT / f"stages/{n}.py") for n in ("figures", "report"))
    assert not [path for path in figures if path.suffix != ".py"]
    assert [path for path in report if path.suffix == ".js"]


def test_the_command_line_starts_without_the_heavy_libraries():
    heavy = {"torch", "transformers", "pyarrow", "sklearn", "scipy", "snakemake", "openai"}
    code = f"import sys, descry.cli.app; print({heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_imports_are_remembered_by_contents_and_a_spoilt_memory_is_no_matter(tmp_path):
    kept, file = tmp_path / "imports.json", tmp_path / "one.py"
    file.write_text(
        "import a.b\nif TYPE_CHECKING:\n    import t\nelse:\n    import e\n"
        "def f():\n    try:\n        from c import d\n    except ImportError:\n        import x\n"
    )
    names = ["a.b", "e", "c", "c.d", "x"]
    first = SourceImports(kept)
    assert sorted(first.of(file)) == sorted(names)
    first.keep()
    before = kept.read_bytes()
    again = SourceImports(kept)
    assert sorted(again.of(file)) == sorted(names)
    again.keep()
    assert kept.read_bytes() == before  # nothing was new
    file.write_text("import other\n")
    assert again.of(file) == ["other"]
    kept.write_text("{")
    assert SourceImports(kept).of(file) == ["other"]
    SourceImports(tmp_path / "nowhere/imports.json").keep()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "text",
    ["[]", "null", '"a"', '{"FILE": 1}', '{"FILE": ["k"]}', '{"FILE": ["k", [1]]}', "[" * 9999],
)
def test_a_memory_of_imports_in_another_form_is_no_matter(tmp_path, text):
    kept, file = tmp_path / "imports.json", tmp_path / "one.py"
    file.write_text("import other\n")
    kept.write_text(text.replace("FILE", str(file)))
    imports = SourceImports(kept)
    assert imports.of(file) == ["other"]
    imports.keep()
    assert list(json.loads(kept.read_text())) == [str(file)]


def test_the_memory_of_imports_does_not_grow_with_edits(tmp_path):
    kept, file, gone = (tmp_path / name for name in ("imports.json", "one.py", "gone.py"))
    gone.write_text("import gone\n")
    for number in range(3):
        file.write_text(f"import other{number}\n")
        imports = SourceImports(kept)
        assert imports.of(file) == [f"other{number}"]
        if gone.is_file():
            assert imports.of(gone) == ["gone"]
        imports.keep()
        gone.unlink(missing_ok=True)
    assert [names for _, names in json.loads(kept.read_text()).values()] == [["other2"]]
