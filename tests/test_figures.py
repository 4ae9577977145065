"""The figures: from a miniature run, from rows made by hand, and from hostile or undefined ones."""

import hashlib
import math
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from planted import (
    ALIGNMENT,
    CANDIDATES,
    CORPUS,
    CORRELATION,
    CURVES,
    DESCRIPTORS,
    HOSTILE,
    LABELS,
    NULLS,
    PER_DESCRIPTOR,
    TOPICS,
    made_in,
    own_topic,
    read_csv,
    run_evaluate,
    run_label,
    write_gold,
)

from descry.errors import InputError
from descry.io.csv_rows import read_csv as read_rows
from descry.io.parquet import read_table
from descry.labels.rules import Rule
from descry.reporting import figures as draw
from descry.reporting.ordering import alike
from descry.reporting.sensitivity import sensitivity
from descry.reporting.style import LONGEST, save, shown
from descry.stages.figures import Figures, draw_figures
from descry.workflow.dag import PLOTS, _plots

FIGURES = [
    "precision_recall", "jaccard_by_neuron", "jaccard_by_descriptor",
    "correlation", "descriptor_shares", "alignment",
]  # fmt: skip
COMPOSITION, ENRICHMENT = Rule("composition", "occurrences", 0.2), Rule("enrichment", "", 0.01)
NAN = math.nan
NAMES = [
    "$x$", "$\\frac{", "a_b^c", "<script>alert(1)</script>", "]]>&amp;", HOSTILE, "\u202egnidaeh",
    "שלום עולם", "مرحبا", "\N{COMBINING ACUTE ACCENT}" * 9, "好的", "\ud7ff\uffff", "x" * 5000, "",
]  # fmt: skip


def run_figures(folder="made", **changes):
    """The files that were written, by their path in the folder."""
    section = {"dpi": 60, "sentences": 2, "seed": 0} | changes
    draw_figures(
        Figures(**section),
        corpus=CORPUS,
        candidates=CANDIDATES,
        clusters=DESCRIPTORS,
        labels=LABELS,
        curves=CURVES,
        nulls=NULLS,
        alignment=ALIGNMENT,
        descriptors=PER_DESCRIPTOR,
        correlation=CORRELATION,
        **{kind: Path(folder, kind) for kind in ("figures", "tables", "plots")},
    )
    found = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def planted_results(planted_ends, tmp_path_factory):
    """With gold labels, and figures."""

    def make():
        write_gold(own_topic(read_table(CORPUS, "corpus")["id"].to_pylist()))
        run_evaluate()
        run_figures("first")

    return made_in(shutil.copytree(planted_ends, tmp_path_factory.mktemp("figures") / "run"), make)


@pytest.fixture
def made(run):
    """The files of the run as it is."""
    found = (path for path in Path("first").rglob("*") if path.is_file())
    return {path.relative_to("first").as_posix(): path.read_bytes() for path in found}


def texts(svg):
    """All texts of an SVG: it must be XML that needs nothing and runs nothing."""
    root = ET.fromstring(svg)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not names & {"script", "a", "foreignObject", "iframe"}
    links = [value for element in root.iter() for key, value in element.items() if "href" in key]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    return ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]


def written(figure, path):
    """The texts of a figure, as SVG; the PNG is drawn, too."""
    save(figure, path.with_suffix(".png"), {}, 50)
    save(figure, path.with_suffix(".svg"), {}, 50)
    return texts(path.with_suffix(".svg").read_text(encoding="utf-8"))


def curve(against="halves", at=(0.1, 0.2, 0.3), **changes):
    """Rows of curves.csv for every score."""
    numbers = {"value": 0.6, "low": 0.5, "high": 0.7, "null": 0.2, "deviation": 0.3, "defined": 9}
    numbers |= changes
    named = ("precision", "recall", "jaccard", "jaccard_by_descriptor")
    rows = [{"against": against, "score": name, "at": t} | numbers for name in named for t in at]
    at_k = ("precision_at_k", "recall_at_k")
    return rows + [
        {"against": against, "score": name, "at": float(k)} | numbers
        for name in at_k
        for k in (1, 2)
    ]


def chance(rows, **changes):
    """Rows of nulls.csv beside those."""
    numbers = {"mean": 0.2, "low": 0.1, "high": 0.3} | changes
    names = ("random sets", "permuted descriptors", "shuffled neurons", "random weights", "$new$")
    return [
        {key: row[key] for key in ("against", "score", "at")} | {"null": name} | numbers
        for row in rows
        for name in names
    ]


def correlations(names, value=0.5):
    return [
        {"first": a, "second": b, "pearson": 1.0 if a == b else value} for a in names for b in names
    ]


def shares(names, value=0.1):
    columns = dict.fromkeys(("share_all", "share_calibration", "share_validation"), value)
    return [{"descriptor": name, **columns} for name in names]


# of a run


