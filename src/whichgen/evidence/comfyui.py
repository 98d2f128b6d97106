"""ComfyUI's graphs: the ``prompt`` it ran and the ``workflow`` it was drawn as, both JSON.

Of a graph only what nodes say themselves is read; links between them are not followed, so of
several samplers the first one's values are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

#: Nodes of a graph, and values of a node, that are looked at.
_MOST_NODES = 5000
_MOST_VALUES = 50

# Nodes that load what makes the image, not an upscaler, a control net or a text encoder.
_LOADER = re.compile(r"checkpoint|unet|efficient loader|diffusion ?model", re.IGNORECASE)
_WEIGHTS = (".safetensors", ".ckpt", ".gguf", ".sft", ".pth", ".pt")

#: Inputs that are told as they are, under the names they are told by.
_PLAIN = {"sampler_name": "sampler", "steps": "steps", "seed": "seed", "noise_seed": "seed"}


def read_graph(value: dict[str, Any]) -> dict[str, Any] | None:
    """Model, sampler, steps, seed, size and prompt of a graph, or ``None`` if it is no graph."""
    nodes = list(_nodes(value))
    if not nodes:
        return None
    found: dict[str, Any] = {}
    for kind, values in nodes:
        texts = [text for text in values.values() if isinstance(text, str) and text.strip()]
        if _LOADER.search(kind):
            weights = [text for text in texts if text.lower().endswith(_WEIGHTS)]
            found |= {} if not weights else {"model": found.get("model", weights[0])}
        if kind.startswith("CLIPTextEncode") and texts:
            found.setdefault("prompt", texts[0])
        if kind.startswith("Empty") and {"width", "height"} <= values.keys():
            found.setdefault("size", f"{values['width']}x{values['height']}")
        for name, shown in _PLAIN.items():
            if isinstance(values.get(name), str | int | float):
                found.setdefault(shown, values[name])
    return found


def _nodes(value: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each node's class and values, of either kind of graph.

    A drawn graph has values without names; numbers take their places.
    """
    is_drawn = isinstance(value.get("nodes"), list) and "links" in value
    nodes: list[Any] = value["nodes"] if is_drawn else list(value.values())
    for node in nodes[:_MOST_NODES]:
        if not isinstance(node, dict):
            continue
        kind = node.get("type" if is_drawn else "class_type")
        values = node.get("widgets_values" if is_drawn else "inputs")
        if isinstance(values, list):
            values = {str(i): v for i, v in enumerate(values[:_MOST_VALUES])}
        if isinstance(kind, str) and isinstance(values, dict):
            yield kind[:200], dict(list(values.items())[:_MOST_VALUES])
