"""Read the settings of ComfyUI graphs: model, sampler, steps, seed, size and prompt.

Links are followed backward from the sampler that is nearest to the first saved image. Only texts
that are connected to the positive input of this sampler are reported as the prompt.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from whichgen.evidence.parameters.comfyui_graph import Link, Node, parse_nodes
from whichgen.evidence.parameters.generation_parameters import (
    WEIGHT_SUFFIXES,
    Parameters,
    shorten_model,
)

#: Names of inputs that contain the file name of a generator, in any node.
_MODEL_INPUTS = re.compile(
    r"(base_)?(ckpt|unet|diffusion_model|checkpoint|gguf)(_name|_path|_file)?(_?\d)?$",
    re.IGNORECASE,
)
#: Classes of nodes that load a generator, for workflows whose inputs have no names, and classes of
#: nodes that load something else.
_LOADER = re.compile(
    r"checkpoint|unet|efficient loader|diffusion ?model|nunchaku.*loader", re.IGNORECASE
)
_OTHER_LOADER = re.compile(
    r"upscale|lora|control ?net|clip ?vision|vae ?loader|text ?encoder", re.IGNORECASE
)

#: Names of inputs with text, and classes of nodes whose unnamed widgets are text.
_TEXT_INPUTS = re.compile(
    r"(text|prompt|string|value|positive|populated_text|wildcard_text|clip_l|t5xxl|caption"
    r"|text_[a-z0-9]{1,8}|string_[ab])$",
    re.IGNORECASE,
)
_TEXT_NODE = re.compile(r"text|prompt|string|primitive|conditioning", re.IGNORECASE)

#: Names of inputs that do not lead to a prompt.
_NO_PROMPT = re.compile(
    r"clip|vae|model|image|latent|control|mask|style|noise|sampler|sigmas", re.IGNORECASE
)
#: Names of inputs that lead to the positive prompt, in order of preference.
_POSITIVE = ("positive", "base_positive", "conditioning", "cond", "guider")

#: Name of each setting in reports, and names of its inputs in order of preference.
_SETTINGS = {
    "sampler": ("sampler_name", "sampler"),
    "steps": ("steps",),
    "seed": ("seed", "noise_seed"),
}
#: Positions of these settings in the widgets of KSampler.
_WIDGETS = {"seed": "0", "steps": "2", "sampler": "4"}

#: Node classes and checkpoints in a graph that is not valid JSON, and the maximum number of
#: characters that are searched.
_CLASS = re.compile(r"""["']class_type["']: ?["']""")
_CHECKPOINT = re.compile(r"""["'](?:ckpt|unet)_name["']: ?["']([^"']{1,200})["']""")
_MAX_SEARCH = 200_000

#: Maximum number of texts in the reported prompt.
_MAX_TEXTS = 5


def read_graph(value: Mapping[str, Any]) -> Parameters | None:
    """Read the settings of a ComfyUI graph.

    Parameters
    ----------
    value
        JSON object: the executed graph or the workflow (see
        :func:`~whichgen.evidence.parameters.comfyui_graph.parse_nodes`).

    Returns
    -------
    Parameters or None
        The settings of the first saved image, because a graph that saves several images is stored
        in all of them. The first image is that of the save node with the smallest ID. Missing
        settings are omitted. The other models of the graph, also those for other images, are listed
        in ``other models``. ``None`` if ``value`` is not a graph.
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

    Parameters
    ----------
    text
        Text, of which the first 200,000 characters are searched.

    Returns
    -------
    Parameters or None
        The name of the first model, if the text contains one, without other settings. ``None`` if
        the text is not a graph.
    """
    head = text[:_MAX_SEARCH]
    is_executed = len(_CLASS.findall(head)) >= 2
    is_workflow = all(f'"{key}"' in head for key in ("nodes", "type", "widgets_values"))
    if not is_executed and not is_workflow:
        return None
    match = _CHECKPOINT.search(head)
    return Parameters("ComfyUI", {"model": match[1]} if match else {})


def _find_sampler(nodes: Mapping[str, Node]) -> str | None:
    """Return the ID of the sampler that is nearest to the first saved image.

    The first saved image is that of the save node with the smallest ID. If it has no sampler, all
    saved images and then all outputs are searched. If no output has a sampler, the result is
    ``None``.
    """
    sources = {link.node for node in nodes.values() for link in node.links.values()}
    outputs = sorted((node_id for node_id in nodes if node_id not in sources), key=_make_sort_key)
    saving_links = [Link(node_id) for node_id in outputs if "save" in nodes[node_id].kind.lower()]
    for starts in (saving_links[:1], saving_links, [Link(node_id) for node_id in outputs]):
        samplers = (node_id for node, node_id in _walk(nodes, starts) if _is_sampler(node))
        if (sampler := next(samplers, None)) is not None:
            return sampler
    return None


def _make_sort_key(node_id: str) -> tuple[int, str]:
    """Return a sort key for node IDs: numbers of at most nine digits by value, then other texts."""
    return (int(node_id), "") if node_id.isdecimal() and len(node_id) < 10 else (1 << 31, node_id)


def _is_sampler(node: Node) -> bool:
    has_latent = any("latent" in name for name in node.links)
    has_prompt = bool({"positive", "base_positive", "guider"} & node.links.keys())
    if has_prompt and (has_latent or "model" in node.links or "pipe" in node.links):
        return not re.search(r"control ?net|inpaint ?model|reference", node.kind, re.IGNORECASE)
    return "sampler" in node.kind.lower() and (has_latent or "steps" in node.values)


def _walk(nodes: Mapping[str, Node], starts: list[Link]) -> Iterator[tuple[Node, str]]:
    """Follow links backward, breadth first; yield each node and its ID, ``starts`` first."""
    queue, visited = deque(link.node for link in starts), set[str]()
    while queue:
        node_id = queue.popleft()
        if node_id in visited or node_id not in nodes:
            continue
        visited.add(node_id)
        yield nodes[node_id], node_id
        queue.extend(link.node for link in nodes[node_id].links.values())


def _find_models(nodes: list[Node]) -> list[str]:
    """Return the distinct names of the loaded generators.

    The name of a generator is the name of its file without folder and suffix. If no generator is
    loaded, return the names of the models of online services.
    """
    models: dict[str, None] = {}
    for node in nodes:
        for name, value in node.values.items():
            if not isinstance(value, str) or not value.strip():
                continue
            is_loader = _LOADER.search(node.kind) and not _OTHER_LOADER.search(node.kind)
            if _MODEL_INPUTS.match(name) or (is_loader and value.lower().endswith(WEIGHT_SUFFIXES)):
                models[shorten_model(value)] = None
    service_models = (n.values.get("model") for n in nodes if "image" in n.kind.lower())
    return list(models or dict.fromkeys(m for m in service_models if isinstance(m, str)))


def _find_positive_texts(nodes: Mapping[str, Node], sampler: Node) -> list[str]:
    """Return at most five texts that are connected to the positive input of a sampler."""
    starts = [sampler.links[name] for name in _POSITIVE if name in sampler.links][:1]
    queue, visited, texts = deque(starts), set[tuple[str, bool]](), dict[str, None]()
    while queue and len(texts) < _MAX_TEXTS:
        link = queue.popleft()
        node = nodes.get(link.node)
        # A node that passes on both prompts has the positive prompt as output 0, the negative as 1.
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
    return list(texts)[:_MAX_TEXTS]  # the last node can contain several texts


def _find_texts(node: Node) -> list[str]:
    is_text = _TEXT_NODE.search(node.kind)
    return [
        value.strip()
        for name, value in node.values.items()
        if isinstance(value, str)
        and value.strip()
        and (_TEXT_INPUTS.match(name) or (name.isdigit() and is_text))
        and not value.lower().endswith(WEIGHT_SUFFIXES)
    ]
