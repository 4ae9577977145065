"""Pictures of graphs: what is read where, hostile tokens, and graphviz's own drawing."""

import json
import re
import shutil
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from neurons import IDS, WORDS
from planted import printed
from transformers.convert_slow_tokenizer import bytes_to_unicode

from descry.cli.console.graphs import show_graph
from descry.errors import InputError
from descry.n2g.graph import graph_of, make_graph
from descry.n2g.paths import IGNORE, TURN, Path, Step
from descry.n2g.render import dot, summary, svg, tree, write_picture
from descry.n2g.search import Entry
from descry.n2g.token_words import bare, readable, word_of

SIGNS = {"*": IGNORE, ">": TURN}
NAMES = dict(enumerate(WORDS))
HOSTILE = [
    'say "no"',
    "\\",
    '\\"',
    "\\N \\G \\l",
    "<b>bold</b>",
    "<script>alert(1)</script>",
    "&amp;",
    "&#7;",
    "]]>",
    "-->",
    "a\nb\rc",
    "\x1b[31mred\x00",
    "\u202eleft",
    "n1 -> n2; }",
    "{a|b}",
    "",
    "日本",
]
needs_dot = pytest.mark.skipif(
    shutil.which("dot") is None, reason="graphviz's program dot is not installed"
)


def path(string, activation=1.0):
    keys = [SIGNS.get(word) or IDS[word] for word in string.split()]
    return Path(tuple(Step(key, 0.0 if key < 0 else 0.9) for key in keys), activation)


def graph(*paths, max_gap=None, highest=4.2):
    return make_graph(3, highest, list(paths), [True, True, False], max_gap=max_gap)


BOTH = graph(
    path("hot * river > so * water", 0.9), path("hot river the", 0.8), path("tea > hot", 0.6)
)
EMPTY = make_graph(3, 0.0, [], [], max_gap=None)
NASTY = graph(
    *(Path((Step(row, 1.0), Step(row + 1, 0.9)), 0.8) for row in range(0, len(HOSTILE) - 1, 2)),
    Path((Step(len(HOSTILE) - 1, 1.0),), 0.7),
)
NASTY_WORDS = dict(enumerate(HOSTILE))


# Tokens in words


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("tea", "tea"),
        ("Ġtea", "␣tea"),
        (" tea", "␣tea"),
        ("▁tea", "␣tea"),
        ("##ing", "-ing"),
        ("##", "##"),
        ("###", "###"),
        ("Ã©tÃ©", "été"),
        ("é", "é"),
        ("日本", "日本"),
        ("Ċ", "↵"),
        ("\t", "⇥"),
        ("", "∅"),
        ("\u202ea\x1b", "�a�"),
    ],
)
def test_a_token_is_readable(string, expected):
    assert readable(string) == expected


@given(st.text(max_size=8))
def test_no_token_can_steer_anything(string):
    assert readable(string) and readable(string).isprintable()


def test_bytes_written_as_characters_become_what_they_stand_for():
    alphabet = bytes_to_unicode()
    text = "".join(map(chr, range(0x120))) + "日🙂"
    assert readable("".join(alphabet[byte] for byte in text.encode())) == readable(text)


def test_word_marks_do_not_count_in_a_bare_token():
    assert {bare(one) for one in ("tea", "Ġtea", "▁tea", " tea", "##tea")} == {"tea"}


def test_a_token_without_a_string_is_shown_by_its_id():
    assert word_of(7, {}) == "id:7"


# Lines


def shown(lines):
    """Nested dictionaries of words, without numbers."""
    return {line.text.split("  ")[0]: shown(line.children) for line in lines}


def test_the_tree_goes_from_the_highest_activation_to_its_context_on_either_side():
    assert list(shown(tree(BOTH, NAMES)).items()) == [
        ("hot", {"← river": {"← the": {}, "→ so": {"→ water": {}}}}),
        ("tea", {"→ hot": {}}),
    ]


def test_a_line_says_activation_importance_and_whether_a_path_ends():
    [top] = tree(graph(path("good not", 0.84)), NAMES)
    assert top.text == "good  activation 0.84, importance 0.90"
    assert top.children[0].text == "← not  activation 0.84, importance 0.90, end"


def test_of_a_whole_text_what_follows_stands_behind():
    found = graph(path("cheap broken", 0.9), max_gap=2)
    assert shown(tree(found, NAMES)) == {"cheap": {"→ broken": {}}}


def test_a_graph_is_summed_up():
    found = "highest activation 4.2, 3 paths"
    assert summary(BOTH) == f"{found}, 2 of 3 augmented prompts kept it up"
    assert summary(make_graph(3, 4.2, [path("hot")], [], max_gap=None)) == (
        "highest activation 4.2, 1 paths"
    )


def test_a_neuron_that_was_never_active_has_a_picture_too():
    assert summary(EMPTY) == "never active on its training texts"
    assert tree(EMPTY, {}) == []
    assert "never active" in dot(EMPTY, {})


def test_in_the_terminal_scores_stand_before_the_tree(capsys):
    scores = {"graph_f1": 0.75, "graph_recall": None, "tokens_f1": 0.5}
    show_graph("L0:3", Entry(graph(path("good not", 0.84)), NAMES, scores))
    assert printed(capsys) == (
        "L0:3: highest activation 4.2, 1 paths, 2 of 3 augmented prompts kept it up"
        " graph: f1 0.75, recall undefined tokens: f1 0.5"
        " good activation 0.84, importance 0.90 ← not activation 0.84, importance 0.90, end"
    )


def test_no_token_steers_the_terminal(capsys):
    show_graph("L0:3", Entry(NASTY, NASTY_WORDS, {}))
    assert "[31mred" in printed(capsys)


# DOT


