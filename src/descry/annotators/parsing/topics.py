"""The topics in an answer to p1, whatever shape its list has.

The shape decides: JSON is read as JSON, a list with marks (numbers, bullets, headings) by its
marks, all else as items between commas or on lines. What stands around a list is passed over;
prose is no list. A topic of its own answer, `phrase: why`, is what stands before.
"""

import html
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from descry.annotators.parsing.topics_json import OTHER_JSON, PART, json_items
from descry.annotators.parsing.unwrap import (
    UnparsableError,
    begun,
    dedented,
    json_values,
    refuses,
    unwrapped,
)
from descry.io.hashing import JSON


class Topics(NamedTuple):
    """What an answer to p1 names.

    Attributes:
        phrases: the raw descriptors; none where the answer says that there is no topic.
        left_out: phrases that were too long, or explanations.
    """

    phrases: list[str]
    left_out: int


class _Items(NamedTuple):
    """The items of a list as they stand.

    Attributes:
        loose: whether they are words between commas, as prose may have them too.
    """

    texts: Sequence[str]
    loose: bool = False


_NO_TOPICS = _Items([])  # the answer says that there are none


def parse_topics(response: JSON, max_descriptors: int, max_words: int) -> list[str]:
    """The raw descriptors in a response to p1; as `read_topics`."""
    return read_topics(response, max_descriptors, max_words).phrases


def read_topics(response: JSON, max_descriptors: int, max_words: int) -> Topics:
    """The raw descriptors in a response to p1: short lower-case phrases, each once, in order.

    "None" and the like are an answer without topics. Phrases of more than `max_words` words are
    left out; the first `max_descriptors` are kept.

    Raises:
        UnparsableError: a refusal, prose, cut off, or nothing usable in it.
    """
    text, cut_off = begun(response)
    if cut_off:
        raise UnparsableError(cut_off)
    if not text:
        raise UnparsableError("empty answer")
    items = _items(text, max_words)
    heads = (_head(" ".join(_HIDDEN.sub("", _plain(item)).split())) for item in items.texts)
    found = [phrase for head in heads for part in _parts(head) if (phrase := clean(part))]
    named = [phrase for phrase in found if not _NONE.fullmatch(phrase)]
    if named and set(named) <= _SORRY:
        return Topics([], 0)
    labels = {(found[1] or found[2]).lower() for found in _AS_LABEL.finditer(_plain(text))}
    if any(map(_FRAME.fullmatch, named)) or labels & set(named):
        raise UnparsableError("more than a list of topics")
    usable = [phrase for phrase in named if _usable(phrase)]
    clauses = [phrase for phrase in usable if _CLAUSE.search(phrase)]
    short = [p for p in usable if p not in clauses and len(p.split()) <= max_words]
    phrases, left_out = list(dict.fromkeys(short)), len(usable) - len(short)
    if items.loose and (clauses or (left_out > 0 and left_out >= len(phrases))):
        raise UnparsableError(_PROSE)
    if left_out and not phrases:
        raise UnparsableError(f"no phrase of at most {max_words} words")
    if items is not _NO_TOPICS and not phrases and (named or not found):
        raise UnparsableError("no topic in it")
    return Topics(phrases[:max_descriptors], left_out)


_PROSE = "prose, not a list"
# What stands around a list: where it is among the topics, so may other things be.
_FRAME = re.compile(
    r"(?:total|number of|primary|secondary|main|other|key) (?:topics?|concepts?|themes?|keywords?)"
    r"|(?:topic|concept|theme|keyword|descriptor) ?\d+|(?:topics|concepts|keywords)[ =].+"
    r"|\d+ (?:topics?|concepts?|themes?)|feel free .*|is there anything else.*|xml version.*"
    r"|(?:extract|get|list)_\w+"
)
# Words that label a part of an answer, where they stand as a label: alone they may be topics.
_AS_LABEL = re.compile(
    rf"(?im)^(?:[-*•\s]{{0,9}}({PART})\s{{0,3}}(?::|=|[-–]>?\s)|#[#\s]{{0,9}}({PART})\s*$)"
)
_SORRY = {"sorry", "unknown", "undefined", "nan"}


