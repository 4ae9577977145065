"""The page of two models in a real browser, with a hostile review and descriptor in it."""

import hashlib
import re
from base64 import b64encode

import numpy as np
import pytest
from planted import HOSTILE, HOSTILE_REVIEW, TOPICS
from test_explorer import CHROMIUM, playwright, visiting
from two_runs import moved, run_in

import descry
from descry.two_models.contents import write

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
PLACE = len(TOPICS) - 1  # the neuron of the hostile topic


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")

    def change(data):
        noise = np.random.default_rng(1).normal(size=data.shape)
        return moved({PLACE: 6, 6: PLACE})(data) + 0.1 * noise

    runs = run_in(folder / "first"), run_in(folder / "second", change)
    write(descry.diff(*runs, draws=50), folder / "page.html")
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def tab(browser, page):
    """A visitor, who must find nothing to complain of and be sent nowhere else."""
    with visiting(browser, page.parent.as_uri()) as visitor:

        def go(place=""):
            visitor.tab.goto("about:blank")
            visitor.tab.goto(f"{page.as_uri()}{place}")
            return visitor.wait(place)

        visitor.go = go
        yield visitor
    assert visitor.complaints == []
    assert visitor.outside() == []


def test_the_page_says_what_is_shared_and_what_moved(tab):
    shown = tab.go()
    assert shown.text_content("h1") == "bert (first) → bert (second)"
    text = tab.text()
    for words in ("60 sentences", "16 pairs", "other half", "by chance", "Layers", "Descriptors"):
        assert words in text
    assert "NaN" not in text and "undefined" not in text
    names = shown.locator("section[aria-labelledby=neurons] tbody th").all_inner_texts()
    assert {f"L0:{PLACE}", "L0:6"} == {*names[:2]}  # what changed most surely comes first
    assert shown.locator(".gauge").count() == 5


def test_a_neuron_has_an_address_of_its_own_and_strangers_texts_are_text(tab):
    shown = tab.go(f"#L0:{PLACE}")
    assert shown.text_content("#neuron") == f"L0:{PLACE} → L0:{PLACE}"
    details = shown.inner_text("#details")
    assert "Only of the first: 5" in details and "both halves show it" in details
    assert HOSTILE.replace("\x1b", "") in details.replace("\x1b", "")
    quotes = shown.locator("blockquote").all_text_contents()
    assert HOSTILE_REVIEW in quotes
    assert shown.locator("main script, main img, main image").count() == 0
    shown.click("section[aria-labelledby=neurons] tbody a >> text=L0:6")
    tab.wait("#L0:6")
    assert shown.text_content("#neuron").startswith("L0:6")


def test_neurons_are_found_by_what_happened_to_them_and_by_words(tab):
    shown = tab.go()
    rows = shown.locator("section[aria-labelledby=neurons] tbody tr")
    shown.select_option("select[name=kind]", "lost")
    assert 1 <= rows.count() < 16
    shown.select_option("select[name=kind]", "")
    shown.fill("input[name=q]", "l0:3")
    assert rows.count() == 1
    shown.fill("input[name=q]", "battery")
    assert rows.count() >= 1
    assert all("Battery" in text for text in rows.all_inner_texts())


def test_its_policy_lets_run_what_it_has_the_hash_of_and_nothing_else(tab, page):
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'content="(default-src [^"]+)"', text)[1]
    assert "unsafe" not in policy and "http" not in policy
    for kind, tag in (("script", "script"), ("style", "style")):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    shown = tab.go()
    shown.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); }"
    )
    assert shown.evaluate("() => window.ran") is None
    assert "Content Security Policy" in tab.complaints.pop()


def test_it_reads_well_on_a_phone(browser, page):
    with visiting(browser, page.parent.as_uri(), is_mobile=True) as visitor:
        visitor.tab.set_viewport_size({"width": 390, "height": 800})
        visitor.tab.goto(page.as_uri())
        visitor.wait("")
        wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert visitor.tab.evaluate(wide) <= 0
    assert visitor.complaints == []
