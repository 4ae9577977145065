"""What `descry init` is told: the reviews, the target and the annotator."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from descry.errors import InputError, not_installed
from descry.models.checkpoints import MINILM, MINILM_COMMIT

EMBEDDED, SERVER, TRANSFORMERS, LLAMA_CPP = "embedded", "openai", "transformers", "llama_cpp"
KINDS = (EMBEDDED, SERVER, TRANSFORMERS, LLAMA_CPP)  # that answer both prompts, and fit options
_ENGINE = "xllamacpp"  # the package that runs llama.cpp
# What else a kind wants, as docs/annotators.md has it: params.yaml says what each is.
_REST: dict[str, dict[str, Any]] = {
    EMBEDDED: {},
    SERVER: {
        "dtype": "unknown",
        "max_new_tokens": 64,
        "concurrency": 8,
        "timeout": 120.0,
        "retries": 5,
        "price": None,
    },
    TRANSFORMERS: {
        "dtype": "float32",
        "device": "auto",
        "max_tokens": 512,
        "max_new_tokens": 64,
        "batch_tokens": 4096,
    },
    LLAMA_CPP: {"max_tokens": 512, "max_new_tokens": 64},
}


@dataclass(frozen=True)
class Choices:
    """A study that somebody wants.

    Attributes:
        folder: to be made.
        reviews: a file, or a folder of files; None: not said.
        text: names of the text column, the first that holds a text; none: the usual names.
        model: the target, by its name on the hub or its place.
        kind, annotator: who answers the prompts: one of KINDS, and its model; None: the default.
        base_url, api_key_env: of a server, and the variable that holds its key.
        link: whether the reviews are linked to, not copied.
        settings: other parameters, each as `section.key=value`.
    """

    folder: Path
    reviews: Path | None
    text: tuple[str, ...] = ()
    model: str = MINILM
    kind: str = EMBEDDED
    annotator: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    link: bool = False
    settings: tuple[str, ...] = ()

    def target_spec(self) -> dict[str, Any]:
        """The target as params.yaml names it; unpinned, unless it is the packaged one."""
        return _model(self.model)

    def annotator_spec(self) -> dict[str, Any]:
        """The annotator as params.yaml names it; unpinned, unless its model is the packaged one.

        Raises:
            InputError: the kind is none, or something is missing that it wants.
        """
        if self.kind not in KINDS:
            raise InputError(
                f"--annotator {self.kind}: none of {', '.join(KINDS)} (params.yaml takes more:"
                " docs/annotators.md)"
            )
        if self.base_url is not None and self.kind != SERVER:
            raise InputError(f"--base-url: of a server, but the annotator is {self.kind}")
        if self.annotator is None and self.kind != EMBEDDED:
            raise InputError(f"--annotator-model: name the model of the annotator {self.kind}")
        spec = {"kind": self.kind, **_model(self.annotator or MINILM)}
        if self.kind == SERVER:
            if self.base_url is None:
                raise InputError(
                    "--base-url: name the server's address, such as http://localhost:11434/v1"
                )
            spec |= {"base_url": self.base_url, "api_key_env": self.api_key_env}
        if self.kind == LLAMA_CPP:
            try:
                spec["version"] = version(_ENGINE)
            except PackageNotFoundError as error:
                raise not_installed(_ENGINE, "llama-cpp", f"--annotator {self.kind}") from error
        return spec | _REST[self.kind]


def _model(name: str) -> dict[str, Any]:
    return {"model": name, "revision": MINILM_COMMIT if name == MINILM else "unpinned"}