# Phrases

# No part of a phrase: markup, and what results and the cache cannot hold.
_UNUSABLE = re.compile(
    r"[<>{}\[\]`*#|\\~^\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]|\bhttps?:|&#?\w+;"
    r"|^(?:yes|no|true|false|sure|ok|okay)$"  # a reply to another question
)
_AND = re.compile(r"^(?:and|or|&)\s+(?=\S)", re.IGNORECASE)
_HIDDEN = re.compile(r"[\u200b\u200e\u200f\u2060\ufeff\ufe0f]")
_ROUNDS = 6  # of marks within marks
# A sentence, or a part of one: no topic has these words.
_CLAUSE = re.compile(
    r"^(?:i|we|they|he|she|you|which|who|because|there|however|overall)\s"
    r"|^(?:i['’](?:d|m|ve|ll)|it['’]s|that['’]s|they['’]re|possibly|maybe|perhaps|probably)\s"
    r"|\s(?:is|are|was|were|am|isn['’]t|aren['’]t|wasn['’]t|has|had|does|did|doesn['’]t|don['’]t"
    r"|didn['’]t|it['’]s|that['’]s)\b|\s(?:it|them)$|^in (?:this|the) (?:sentence|review|text)\b"
    r"|^(?:the|this|that|a)\s(?:sentence|review|reviewer|customer|user|text|author|writer|speaker"
    r"|buyer|passage|statement|person)\s\w+(?:s|ed)\b"
)


def clean(item: str) -> str:
    """An item of a list as a phrase: lower case, without the marks at its ends."""
    phrase = item.lower()
    for _ in range(_ROUNDS):
        before = phrase
        phrase = " ".join(_HIDDEN.sub("", phrase).split())
        start = next((i for i, letter in enumerate(phrase) if letter.isalnum()), len(phrase))
        ends = range(len(phrase), start, -1)
        phrase = phrase[start : next((end for end in ends if _may_end(phrase[end - 1])), start)]
        phrase = _AND.sub("", _KINDS["number"].sub("", phrase))
        if phrase == before:
            return phrase
    return ""  # marks within marks


def _may_end(letter: str) -> bool:
    # Vowel signs of Indian scripts are marks of their own.
    return letter.isalnum() or letter in "+%" or unicodedata.category(letter)[0] == "M"


def _usable(phrase: str) -> bool:
    balanced = phrase.count("(") == phrase.count(")")
    return balanced and any(map(str.isalpha, phrase)) and not _UNUSABLE.search(phrase)


def clean_concept(concept: str) -> bool:
    """Whether a concept written by hand is a phrase as this reads one."""
    phrase = clean(concept)
    same = phrase == " ".join(concept.lower().split())
    listed = _kind(concept) or _SEPARATORS.search(concept)
    return same and _usable(phrase) and not _NONE.fullmatch(phrase) and not listed


# No topics

