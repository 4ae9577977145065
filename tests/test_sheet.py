"""A sheet tells nothing of the annotator's answers, and what people fill in comes back exactly."""

import csv
import io
import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from descry.annotators.annotations import writing_annotations
from descry.annotators.base import Identity
from descry.annotators.client import AskOptions, answer_prompts
from descry.annotators.counts import Counts
from descry.annotators.factory import create
from descry.annotators.human.annotator import HumanAnnotator
from descry.annotators.parsing.answers import parse_verdict
from descry.annotators.prompt_cache.store import PromptCache
from descry.annotators.prompts import p2
from descry.annotators.records import origin_of
from descry.annotators.sheet import COLUMNS, read_sheet, write_sheet
from descry.corpus.splits import sentence_id
from descry.errors import InputError
from descry.io.parquet import write_table

MODEL = Identity("toy (no generative model)", "toy", "v1", "none", "none")
HOSTILE = [
    "=cmd|' /C calc'!A1",
    "+1",
    "-2+3",
    "@SUM(A1)",
    "\ttab",
    "\rreturn",
    "\nline",
    " =1+1",
    "＝1+1",
    "'quoted",
    "''twice",
    "'=1",
    'say "hi", twice\nand again; really',
    "5 stars",
    "1e5",
    "mar 5",
    "10:30",
    "50%",
    "True",
    "Größe, 大小",
    " spaces ",
]
FORMULA = re.compile(r"[\s\x00-\x1f]*[=+\-@＝＋－＠]|[\t\r\n]")


class Study:
    """A corpus and annotations in a folder of their own."""

    def __init__(self, folder, texts, names, answer):
        self.folder, self.names = folder, names
        folder.mkdir(parents=True, exist_ok=True)
        self.texts = {sentence_id(text): text for text in texts}
        self.corpus, self.annotations = folder / "corpus.parquet", folder / "annotations.h5"
        self.sheet, self.cache = folder / "sheet.csv", folder / "cache"
        self.answer = np.array(answer, dtype=np.int8).reshape(len(texts), len(names))
        table = pa.table({"id": list(self.texts), "text": list(self.texts.values())})
        write_table(self.corpus, table, {"stage": "corpus"})
        self._annotate()

    def _annotate(self):
        every = np.ones(len(self.texts), dtype=bool)
        ids, known = list(self.texts), np.nonzero(self.answer >= 0)
        with writing_annotations(self.annotations, ids, self.names, every, every) as b:
            b.put(*known, self.answer[known] == 1, np.zeros(len(known[0])))
            b.sign({"stage": "annotate"}, MODEL.as_json(), ["", ""])

    def write(self, each=15, seed=0, to=None):
        options = {"per_descriptor": each, "seed": seed}
        return write_sheet(self.corpus, self.annotations, to or self.sheet, **options)

    def rows(self):
        """As a spreadsheet shows them."""
        with self.sheet.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def place(self, row):
        """A row's place in B."""
        cell = row["descriptor"]
        name = next((name for name in self.names if cell == f"'{name}"), cell)
        return list(self.texts).index(row["id"].removeprefix("'")), self.names.index(name)

    def said(self, row):
        """What the annotator answered in a row."""
        return self.answer[self.place(row)]

    def fill(self, answers, **how):
        """Write the rows back with answers, as a spreadsheet would."""
        filled = [row | {"answer": word} for row, word in zip(self.rows(), answers, strict=True)]
        save(self.sheet, filled, **how)

    def read(self, person="ann", round="round-1"):
        with PromptCache(self.cache) as cache:
            return read_sheet(
                self.sheet, self.corpus, self.annotations, cache, HumanAnnotator(person, round)
            )

    def answer_prompts(self, max_failures=1.0, person="ann", round="round-1"):
        """B as the person answered it, NaN without an answer; and the tally."""
        prompts, tally = p2(list(self.texts.values()), self.names), Counts()
        responses = []
        with PromptCache(self.cache) as cache:
            how = AskOptions("judge", cache, max_failures, False, lambda *_: None)
            annotator = HumanAnnotator(person, round)
            for chunk in answer_prompts(
                how, annotator, prompts, lambda r: parse_verdict(r, 0.5), tally
            ):
                responses += chunk.responses
        b = [np.nan if r is None else parse_verdict(r, 0.5).yes for r in responses]
        return np.array(b).reshape(self.answer.shape), tally

    def stored(self):
        with PromptCache(self.cache) as cache:
            return list(cache.records())


