"""A hook of mkdocs: pages that are not written in ``docs/``, the README and the notebooks.

Notebooks by nbconvert's Markdown, so that they look like every other page and load nothing: its
HTML takes MathJax, and mkdocs-jupyter's with it, from another host.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

#: Files outside ``docs/`` that are on the site all the same, and where.
_ON_SITE = {
    "benchmarks/RESULTS.md": "benchmarks.md#how-fast",
    "benchmarks/RESULTS-GPU.md": "benchmarks.md#on-a-gpu",
    "benchmarks/growth.md": "benchmarks.md#growth",
    "benchmarks/gallery.md": "benchmarks.md#large-galleries",
    "benchmarks/cluster.md": "benchmarks.md#on-a-cluster",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds ``readme.md``, and for each ``NAME.ipynb`` a page ``NAME.md`` with its pictures."""
    from nbconvert import MarkdownExporter

    readme = Path(config.config_file_path).with_name("README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "readme.md", content=_with_links(readme)))
    for notebook in [f for f in files if f.src_uri.endswith(".ipynb")]:
        place = PurePosixPath(notebook.src_uri)
        text, made = MarkdownExporter().from_filename(
            notebook.abs_src_path, resources={"unique_key": place.stem}
        )
        for name, content in made["outputs"].items():
            files.append(File.generated(config, str(place.with_name(name)), content=content))
        text += f"\nThe notebook itself: [{place.name}]({place.name})\n"
        files.append(File.generated(config, str(place.with_suffix(".md")), content=text))
    return files


def _with_links(text: str) -> str:
    """The README's links as they are on the site; of what is not there the words remain."""

    def moved(link: re.Match[str]) -> str:
        words, target = link.groups()
        if target.startswith(("http", "#")):
            return link[0]
        inside = target.removeprefix("docs/")
        found = inside if inside != target else _ON_SITE.get(target)
        return f"[{words}]({found})" if found else words

    return re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", moved, text)