_OF = r"(?:topics?|concepts?|descriptors?|key\s?words?|key\s?phrases?|themes?|aspects?)"
_AFTER = rf" {_OF}(?: [\w,'-]+){{0,12}}"
_NONE = re.compile(
    r"(?:the )?(?:none|n[/.]?a|null|nothing|empty|not applicable|no topics?"
    r"|etc|(?:and )?so on|keine?s?|aucune?|ning[uú]no|nessuno|nenhum|なし|無し|該当なし"
    r"|没有|沒有|无|無|없음|нет)"
    r"|(?:keine themen|no hay temas|ning[uú]n tema|aucun sujet|nessun tema|nenhum tema|нет тем)"
    r"(?: \w+)?|(?:没有|沒有|无|無)(?:主题|主題|话题)|특별한 주제 없음|주제 없음"
    r"|(?:none|nothing)(?: \w+){1,6}|(?:it (?:seems|appears) (?:that )?)?"
    r"(?:(?:there|here) (?:are|were|is|was) |it has |i (?:see|find|found) )?"
    rf"(?:no|not any|none of the|zero)(?: [\w-]+){{0,4}}{_AFTER}"
    r"|(?:can ?not (?:identify|find|see)|there (?:is|are)n['’]t|i (?:can ?not|can['’]t|do not"
    r"|don['’]t|did not|could not) (?:see|find|identify))"
    rf" any(?: [\w-]+){{0,3}}{_AFTER}|(?:the|this) (?:sentence|review|text)(?: \w+){{0,2}}"
    rf" (?:not|n['’]t|no)(?: [\w,'-]+){{0,4}}{_AFTER}"
)
# Several labels in one line: which of them the topics stand behind is not clear.
_LABELS = re.compile(
    rf"(?i)\b{_OF}(?: ?\d+)?\s{{0,3}}:[^\n]{{0,200}}?[,;][^\n]{{0,200}}?\b{_OF}(?: ?\d+)?\s{{0,3}}:"
)
_REPLY = re.compile(r"\A\s*A:\s*")
_EMPTY_LIST = re.compile(r"\[\s*\][\s.]*")


# Texts

_TAGS = re.compile(r"<(/?)([A-Za-z][\w-]{0,30})(?:\s[^<>]{0,200})?/?>")
_INLINE = {"b", "i", "em", "strong", "u", "span", "code", "mark", "a", "small", "sup", "sub"}
# Numbers in circles, and the marks of other scripts.
_MARKS = {chr(0x2460 + i): f" {i + 1}. " for i in range(20)}
_MARKS |= {chr(0x2776 + i): f" {i + 1}. " for i in range(10)}
_MARKS |= {"：": ": ", "（": " (", "）": ") ", "「": '"', "」": '" ', "。": ". ", "･": "・"}
_PLAIN_MARKS = str.maketrans(_MARKS | dict.fromkeys("؛፣।、،﹑", ", "))
_KEYCAP = re.compile(r"(\d)\ufe0f?\u20e3")
_BOLD_LINE = re.compile(r"(?m)(?:^|(?<=: ))[ \t]*(\*\*|__)([^*_\n]{1,200})\1[ \t]*:?[ \t]*$")
_EMPHASIS = re.compile(r"\*\*+|__+|`+|(?<=\s)[*_](?=[^\W_])|^[*_](?=[^\W_][^*_\n]*[*_])", re.M)
_TABS = re.compile(r"(?<=[^\s\t])\t+(?=\S)")
_RULE = re.compile(r"(?m)^[ \t]*[-=_*~]{3,}[ \t]*$")


def _items(text: str, max_words: int) -> _Items:
    """The items of an unwrapped answer.

    Raises:
        UnparsableError: it is not of any of the known shapes.
    """
    values = json_values(text)
    if values:
        value = values if len(values) > 1 else values[0]
        if isinstance(value, str):
            return _items(unwrapped(value), max_words) if value.strip() else _NO_TOPICS
        named = [item for item in json_items(value) if item.strip()]
        told = [
            text
            for item in named
            for text in (_items(item, max_words).texts if "\n" in item.strip() else [item])
        ]
        return _Items(told) if told else _NO_TOPICS
    text = _REPLY.sub("", text)
    if clean(text) == "nil":  # among others it may be a word of the sentence
        return _NO_TOPICS
    if text.lower() in ("true", "false"):
        raise UnparsableError(OTHER_JSON)
    if _NONE.fullmatch(clean(text)):
        return _NO_TOPICS
    if refuses(text):
        raise UnparsableError("refusal")
    if _LABELS.search(text):
        raise UnparsableError("more than a list of topics")
    body = _behind_labels(_REMARKS.split(_own(_plain(text)), maxsplit=1)[0])
    if _NONE.fullmatch(clean(body)) or _EMPTY_LIST.fullmatch(body):
        return _NO_TOPICS
    marked = _marked([line for line in body.split("\n") if line.strip()])
    heads = [_head(" ".join(item.split())) for item in marked]
    if len(heads) == 1:
        return _Items(_parts(heads[0], ands=True))
    items = [_SENTENCE_END.split(head, 1)[0] for head in heads]
    # The topic of an item that is long comes first.
    parts = (_parts(item)[: 1 if len(item.split()) > max_words else None] for item in items)
    return _Items([part for some in parts for part in some]) if marked else _unmarked(body)


