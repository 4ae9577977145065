"""descry explains the neurons of text models in words and proves where every word came from.

    run = descry.open("results")
    run.neuron("L5:50").labels

Its names are imported when they are first used: `import descry` itself is instant.
"""

TYPE_CHECKING = False  # as typing has it, whose import takes 30 ms
if TYPE_CHECKING:
    from descry.errors import InputError as InputError
    from descry.provenance.audit.project import open as open
    from descry.run import Descriptor as Descriptor
    from descry.run import Neuron as Neuron
    from descry.run import Run as Run

_LAZY = {
    "Descriptor": "descry.run",
    "InputError": "descry.errors",
    "Neuron": "descry.run",
    "Run": "descry.run",
    "open": "descry.provenance.audit.project",
}  # names and their modules


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
    return sorted([*globals(), *_LAZY])
