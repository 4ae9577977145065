"""CSV and TSV: quotes, separators, columns."""

import csv
import gzip
import io
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.corpus.readers import read_reviews
from descry.errors import InputError

FIELDS = ["reviewText", "text", "review_body"]
ROWS = [f"the {thing} came on day {i}" for i, thing in enumerate(["kettle", "lamp", "toy"] * 10)]


@pytest.fixture
def read(tmp_path):
    """Write a text under a name and read it: texts, reviews, and what was dropped."""

    def write_and_read(name, content, max_invalid=0.0):
        path, dropped = tmp_path / name, Counter()
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        reviews = list(read_reviews([path], FIELDS, max_invalid, dropped))
        texts = [review.text for review in reviews]
        return SimpleNamespace(reviews=reviews, texts=texts, dropped=+dropped)

    return write_and_read


# Quotes that are not closed


def rows(quoted, mark=","):
    """Lines of text and stars, the texts in quotes or not."""
    return [f'"{text}"{mark}5' if quoted else f"{text}{mark}5" for text in ROWS]


@pytest.mark.parametrize("mark", [",", ";", "|"])
@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("at", [0, 11, 29])
def test_a_quote_that_is_never_closed_is_an_error_that_names_its_line(read, mark, quoted, at):
    lines = rows(quoted, mark)
    lines[at] = f'"{ROWS[at]}{mark}5'
    with pytest.raises(
        InputError, match=rf"a\.csv: line {at + 2}: a quote opens here and"
    ) as found:
        read("a.csv", "\n".join([f"text{mark}stars", *lines]), max_invalid=1.0)
    assert "\n" not in str(found.value)


def test_the_line_is_that_of_the_field_and_not_of_its_row(read):
    content = 'stars,title,text\n5,"two\nlines","and an open\n4,a,b\n3,c,d\n'
    with pytest.raises(InputError, match=r"line 3: a quote opens here and is never closed"):
        read("a.csv", content, max_invalid=1.0)


@pytest.mark.parametrize("columns", ["text,stars", "stars,text", "text,date", "id,text,stars"])
@pytest.mark.parametrize("swallowed", [2, 3, 9])
def test_a_field_that_takes_in_rows_is_an_error(read, columns, swallowed):
    # The quote that opens in row 5 is closed by that of an inch, some rows below.
    values = {"stars": "5", "date": "2015-08-31", "id": "B00X"}
    texts = [*ROWS]
    texts[5], texts[5 + swallowed - 1] = f'"{texts[5]}', f'{texts[5 + swallowed - 1]} of 12"'
    lines = [",".join(values.get(name, text) for name in columns.split(",")) for text in texts]
    found = rf"line 7: a quote opens here and takes in what looks like {swallowed} rows"
    with pytest.raises(InputError, match=found):
        read("a.csv", "\n".join([columns, *lines]), max_invalid=1.0)


@pytest.mark.parametrize(
    "text",
    [
        "Pros:\nlight, cheap\nCons:\nnone, 5 of 5",
        "I gave\n5, then 4",
        "one\n\n\ntwo, three",
        "see:\n1,2\nand more words, as in prose",
    ],
)
@pytest.mark.parametrize("columns", ["text,stars", "stars,text", "title,text"])
def test_a_review_of_several_lines_is_no_rows(read, text, columns):
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns.split(","), extrasaction="ignore")
    writer.writeheader()
    writer.writerows({"text": value, "stars": 5, "title": "Nice"} for value in [text, "after"])
    assert read("a.csv", out.getvalue()).texts == [" ".join(text.split()), "after"]


def test_a_quote_amid_a_field_spoils_its_line_alone(read):
    lines = rows(True)
    lines[3] = '"a "fine" lamp",5'
    found = read("a.csv", "\n".join(["text,stars", *lines]), max_invalid=0.1)
    assert found.texts == ROWS[:3] + ROWS[4:]
    assert found.dropped == {"invalid line": 1}
    with pytest.raises(InputError, match=r"line 5: .*a quote amid a field in quotes: write it twi"):
        read("a.csv", "\n".join(["text,stars", *lines]))


