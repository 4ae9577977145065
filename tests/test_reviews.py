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

from descry.errors import InputError
from descry.reviews import Review, read_reviews, review_files

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
    plain = name.removesuffix(".gz")
    write = {".csv": comma_separated, ".parquet": parquet}.get(Path(plain).suffix, json_lines)
    return gzip.compress(write(records)) if name != plain else write(records)


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
    ["a.json", "a.jsonl", "a.csv", "a.json.gz", "a.jsonl.gz", "a.csv.gz", "a.parquet"],
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
    assert [(r.text, r.line) for r in reviews] == [("one", 2), ("two lines", 5), ("three", 6)]


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


def test_a_missing_path_names_the_parameter(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file or folder: set corpus\.revie"):
        review_files(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        list(read_reviews([tmp_path / "none.json"], FIELDS, 0, Counter()))


def test_a_folder_without_reviews_says_which_files_count(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no review files \(\.json, \.jsonl, \.csv, \.parquet"):
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
    message = r"a\.jsonl: line 2: not a valid record; 2 of 4 lines are invalid.* allows 49\.00%"
    with pytest.raises(InputError, match=message):
        read("a.jsonl", lines, max_invalid=0.49)
    assert len(read("a.jsonl", lines, max_invalid=0.5)[0]) == 2


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.csv.gz"])
def test_latin_1_is_named(read, name):
    content = encode(name.removesuffix(".gz"), RECORDS).decode().encode("latin-1")
    with pytest.raises(InputError, match=rf"{name}: after line \d+: not UTF-8"):
        read(name, gzip.compress(content) if name.endswith(".gz") else content)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_file_without_a_text_field_names_the_fields_there_are(read, name):
    message = r"no text field: it has body, stars; corpus\.text_fields .* names reviewText, text"
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


def test_a_quote_left_open_in_csv_is_an_error(read):
    with pytest.raises(InputError, match=r"a\.csv: line 3: not a valid record"):
        read("a.csv", b'text,asin\n"a,1\nb,2\n')


def test_a_csv_field_without_end_is_an_error(read):
    with pytest.raises(InputError, match=r"a\.csv: after line \d+: not valid CSV"):
        read("a.csv", b'text\n"' + b"x" * 2**24 + b"x\n")


@pytest.mark.parametrize("content", [b"", b"no parquet", parquet(RECORDS)[:-20]])
def test_a_parquet_that_is_none_is_named(read, content):
    with pytest.raises(InputError, match=r"a\.parquet: not a readable Parquet file"):
        read("a.parquet", content)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json.gz"])
def test_an_empty_file_has_no_reviews(read, name):
    assert read(name, gzip.compress(b"") if name.endswith(".gz") else b"") == ([], {})


# Without "&" (entities) and surrogates (no UTF-8); CSV readers differ on a lone carriage return.
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="&\r\0")).filter(str.strip),
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
