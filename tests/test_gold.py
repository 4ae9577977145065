"""Files of gold labels."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.evaluation.gold import read_gold, unused_gold

NAMES = ["Price", "Food"]


@pytest.fixture
def gold(tmp_path):
    """Write lines of gold labels; the file."""
    path = tmp_path / "gold.jsonl"

    def write(*lines):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


def line(sentence, *labels):
    return json.dumps({"id": sentence, "labels": labels}, ensure_ascii=False)


def test_the_labels_of_several_lines_of_a_sentence_are_united(gold):
    path = gold(line("a", "Price"), line("b", "food"), line("a", "Food"), line("a"))
    assert read_gold(path, ["a", "b"], NAMES).tolist() == [[1, 1], [0, 1]]
    assert unused_gold(path, ["a", "b"], NAMES) == (4, 2, 1, 0, {})


def test_a_sentence_without_labels_has_none_and_one_that_is_not_there_is_not_judged(gold):
    path = gold(line("a", "Price"), line("b"))
    assert read_gold(path, ["a", "b", "c"], NAMES).tolist() == [[1, -1], [0, -1], [-1, -1]]


def test_case_outer_blanks_and_repeats_of_a_name_do_not_matter(gold):
    path = gold(line("a", " price", "Price", "FOOD "))
    assert read_gold(path, ["a"], NAMES).tolist() == [[1, 1]]
    assert unused_gold(path, ["a"], NAMES).no_descriptor == {}


def test_names_that_are_no_descriptor_and_sentences_of_no_corpus_are_counted(gold):
    path = gold(line("a", "Price", "Prize"), line("b", " prize"), line("c", "Mood", "Food"))
    unused = unused_gold(path, ["a"], NAMES)
    assert (unused.unknown, unused.no_descriptor) == (2, {"Mood": 1, "Prize": 2})
    assert unused.notes() == {
        "gold sentences not in the corpus": "2",
        "gold names that are no descriptor": "Mood (1), Prize (2)",
    }


def test_of_many_names_that_are_no_descriptor_ten_are_shown(gold):
    path = gold(line("a", *(f"n{i:02}" for i in range(12))))
    (shown,) = unused_gold(path, ["a"], NAMES).notes().values()
    assert shown.endswith("n09 (1) and 2 more")


@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_lines_a_mark_at_the_start_and_odd_separators_do_no_harm(gold, blank):
    path = gold("\ufeff" + line("a", "Price"), blank, line("b\u2028", "Food"))
    assert read_gold(path, ["a", "b\u2028"], NAMES).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    "bad",
    [
        *("{", "[]", "null", "[" * 100_000, '{"id": 1, "labels": []}', '{"id": "a"}'),
        *('{"id": "a", "labels": "Food"}', '{"id": "a", "labels": [null]}'),
    ],
)
def test_a_line_of_another_form_is_named(gold, bad):
    path = gold(line("a"), "", bad)
    shown = re.escape(bad[:80])
    with pytest.raises(InputError, match=rf'gold\.jsonl: line 3: not {{"id": .*: {shown}$'):
        read_gold(path, ["a"], NAMES)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from(NAMES)))),
    st.randoms(use_true_random=False),
)
def test_one_line_a_label_in_any_order_is_the_same_gold(tmp_path_factory, given, random):
    folder = tmp_path_factory.getbasetemp()
    apart = [line(sentence, name) for sentence, names in given for name in names]
    apart += [line(sentence) for sentence, names in given if not names]
    random.shuffle(apart)
    found = []
    for lines in ([line(sentence, *sorted(names)) for sentence, names in given], apart):
        (folder / "gold.jsonl").write_text("".join(f"{one}\n" for one in lines))
        found.append(read_gold(folder / "gold.jsonl", [*"abcd"], NAMES).tolist())
    assert found[0] == found[1]


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "gold.jsonl"
    path.write_text('{"id": "a", "labels": ["X"], "labels": ["Y"]}\n')
    with pytest.raises(InputError, match="line 1: not"):
        read_gold(path, ["a"], ["X", "Y"])


def test_a_folder_is_no_file_of_gold_labels(tmp_path):
    with pytest.raises(InputError, match=r"a folder: set evaluate\.gold"):
        read_gold(tmp_path, ["a"], ["X"])
