"""What is tried out on what: held-out sentences, other neurons' descriptions, line-ups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.annotators.prompts import descriptors_of
from descry.errors import InputError
from descry.evaluation.scorer_items import Sentences, descriptions, prompts_of, trials
from descry.models.neurons import Neurons

EVERY = Neurons((0, 3), 4)
ROWS = range(60, 120)  # of the validation half
RNG = np.random.default_rng(0)


def sets(rows, size=6):
    return np.array([[RNG.permutation(rows)[:size] for _ in range(4)] for _ in range(2)])


CLOSE_TO = {"L0:0": [61, 70, 80, 90, 99, 110], "L3:1": [65]}
SOURCE = Sentences(
    [f"s{i}" for i in range(120)], list(ROWS), sets(ROWS), sets(range(120)), CLOSE_TO
)
TEXTS = {"L0:0": "price", "L0:2": "size, fit", "L3:1": "smell", "L3:3": "price"}
HOW = {"neurons": None, "sentences": 4, "distractors": 3, "seed": 0}


def tried(texts=TEXTS, source=SOURCE, **changes):
    return trials(texts, EVERY, source, **HOW | changes)


def by_name(found):
    return {trial.neuron: trial for trial in found}


def test_all_labelled_neurons_are_tried_out_with_their_own_description_first():
    found = by_name(tried())
    assert list(found) == list(TEXTS)
    for name, trial in found.items():
        assert EVERY.name(*trial.place) == name
        assert trial.descriptions == (TEXTS[name], TEXTS[trial.other])
    assert sorted(trial.other for trial in found.values()) == sorted(TEXTS)  # each once
    assert all(name != trial.other for name, trial in found.items())


def test_sentences_are_held_out_exemplars_and_others_of_the_same_half():
    for trial in tried():
        held, whole = SOURCE.held[trial.place], SOURCE.whole[trial.place]
        assert len({*trial.active}) == len({*trial.quiet}) == 4
        assert {*trial.active} <= {*held.tolist()}
        assert {*trial.quiet} <= {*ROWS} - {*held.tolist()} - {*whole.tolist()}
        assert trial.rows == trial.active + trial.quiet


def test_neurons_do_not_all_get_the_same_others():
    assert len({tuple(trial.quiet) for trial in tried()}) == len(TEXTS)


def test_a_lineup_has_one_intruder_and_it_stands_anywhere():
    places = set()
    for seed in range(5):
        for trial in tried(seed=seed):
            assert [lineup.rows[lineup.right] for lineup in trial.lineups] == trial.quiet
            for rows, right in trial.lineups:
                others = [*rows[:right], *rows[right + 1 :]]
                assert len({*others}) == 3
                assert {*others} <= {*trial.active}
                places.add(right)
    assert places == {0, 1, 2, 3}


def test_a_small_set_has_fewer_of_each_kind():
    small = SOURCE._replace(held=SOURCE.held[:, :, :2])
    (trial, *_) = tried(source=small)
    assert (len(trial.active), len(trial.quiet)) == (2, 2)
    assert [len(lineup.rows) for lineup in trial.lineups] == [3, 3]


def test_a_small_half_has_fewer_others():
    own = {*SOURCE.held[0, 0].tolist(), *SOURCE.whole[0, 0].tolist()}
    rows = [*SOURCE.held[0, 0].tolist(), *[row for row in ROWS if row not in own][:2]]
    trial = by_name(tried(source=SOURCE._replace(rows=rows)))["L0:0"]
    assert len(trial.quiet) == len(trial.lineups) == 2


def test_the_seed_draws_and_one_sentence_more_hardly_changes_what_is_drawn():
    assert tried() == tried()
    assert tried() != tried(seed=1)
    more = SOURCE._replace(ids=[*SOURCE.ids, "new"], rows=[*SOURCE.rows, 120])
    before, after = tried(), tried(source=more)
    assert [t.active for t in before] == [t.active for t in after]
    changed = [{*b.quiet} ^ {*a.quiet} for b, a in zip(before, after, strict=True)]
    assert all(change == set() or 120 in change for change in changed)


def test_neurons_are_named_or_drawn_among_the_labelled():
    assert [t.neuron for t in tried(neurons=["L3:1", "l0:2", "L3:1"])] == ["L0:2", "L3:1"]
    drawn = [{t.neuron for t in tried(neurons=2, seed=seed)} for seed in range(8)]
    assert all(len(names) == 2 and names <= {*TEXTS} for names in drawn)
    assert len(set(map(frozenset, drawn))) > 1
    assert len(tried(neurons=100)) == len(TEXTS)
    with pytest.raises(InputError, match="L7:0: no such neuron"):
        tried(neurons=["L7:0"])


def test_what_has_no_description_is_asked_for_intruders_only():
    (trial,) = tried(neurons=["L0:1"])
    assert trial.descriptions == ()
    texts = [f"text {i}" for i in range(120)]
    assert prompts_of("detection", [trial], texts) == prompts_of("simulation", [trial], texts) == []
    assert len(prompts_of("intruder", [trial], texts)) == 4


def test_a_neuron_alone_has_nobody_to_be_held_against():
    (trial,) = tried({"L0:0": "price"})
    assert (trial.descriptions, trial.other) == (("price",), "")
    assert tried({}) == []


def test_every_sentence_is_asked_about_with_both_descriptions():
    texts = [f"text {i}" for i in range(120)]
    found = tried()
    for scorer, task in (("detection", "p2"), ("simulation", "simulation")):
        prompts = prompts_of(scorer, found, texts)
        expected = [(texts[r], d) for t in found for r in t.rows for d in t.descriptions]
        assert [(p.sentence, p.descriptor) for p in prompts] == expected
        assert {p.task for p in prompts} == {task}
    lineups = [p.several for p in prompts_of("intruder", found, texts)]
    assert lineups == [tuple(texts[r] for r in line.rows) for t in found for line in t.lineups]


# Descriptions


def test_a_description_has_the_most_frequent_descriptor_first():
    assigned = np.zeros((2, 4, 3), dtype=bool)
    assigned[0, 1], assigned[1, 2, 0] = [True, True, True], True
    f = np.tile([0.2, 0.5, 0.2], (2, 4, 1))
    found = descriptions(assigned, f, ["price", "size", "smell"], EVERY)
    assert found == {"L0:1": "size, price, smell", "L3:2": "price"}


NAMES = ["price", "size", "size, fit", "fit", "a,b", "Grip, Feel, Fit"]


@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4))
def test_the_descriptors_of_a_description_are_found_again(chosen):
    found = descriptors_of(", ".join(chosen), NAMES)
    assert ", ".join(found) == ", ".join(chosen)
    assert {*found} <= {*NAMES}


@pytest.mark.parametrize("text", ["", "taste", "price, taste", "price,size", ", price", "price, "])
def test_what_is_not_made_of_descriptors_has_none(text):
    assert descriptors_of(text, NAMES) == []


def test_close_negatives_are_asked_about_in_the_place_of_others():
    found = by_name(tried())
    assert found["L0:0"].close == CLOSE_TO["L0:0"][:4]  # as many as are active
    assert (found["L3:1"].close, found["L0:2"].close) == ([65], [])
    trial, texts = found["L0:0"], [f"text {i}" for i in range(120)]
    assert trial.shown_to("detection_close") == trial.active + trial.close
    assert trial.shown_to("detection") == trial.rows
    prompts = prompts_of("detection_close", [trial], texts)
    asked = [prompt.sentence for prompt in prompts[:: len(trial.descriptions)]]
    assert asked == [texts[row] for row in trial.active + trial.close]
    of_active = len(trial.active) * len(trial.descriptions)
    assert prompts[:of_active] == prompts_of("detection", [trial], texts)[:of_active]
