"""A hook of mkdocs: each notebook becomes a page, its pictures files beside it.

By nbconvert's Markdown, so that it looks like every other page and loads nothing: its HTML takes
MathJax, and mkdocs-jupyter's with it, from another host.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the page ``NAME.md`` for each ``NAME.ipynb``."""
    from nbconvert import MarkdownExporter

    for notebook in [f for f in files if f.src_uri.endswith(".ipynb")]:
        place = PurePosixPath(notebook.src_uri)
        text, made = MarkdownExporter().from_filename(
            notebook.abs_src_path, resources={"unique_key": place.stem}
        )
        for name, content in made["outputs"].items():
            uri = str(place.with_name(name))
            files.append(File.generated(config, uri, content=content))
        text += f"\nThe notebook itself: [{place.name}]({place.name})\n"
        files.append(File.generated(config, str(place.with_suffix(".md")), content=text))
    return files
