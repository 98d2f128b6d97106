"""Read the settings of ComfyUI graphs: model, sampler, steps, seed, size and prompt.

The links are followed from the sampler that comes last. Only a text that feeds its positive input
is reported as the prompt.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from whichgen.evidence.comfyui_graph import Link, Node, parse_nodes
from whichgen.evidence.generation import WEIGHTS, Parameters

#: Inputs that hold the file of a generator in any node.
_MODEL_INPUTS = re.compile(
    r"(base_)?(ckpt|unet|diffusion_model|checkpoint|gguf)(_name|_path|_file)?(_?\d)?$",
    re.IGNORECASE,
)
#: Nodes that load a generator, for workflows whose inputs have no names.
_LOADER = re.compile(
    r"checkpoint|unet|efficient loader|diffusion ?model|nunchaku.*loader", re.IGNORECASE
)
_NO_GENERATOR = re.compile(
    r"upscale|lora|control ?net|clip ?vision|vae ?loader|text ?encoder", re.IGNORECASE
)

#: Inputs with text, and nodes whose unnamed widgets are text.
_TEXT_INPUTS = re.compile(
    r"(text|prompt|string|value|positive|populated_text|wildcard_text|clip_l|t5xxl|caption"
    r"|text_[a-z0-9]{1,8}|string_[ab])$",
    re.IGNORECASE,
)
_TEXT_NODE = re.compile(r"text|prompt|string|primitive|conditioning", re.IGNORECASE)

#: Inputs through which no prompt comes.
_NO_PROMPT = re.compile(
    r"clip|vae|model|image|latent|control|mask|style|noise|sampler|sigmas", re.IGNORECASE
)
_POSITIVE = ("positive", "base_positive", "conditioning", "cond", "guider")

#: Names of settings, in order of preference, and their names in reports.
_SETTINGS = {
    "sampler": ("sampler_name", "sampler"),
    "steps": ("steps",),
    "seed": ("seed", "noise_seed"),
}
#: Positions of the same in the widgets of KSampler.
_WIDGETS = {"seed": "0", "steps": "2", "sampler": "4"}

#: Largest number of texts in the reported prompt.
_MAX_TEXTS = 5


def read_graph(value: Mapping[str, Any]) -> Parameters | None:
    """Read the settings of a ComfyUI graph; return ``None`` if ``value`` is no graph.

    Settings that the graph does not contain are omitted. If several models are loaded, that of the
    last sampler is reported.
    """
    nodes = parse_nodes(value)
    if not nodes:
        return None
    sampler = _find_sampler(nodes)
    settings: dict[str, Any] = {}
    upstream = [node for node, _ in _walk(nodes, [Link(sampler)])] if sampler else []
    for node in (*upstream, *(() if upstream else nodes.values())):
        for label, names in _SETTINGS.items():
            value_ = next((node.values[name] for name in names if name in node.values), None)
            if value_ is None and node.kind == "KSampler":
                value_ = node.values.get(_WIDGETS[label])
            if value_ is not None:
                settings.setdefault(label, value_)
        if "Empty" in node.kind and {"width", "height"} <= node.values.keys():
            settings.setdefault("size", f"{node.values['width']}x{node.values['height']}")
    if model := _find_model([*upstream, *nodes.values()]):
        settings["model"] = model
    if sampler and (texts := _find_positive_texts(nodes, nodes[sampler])):
        settings["prompt"] = " | ".join(texts)
    return Parameters("ComfyUI", settings)


def _find_sampler(nodes: Mapping[str, Node]) -> str | None:
    """Return the number of the sampler that is nearest to an output of the graph."""
    linked = {link.node for node in nodes.values() for link in node.links.values()}
    outputs = [Link(number) for number in nodes if number not in linked]
    samplers = (number for node, number in _walk(nodes, outputs) if _is_sampler(node))
    return next(samplers, None)


def _is_sampler(node: Node) -> bool:
    has_latent = any("latent" in name for name in node.links)
    has_prompt = bool({"positive", "base_positive", "guider"} & node.links.keys())
    if has_prompt and (has_latent or "model" in node.links or "pipe" in node.links):
        return not re.search(r"control ?net|inpaint ?model|reference", node.kind, re.IGNORECASE)
    return "sampler" in node.kind.lower() and (has_latent or "steps" in node.values)


def _walk(nodes: Mapping[str, Node], starts: list[Link]) -> Iterator[tuple[Node, str]]:
    """Yield nodes and their numbers against the direction of the links, breadth first."""
    queue, seen = deque(link.node for link in starts), set[str]()
    while queue:
        number = queue.popleft()
        if number in seen or number not in nodes:
            continue
        seen.add(number)
        yield nodes[number], number
        queue.extend(link.node for link in nodes[number].links.values())


def _find_model(nodes: list[Node]) -> str:
    """Return the first file of a generator, or the model that a node of an online service names."""
    for node in nodes:
        for name, value in node.values.items():
            if not isinstance(value, str) or not value.strip():
                continue
            if _MODEL_INPUTS.match(name):
                return value
            is_loader = _LOADER.search(node.kind) and not _NO_GENERATOR.search(node.kind)
            if is_loader and value.lower().endswith(WEIGHTS):
                return value
    online = (
        str(node.values["model"])
        for node in nodes
        if isinstance(node.values.get("model"), str) and "image" in node.kind.lower()
    )
    return next(online, "")


def _find_positive_texts(nodes: Mapping[str, Node], sampler: Node) -> list[str]:
    """Return the texts that feed the positive input of a sampler."""
    starts = [sampler.links[name] for name in _POSITIVE if name in sampler.links][:1]
    queue, seen, texts = deque(starts), set[tuple[str, bool]](), dict[str, None]()
    while queue and len(texts) < _MAX_TEXTS:
        link = queue.popleft()
        node = nodes.get(link.node)
        # A node that passes both prompts on returns the positive first.
        is_negative = node is not None and "negative" in node.links and link.slot == 1
        if node is None or (link.node, is_negative) in seen:
            continue
        seen.add((link.node, is_negative))
        if is_negative or "positive" in node.links:
            name = "negative" if is_negative else "positive"
            queue.append(node.links[name])
            continue
        texts |= dict.fromkeys(_find_texts(node))
        queue.extend(entry for name, entry in node.links.items() if not _NO_PROMPT.search(name))
    return list(texts)


def _find_texts(node: Node) -> list[str]:
    is_text = _TEXT_NODE.search(node.kind)
    return [
        value.strip()
        for name, value in node.values.items()
        if isinstance(value, str)
        and value.strip()
        and (_TEXT_INPUTS.match(name) or (name.isdigit() and is_text))
        and not value.lower().endswith(WEIGHTS)
    ]