def test_a_run_gives_every_figure_twice_with_the_same_bytes(made):
    assert run_figures("second") == made
    assert {f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png")} <= set(made)


def test_the_bytes_do_not_depend_on_the_process_or_a_matplotlibrc(made, tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 30\naxes.facecolor: red\nsvg.hashsalt: x\n")
    code = "import test_figures; test_figures.run_figures('two')"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parent), "MPLCONFIGDIR": str(tmp_path), "HOME": "/"},
    )
    assert [name for name in made if Path("two", name).read_bytes() != made[name]] == []


def test_a_figure_says_what_made_it_and_not_when(made):
    for name in FIGURES:
        svg = made[f"figures/{name}.svg"].decode()
        assert '"stage":"figures"' in svg
        assert hashlib.sha256(CURVES.read_bytes()).hexdigest() in svg
        assert "dc:date" not in svg
        assert "<text" in svg
        with Image.open(Path("first/figures", f"{name}.png")) as png:
            assert set(png.info) == {"Description", "dpi"}
            assert png.info["dpi"] == pytest.approx((60, 60), abs=0.1)


def test_hostile_descriptors_of_a_run_stand_in_the_figures_as_text(made):
    for name in ("correlation", "descriptor_shares"):
        found = texts(made[f"figures/{name}.svg"].decode())
        assert {shown(topic) for topic in TOPICS} <= set(found)


def test_both_ends_have_panels_of_their_own(made):
    for name in ("jaccard_by_neuron", "jaccard_by_descriptor", "alignment"):
        found = texts(made[f"figures/{name}.svg"].decode())
        assert {"highest activations", "lowest activations"} <= set(found)
    found = " ".join(texts(made["figures/precision_recall.svg"].decode()))
    assert "lowest activations" in found
    assert "against gold labels" in found
    assert "half" not in found


def test_no_font_is_smaller_than_eight_points(made):
    for name, text in made.items():
        if name.endswith("svg"):
            sizes = re.findall(r"font-size: ([\d.]+)px", text.decode())
            assert min(map(float, sizes)) >= 8, name


def test_a_run_without_labels_has_figures(run):
    run_label(threshold=0.999)
    run_evaluate()
    assert len(run_figures()) == 2 * len(FIGURES) + 5 + 3


def test_a_run_by_enrichment_has_figures_over_its_rates(run):
    run_label(rule="enrichment")
    run_evaluate()
    found = texts(run_figures()["figures/jaccard_by_neuron.svg"].decode())
    assert {"false discovery rate", "0.01", "0.05"} <= set(found)


def test_the_plots_hold_the_curves(made):
    rows = read_csv(Path("first/plots/jaccard.csv"))
    own = [
        row for row in read_csv(CURVES) if (row["against"], row["score"]) == ("halves", "jaccard")
    ]
    assert [row["by_neuron"] for row in rows] == [row["value"] for row in own]
    assert [row["by_neuron_null"] for row in rows] == [row["null"] for row in own]
    assert {row["against"] for row in read_csv(Path("first/plots/at_k.csv"))} == {"gold"}
    assert {f"results/{name}" for name in made if "plots" in name} == {p[0] for p in PLOTS.values()}
    for path, columns, *_ in PLOTS.values():
        header = made[path.removeprefix("results/")].decode().splitlines()[0].split(",")
        assert {"at", *columns} <= set(header)


def test_dvc_draws_the_plots_of_two_versions_without_a_network(made):
    outputs = {f"first/{name}" for name in made}
    plots = [
        {
            title: plot
            | {"y": {path.replace("results", "first"): y for path, y in plot["y"].items()}}
            for title, plot in entry.items()
        }
        for entry in _plots({path for path, *_ in PLOTS.values()})
    ]
    plots += _plots({path for path in outputs if path.endswith(".png")})
    Path("dvc.yaml").write_text(yaml.safe_dump({"plots": plots}))
    dvc, git = (
        [sys.executable, "-m", "dvc"],
        ["git", "-c", "user.name=t", "-c", "user.email=t@e.org"],
    )
    for command in (["git", "init", "-q"], [*dvc, "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    file = Path("first/plots/jaccard.csv")
    file.write_text(file.read_text().replace("halves,0.2,", "halves,0.21,"))
    subprocess.run([*dvc, "plots", "diff", "-q", "-o", "page", "HEAD"], check=True)
    page = Path("page/index.html").read_text()
    assert {"HEAD", "workspace"} <= set(re.findall(r"HEAD|workspace", page))
    assert page.count("vegaEmbed(") == len(PLOTS)
    assert len(list(Path("page/static").glob("*.png"))) == 2 * len(FIGURES)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",deviation,", ",other,", "no column deviation: run `descry stage evaluate` again"),
        ("\nhalves,precision,0.2,", "\nhalves,precision,high,", "at: no number: 'high'"),
    ],
)
def test_a_file_that_evaluate_did_not_write_is_named(run, old, new, said):
    text = CURVES.read_text()
    assert old in text
    CURVES.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=f"results/curves.csv: .*{said}"):
        run_figures()
    assert not Path("made/tables/table1.csv").exists()


@pytest.mark.parametrize("path", [NULLS, CORRELATION, CANDIDATES, DESCRIPTORS])
def test_a_file_that_is_not_there_is_named(run, path):
    path.unlink()
    with pytest.raises(InputError, match=f"{path}: no such file: make it with `descry "):
        run_figures()


