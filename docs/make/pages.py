"""Hook of mkdocs that adds notebooks as pages.

nbconvert converts the notebooks to Markdown, so that they look like every other page and load
nothing from other hosts. The HTML output of nbconvert, which mkdocs-jupyter uses, loads MathJax
from another host.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page ``NAME.md`` with its pictures for each ``NAME.ipynb``."""
    from nbconvert import MarkdownExporter

    for notebook in [f for f in files if f.src_uri.endswith(".ipynb")]:
        path = PurePosixPath(notebook.src_uri)
        text, resources = MarkdownExporter().from_filename(
            notebook.abs_src_path, resources={"unique_key": path.stem}
        )
        for name, content in resources["outputs"].items():
            files.append(File.generated(config, str(path.with_name(name)), content=content))
        text += f"\nDownload the notebook: [{path.name}]({path.name})\n"
        files.append(File.generated(config, str(path.with_suffix(".md")), content=text))
    return files
