"""Read ComfyUI graphs in JSON: the executed ``prompt`` or the ``workflow`` of the editor.

Links between nodes are not followed. If several nodes contain the same setting (for example, two
samplers with different seeds), the value in the first node is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

#: Maximum number of nodes per graph and values per node.
_MAX_NODES = 5000
_MAX_VALUES = 50

# Nodes that load the generator, not an upscaler, a control net or a text encoder.
_LOADER = re.compile(r"checkpoint|unet|efficient loader|diffusion ?model", re.IGNORECASE)
_WEIGHTS = (".safetensors", ".ckpt", ".gguf", ".sft", ".pth", ".pt")

#: Inputs reported unchanged, with the names used in reports.
_PLAIN = {"sampler_name": "sampler", "steps": "steps", "seed": "seed", "noise_seed": "seed"}


def read_graph(value: dict[str, Any]) -> dict[str, Any] | None:
    """Extract the model, sampler, steps, seed, size and prompt from a ComfyUI graph.

    ``value`` is a JSON object. Settings that the graph does not contain are omitted. Returns
    ``None`` if ``value`` contains no nodes.
    """
    nodes = list(_iterate_nodes(value))
    if not nodes:
        return None
    settings: dict[str, Any] = {}
    for kind, values in nodes:
        texts = [text for text in values.values() if isinstance(text, str) and text.strip()]
        if _LOADER.search(kind):
            weights = [text for text in texts if text.lower().endswith(_WEIGHTS)]
            settings |= {} if not weights else {"model": settings.get("model", weights[0])}
        if kind.startswith("CLIPTextEncode") and texts:
            settings.setdefault("prompt", texts[0])
        if kind.startswith("Empty") and {"width", "height"} <= values.keys():
            settings.setdefault("size", f"{values['width']}x{values['height']}")
        for name, label in _PLAIN.items():
            if isinstance(values.get(name), str | int | float):
                settings.setdefault(label, values[name])
    return settings


def _iterate_nodes(value: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the class name and the inputs of each node; unnamed inputs are numbered from 0."""
    is_workflow = isinstance(value.get("nodes"), list) and "links" in value
    nodes: list[Any] = value["nodes"] if is_workflow else list(value.values())
    for node in nodes[:_MAX_NODES]:
        if not isinstance(node, dict):
            continue
        kind = node.get("type" if is_workflow else "class_type")
        values = node.get("widgets_values" if is_workflow else "inputs")
        if isinstance(values, list):
            values = {str(i): v for i, v in enumerate(values[:_MAX_VALUES])}
        if isinstance(kind, str) and isinstance(values, dict):
            yield kind[:200], dict(list(values.items())[:_MAX_VALUES])