# of rows


def test_figure_5_shows_gold_and_judge_before_the_halves():
    rows = curve("halves") + curve("judge") + curve("gold")
    assert draw.compared(rows) == ["gold", "judge"]
    assert draw.compared(curve("halves")) == ["halves"]


def test_figure_5_draws_the_values_a_band_and_the_nulls():
    figure = draw.precision_recall(curve("gold", value=0.9, deviation=0.3, null=0.25), COMPOSITION)
    precision = figure.axes[0]
    drawn = [line.get_ydata() for line in precision.lines]
    assert any(np.allclose(y, 0.9) for y in drawn)
    assert any(np.allclose(y, 0.25) for y in drawn)
    band = precision.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.6, 1.0))  # no score is above 1


def test_figure_6_has_a_line_for_every_null_and_a_band(tmp_path):
    rows = curve()
    figure = draw.jaccard(rows, chance(rows), "jaccard", COMPOSITION)
    found = written(figure, tmp_path / "six")
    for name in ("random sets", "permuted descriptors", "shuffled neurons", "random weights"):
        assert f"null: {name}" in found
    assert "null: $new$" in found
    looks = {
        (line.get_marker(), str(line.get_linestyle()), line.get_color())
        for line in figure.axes[0].lines
        if line.get_label().startswith("null")
    }
    assert len({marker for marker, *_ in looks}) == 5


def test_the_most_alike_descriptors_stand_beside_each_other():
    matrix = np.full((6, 6), 0.0)
    for a, b in ((0, 3), (1, 5), (2, 4)):
        matrix[a, b] = matrix[b, a] = 0.8
    np.fill_diagonal(matrix, 1)
    order = alike(matrix)
    assert sorted(order) == list(range(6))
    assert all(abs(order.index(a) - order.index(b)) == 1 for a, b in ((0, 3), (1, 5), (2, 4)))


def test_undefined_descriptors_come_last():
    matrix = np.eye(5)
    matrix[1, :] = matrix[:, 1] = NAN
    assert alike(matrix)[-1] == 1
    assert alike(np.full((2, 2), NAN)) == [0, 1]


def test_the_bars_are_sorted_and_the_most_frequent_are_drawn(tmp_path):
    rows = [row for i in range(120) for row in shares([f"d{i:03}"], i / 120)]
    figure = draw.descriptor_shares(rows)
    found = written(figure, tmp_path / "nine")
    assert found.index("d119") < found.index("d118")
    assert "d000" not in found
    assert "the 100 most frequent of 120 descriptors" in found


@pytest.mark.parametrize("rule", [COMPOSITION, ENRICHMENT])
def test_hostile_names_and_undefined_values_are_drawn(tmp_path, rule):
    holes = [r | {"pearson": NAN if "$x$" in (r["first"], r["second"]) else r["pearson"]}
             for r in correlations(NAMES)]  # fmt: skip
    found = written(draw.correlation(holes, dict.fromkeys(NAMES, NAN)), tmp_path / "eight")
    expected = {shown(name) for name in NAMES} - {""}
    assert expected <= set(found)
    found = written(draw.descriptor_shares(shares(NAMES, NAN) + shares(["y"])), tmp_path / "nine")
    assert expected <= set(found)
    undefined = curve("gold", value=NAN, low=NAN, high=NAN, null=NAN, deviation=NAN, defined=0.0)
    assert "undefined" in written(draw.precision_recall(undefined, rule), tmp_path / "five")
    rows = curve(value=NAN, low=NAN, high=NAN)
    none = chance(rows, mean=NAN, low=NAN, high=NAN)
    assert "undefined" in written(draw.jaccard(rows, none, "jaccard", rule), tmp_path / "six")


@pytest.mark.parametrize("rule", [COMPOSITION, ENRICHMENT])
def test_nothing_at_all_is_drawn_too(tmp_path, rule):
    assert "undefined" in written(draw.precision_recall([], rule), tmp_path / "five")
    assert "undefined" in written(draw.jaccard([], [], "jaccard", rule), tmp_path / "six")
    assert "undefined" in written(draw.alignment([]), tmp_path / "ten")
    assert "undefined" in written(sensitivity([], rule), tmp_path / "eleven")
    written(draw.correlation([], {}), tmp_path / "eight")
    written(draw.descriptor_shares([]), tmp_path / "nine")


def test_a_name_is_shown_as_one_short_line_of_printable_characters():
    assert shown("x" * 5000) == "x" * (LONGEST - 1) + "…"
    assert shown("a\x00b\u202ec\nd\te") == "a�b�c�d�e"
    assert shown("$x$") == "$x$"


def test_rows_keep_texts_that_look_like_numbers(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('name,value\n1.50,0.5\n"a\r\nb",\nnan,1e-3\n', encoding="utf-8", newline="")
    rows = read_rows(path, "evaluate", ["value"])
    assert [row["name"] for row in rows] == ["1.50", "a\r\nb", "nan"]
    assert [row["value"] for row in rows] == pytest.approx([0.5, NAN, 0.001], nan_ok=True)