def save(path, rows, columns=COLUMNS, encoding="utf-8-sig", **dialect):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", **dialect)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))


def lines(path, *given):
    path.write_text("\n".join(given) + "\n", encoding="utf-8")


@pytest.fixture
def study(tmp_path):
    """Forty sentences; the descriptors are tagged half, four times, always, and partly unasked."""
    texts = [f"Sentence {i} is about the price, or the sound." for i in range(40)]
    row = np.arange(40)
    columns = [row % 2, row < 4, row >= 0, np.where(row < 30, row % 3 == 0, -1)]
    names = ["price", "rare", "broad", "partly asked"]
    return Study(tmp_path, texts, names, np.array(columns, dtype=np.int8).T)


@pytest.fixture
def small(tmp_path):
    """Two sentences and two descriptors: four rows."""
    return Study(tmp_path, ["Cheap and loud.", "Dear and quiet."], ["price", "sound"], [1, 1, 0, 0])


def first(study):
    return next(iter(study.texts))


# The sample


def test_as_many_sentences_are_drawn_tagged_as_untagged(study):
    counts = study.write(each=5)
    drawn = Counter((row["descriptor"], int(study.said(row))) for row in study.rows())
    assert drawn == {
        ("price", 1): 5,
        ("price", 0): 5,
        ("rare", 1): 4,
        ("rare", 0): 5,
        ("broad", 1): 5,
        ("partly asked", 1): 5,
        ("partly asked", 0): 5,
    }
    assert counts == {"rows": 34, "descriptors": 4, "tagged": 19, "untagged": 15}


def test_a_row_is_drawn_once(study):
    study.write()
    rows = [(row["id"], row["descriptor"]) for row in study.rows()]
    assert len(rows) == len(set(rows))


def test_the_rows_show_the_sentence_and_an_empty_answer(study):
    study.write()
    for row in study.rows():
        assert tuple(row) == COLUMNS
        assert row["sentence"] == study.texts[row["id"].removeprefix("'")]
        assert row["answer"] == ""


