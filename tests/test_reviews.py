import csv
import gzip
import io
import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.corpus.files import passed_over, review_files
from descry.corpus.readers import Review, read_reviews
from descry.errors import InputError

FIVE_CORE = Path(__file__).parents[2] / "shared/data/5core"
FIELDS = ["reviewText", "text"]
RECORDS = [
    {"reviewText": "Fits well", "overall": 5.0, "asin": "B1", "reviewerID": "A1"},
    {"reviewText": "Café, too\nsmall", "overall": 2.0, "asin": "B2", "reviewerID": "A2"},
]


def json_lines(records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def comma_separated(records):
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(records[0]))
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def parquet(records):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(records), sink)
    return sink.getvalue().to_pybytes()


def encode(name, records):
    """The records in the format that the name says."""
    plain = name.lower().removesuffix(".gz")
    write = {".csv": comma_separated, ".parquet": parquet}.get(Path(plain).suffix, json_lines)
    return gzip.compress(write(records)) if name.lower() != plain else write(records)


@pytest.fixture
def read(tmp_path):
    """Write bytes under a name and read them: the reviews, and what was dropped."""

    def write_and_read(name, content, max_invalid=0.0):
        path, dropped = tmp_path / name, Counter()
        path.write_bytes(content)
        return list(read_reviews([path], FIELDS, max_invalid, dropped)), +dropped

    return write_and_read


def texts(reviews):
    return [review.text for review in reviews]


@pytest.mark.parametrize(
    "name",
    ["a.json", "a.jsonl", "a.ndjson", "a.csv", "a.json.gz", "a.csv.gz", "a.parquet", "A.CSV.GZ"],
)
def test_every_format_gives_the_same_reviews(read, name):
    reviews, dropped = read(name, encode(name, RECORDS))
    assert texts(reviews) == ["Fits well", "Café, too small"]
    assert [(r.overall, r.asin, r.reviewer) for r in reviews] == [
        (5.0, "B1", "A1"),
        (2.0, "B2", "A2"),
    ]
    assert not dropped


def test_a_review_says_where_it_comes_from(read):
    record = {"text": "ok", "unixReviewTime": 1472688000}
    (review,), _ = read("Gift_Cards_5.json", json_lines([record]))
    source = "Gift_Cards_5.json"  # outside of the project: its name alone
    assert review == Review("ok", "Gift_Cards", None, None, None, None, 1472688000, source, 1)


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    for name in ("b.jsonl", "a.csv", "c.json.gz", "notes.txt", "README"):
        (tmp_path / name).write_bytes(encode(name, [{"text": name}]))
    files = review_files(tmp_path)
    assert [file.name for file in files] == ["a.csv", "b.jsonl", "c.json.gz"]
    assert texts(read_reviews(files, FIELDS, 0, Counter())) == ["a.csv", "b.jsonl", "c.json.gz"]


def test_a_file_names_itself(tmp_path):
    (tmp_path / "a.csv").touch()
    assert review_files(tmp_path / "a.csv") == [tmp_path / "a.csv"]


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("All_Beauty_5.json.gz", "All_Beauty"),
        ("Gift_Cards.jsonl", "Gift_Cards"),
        ("mine.csv", "mine"),
    ],
)
def test_the_category_is_the_file_name(read, name, category):
    (review,), _ = read(name, encode(name, [{"text": "ok"}]))
    assert review.category == category


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_category_column_goes_before_the_file_name(read, name):
    records = [{"text": "ok", "category": "Toys"}, {"text": "ok", "category": ""}]
    reviews, _ = read(name, encode(name, records))
    assert [r.category for r in reviews] == ["Toys", "a"]


def test_the_first_text_field_of_a_record_is_taken(read):
    reviews, _ = read("a.jsonl", json_lines([{"text": "b", "reviewText": "a"}, {"text": "c"}]))
    assert texts(reviews) == ["a", "c"]


