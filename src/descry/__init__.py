"""descry explains the neurons of text models in words and proves where every word came from."""


def __getattr__(name: str) -> str:
    """The version, looked up when it is wanted: the command line is to start at once."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("descry")
