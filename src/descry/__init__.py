"""descry explains the neurons of text models in words and proves where every word came from."""

from importlib.metadata import version

__version__ = version("descry")
