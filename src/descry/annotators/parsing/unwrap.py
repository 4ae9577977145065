"""What stands around an answer and is no part of it: thoughts, marks of turns, fences, JSON.

Every annotator's answers in words come through here first, whatever the question was. All of it is
linear in the answer's length.
"""

import json
import re
from contextlib import suppress
from functools import lru_cache
from textwrap import dedent

from descry.io.hashing import JSON

CUT_OFF = "cut off"


class UnparsableError(ValueError):
    """An answer that is not of the form its prompt asks for; the text says why."""


def begun(response: JSON) -> tuple[str, str | None]:
    """Return the words of a response, {"text", "finish"}, and CUT_OFF if they may continue.

    Raises:
        UnparsableError: there are none, or the annotator did not end them itself.
    """
    match response:
        case {"text": str(text), "finish": "stop"}:
            return unwrapped(text), None
        case {"text": str(text), "finish": "length"}:
            return unwrapped(text), CUT_OFF
        case {"text": str(), "finish": str(finish)}:
            refused = finish == "content_filter"
            raise UnparsableError("refusal" if refused else f"finish reason {finish}")
        case _:
            raise UnparsableError("no text")


_REFUSAL = re.compile(
    r"\b(?:i['’]?m|i am) (?:really |very |so )?(?:sorry|unable|not able|not allowed)\b"
    r"|\b(?:i|we) (?:can ?not|can['’]t|won['’]t|am unable to|could not|couldn['’]t)\b"
    r"|\bas an? (?:ai|(?:large )?language model|assistant)\b"
    r"|\b(?:can ?not|can['’]t|unable to|not able to) (?:assist|help|comply|fulfil|provide|process)"
    r"|es tut mir leid|ich kann (?:dir|ihnen|das)? ?nicht|抱歉|无法|無法|申し訳|できません|죄송"
    r"|lo siento|no puedo|désolée?|je ne peux pas|mi dispiace|non posso|извините|не могу"
    r"|\bagainst (?:my|our|the) (?:guidelines|polic)|\bsorry, (?:but )?(?:i|we|this|that)\b",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether the words are those of a model that will not answer."""
    return _REFUSAL.search(text) is not None


@lru_cache(maxsize=64)  # the same few words answer most of millions of questions
def unwrapped(text: str) -> str:
    """The answer itself, without the thoughts, marks and fences around it.

    Raises:
        UnparsableError: a think block that is never closed.
    """
    text = _WORD_PIECE.sub("", _BYTES.sub(" ", text.translate(_RAW_MARKS)))
    for step in (_without_thoughts, _first_turn, _within_tags, _within_fences, _without_latex):
        text = step(text)
    return dedented(text)


def dedented(text: str) -> str:
    """A text whose first line keeps its place among the others' indents."""
    return dedent(text.strip("\n")).strip()


# Tokens as tokenizers write them: byte-level BPE, SentencePiece; and fullwidth forms.
_RAW_MARKS = {ord("Ġ"): " ", ord("Ċ"): "\n", ord("ĉ"): " ", ord("▁"): " ", 0x3000: " "}
_RAW_MARKS |= {0xFF01 + i: chr(0x21 + i) for i in range(94)}
_BYTES = re.compile(r"<0x(?!0[AaDd]>)[0-9A-Fa-f]{2}>")
_WORD_PIECE = re.compile(r"(?<=\w) ##(?=\w)")

_THOUGHTS = "think|thought|reason|reflection|reflect|analysis|scratchpad|cot"
# Of a block of thoughts, in any of the models' own brackets: <think>, [/THINK], <|end_of_thought|>.
_THOUGHT = re.compile(
    r"(?:<[|｜]?|◁)\s{0,3}(?P<close>/|end_(?:of_)?)?(?:(?:begin|start)_(?:of_)?)?(?:\w{1,9}:)?"
    rf"(?:{_THOUGHTS})(?:ing|s)?(?:\s[^<>▷]{{0,80}})?[|｜]?(?:/?>|▷)"
    r"|(?-i:\[(?P<slash>/)?THINK(?:ING)?\])",
    re.IGNORECASE,
)
# The channels of gpt-oss: the answer is in the last one that is called final.
_CHANNEL = re.compile(r"<\|channel\|>\s{0,3}(\w{1,20})[^<>]{0,40}(?:<\|constrain\|>\w{0,20})?")
_MESSAGE = re.compile(r"\s{0,3}<\|message\|>")
# The same where the server has taken the marks out.
_BARE_CHANNEL = re.compile(r"\s*analysis(?=[A-Z])")
_BARE_FINAL = "assistantfinal"


def _without_thoughts(text: str) -> str:
    """Without blocks of thoughts; of one whose beginning is missing, all until its end goes."""
    text = _BREAKS.sub("\n", text)
    if channels := list(_CHANNEL.finditer(text)):
        last = channels[-1]
        message = _MESSAGE.match(text, last.end())
        if last[1].lower() != "final" or message is None:
            raise UnparsableError("unclosed think block")
        text = text[message.end() :]
    elif _BARE_CHANNEL.match(text):
        _, found, text = text.rpartition(_BARE_FINAL)
        if not found:
            raise UnparsableError("unclosed think block")
    kept, start, thinking = list[str](), 0, False
    for mark in _THOUGHT.finditer(text):
        if mark["close"] or mark["slash"]:
            kept = kept if thinking else []  # only its end is there: all so far were thoughts
            start, thinking = mark.end(), False
        elif not thinking:
            kept.append(text[start : mark.start()])
            start, thinking = mark.end(), not mark[0].endswith("/>")
    if thinking:
        raise UnparsableError("unclosed think block")
    return "".join([*kept, text[start:]])


_BREAKS = re.compile(r"<0x0[AaDd]>|\r\n?|[\x0b\x0c\x85\u2028\u2029]")

# What ends or begins a text or a turn, in all kinds of models.
_MARK = re.compile(
    r"<[|｜][^<>|｜\n]{1,40}[|｜]>|</?s>|<(?:bos|eos|pad|eot|eod|eoa|sep|cls|end)>"
    r"|</?(?:start|end)_?of_?(?:turn|text|message|sentence)>|<endoftext>"
    r"|\[/?(?:INST|EOS|BOS|PAD|SEP|CLS|END|EOT)\]|<</?SYS>>",
    re.IGNORECASE,
)
_ROLE = re.compile(r"\s*(?:assistant|model|bot|ai|gpt|chatgpt|chatbot)\s*", re.IGNORECASE)
_NAMED = re.compile(
    r"\s*(?:###?\s*)?(?:assistant|bot|ai|gpt|chatgpt|chatbot)\s*:"
    r"|\s*###?\s*(?:response|assistant|answer|output)\b:?",
    re.IGNORECASE,
)
_NEXT_TURN = re.compile(
    r"\n[ \t]*(?:#{1,3} *)?(?:user|human|instruction|question|q) *:", re.IGNORECASE
)

# The conversation told again from its beginning.
_OTHERS_TURN = re.compile(
    r"\s*(?:<[^<>\n]{1,40}>\s*){0,4}(?:\[INST\]|<\|(?:user|system|human)\|>|"
    r"(?:user|system|human)\s{0,2}(?::|\n|<))",
    re.IGNORECASE,
)
_OWN_TURN = re.compile(
    r"\[/INST\]|<\|(?:assistant|model)\|>"
    r"|[\n>]\s{0,3}(?:assistant|model)\s{0,2}(?::|\n|<[^<>\n]{1,40}>)",
    re.IGNORECASE,
)


def _first_turn(text: str) -> str:
    """Return the first turn of a model that adds further turns, without the marks around it."""
    if _OTHERS_TURN.match(text):
        answer = _OWN_TURN.search(text)
        if answer is None:
            raise UnparsableError("no turn of its own")
        text = text[answer.end() :]
    start, marks = 0, list(_MARK.finditer(text))
    for mark in marks:
        between = text[start : mark.start()]
        if between.strip() and not _ROLE.fullmatch(between):
            text = text[: mark.start()]
            break
        start = mark.end()
    text = text[start:]
    if start and (role := _ROLE.match(text)) and text[: role.end()].endswith("\n"):
        text = text[role.end() :]
    if named := _NAMED.match(text):
        text = text[named.end() :]
    after = _NEXT_TURN.search(text.lstrip())
    return text.lstrip()[: after.start()] if after else text


_TAG = re.compile(r"<(final_answer|answer|output|response|final|result|solution)>", re.IGNORECASE)


def _within_tags(text: str) -> str:
    """What an answer has in <answer> or the like, where it has one."""
    if opening := _TAG.search(text):
        return re.split(rf"</{opening[1]}>", text[opening.end() :], flags=re.IGNORECASE)[0]
    return text


_FENCE = re.compile(r"```+|~~~+")
_LANGUAGES = "json5?|jsonl|yaml|text|txt|plaintext|plain|markdown|md|python|csv|xml|html"
_LANGUAGE = re.compile(rf"[ \t]*(?:[\w+-]+[ \t]*\n|(?:{_LANGUAGES})\b)", re.IGNORECASE)


def _within_fences(text: str) -> str:
    """What stands in code fences, where there are any."""
    fenced = _FENCE.split(text)[1::2]
    inner = [_LANGUAGE.sub("", part, count=1) if _LANGUAGE.match(part) else part for part in fenced]
    if any(part.strip() for part in inner):
        return "\n".join(inner)
    return _FENCE.sub("", text)


_LATEX = re.compile(r"\\(?:boxed|fbox|text\w{0,4}|math\w{0,4}|emph|underline)\s?\{([^{}\\]*)\}")


def _without_latex(text: str) -> str:
    r"""Without \boxed{} and its like, one within another."""
    for _ in range(3):
        text = _LATEX.sub(r"\1", text)
    return text


# JSON

_JSON_START = re.compile(r"""\{|\[\s{0,20}["'“‘{\[]""")
_QUOTED = re.compile(r"'((?:[^'\\\n]|\\.)*)'(?=\s{0,20}[,:\]}])")
_COMMA_AT_END = re.compile(r",(?=\s{0,20}[\]}])")
_DECODER = json.JSONDecoder()


def json_values(text: str) -> list[JSON]:
    """The JSON values in an answer, one after another; none where it is no JSON.

    Quotes as Python writes them, and a comma too many, are borne.

    Raises:
        UnparsableError: it looks like JSON, and cannot be read; or is cut off.
    """
    if text.startswith('"'):
        try:
            return [json.loads(text)]
        except (ValueError, RecursionError):
            return []
    start = _JSON_START.search(text)
    if start is None:
        return []
    body = text[start.start() :]
    for form in (str, _relaxed):
        with suppress(ValueError, RecursionError):
            return _decoded(form(body))
    # A list with loose quotes: ["Size", Fit].
    if "{" not in body and body.count("[") == body.count("]") == 1:
        return []
    raise UnparsableError("JSON that cannot be read")


def _decoded(text: str) -> list[JSON]:
    """The first value, and those that follow it on lines of their own."""
    values, end = list[JSON](), 0
    while text[end : end + 1] in ("{", "["):
        value, end = _DECODER.raw_decode(text, end)
        values.append(value)
        while text[end : end + 1].isspace() or text[end : end + 1] == ",":
            end += 1
    return values


def _relaxed(text: str) -> str:
    plain = text.translate({ord("“"): '"', ord("”"): '"', ord("‘"): "'", ord("’"): "'"})
    quoted = _QUOTED.sub(lambda found: json.dumps(found[1].replace("\\'", "'")), plain)
    return _COMMA_AT_END.sub("", quoted)
