"""descry explains the neurons of text models in words and proves where every word came from."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from descry.api import N2G_SETTINGS as N2G_SETTINGS
    from descry.api import annotate as annotate
    from descry.api import assign_labels as assign_labels
    from descry.api import cluster_phrases as cluster_phrases
    from descry.api import compose_labels as compose_labels
    from descry.api import enrichment as enrichment
    from descry.api import explain_neuron as explain_neuron
    from descry.api import extract_activations as extract_activations
    from descry.api import key_phrases as key_phrases
    from descry.api import score_labels as score_labels
    from descry.api import top_k as top_k
    from descry.errors import InputError as InputError

# Looked up when they are wanted: `import descry` is to be instant. No name may be a package's of
# this folder, which an import of anything in it puts in the same place: `descry.activations`.
_LAZY = {
    "InputError": "errors",
    "N2G_SETTINGS": "api",
    "annotate": "api",
    "assign_labels": "api",
    "cluster_phrases": "api",
    "compose_labels": "api",
    "enrichment": "api",
    "explain_neuron": "api",
    "extract_activations": "api",
    "key_phrases": "api",
    "score_labels": "api",
    "top_k": "api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("descry")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"descry.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, "__version__"})
