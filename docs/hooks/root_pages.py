"""Pages of the site that stand outside of docs/: README.md is its first page.

They are read where they are, so that no text exists twice. Links between them and the pages of
docs/ are rewritten to lead to the same page of the site.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LOG.md": "log.md",
    "SECURITY.md": "security.md",
    "data/README.md": "data.md",
}
_SOURCES = {page: source for source, page in ROOT_PAGES.items()}
_LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's documents as pages."""
    root = Path(config.config_file_path).parent
    for source, page in ROOT_PAGES.items():
        content = (root / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links that lead out of docs/, or into it, to the pages of the site."""
    source = _SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return _LINK.sub(lambda link: link[1] + _target(posixpath.dirname(source), link[2]), markdown)


def _target(folder: str, place: str) -> str:
    """The page of the site for a link as it is written in a document of `folder`."""
    path = posixpath.normpath(posixpath.join(folder, place))
    page = ROOT_PAGES.get(path, path.removeprefix("docs/"))
    return "tutorial.md" if page == "tutorial.ipynb" else page
