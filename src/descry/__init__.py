"""descry explains the neurons of text models in words and proves where every word came from.

    run = descry.open("results")
    run.neuron("L5:50").labels

Its names are imported when they are first used: `import descry` itself is instant.
"""

TYPE_CHECKING = False  # as typing has it, whose import takes 30 ms
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
    from descry.api import writes as writes
    from descry.errors import InputError as InputError
    from descry.exports.export import export as export
    from descry.provenance.audit.project import open as open
    from descry.run import Descriptor as Descriptor
    from descry.run import Neuron as Neuron
    from descry.run import Run as Run
    from descry.two_corpora.replicate import Replication as Replication
    from descry.two_corpora.replicate import replicate as replicate
    from descry.two_models.diff import Diff as Diff
    from descry.two_models.diff import diff as diff

# Names and their modules. No name may be that of a package in this folder: importing anything from
# the package puts it in the name's place.
_LAZY = {
    "annotate": "descry.api",
    "assign_labels": "descry.api",
    "cluster_phrases": "descry.api",
    "compose_labels": "descry.api",
    "Descriptor": "descry.run",
    "Diff": "descry.two_models.diff",
    "diff": "descry.two_models.diff",
    "enrichment": "descry.api",
    "explain_neuron": "descry.api",
    "export": "descry.exports.export",
    "extract_activations": "descry.api",
    "InputError": "descry.errors",
    "key_phrases": "descry.api",
    "N2G_SETTINGS": "descry.api",
    "Neuron": "descry.run",
    "open": "descry.provenance.audit.project",
    "replicate": "descry.two_corpora.replicate",
    "Replication": "descry.two_corpora.replicate",
    "Run": "descry.run",
    "score_labels": "descry.api",
    "top_k": "descry.api",
    "writes": "descry.api",
}


def __getattr__(name: str) -> object:
    """Import a name, or look the version up, when it is wanted: the command line starts at once."""
    if name == "__version__":
        from importlib.metadata import version

        return version("descry")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """All names, for completion."""
    return sorted({*globals(), *_LAZY, "__version__"})