def test_line_numbers_count_blank_invalid_and_textless_lines(read):
    lines = b'{"text": "a"}\n\nnonsense\n{"text": ""}\r\n{"text": "b"}'
    reviews, dropped = read("a.jsonl", lines, max_invalid=0.5)
    assert [r.line for r in reviews] == [1, 5]
    assert dropped == {"invalid line": 1, "no text": 1}


def test_line_numbers_of_csv_are_those_an_editor_shows(read):
    reviews, _ = read("a.csv", b'text\none\n\n"two\nlines"\nthree\n')
    assert [(r.text, r.line) for r in reviews] == [("one", 2), ("two lines", 4), ("three", 6)]


def test_rows_of_parquet_are_numbered_from_one(read):
    reviews, _ = read("a.parquet", parquet([{"text": "a"}, {"text": None}, {"text": "c"}]))
    assert [r.line for r in reviews] == [1, 3]


def test_entities_and_white_space_are_normalised(read):
    raw = "  Dad&#39;s  &quot;best&quot;\tgift\n\n&amp; more&nbsp;so\u2028end "
    (review,), _ = read("a.jsonl", json_lines([{"text": raw}]))
    assert review.text == 'Dad\'s "best" gift & more so end'


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.csv.gz"])
def test_a_byte_order_mark_is_no_part_of_the_first_record(read, name):
    content = b"\xef\xbb\xbf" + encode(name.removesuffix(".gz"), RECORDS)
    reviews, dropped = read(name, gzip.compress(content) if name.endswith(".gz") else content)
    assert len(reviews) == 2
    assert not dropped


def test_half_an_emoji_becomes_a_question_mark(read):
    line = b'{"text": "nice \\ud83d", "asin": "\\ud83d", "category": "\\ud83d"}'
    (review,), _ = read("a.jsonl", line)
    assert (review.text, review.asin, review.category) == ("nice ?", "?", "?")


def test_numbers_that_are_none_are_left_out(read):
    record = {"text": "a", "overall": 10**400, "unixReviewTime": float("inf"), "asin": ""}
    record |= {"category": float("nan"), "reviewerID": float("nan")}
    (review,), _ = read("a.jsonl", json_lines([record]))
    assert (review.overall, review.time, review.asin) == (None, None, None)
    assert (review.category, review.reviewer) == ("a", None)


def test_the_first_field_that_holds_a_text_is_taken_and_counted(tmp_path):
    path, dropped, noted = tmp_path / "a.jsonl", Counter(), Counter()
    given = ["", None, " \n", 5, ["b"], "<br />", "[[VIDEOID:1]]", "a"]
    path.write_bytes(json_lines([{"reviewText": value, "text": "b"} for value in given]))
    reviews = list(read_reviews([path], FIELDS, 0, dropped, noted))
    assert texts(reviews) == ["b"] * 7 + ["a"]
    assert noted == {"text of text": 7, "text of reviewText": 1}
    assert not +dropped


