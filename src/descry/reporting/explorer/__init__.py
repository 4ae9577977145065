"""The explorer: a run as a static site, which a browser opens from the disk.

`app` has the page, which is the same for every run; what it shows comes in packs of data.
"""

from pathlib import Path

APP = Path(__file__).with_name("app")