def test_a_larger_sample_holds_the_smaller_one(study):
    study.write(each=3)
    few = {(row["id"], row["descriptor"]) for row in study.rows()}
    study.sheet.unlink()
    study.write(each=6)
    assert few < {(row["id"], row["descriptor"]) for row in study.rows()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_sample(study, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        study.write(each=5, seed=seed, to=tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert set(a.splitlines()) != set(c.splitlines())


def test_annotations_of_another_corpus_are_refused(study, tmp_path):
    other = Study(tmp_path / "other", ["Another sentence."], ["price"], [1])
    with pytest.raises(InputError, match="not of this corpus"):
        write_sheet(other.corpus, study.annotations, tmp_path / "x.csv", per_descriptor=1, seed=0)
    assert not (tmp_path / "x.csv").exists()


def test_a_filled_sheet_is_not_written_over(small):
    small.write()
    small.write()
    small.fill(["Yes"] * 4)
    filled = small.sheet.read_bytes()
    with pytest.raises(InputError, match="may hold answers"):
        small.write()
    assert small.sheet.read_bytes() == filled
    assert not list(small.folder.glob(".*.part"))


# Blindness


def test_the_sheet_is_the_same_when_the_annotator_says_the_contrary(study):
    """Where each kind is drawn whole, only the answers differ, and nothing of them is there."""
    study.answer = np.where(study.answer < 0, 0, study.answer)
    study._annotate()
    study.write(each=100)
    before = study.sheet.read_bytes()
    study.sheet.unlink()
    study.answer = 1 - study.answer
    study._annotate()
    study.write(each=100)
    assert study.sheet.read_bytes() == before


def test_the_order_of_the_rows_tells_nothing_where_one_kind_is_rare(tmp_path):
    n = 2000
    tagged = np.arange(n) < 20
    study = Study(tmp_path, [f"Sentence {i}." for i in range(n)], ["price"], tagged)
    places = []
    for seed in range(40):
        study.write(each=15, seed=seed)
        places += [i for i, row in enumerate(study.rows()) if study.said(row) == 1]
        study.sheet.unlink()
    assert len(places) == 15 * 40
    assert abs(np.mean(places) - 14.5) < 1.0  # its standard error is 0.25


# Spreadsheets


def test_excel_is_told_that_it_is_utf8(small):
    small.write()
    assert small.sheet.read_bytes().startswith(b"\xef\xbb\xbfid,descriptor,sentence,answer\r\n")


def test_no_cell_begins_like_a_formula(tmp_path):
    study = Study(tmp_path, HOSTILE, HOSTILE, np.zeros((len(HOSTILE), len(HOSTILE))))
    study.write(each=100)
    cells = [cell for row in study.rows() for cell in row.values()]
    assert "'=cmd|' /C calc'!A1" in cells
    assert not [cell for cell in cells if FORMULA.match(cell)]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_sentence_holds_no_formula_where_another_separator_cuts_the_line(tmp_path, separator):
    texts = [f"{i} fine{separator}{name}" for i, name in enumerate(HOSTILE)]
    study = Study(tmp_path, texts, ["price"], np.zeros(len(texts)))
    study.write(each=100)
    parts = [part for row in study.rows() for part in row["sentence"].split(separator)]
    assert "'=cmd|' /C calc'!A1" in parts
    assert not [part for part in parts if part and FORMULA.match(part)]


@pytest.mark.parametrize("name", ["5 stars", "1e5", "mar 5", "10:30", "50%", "true", "1-2", "007"])
def test_what_a_spreadsheet_would_rewrite_stands_behind_an_apostrophe(tmp_path, name):
    study = Study(tmp_path, ["A sentence."], [name], [1])
    study.write()
    assert study.rows()[0]["descriptor"] == f"'{name}"


@pytest.mark.parametrize("name", ["price", "sound quality", "it's", "A, B and C"])
def test_plain_words_stand_as_they_are(tmp_path, name):
    study = Study(tmp_path, ["A sentence."], [name], [1])
    study.write()
    assert study.rows()[0]["descriptor"] == name


def test_an_id_that_looks_like_a_number_is_guarded_and_read(tmp_path):
    study = Study(tmp_path, ["A sentence."], ["price"], [1])
    study.texts = {"12345678901234e1": "A sentence."}
    table = pa.table({"id": list(study.texts), "text": ["A sentence."]})
    write_table(study.corpus, table, {})
    study._annotate()
    study.write()
    assert study.rows()[0]["id"] == "'12345678901234e1"
    study.fill(["Yes"])
    assert study.read()["new"] == 1


def test_hostile_descriptors_come_back_exactly(tmp_path):
    study = Study(tmp_path, ["A sentence.", "=1+1"], HOSTILE, np.ones((2, len(HOSTILE))))
    study.write()
    study.fill(["Yes"] * 2 * len(HOSTILE))
    study.read()
    b, tally = study.answer_prompts(max_failures=0.0)
    assert (b == 1).all()
    assert tally.cached == 2 * len(HOSTILE)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ("'=1", "''twice")])
def test_a_spreadsheet_may_take_the_apostrophe_away(tmp_path, name):
    study = Study(tmp_path, ["A sentence."], [name], [1])
    study.write()
    row = study.rows()[0]
    save(study.sheet, [row | {"descriptor": row["descriptor"].removeprefix("'"), "answer": "y"}])
    study.read()
    assert study.answer_prompts(max_failures=0.0)[0].all()


@pytest.mark.parametrize("how", [
    {"encoding": "utf-8"},
    {"delimiter": ";"},
    {"delimiter": "\t"},
    {"lineterminator": "\n"},
    {"lineterminator": "\r\n"},
    {"lineterminator": "\r"},
    {"quoting": csv.QUOTE_ALL},
    {"columns": ["answer", "sentence", "descriptor", "id"]},
    {"columns": [*COLUMNS, "remarks", "", ""]},
])  # fmt: skip
def test_a_sheet_may_come_back_in_another_form(small, how):
    small.write()
    small.fill(["Yes", "no", "", "N"], **how)
    assert small.read() == {"rows": 4, "answered": 3, "new": 3, "empty": 1}


def test_the_sentence_may_be_changed_or_left_out(small):
    small.write()
    rows = [
        {"id": row["id"], "descriptor": row["descriptor"], "answer": "No"} for row in small.rows()
    ]
    save(small.sheet, rows, columns=["id", "descriptor", "answer"])
    assert small.read()["new"] == 4


def test_blank_lines_and_missing_cells_at_the_end_of_a_row_are_no_answers(small):
    id = first(small)
    lines(
        small.sheet,
        "ID, Descriptor ,Answer,,",
        f"{id},price,Yes,,,,,",
        "",
        ",,,,",
        f"{id},sound",
        ",",
    )
    assert small.read() == {"rows": 2, "answered": 1, "new": 1, "empty": 1}


def test_a_very_long_sentence_can_be_read_again(tmp_path):
    study = Study(tmp_path, ["x" * 200_000], ["price"], [1])
    study.write()
    csv.field_size_limit(2**24)
    study.fill(["Yes"])
    csv.field_size_limit(2**17)
    assert study.read()["new"] == 1


# Reading


@pytest.mark.parametrize("word", ["Yes", "yes", "YES", "y", "Y", " yes ", "yes\u00a0"])
def test_yes_may_be_written_in_several_ways(small, word):
    small.write()
    small.fill([word] * 4)
    small.read()
    assert small.answer_prompts(max_failures=0.0)[0].all()


@pytest.mark.parametrize("word", ["maybe", "?", "0", "1", "ja", "yes no", "Yes/No", "yes.", "TRUE"])
def test_anything_else_is_refused_with_its_line_and_nothing_is_stored(small, word):
    small.write()
    small.fill(["Yes", "No", word, "Yes"])
    with pytest.raises(InputError, match=rf"sheet.csv: line 4: the answer {re.escape(repr(word))}"):
        small.read()
    assert small.stored() == []


def test_a_descriptor_that_was_altered_is_refused(tmp_path):
    study = Study(tmp_path, ["A sentence."], ["Price"], [1])
    lines(study.sheet, "id,descriptor,answer", f"{first(study)},Prise,Yes")
    with pytest.raises(InputError, match="line 2: no descriptor 'Prise'"):
        study.read()


def test_the_line_is_where_the_row_begins(tmp_path):
    study = Study(tmp_path, ["A sentence."], ["two\nlines"], [1])
    id = first(study)
    lines(
        study.sheet,
        "id,descriptor,answer",
        "",
        f'{id},"two',
        'lines",Yes',
        f'{id},"two',
        'lines",what',
    )
    with pytest.raises(InputError, match="line 5: the answer 'what'"):
        study.read()


@pytest.mark.parametrize("id", ["0123456789abcdef", "", "1.23457E+15"])
def test_a_sentence_that_is_not_in_the_corpus_is_refused(small, id):
    lines(small.sheet, "id,descriptor,answer", f"{first(small)},price,Yes", f"{id},price,")
    with pytest.raises(InputError, match=f"line 3: no sentence '{re.escape(id)}' in"):
        small.read()
    assert small.stored() == []


def test_a_row_without_a_descriptor_is_refused(small):
    lines(small.sheet, "id,descriptor,answer", f"{first(small)},,Yes")
    with pytest.raises(InputError, match="line 2: no descriptor"):
        small.read()


@pytest.mark.parametrize("header", [
    "",
    "id,descriptor",
    "id,sentence,answer",
    "descriptor,sentence,answer",
    "id,descriptor,answer,answer",
    "id,ID,descriptor,answer",
    "id|descriptor|answer",
])  # fmt: skip
def test_other_columns_are_refused(small, header):
    lines(small.sheet, header, f"{first(small)},price,Yes")
    with pytest.raises(InputError, match="line 1: its columns must be id, descriptor"):
        small.read()


def test_an_empty_file_is_refused(small):
    small.sheet.touch()
    with pytest.raises(InputError, match="line 1: its columns must be"):
        small.read()


def test_a_row_with_more_cells_than_columns_is_refused(small):
    lines(small.sheet, "id,descriptor,answer", f"{first(small)},price, and more,Yes")
    with pytest.raises(InputError, match="line 2: 4 cells, but 3 columns"):
        small.read()


@pytest.mark.parametrize("row", ['x,"price,Yes', 'x,"pri"ce,Yes'])
def test_broken_quotes_are_refused(small, row):
    lines(small.sheet, "id,descriptor,answer", row)
    with pytest.raises(InputError, match="line 2: not valid CSV"):
        small.read()


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_refused(tmp_path, encoding):
    study = Study(tmp_path, ["A sentence."], ["Größe"], [1])
    study.write()
    study.fill(["Yes"], encoding=encoding)
    with pytest.raises(InputError, match=r"not UTF-8 text .*: save it as CSV UTF-8"):
        study.read()


def test_a_missing_sheet_is_refused(small):
    with pytest.raises(InputError, match="no such file"):
        small.read()


def test_a_row_answered_twice_alike_counts_once(small):
    id = first(small)
    lines(small.sheet, "id,descriptor,answer", *[f"{id},price,{word}" for word in ("Yes", "y", "")])
    assert small.read() == {"rows": 3, "answered": 2, "new": 1, "empty": 1}


def test_a_row_answered_twice_differently_is_refused(small):
    id = first(small)
    lines(small.sheet, "id,descriptor,answer", f"{id},price,Yes", f"{id},sound,No", f"{id},price,n")
    with pytest.raises(InputError, match="line 4: No, but line 2: Yes"):
        small.read()
    assert small.stored() == []


def test_an_answer_is_stored_only_in_the_name_of_a_person(small):
    small.write()
    small.fill(["Yes"] * 4)
    model = HumanAnnotator("ann", "round-1")
    model.identity = MODEL
    with PromptCache(small.cache) as cache, pytest.raises(InputError, match=r"toy .* is none"):
        read_sheet(small.sheet, small.corpus, small.annotations, cache, model)
    assert small.stored() == []


# The cache


def test_the_record_is_the_one_that_asking_would_have_made(small):
    id = first(small)
    lines(small.sheet, "id,descriptor,answer", f"{id},price,y")
    small.read()
    annotator = HumanAnnotator("ann", "round-1")
    prompt = p2([small.texts[id]], ["price"])[0]
    with PromptCache(small.cache) as cache:
        (record,) = cache.recorded([annotator.identity.request(prompt).key]).values()
        assert cache.stats() == {"answers": 1, "failures": 0}
    assert record.pop("made")
    assert record == {
        "response": {"text": "Yes", "finish": "stop"},
        "sentence": id,
        "descriptor": "price",
        "origin": origin_of(annotator, ("", ""), prompt),
    }


def test_a_second_import_changes_nothing(small):
    small.write()
    small.fill(["Yes", "No", "", "Yes"])
    assert small.read() == {"rows": 4, "answered": 3, "new": 3, "empty": 1}
    before = small.stored()
    assert small.read() == {"rows": 4, "answered": 3, "new": 0, "empty": 1}
    assert small.stored() == before


def test_a_sheet_may_be_imported_as_it_grows(small):
    small.write()
    small.fill(["Yes", "", "", ""])
    small.read()
    small.fill(["Yes", "No", "Yes", ""])
    assert small.read() == {"rows": 4, "answered": 3, "new": 2, "empty": 1}


def test_a_sheet_without_answers_stores_nothing(small):
    small.write()
    assert small.read() == {"rows": 4, "answered": 0, "new": 0, "empty": 4}
    with PromptCache(small.cache) as cache:
        assert cache.origins() == {}


def test_a_changed_mind_is_refused_and_nothing_of_the_sheet_is_stored(small):
    small.write()
    small.fill(["", "Yes", "No", ""])
    small.read()
    before = small.stored()
    small.fill(["Yes", "No", "Yes", "No"])
    with pytest.raises(
        InputError, match=r"gave before: 2, the first in line 3 \(No to .*another rev"
    ):
        small.read()
    assert small.stored() == before


def test_another_round_and_another_person_have_answers_of_their_own(small):
    small.write()
    for who, word in (
        (("ann", "round-1"), "Yes"),
        (("ann", "round-2"), "No"),
        (("bo", "1"), "Yes"),
    ):
        small.fill([word] * 4)
        assert small.read(*who)["new"] == 4
    assert small.answer_prompts(0.0, "ann", "round-1")[0].all()
    assert not small.answer_prompts(0.0, "ann", "round-2")[0].any()
    assert small.answer_prompts(0.0, "bo", "1")[0].all()


# The annotator


def test_the_spec_of_params_makes_the_annotator():
    annotator = create({"kind": "human", "model": "ann", "revision": "round-1"}, "p2")
    assert annotator.identity == Identity(
        "ann, round-1 (human)", "human/ann", "round-1", "human", '{"answers":["Yes","No"]}'
    )
    assert (annotator.frame, annotator.server, annotator.price) == (("", ""), None, None)


def test_asking_gives_what_was_filled_in_and_counts_the_rest_as_failures(study):
    study.write(each=5)
    words = [("Yes", "No", "")[i % 3] for i in range(34)]
    study.fill(words)
    wanted = np.full(study.answer.shape, np.nan)
    for row in study.rows():
        if row["answer"]:
            wanted[study.place(row)] = row["answer"] == "Yes"
    study.read()
    b, tally = study.answer_prompts(max_failures=1.0)
    np.testing.assert_array_equal(b, wanted)
    assert tally.cached == 23
    assert tally.failures == {"not answered by a person": study.answer.size - 23}


def test_more_missing_answers_than_allowed_stop_the_run(small):
    small.write()
    small.fill(["Yes", "No", "", "Yes"])
    small.read()
    assert small.answer_prompts(max_failures=0.25)[1].failed == 1
    with pytest.raises(InputError, match=r"1 of 4 answers failed.*not answered by a person"):
        small.answer_prompts(max_failures=0.2)


def test_a_missing_answer_that_comes_later_is_no_failure_any_more(small):
    small.write()
    small.answer_prompts()
    small.fill(["Yes"] * 4)
    assert small.read()["new"] == 4
    with PromptCache(small.cache) as cache:
        assert cache.stats() == {"answers": 4, "failures": 0}


def test_every_prompt_that_is_wanted_is_answered_once_and_no_other():
    prompts = p2([f"Sentence {i}." for i in range(5000)], ["price"])
    wanted = set(range(0, 5000, 2))
    groups = list(HumanAnnotator("ann", "1").answer(prompts, wanted))
    assert [row for group in groups for row, _ in group] == sorted(wanted)
    assert len(groups) > 1
    assert {answer.response for group in groups for _, answer in group} == {None}


# Any text

nasty = st.text(
    st.one_of(
        st.sampled_from("=+-@'\"\t\r\n,;| 0159eE%:/tru"), st.characters(exclude_categories=["Cs"])
    ),
    min_size=1,
    max_size=12,
).filter(lambda text: "\x00" not in text)  # HDF5 ends a text at it


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(
    names=st.lists(nasty, min_size=1, max_size=3, unique=True),
    texts=st.lists(nasty, min_size=1, max_size=3, unique=True),
    data=st.data(),
    dialect=st.sampled_from([{}, {"delimiter": ";"}, {"quoting": csv.QUOTE_ALL}]),
)
def test_any_descriptor_and_sentence_come_back(tmp_path_factory, names, texts, data, dialect):
    count = len(names) * len(texts)
    answer = data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    study = Study(tmp_path_factory.mktemp("any"), texts, names, answer)
    study.write()
    assert not [cell for row in study.rows() for cell in row.values() if FORMULA.match(cell)]
    study.fill([("No", "Yes")[study.said(row)] for row in study.rows()], **dialect)
    assert study.read() == {"rows": count, "answered": count, "new": count, "empty": 0}
    b, tally = study.answer_prompts(max_failures=0.0)
    np.testing.assert_array_equal(b, study.answer)
    assert tally.cached == count
