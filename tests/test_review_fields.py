"""The values of a review: its text without markup, its stars, its time."""

import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.corpus.fields import cleaned, seconds, stars


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("one<br />two<br/>three<BR>four", "one two three four"),
        ("<p>one</p><p>two</p>", "one two"),
        ("a <b>b</b>ig <a class='a' href=\"http://x.example/a?b=c\">link</a>", "a big link"),
        ("<ul><li>one</li><li>two</li></ul>", "one two"),
        ("one<!-- a note -->two", "one two"),
        ("&#34;good&#34; &amp;quot;better&amp;quot; &amp;amp; more", '"good" "better" & more'),
        ("a&lt;br /&gt;b &amp;lt;br&amp;gt; c", "a b c"),
        ("a [[VIDEOID:0a1b2c3d]] b [[ASIN:B000AZK4D A kettle, 2 l]]c", "a b c"),
        ("I <3 it, 3 < 4 and 5 > 4 <user> <s> </s> <|user|> [MASK] [[a]]", None),
        ("<bread> and <brie> are no tags", None),
        ("an open <br", None),
        ("  a\n\tb\u2028c ", "a b c"),
    ],
)
def test_markup_goes_and_all_else_stays(raw, text):
    assert cleaned(raw) == (raw if text is None else text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_without_markup_stays_and_cleaning_it_again_changes_nothing(text):
    plain = text.translate(dict.fromkeys(map(ord, "&<["), "x"))
    assert cleaned(plain) == " ".join(plain.split()) == cleaned(cleaned(plain))


@pytest.mark.parametrize(
    "hostile",
    ["<br" + " " * 200_000, "<!--" * 50_000, "[[ASIN" * 50_000, "<a " * 50_000, "&" * 200_000],
)
def test_no_text_takes_long(hostile):
    began = time.process_time()
    cleaned(hostile)
    stars(hostile)
    seconds(hostile)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5.0),
        (4.5, 4.5),
        (Decimal("3.5"), 3.5),
        ("4", 4.0),
        (" 4.0 ", 4.0),
        ("4,5", 4.5),
        ("5.0 out of 5 stars", 5.0),
        ("4 of 5", 4.0),
        ("4/5", 4.0),
        ("1 star", 1.0),
        ("★★★★☆", 4.0),
        ("★ ★ ★", 3.0),
        ("⭐️⭐️", 2.0),
        ("☆☆☆☆☆", 0.0),
        *(
            (value, None)
            for value in ("", "good", "4 kettles", "★ good", "1_0", "nan", "inf", "1e3")
        ),
        *((value, None) for value in (True, float("inf"), 10**400, [5], {"stars": 5})),
    ],
)
def test_a_star_rating_is_read_in_each_of_its_forms(value, number):
    assert stars(value) == number


MOMENT = 1440979200  # 2015-08-31, 00:00 UTC
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        float(MOMENT),
        MOMENT * 10**3 + 7,
        MOMENT * 10**6 + 7,
        MOMENT * 10**9,
        str(MOMENT),
        f"{MOMENT}000",
        f"{MOMENT}.0",
        "2015-08-31",
        "20150831",
        20150831,
        "2015-08-31T00:00:00Z",
        "2015-08-31 00:00:00",
        "2015-08-31T02:00:00+02:00",
        "08 31, 2015",
        "8 31, 2015",
        datetime(2015, 8, 31),
        datetime(2015, 8, 31, tzinfo=UTC),
        datetime(2015, 8, 31, 2, tzinfo=EAST),
        date(2015, 8, 31),
    ],
)
def test_a_time_is_read_in_each_of_its_forms(value):
    assert seconds(value) == MOMENT


@pytest.mark.parametrize(
    "value",
    [
        *("", "yesterday", "31/08/2015", "2015-02-31", "13 31, 2015", "2015", "9" * 400),
        *(2015, 0, -5, True, [], float("inf"), 10**400, 10**30),
    ],
)
def test_what_is_no_time_is_none(value):
    assert seconds(value) is None


@given(st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)))
def test_any_time_since_1975_is_read_in_any_unit(moment):
    whole = int(moment.replace(tzinfo=UTC).timestamp())
    assert {seconds(whole * unit) for unit in (1, 10**3, 10**6)} == {whole}
    assert seconds(moment.isoformat()) == whole


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("I paid <a lot of money> for it", "I paid <a lot of money> for it"),
        ("<I was skeptical at first> but no", "<I was skeptical at first> but no"),
        ("if price <b or >c", "if price <b or >c"),
        ('<div class="x>y">loud</div>', "loud"),
        ("<video controls src='a.mp4'></video>loud <br/>and <a href=x>clear</a>", "loud and clear"),
    ],
)
def test_words_in_angle_brackets_are_no_tag(text, left):
    assert cleaned(text) == left
