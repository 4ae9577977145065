"""`python -m descry` is `descry`."""

from descry.cli import main

main()