# A heading behind which no topics stand any more.
_REMARKS = re.compile(
    r"(?im)(?<=\S)\s{0,9}\n[#*\s]{0,9}"
    r"(?:explanations?|reasoning|rationale|justification|analysis|notes?)[ \t]*:?[ \t]*$"
)
_WIDE_COLON = re.compile(r"(?<=[^\x00-\x7f]):(?=[^\x00-\x7f\s])")  # of scripts without blanks
_ASIDE = re.compile(
    r"(?is)<\?xml[^<>]{0,200}\?>|<(explanation|reasoning|rationale|analysis|inner_monologue"
    r"|scratchpad|reflection|thoughts?)>.{0,2000}?</\1>"
)


def _plain(text: str) -> str:
    """Without HTML, asides and emphasis; a bold line is a heading."""
    text = _WIDE_COLON.sub(": ", _ASIDE.sub("\n", text))
    text = _TAGS.sub(lambda tag: "" if tag[2].lower() in _INLINE else "\n", text)
    text = html.unescape(_KEYCAP.sub(r" \1. ", text.translate(_PLAIN_MARKS)))
    text = _BOLD_LINE.sub(r"## \2", text)
    return _RULE.sub("", _EMPHASIS.sub("", _TABS.sub(", ", text))).replace("\t", " ")


# Another question, or the one that was asked, told again.
_ECHO = re.compile(r"(?im:^[ \t]*(?:sentence|review|input|text)\s{0,3}\d{0,3} *:)|\bSentence:")


def _own(text: str) -> str:
    """The answer's own list: before another question, or behind its own one told again."""
    if text.lstrip().startswith(("Identify at most", "For example,")):
        raise UnparsableError("retells the prompt")
    echoes = list(_ECHO.finditer(text))
    if not echoes:
        return text
    first, *others = echoes
    before = text[: first.start()].strip()
    if before and not _PLEASANTRY.fullmatch(before):
        return before
    told = text[first.end() : others[0].start() if others else None]
    label = re.search(rf"(?i)\b(?:expected\s+)?{_OF}\s{{0,3}}:", told)
    if label is None:
        raise UnparsableError("retells the prompt")
    return told[label.start() :]


_PLEASANTRY = re.compile(
    r"\s*(?:(?:sure(?: thing)?|certainly|of course|okay|ok|absolutely|no problem|got it|alright)"
    r"(?:[!.:]+|,|\s*\n)\s*)+",
    re.IGNORECASE,
)
_WEAK = r"answers?|output|response|results?|list|tags|labels|categories|entities|subjects|phrases"
_LABEL = re.compile(rf"\b(?:{_OF}|{_WEAK})\b|\b(?:here|following|below|sure|certainly)\b", re.I)
_NAME = re.compile(rf"\b(?:{_OF}|final answer|answer)\b", re.I)
_BARE_LABEL = re.compile(rf"(?:[\w'’-]+ ){{0,5}}{_OF}(?: (?:in|of|for|from)\b[^,;]*)?", re.I)
_COPULA = re.compile(
    rf"[^,;:\n]{{0,80}}\b(?:{_OF}|answer)\b[^,;:\n]{{0,60}}?\b(?:are|is|were|includes?)\s+", re.I
)
_SAME_LABEL = re.compile(rf"(?im)^[ \t]*(?:[\w-]+ )?{_OF}[ ]?:")  # of each topic
_LABEL_WORDS = 14  # of a line that introduces a list, at the most


