"""Annotators that stand in for a model: they say what they are told to, and remember prompts."""

from descry.annotators.base import NO_FRAME, Answer, Identity


class Scripted:
    """An annotator that says what it is told to.

    Attributes:
        asked: the prompts that it answered, in that order.
    """

    identity = Identity("scripted", "toy/scripted", "0", "float32", "{}")
    frame = NO_FRAME
    server = None
    price = None
    packages = ()
    quantization = None

    def __init__(self, said=None, *, group=2, order=sorted, **other):
        """
        Args:
            said: responses by sentence, without which a sentence is its answer; or a function of
                the prompt.
            group: answers that come together.
            order: of the rows that are wanted.
            other: identity, frame, server, price or packages.
        """
        table = said or {}
        self.said = (
            said
            if callable(said)
            else lambda prompt: table.get(prompt.sentence, {"text": prompt.sentence})
        )
        self.group, self.order, self.asked = group, order, []
        vars(self).update(other)

    @property
    def sentences(self):
        return [prompt.sentence for prompt in self.asked]

    def answer(self, prompts, wanted):
        rows = list(self.order(wanted))
        for start in range(0, len(rows), self.group):
            yield [(row, self._said(prompts[row])) for row in rows[start : start + self.group]]

    def _said(self, prompt):
        self.asked.append(prompt)
        found = self.said(prompt)
        return found if isinstance(found, Answer) else Answer(found)


class Mute(Scripted):
    """An annotator that must not be asked."""

    def answer(self, prompts, wanted):
        raise AssertionError(f"asked for {[prompts[row] for row in wanted]}")


class Absent(Mute):
    """An annotator whose model is not even here."""

    @property
    def frame(self):
        raise AssertionError("the tokenizer was loaded")
