"""Ids by their beginning, names in any case."""

import pytest

from descry.errors import InputError
from descry.io.lookup import by_name, by_prefix

IDS = ["abc1", "abc2", "abd", "ab", "xyz:00012", "xyz:00013"]
NAMES = ["Music", "Audio / Sound", "Battery / Charging", "straße", "Wood", "wood"]


@pytest.mark.parametrize(
    ("typed", "found"), [("abc1", "abc1"), ("ab", "ab"), ("abd", "abd"), ("xyz:00012", "xyz:00012")]
)
def test_an_id_or_the_beginning_of_one_alone(typed, found):
    assert by_prefix(typed, IDS, "sentence") == found


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("abc", "abc: 2 ids begin so: type more of one: abc1, abc2"),
        ("xyz", "type more of one: xyz:00012, xyz:00013"),
        ("q", "q: no sentence has an id that begins so"),
        ("", "an empty id: no sentence has"),
    ],
)
def test_an_id_that_is_none_or_several(typed, message):
    with pytest.raises(InputError, match=message) as error:
        by_prefix(typed, IDS, "sentence")
    assert "\n" not in str(error.value)


def test_at_most_five_candidates_are_listed():
    with pytest.raises(
        InputError, match=r"40 ids begin so.*: i00, i01, i02, i03, i04 and 35 more$"
    ):
        by_prefix("i", [f"i{number:02}" for number in range(40)], "sentence")


@pytest.mark.parametrize(
    ("typed", "found"),
    [("Music", "Music"), ("mUSIC", "Music"), ("STRASSE", "straße"), ("Wood", "Wood")],
)
def test_a_name_in_any_case(typed, found):
    assert by_name(typed, NAMES, "descriptor") == found


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("musik", r"musik: no descriptor: did you mean Music\?"),
        ("sound", r"did you mean Audio / Sound\?"),
        ("WOOD", "several in this case or that: Wood, wood"),
        ("zzzz", "zzzz: no descriptor: there are Music, .* and 1 more"),
    ],
)
def test_a_name_that_is_none_says_what_it_may_be(typed, message):
    with pytest.raises(InputError, match=message):
        by_name(typed, NAMES, "descriptor")


def test_nothing_to_choose_from():
    with pytest.raises(InputError, match="no descriptor: there are none"):
        by_name("x", [], "descriptor")