FORMS = {  # of the same review, as the Amazon files of these years have it
    2014: {
        "reviewText": "Fits well",
        "overall": 4.0,
        "summary": "Nice",
        "reviewerID": "A1",
        "asin": "B1",
        "unixReviewTime": 1440979200,
        "reviewTime": "08 31, 2015",
        "helpful": [0, 0],
    },
    2015: {
        "customer_id": "A1",
        "product_id": "B1",
        "product_category": "Toys",
        "star_rating": "4",
        "review_headline": "Nice",
        "review_body": "Fits well",
        "review_date": "2015-08-31",
    },
    2023: {
        "rating": 4.0,
        "title": "Nice",
        "text": "Fits well",
        "images": [],
        "asin": None,
        "parent_asin": "B1",
        "user_id": "A1",
        "timestamp": 1440979200123,
        "verified_purchase": True,
    },
    "fine foods": {  # on Kaggle
        "ProductId": "B1",
        "UserId": "A1",
        "Score": "4",
        "Time": "1440979200",
        "Summary": "Nice",
        "text": "Fits well",
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["Toys.jsonl", "Toys.csv", "Toys.parquet"])
def test_the_files_of_every_year_fill_the_same_fields(tmp_path, form, name):
    path, noted = tmp_path / name, Counter()
    path.write_bytes(encode(name, [FORMS[form]]))
    found = list(read_reviews([path], [*FIELDS, "review_body"], 0, Counter(), noted))
    assert found == [
        Review("Fits well", "Toys", "Nice", 4.0, "B1", "A1", 1440979200, name, found[0].line)
    ]
    assert list(noted) == [
        f"text of {field}" for field in FORMS[form] if "ext" in field or "body" in field
    ]


def test_values_that_their_column_should_not_hold_are_counted_by_name(tmp_path):
    path, noted = tmp_path / "a.jsonl", Counter()
    records = [
        {"text": "a", "star_rating": "very good", "review_date": "some day"},
        {"text": "b", "overall": "good", "rating": 3, "timestamp": None, "date": "2015-02-31"},
        {"text": "c", "overall": "", "unixReviewTime": ""},
        {"text": "d", "star_rating": True},
    ]
    path.write_bytes(json_lines(records))
    found = list(read_reviews([path], FIELDS, 0, Counter(), noted))
    assert [r.overall for r in found] == [None, 3, None, None]
    assert [r.time for r in found] == [None] * 4
    assert noted == {
        "text of text": 4,
        "star_rating not a star rating": 2,
        "review_date not a time": 1,
        "date not a time": 1,
    }


def test_hidden_files_and_subfolders_are_passed_over_by_name(tmp_path):
    for name in ("A.CSV", "b.JSONL.GZ", ".DS_Store", "._b.jsonl", "notes.txt", "c.jsonl.zst"):
        (tmp_path / name).write_bytes(encode(name, [{"text": name}]))
    (tmp_path / "sub.jsonl").mkdir()
    (tmp_path / "sub.jsonl" / "d.jsonl").touch()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    files = review_files(tmp_path)
    assert texts(read_reviews(files, FIELDS, 0, Counter())) == ["A.CSV", "b.JSONL.GZ"]
    names = ".DS_Store, ._b.jsonl, .ipynb_checkpoints/ (0 files), c.jsonl.zst, notes.txt"
    assert passed_over([tmp_path], files) == {"passed over": f"{names}, sub.jsonl/ (1 file)"}


def test_nothing_is_passed_over_in_a_folder_that_is_not_read_as_a_whole(tmp_path):
    for name in ("a.csv", "b.csv", "notes.txt"):
        (tmp_path / name).touch()
    assert passed_over([tmp_path, tmp_path / "a.csv"], [tmp_path / "a.csv"]) == {}
    assert passed_over([tmp_path / "none"], []) == {}


def test_of_many_files_that_are_passed_over_ten_are_named(tmp_path):
    (tmp_path / "a.csv").touch()
    for i in range(13):
        (tmp_path / f"n{i:02}.txt").touch()
    shown = passed_over([tmp_path], review_files(tmp_path))["passed over"]
    assert shown.startswith("n00.txt, n01.txt") and shown.endswith("n09.txt and 3 more")


def test_a_folder_of_subfolders_is_an_error_that_names_them(tmp_path):
    (tmp_path / "Toys").mkdir()
    (tmp_path / "Toys" / "a.jsonl").touch()
    with pytest.raises(InputError, match=r"no review files .* passed over: Toys/ \(1 file\)$"):
        review_files(tmp_path)


@pytest.mark.parametrize("last", [".zst", ".bz2", ".xz", ".zip"])
def test_another_packing_is_named(read, last):
    with pytest.raises(InputError, match=rf"a\.jsonl\{last}: packed as \{last}, .* as \.gz"):
        read(f"a.jsonl{last}", b"")


def test_a_missing_path_names_the_parameter(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file or folder: set corpus\.revie"):
        review_files(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        list(read_reviews([tmp_path / "none.json"], FIELDS, 0, Counter()))


def test_a_folder_without_reviews_says_which_files_count(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        InputError, match=r"no review files \(\.json, \.jsonl, \.ndjson, \.csv, \.tsv"
    ):
        review_files(tmp_path)


def test_an_unknown_format_is_named(read):
    with pytest.raises(InputError, match=r"a\.xlsx: unknown format"):
        read("a.xlsx", b"")


@pytest.mark.parametrize("name", ["a.json.gz", "a.csv.gz"])
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_truncated_gzip_is_named(read, name, share):
    content = encode(name, [{"text": f"review number {i * i}"} for i in range(5000)])
    with pytest.raises(InputError, match=rf"{name}: after line \d+: damaged or truncated gzip"):
        read(name, content[: int(share * len(content))])


def test_a_damaged_gzip_is_named(read):
    content = bytearray(encode("a.json.gz", [{"text": f"number {i * i}"} for i in range(5000)]))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(InputError, match=r"a\.json\.gz: after line \d+: "):
        read("a.json.gz", bytes(content))


def test_a_gzip_that_is_none_is_named(read):
    with pytest.raises(InputError, match=r"a\.json\.gz: after line 0: damaged or truncated gzip"):
        read("a.json.gz", json_lines(RECORDS))


@pytest.mark.parametrize(
    "line", ["{", "[1]", '"text"', "null", "{'text': 'a'}", '{"n": 1' + "0" * 5000 + "}"]
)
def test_an_invalid_line_is_counted(read, line):
    lines = ['{"text": "a"}', line, '{"text": "b"}']
    reviews, dropped = read("a.jsonl", "\n".join(lines).encode(), max_invalid=0.4)
    assert texts(reviews) == ["a", "b"]
    assert dropped == {"invalid line": 1}


def test_too_many_invalid_lines_are_an_error_that_names_the_first(read):
    lines = b'{"text": "a"}\n{oops\n{"text": "b"}\n{oops\n'
    message = r"a\.jsonl: line 2: not a valid record \(not JSON\); 2 of 4 lines are inv.* 49\.00%"
    with pytest.raises(InputError, match=message):
        read("a.jsonl", lines, max_invalid=0.49)
    assert len(read("a.jsonl", lines, max_invalid=0.5)[0]) == 2


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("{'reviewText': 'a', 'overall': 5.0}", "Python literals, not JSON: .*ast.literal_eval"),
        ('{"text": "a"},', "a comma after the object"),
        ('{"text": "a"}{"text": "b"}', "several objects in a line"),
        ('{"text": "a", "text": "b"}', "two values of one name"),
        ('{\n "text": "a"\n}', "an object that is cut, or goes on over several lines"),
        ('"a"', "JSON, but no object"),
        ("text,overall", "not JSON"),
    ],
)
def test_what_is_no_json_lines_is_named_as_what_it_is(read, lines, fault):
    with pytest.raises(InputError, match=rf"a\.jsonl: line 1: not a valid record \({fault}"):
        read("a.jsonl", lines.encode())


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_is_named(read, indent):
    with pytest.raises(InputError, match=r"a\.json: line 1: a JSON array.*`jq -c"):
        read("a.json", json.dumps(RECORDS, indent=indent).encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv"])
def test_utf_16_is_named(read, name, encoding):
    with pytest.raises(InputError, match=rf"{name}: .*UTF-16: convert it with `iconv"):
        read(name, encode(name, RECORDS).decode().encode(encoding))


@pytest.mark.parametrize(
    ("content", "what"),
    [(gzip.compress(b"text"), "gzip"), (parquet(RECORDS), "Parquet"), (b"PK\3\4", "a zip")],
    ids=["gzip", "Parquet", "zip"],  # gzip has the time in it, and test runners compare ids
)
def test_a_file_of_another_format_than_its_name_says_is_named(read, content, what):
    with pytest.raises(InputError, match=rf"a\.csv: it is {what}"):
        read("a.csv", content)


def test_two_columns_of_one_name_in_parquet_are_an_error(read):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([["a"], ["b"]], names=["text", "text"]), sink)
    with pytest.raises(InputError, match=r"a\.parquet: two columns named text"):
        read("a.parquet", sink.getvalue().to_pybytes())


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.csv.gz"])
def test_latin_1_is_named(read, name):
    content = encode(name.removesuffix(".gz"), RECORDS).decode().encode("latin-1")
    with pytest.raises(InputError, match=rf"{name}: after line \d+: not UTF-8 .*Latin-1"):
        read(name, gzip.compress(content) if name.endswith(".gz") else content)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_file_without_a_text_field_names_the_fields_there_are(read, name):
    message = r"no text field: it has body, stars.*; corpus\.text_fields .* names reviewText, text"
    with pytest.raises(InputError, match=message):
        read(name, encode(name, [{"stars": 5, "body": "Fits well"}]))


@pytest.mark.parametrize("value", [float("nan"), None, ["a", "b"], 5, {"a": "b"}, "", " \n"])
def test_a_text_that_is_none_is_dropped(read, value):
    reviews, dropped = read("a.jsonl", json_lines([{"text": value}, {"text": "b"}]))
    assert texts(reviews) == ["b"]
    assert dropped == {"no text": 1}


@pytest.mark.parametrize("value", [float("nan"), ["a", "b"]])
def test_a_parquet_column_of_no_texts_is_dropped(read, value):
    reviews, dropped = read("a.parquet", parquet([{"text": value}] * 2))
    assert (reviews, dropped) == ([], {"no text": 2})


def test_ragged_rows_of_csv_are_invalid(read):
    reviews, dropped = read("a.csv", b"text,asin\na,1\nb\nc,2,3\nd,4\n", max_invalid=0.5)
    assert texts(reviews) == ["a", "d"]
    assert dropped == {"invalid line": 2}


@pytest.mark.parametrize("content", [b"", b"no parquet", parquet(RECORDS)[:-20]])
def test_a_parquet_that_is_none_is_named(read, content):
    with pytest.raises(InputError, match=r"a\.parquet: not a readable Parquet file"):
        read("a.parquet", content)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.json.gz"])
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_reviews_and_is_counted(read, name, content):
    content = gzip.compress(content) if name.endswith(".gz") else content
    assert read(name, content) == ([], {"empty file": 1})


# Without "&<[" (markup) and surrogates (no UTF-8).
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="&<[\0")).filter(str.strip),
    min_size=1,
)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
@settings(deadline=None)  # it writes files
@given(texts_in=TEXTS)
def test_any_text_comes_back(tmp_path_factory, name, texts_in):
    path, dropped = tmp_path_factory.getbasetemp() / name, Counter()
    path.write_bytes(encode(name, [{"asin": "B1", "text": text} for text in texts_in]))
    reviews = list(read_reviews([path], FIELDS, 0, dropped))
    assert texts(reviews) == [" ".join(text.split()) for text in texts_in]
    assert not +dropped


@pytest.mark.parametrize("category", ["All_Beauty", "Gift_Cards"])
def test_real_5_core_files_are_read(category):
    path = FIVE_CORE / f"{category}_5.json.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    dropped = Counter()
    reviews = list(islice(read_reviews([path], FIELDS, 0, dropped), 2000))
    assert len(reviews) + dropped["no text"] == 2000
    assert {r.category for r in reviews} == {category}
    assert all(r.text and r.asin and r.reviewer and r.overall in range(1, 6) for r in reviews)
    assert [r.line for r in reviews] == sorted({r.line for r in reviews})
    assert dropped.total() == dropped["no text"] < 20