def _behind_labels(text: str) -> str:
    """What follows pleasantries and "Topics:"-like labels; a label may stand behind prose."""
    text = text.strip()
    if len(_SAME_LABEL.findall(text)) > 1:
        return _SAME_LABEL.sub("- ", text)
    if text[:1].isupper() and (polite := _PLEASANTRY.match(text)):
        text = dedented(text[polite.end() :])
    for start in [0, *(found.end() for found in re.finditer(r"\n\s*", text))]:
        if label := _label_at(text[start:], weak=start == 0):
            before = [line for line in text[:start].split("\n") if line.strip()]
            # No item of a list may stand before: it must be prose.
            if all(line.rstrip()[-1] in ".:!?" and not _kind(line) for line in before):
                text = dedented(text[start + label :])
                return dedented(text[_label_at(text, weak=False) :])
    return text


def _label_at(text: str, *, weak: bool) -> int:
    """The length of a label at the beginning, 0 where there is none."""
    line = text.split("\n", 1)[0]
    heading = re.match(r"#{1,6} *", line)
    skipped = heading.end() if heading else 0
    if _kind(line) and not heading:
        return 0
    bare = line[skipped:]
    before, colon, _ = bare.partition(":")
    if colon and len(before.split()) <= _LABEL_WORDS and (_LABEL if weak else _NAME).search(before):
        return skipped + len(before) + 1
    if copula := _COPULA.match(bare):
        return skipped + copula.end()
    return len(line) if _BARE_LABEL.fullmatch(bare.strip(" .")) and "\n" in text else 0


# Lists with marks

_DOTS = "•‣▪▫●◦○・►▶▸➤➢✓✔☑■□★☆✅◆◇∙⁃"
_BULLETS = re.compile(rf"\s*[·{_DOTS}]\s*")
_KINDS = {
    "number": re.compile(
        rf"^\s*(?:(?:(?:{_OF}|no\.?)\s?)?#?\s?(?:\(\d{{1,3}}\)|\[\d{{1,3}}\]"
        r"|\d{1,3}(?:\s?[.):\]]|\s?[-–—](?=\s)))[.):]?|#\d{1,3}(?=\s))\s*(?!\d)",
        re.IGNORECASE,
    ),
    "heading": re.compile(r"^\s*#{1,6}\s*(?=\S)"),
    "letter": re.compile(
        r"^\s*(?:\((?:[a-z]|[ivx]{1,5})\)\s*|(?:[a-z]|[ivx]{1,5})[.)]\s+)", re.IGNORECASE
    ),
    "bullet": re.compile(rf"^\s*(?:[-*+–—](?!\d)|[·→»{_DOTS}])+\s*"),
}
_CHECKBOX = re.compile(r"^\[[ xX]\]\s*")
_ENUMERATORS = re.compile(
    r"(?:^|(?<=[\s,;]))[(\[]?(\d{1,3}|[A-Za-z]|[ivxIVX]{2,5})(?:[.)\]]:?|:(?=\s))(?!\d)"
)
_ROMAN = ["i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"]
_DASHES = re.compile(r"\s+[-–—*]\s+")


class _Marked(NamedTuple):
    kind: str
    indent: int
    text: str


def _kind(line: str) -> str | None:
    return next((kind for kind, mark in _KINDS.items() if mark.match(line)), None)


