"""Where the stages' code comes from: the src/ of a checkout, or the installed package.

A study that `descry init` made has no code of its own. A checkout is a study whose code is its own.
"""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]  # the package that runs
CHECKOUT = Path("src/descry")  # in a study that has the code of its stages itself
RULES = "workflow/rules"  # within the package
PRESETS = PACKAGE / "workflow/presets"
SNAKEFILE = str(PACKAGE / RULES / "study.smk")  # what a study's own Snakefile includes


def has_code(root: Path = Path()) -> bool:
    """Whether a study's folder has the code of its stages, as a checkout has."""
    return (root / CHECKOUT).is_dir()


def source() -> Path:
    """The package whose code the stages of the present folder's study are."""
    return CHECKOUT if has_code() else PACKAGE


def preset_names() -> str:
    """The presets of the package, as an error lists them."""
    return ", ".join(sorted(path.stem for path in PRESETS.glob("*.yaml")))