def test_a_quote_in_a_field_without_quotes_is_a_character(read):
    assert read("a.csv", 'text,stars\na 12" ruler,5\n').texts == ['a 12" ruler']


def test_invalid_lines_are_lines_of_the_file(read):
    long = '"' + "\n".join(["words"] * 39) + '",5,6'
    content = "\n".join(["text,stars", *rows(False), long, "b,4"])
    found = read("a.csv", content, max_invalid=0.6)
    assert found.texts == [*ROWS, "b"]
    assert found.dropped == {"invalid line": 39}
    with pytest.raises(InputError, match=r"line 32: .*3 columns.* has 2\); 39 of 70 lines are inv"):
        read("a.csv", content, max_invalid=0.5)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_field_of_more_than_16_mb_is_named(read, name):
    content = b'text\n"' + b"x" * 2**24 + b'x"\n'
    with pytest.raises(InputError, match=r"line 2: not a valid record \(a field of over 16 MB\)"):
        read(name, gzip.compress(content, 1) if name.endswith("z") else content)


def test_null_bytes_in_a_row_spoil_it(read):
    found = read("a.csv", "text\n" + "\n".join(ROWS) + "\na\0b\n", max_invalid=0.1)
    assert found.dropped == {"invalid line": 1}


# Columns


@pytest.mark.parametrize("header", ["text,stars,text", "text,stars, stars", "title,title,text"])
def test_two_columns_of_one_name_are_an_error(read, header):
    name = "text" if header.count("text") > 1 else header.split(",")[1].strip()
    with pytest.raises(InputError, match=rf"a\.csv: line 1: two columns named {name}:"):
        read("a.csv", f"{header}\na,b,c\n")


def test_columns_without_a_name_are_passed_over(read):
    assert read("a.csv", ",text,\n0,a,\n1,b,\n").texts == ["a", "b"]


def test_a_first_line_that_is_data_is_said_to_be_the_header(read):
    message = r"no text field: it has 5, the kettle came .*\(its first line must name its columns\)"
    with pytest.raises(InputError, match=message):
        read("a.csv", "\n".join(rows(True)[:3]))


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_the_header_tells_the_separator(read, mark, ends):
    content = ends.join([f"stars{mark}text", f"5{mark}one, two; three", f'4{mark}"a{mark}b"', ""])
    content = content.replace("one, two; three", "one two") if mark in ",;" else content
    found = read("a.csv", content)
    first = "one two" if mark in ",;" else "one, two; three"
    assert found.texts == [first, " ".join(f"a{mark}b".split())]
    assert [review.overall for review in found.reviews] == [5, 4]


def test_a_header_that_holds_other_marks_is_separated_where_a_text_column_comes_out(read):
    content = "text;likes, dislikes, wishes\na, b;none\n"
    assert read("a.csv", content).texts == ["a, b"]


@pytest.mark.parametrize("mark", ";|\t")
def test_the_line_that_excel_writes_above_the_header_names_the_separator(read, mark):
    found = read("a.csv", f"sep={mark}\ntext{mark}stars\na,b{mark}5\n")
    assert (found.texts, found.reviews[0].overall, found.reviews[0].line) == (["a,b"], 5, 3)


def test_blanks_after_the_separators_are_none_of_the_cells(read):
    found = read("a.csv", 'stars, text\n5, "a, b"\n4, c\n')
    assert found.texts == ["a, b", "c"]


def test_a_decimal_comma_is_one(read):
    assert read("a.csv", "text;stars\na;4,5\n").reviews[0].overall == 4.5


# TSV: quotes of CSV, or plain characters

AMAZON = ["marketplace\tcustomer_id\tstar_rating\treview_headline\treview_body"]
AMAZON += [f"US\t{i}\t5\tFine\t{text}" for i, text in enumerate(ROWS)]


