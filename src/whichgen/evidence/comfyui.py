"""Read the settings of ComfyUI graphs: model, sampler, steps, seed, size and prompt.

Links are followed backward from the last sampler. Only texts that are connected to its positive
input are reported as the prompt.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from whichgen.evidence.comfyui_graph import Link, Node, parse_nodes
from whichgen.evidence.parameters import WEIGHTS, Parameters, shorten_model

#: Inputs of any node that contain the file name of a generator.
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

#: Inputs that do not lead to a prompt.
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
#: Positions of these settings in the widgets of KSampler.
_WIDGETS = {"seed": "0", "steps": "2", "sampler": "4"}

#: Node classes and checkpoints in a graph that is not valid JSON.
_CLASS = re.compile(r"""["']class_type["']: ?["']""")
_CHECKPOINT = re.compile(r"""["'](?:ckpt|unet)_name["']: ?["']([^"']{1,200})["']""")
_MAX_SEARCH = 200_000

#: Maximum number of texts in the reported prompt.
_MAX_TEXTS = 5


def read_graph(value: Mapping[str, Any]) -> Parameters | None:
    """Read the settings of a ComfyUI graph; return ``None`` if ``value`` is not a graph.

    Missing settings are omitted. If a graph saves several images, each image contains the whole
    graph. The settings of the first saved image are returned, and additional models are listed.
    """
    nodes = parse_nodes(value)
    if not nodes:
        return None
    sampler = _find_sampler(nodes)
    settings: dict[str, Any] = {}
    upstream = [node for node, _ in _walk(nodes, [Link(sampler)])] if sampler else []
    for node in (*upstream, *(() if upstream else nodes.values())):
        for label, names in _SETTINGS.items():
            setting = next((node.values[name] for name in names if name in node.values), None)
            if setting is None and node.kind == "KSampler":
                setting = node.values.get(_WIDGETS[label])
            if setting is not None:
                settings.setdefault(label, setting)
        if "Empty" in node.kind and {"width", "height"} <= node.values.keys():
            settings.setdefault("size", f"{node.values['width']}x{node.values['height']}")
    if models := _find_models([*upstream, *nodes.values()]):
        settings |= {"model": models[0], "other models": ", ".join(models[1:])}
    if sampler and (texts := _find_positive_texts(nodes, nodes[sampler])):
        settings["prompt"] = " | ".join(texts)
    return Parameters("ComfyUI", settings)


def search_graph(text: str) -> Parameters | None:
    """Recognize a graph that is not valid JSON, for example because it is truncated.

    Only the name of the model is read. Returns ``None`` if the text is not a graph.
    """
    head = text[:_MAX_SEARCH]
    is_executed = len(_CLASS.findall(head)) >= 2
    is_workflow = all(f'"{key}"' in head for key in ("nodes", "type", "widgets_values"))
    if not is_executed and not is_workflow:
        return None
    match = _CHECKPOINT.search(head)
    return Parameters("ComfyUI", {"model": match[1]} if match else {})


def _find_sampler(nodes: Mapping[str, Node]) -> str | None:
    """Return the number of the sampler that is nearest to the first output of the graph."""
    linked = {link.node for node in nodes.values() for link in node.links.values()}
    outputs = sorted((number for number in nodes if number not in linked), key=_sort_numerically)
    saved = [Link(number) for number in outputs if "save" in nodes[number].kind.lower()]
    for starts in (saved[:1], saved, [Link(number) for number in outputs]):
        samplers = (number for node, number in _walk(nodes, starts) if _is_sampler(node))
        if (sampler := next(samplers, None)) is not None:
            return sampler
    return None


def _sort_numerically(number: str) -> tuple[int, str]:
    return (int(number), "") if number.isdecimal() and len(number) < 10 else (1 << 31, number)


def _is_sampler(node: Node) -> bool:
    has_latent = any("latent" in name for name in node.links)
    has_prompt = bool({"positive", "base_positive", "guider"} & node.links.keys())
    if has_prompt and (has_latent or "model" in node.links or "pipe" in node.links):
        return not re.search(r"control ?net|inpaint ?model|reference", node.kind, re.IGNORECASE)
    return "sampler" in node.kind.lower() and (has_latent or "steps" in node.values)


def _walk(nodes: Mapping[str, Node], starts: list[Link]) -> Iterator[tuple[Node, str]]:
    """Yield nodes and their numbers against the direction of the links, breadth first."""
    queue, visited = deque(link.node for link in starts), set[str]()
    while queue:
        number = queue.popleft()
        if number in visited or number not in nodes:
            continue
        visited.add(number)
        yield nodes[number], number
        queue.extend(link.node for link in nodes[number].links.values())


def _find_models(nodes: list[Node]) -> list[str]:
    """Return the file names of generators; without any, the models of online services."""
    models: dict[str, None] = {}
    for node in nodes:
        for name, value in node.values.items():
            if not isinstance(value, str) or not value.strip():
                continue
            is_loader = _LOADER.search(node.kind) and not _NO_GENERATOR.search(node.kind)
            if _MODEL_INPUTS.match(name) or (is_loader and value.lower().endswith(WEIGHTS)):
                models[shorten_model(value)] = None
    online = (node.values.get("model") for node in nodes if "image" in node.kind.lower())
    return list(models) or [model for model in online if isinstance(model, str)]


def _find_positive_texts(nodes: Mapping[str, Node], sampler: Node) -> list[str]:
    """Return the texts that are connected to the positive input of a sampler."""
    starts = [sampler.links[name] for name in _POSITIVE if name in sampler.links][:1]
    queue, visited, texts = deque(starts), set[tuple[str, bool]](), dict[str, None]()
    while queue and len(texts) < _MAX_TEXTS:
        link = queue.popleft()
        node = nodes.get(link.node)
        # If a node passes on both prompts, its first output is the positive prompt.
        is_negative = node is not None and "negative" in node.links and link.slot == 1
        if node is None or (link.node, is_negative) in visited:
            continue
        visited.add((link.node, is_negative))
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