def _marked(lines: list[str]) -> list[str]:
    """The items of a list: lines with the kind of mark, and the indent, of the first one."""
    found = [mark for line in lines for part in _unrolled(line) if (mark := _mark_of(part))]
    found = [mark for mark in found if not (mark.kind == "heading" and _is_label(mark.text))]
    if not found:
        return []
    if len(found) == 1 and found[0].kind == "bullet":
        return _DASHES.split(found[0].text)
    headings = sum(mark.kind == "heading" for mark in found)
    first, *others = found
    if first.kind == "heading" and headings == 1 and others:
        first = others[0]  # behind a title
    kept = (m for m in found if m.kind == first.kind and m.indent <= first.indent + 1)
    return [mark.text for mark in kept]


def _is_label(text: str) -> bool:
    bare = text.strip(" :.")
    return (_BARE_LABEL.fullmatch(bare) or re.fullmatch(_GROUPS, bare, re.I)) is not None


def _mark_of(line: str) -> _Marked | None:
    kind = _kind(line)
    if kind is None:
        return None
    rest = _CHECKBOX.sub("", _KINDS[kind].sub("", line, count=1))
    inner = _kind(rest)
    if inner in ("number", "letter", "bullet") and kind != inner:
        kind = inner if kind == "heading" else kind
        rest = _KINDS[inner].sub("", rest, count=1)
    return _Marked(kind, len(line) - len(line.lstrip()), rest) if rest.strip() else None


def _unrolled(line: str) -> list[str]:
    """The items of a line that begins with the first of several enumerators or bullets."""
    body = line.strip()
    if bullet := _BULLETS.match(body):
        return [f"{bullet[0].strip()} {part}" for part in _BULLETS.split(body) if part.strip()]
    marks = list(_ENUMERATORS.finditer(body))
    if not marks or marks[0].start() or marks[0][1].lower() not in ("1", "a", "i"):
        return [line]
    starts, wanted = [0], _following(marks[0][1])
    for found in marks[1:]:
        if found[1] == wanted:
            starts.append(found.start())
            wanted = _following(wanted)
    return [body[a:b] for a, b in pairwise([*starts, len(body)])] if starts[1:] else [line]


def _following(mark: str) -> str:
    if mark.isdigit():
        return str(int(mark) + 1)
    if mark.lower() in _ROMAN[:-1]:
        after = _ROMAN[_ROMAN.index(mark.lower()) + 1]
        return after if mark.islower() else after.upper()
    return chr(ord(mark[-1]) + 1)


# Lists without

_SEPARATORS = re.compile(
    rf"[,;|¦‖]|(?<=[\"”»'’])\s(?:(?:and|&)\s)?(?=[\"“«„‘'])|\s*[{_DOTS}]\s*|\s·\s"
)
_SLASHES = re.compile(r"\s/\s")
_EXPLAINED = re.compile(r"\s?:(?=\s|$)|\s[-–—]+\s|\s?—\s?|\s[(\[]|\s?(?:->|=>|→|⇒)\s?|\s=\s")
_SENTENCE_END = re.compile(
    r"(?<=[\w)\]\"”'’])(?<!\b[DdMmSsJj]r)(?<!\b[Mm]rs)(?<!\b[Mm]s)(?<!\b[Ss]t)(?<!\b[Vv]s)(?<!\b\w)"
    r"[.!?]\s+(?=[^\Wa-z_]|[\"“(\[])"
)
_AFTERWORD = re.compile(
    r"(?im)^[ \t(*]*(?:note|explanations?|reason|reasoning|rationale|justification|these|because"
    r"|in summary|let me know|i hope|hope this|the sentence|the review|this)\b"
)
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")
_LAST_AND = re.compile(r"\s(?:and|&)\s", re.IGNORECASE)
_LABELLED = re.compile(r"\w\s?:\s")
_FIRSTLY = re.compile(r"(?:first|firstly|overall|to begin with),", re.IGNORECASE)
_SHORT = 3  # words on each side of such an "and"
_REMARK = re.compile(r" \([^()\n]{0,200}\)")  # with commas of its own
_GROUPS = r"(?:pros?|cons?|positives?|negatives?|strengths?|weaknesses|advantages|disadvantages)"
_GROUP = re.compile(rf"(?im)^\s*{_GROUPS}(?: {_OF})?\s?:|[;,]\s?(?:sentiment|polarity)\s?:[^,;\n]*")
_HASHTAGS = re.compile(r"(?:#[^\W\d]\w*[\s,]*)+")