def edges(source):
    """The edges of DOT, in words, each with whether it is dashed."""
    found = re.findall(r"^\t+(n\d+) \[label=(\S+)", source, re.MULTILINE)
    names = {node: label.strip('"') for node, label in found}
    pairs = re.findall(r"^\t(n\d+) -> (n\d+)(.*)$", source, re.MULTILINE)
    return {(names[one], names[other], "dashed" in look) for one, other, look in pairs}


def test_edges_go_in_the_order_of_reading():
    assert edges(dot(BOTH, NAMES)) == {
        ("the", "river", False),
        ("river", "hot", False),
        ("hot", "so", False),
        ("river", "so", True),
        ("so", "water", False),
        ("tea", "hot", False),
    }


def test_of_a_whole_text_they_go_from_its_first_token_on():
    found = graph(path("cheap so broken", 0.9), max_gap=2)
    assert edges(dot(found, NAMES)) == {("cheap", "so", False), ("so", "broken", False)}


def look_of(source, name):
    [found] = re.findall(rf"label={name} fillcolor=\"(\S+)\" penwidth=(\S+)", source)
    return found


def test_red_is_activation_blue_importance_and_bold_an_end():
    paths = [
        Path((Step(IDS["good"], 0.1), Step(IDS["not"], 1.0)), 1.0),
        Path((Step(IDS["tea"], 1.0), Step(IDS["so"], 0.0)), 0.0),
        Path((Step(IDS["tea"], 1.0),), 0.0),
    ]
    source = dot(graph(*paths), NAMES)
    assert look_of(source, "good") == ("#ff5c5c", "0.8")
    assert look_of(source, "not") == ("#66a3ff", "2.6")
    assert look_of(source, "tea") == ("#ffffff", "2.6")
    assert look_of(source, "so") == ("#ffffff", "2.6")


def test_an_activation_above_the_highest_is_as_red_as_can_be():
    assert look_of(dot(graph(path("good", 1.7)), NAMES), "good") == ("#ff5c5c", "2.6")


def test_a_long_token_is_cut():
    source = dot(graph(path("good")), {IDS["good"]: "x" * 90})
    assert re.findall('label="?(x+…)', source) == ["x" * 31 + "…"]


def test_the_order_of_paths_does_not_change_a_byte():
    paths = [path("hot * river > so", 0.9), path("hot the", 0.8), path("tea > it", 0.6)]
    assert dot(graph(*paths), NAMES) == dot(graph(*reversed(paths)), NAMES)


# SVG


def drawn(found, words):
    """An SVG as XML, and the texts that it shows without its caption."""
    top = ET.fromstring(svg(found, words))
    texts = [one.text for one in top.iter("{http://www.w3.org/2000/svg}text")]
    return top, texts[1:]


@needs_dot
def test_what_an_svg_shows_are_the_tokens_as_they_are():
    _, texts = drawn(NASTY, NASTY_WORDS)
    plain = [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts]
    assert sorted(plain) == sorted(readable(string) for string in HOSTILE)


@needs_dot
def test_an_svg_has_no_script_no_link_and_nothing_from_elsewhere():
    top, _ = drawn(NASTY, NASTY_WORDS)
    assert {one.tag.split("}")[1] for one in top.iter()} == {
        *("svg", "g", "title", "polygon", "text", "path", "a")
    }
    names = {name.split("}")[-1].lower() for one in top.iter() for name in one.attrib}
    assert not {name for name in names if name in ("href", "src", "style") or name[:2] == "on"}
    text = svg(NASTY, NASTY_WORDS)
    addresses = set(re.findall(r"\w+://[^\"'\s]+", text))
    assert addresses == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert text.startswith("<svg") and "<!DOCTYPE" not in text


@needs_dot
def test_an_svg_has_the_same_bytes_each_time():
    assert svg(BOTH, NAMES) == svg(BOTH, NAMES)


def places(top):
    """Where each token's middle is, from the left."""
    found = list(top.iter("{http://www.w3.org/2000/svg}text"))[1:]
    return {one.text: float(one.attrib["x"]) for one in found}


@needs_dot
def test_tokens_stand_from_left_to_right_as_they_are_read():
    one = graph(path("hot * river the > so * water", 0.9), path("tea not", 0.7))
    at = places(drawn(one, NAMES)[0])
    assert at["the"] < at["river"] < at["hot"] < at["so"] < at["water"]
    assert at["not"] < at["tea"] == at["hot"]


@needs_dot
def test_of_a_neuron_that_was_never_active_the_svg_says_so():
    top = ET.fromstring(svg(EMPTY, {}))
    [text] = top.iter("{http://www.w3.org/2000/svg}text")
    assert text.text == "never active on its training texts"


def test_without_graphviz_an_svg_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^a graph is drawn by .*install graphviz.*$"):
        write_picture(BOTH, NAMES, tmp_path / "graph.svg")
    assert not (tmp_path / "graph.svg").exists()


# Files


def test_dot_and_json_are_written_without_graphviz(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    write_picture(NASTY, NASTY_WORDS, tmp_path / "graph.dot")
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") == dot(NASTY, NASTY_WORDS)
    write_picture(NASTY, NASTY_WORDS, tmp_path / "graph.json")
    found = json.loads((tmp_path / "graph.json").read_text(encoding="utf-8"))
    assert graph_of(found["graph"]) == NASTY
    assert {int(token): word for token, word in found["words"].items()} == NASTY_WORDS


@needs_dot
def test_an_svg_is_written_by_its_name(tmp_path):
    write_picture(BOTH, NAMES, tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == svg(BOTH, NAMES)


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"graph\.png: a graph is written as \.svg, \.dot, \.json"):
        write_picture(BOTH, NAMES, tmp_path / "graph.png")