@pytest.mark.parametrize(
    "text",
    [
        '"Great" they said, and it is',
        '"Great they said',
        'a ruler of 12"',
        '"',
        '""',
        'it says "12""',
        'He said "buy it", "now"',
    ],
)
@pytest.mark.parametrize("column", ["review_headline", "review_body"])
@pytest.mark.parametrize("other", ['"An" other', '"An other', 'other 5"'])
def test_quotes_in_amazons_tsv_are_characters(read, text, column, other):
    lines = [*AMAZON, 'US\t98\t5\tFine\t"So" it goes']
    for at, value in ((4, text), (8, other)):
        cells = lines[at].split("\t")
        cells[lines[0].split("\t").index(column)] = value
        lines[at] = "\t".join(cells)
    found = read("a.tsv", "\n".join(lines))
    assert len(found.reviews) == len(lines) - 1
    shown = found.texts if column == "review_body" else [r.summary for r in found.reviews]
    assert (shown[3], shown[7]) == (text, other)
    assert not found.dropped


@pytest.mark.parametrize(
    "text", ["two\nlines", 'a "quote"', '"', "a\ttab", 'both "of\nthem"\tand', '"a" and "b"\r\nc']
)
@pytest.mark.parametrize("columns", [["stars", "text"], ["text", "stars"], ["text"]])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_a_tsv_that_a_program_wrote_has_the_quotes_of_csv(read, text, columns, quoting):
    out = io.StringIO(newline="")
    writer = csv.writer(out, "excel-tab", quoting=quoting)
    writer.writerow(columns)
    for value in [*ROWS, text, "after"]:
        writer.writerow([value if name == "text" else 5 for name in columns])
    found = read("a.tsv", out.getvalue())
    assert found.texts == [*ROWS, " ".join(text.split()), "after"]


@pytest.mark.parametrize("header", ["text\tstars", '"text"\t"stars"'])
def test_a_quote_left_open_in_a_tsv_with_a_quoted_column_is_an_error(read, header):
    lines = rows(True, "\t")
    lines[20] = f'"{ROWS[20]}\t5'
    with pytest.raises(InputError, match=r"a\.tsv: line 22: a quote opens here and"):
        read("a.tsv", "\n".join([header, *lines]), max_invalid=1.0)


def test_a_row_of_tsv_with_too_few_cells_is_invalid_and_the_others_stay(read):
    lines = [*AMAZON[:10], 'US\t1\t"cut', *AMAZON[10:]]
    found = read("a.tsv", "\n".join(lines), max_invalid=0.1)
    assert (found.texts, found.dropped) == (ROWS, {"invalid line": 1})


def test_a_truncated_tsv_is_named_with_its_line(read):
    packed = gzip.compress(
        "\n".join(AMAZON + [f"US\t{i}\t5\t{i * i}\tx" for i in range(9999)]).encode()
    )
    with pytest.raises(InputError, match=r"after line [1-9]\d*: damaged or truncated gzip"):
        read("a.tsv.gz", packed[: len(packed) // 2])


# Any table at all

# Without "&<[" (markup), surrogates (no UTF-8), digits (a text must not look like rows of codes),
# null bytes (refused) and lone carriage returns (which Python's writer does not quote).
TEXT = st.text(st.characters(exclude_categories=["Cs", "Nd"], exclude_characters="&<[\0\r"))


@settings(deadline=None)  # it writes files
@given(
    texts=st.lists(TEXT.filter(lambda text: text.strip()), min_size=1),
    mark=st.sampled_from(",;|\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    columns=st.permutations(["asin", "text", "stars"]),
    name=st.sampled_from(["x.csv", "x.tsv"]),
)
def test_what_a_csv_writer_writes_comes_back(
    tmp_path_factory, texts, mark, quoting, end, columns, name
):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=mark, quoting=quoting, lineterminator=end)
    writer.writerow(columns)
    values = ({"asin": f"B{i}", "text": text, "stars": 5} for i, text in enumerate(texts))
    writer.writerows([row[name] for name in columns] for row in values)
    path, dropped = tmp_path_factory.getbasetemp() / name, Counter()
    path.write_bytes(out.getvalue().encode())
    found = list(read_reviews([path], FIELDS, 0, dropped))
    assert [r.text for r in found] == [" ".join(text.split()) for text in texts]
    assert [(r.asin, r.overall) for r in found] == [(f"B{i}", 5) for i in range(len(texts))]
    assert not +dropped