def _head(item: str) -> str:
    """An item without what is said about it: the topic stands before."""
    return _EXPLAINED.split(item.strip("([ \"'“‘"), 1)[0]


def _parts(text: str, *, ands: bool = False) -> list[str]:
    """The items between commas, and where asked for between the last two's "and"."""
    parts = [part for part in _SEPARATORS.split(text) if part.strip()]
    if ands and len(parts) > 1 and not _AND.match(parts[-1].strip()):
        last = _LAST_AND.split(parts[-1], 1)
        if all(len(part.split()) <= _SHORT for part in last):
            parts[-1:] = last
    return parts


def _unmarked(text: str) -> _Items:
    """The items of a text without marks: between commas, or a line each."""
    if _HASHTAGS.fullmatch(text):
        return _Items(text.split())
    if text.lstrip().startswith("|") and "\n" in text:
        return _Items(_column(text))
    if afterword := _AFTERWORD.search(text, 1):
        text = text[: afterword.start()]
    inner = [part for part in _BRACKETED.findall(text) if _SEPARATORS.search(part)]
    if inner:
        return _Items([part for within in inner for part in _parts(within)])
    if text.startswith("["):
        text = text.replace("[", "").replace("]", "")
    text = _GROUP.sub("", _REMARK.sub("", text))
    lines = _first_block(text.lstrip("[("))
    if len(lines) > 1 and not any(_SEPARATORS.search(_head(line)) for line in lines):
        numbers = [line.split()[0] for line in lines]
        if numbers == [str(i + 1) for i in range(len(lines))]:
            lines = [line.split(maxsplit=1)[-1] for line in lines]
        return _Items([_head(line) for line in lines])
    body = " ".join(lines)
    head, *rest = _SENTENCE_END.split(body, 1)
    if rest and _FIRSTLY.match(head):
        raise UnparsableError(_PROSE)
    parts = _parts(head, ands=True)
    explained = [bool(_LABELLED.search(part)) for part in parts]
    if len(parts) > 1 and explained[0] and not any(explained[1:]):
        raise UnparsableError("a list under a name that is not known")
    if len(parts) == 1:
        if rest:
            raise UnparsableError(_PROSE)
        dashed, slashed = _DASHES.split(head), _SLASHES.split(head)
        if max(len(dashed), len(slashed)) > 2:
            return _Items(dashed if len(dashed) > 2 else slashed, loose=True)
    return _Items([_head(part) for part in parts], loose=True)


def _first_block(text: str) -> list[str]:
    """The lines of a list: all of them where each is an item, else until a blank line."""
    blocks = [block.strip() for block in re.split(r"\n[ ]*\n\s*", text.strip())]
    if not any(_SEPARATORS.search(_head(line)) for line in blocks[0].split("\n")):
        return [line.strip() for block in blocks for line in block.split("\n")]
    size = 1
    while size < len(blocks) and blocks[size - 1].endswith((",", ";")):
        size += 1
    return [line.strip() + "," for block in blocks[:size] for line in block.split("\n")]


def _column(table: str) -> list[str]:
    """The column of a Markdown table that has the topics: the one called so, else the only one."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in table.split("\n")
        if re.search(r"[^|\s:-]", line)
    ]
    if not rows:
        return []
    called = [i for i, cell in enumerate(rows[0]) if _is_label(cell)]
    if called:
        return [row[called[0]] for row in rows[1:] if called[0] < len(row)]
    if max(map(len, rows)) > 1 and len(rows) > 1:
        raise UnparsableError("a table without a column of topics")
    return [cell for row in rows for cell in row]
