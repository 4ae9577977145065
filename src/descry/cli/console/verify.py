"""Print what was checked of the chain from reviews to results."""

from descry.cli.console.terminal import console, plain
from descry.provenance.verify.check import Link


def show_link(link: Link) -> None:
    """Print what was checked of one link of the chain, and what is wrong."""
    verdict = "ok" if link.fault is None else "WRONG"
    console().print(plain(f"{verdict:5} {link.stage}: {link.checked}"), soft_wrap=True)
    if link.fault is not None:
        console().print(plain(f"      {link.fault}"), soft_wrap=True)
