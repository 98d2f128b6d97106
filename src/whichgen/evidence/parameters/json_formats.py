"""Read generation parameters from the JSON of ComfyUI, InvokeAI, Fooocus, NovelAI and others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whichgen.evidence.parameters.comfyui import read_graph
from whichgen.evidence.parameters.generation_parameters import (
    Parameters,
    count_keys,
    is_text_or_number,
)
from whichgen.evidence.untrusted_text import as_dict

# Keys that identify the JSON of a program, in lower case; the first match counts.
_FORMATS: tuple[tuple[str, frozenset[str]], ...] = (
    ("mflux", frozenset({"mflux_version"})),
    ("Fooocus", frozenset({"base_model", "performance"})),
    ("Fooocus", frozenset({"base model", "performance"})),
    ("Fooocus", frozenset({"metadata_scheme", "seed"})),
    ("SwarmUI", frozenset({"sui_image_params"})),
    ("SwarmUI", frozenset({"swarm_version", "prompt"})),
    ("InvokeAI", frozenset({"app_version", "generation_mode"})),
    ("InvokeAI", frozenset({"app_version", "model_weights"})),
    ("InvokeAI", frozenset({"app_id", "app_version"})),
    ("InvokeAI", frozenset({"positive_prompt", "seed"})),
    ("Draw Things", frozenset({"c", "uc", "sampler"})),
    ("Draw Things", frozenset({"c", "model", "sampler", "seed"})),
    ("NovelAI", frozenset({"uc", "sampler", "scale"})),
    ("NovelAI", frozenset({"v4_prompt", "sampler"})),
    ("NovelAI", frozenset({"signed_hash", "sampler"})),
    ("Easy Diffusion", frozenset({"use_stable_diffusion_model", "num_inference_steps"})),
    ("Easy Diffusion", frozenset({"stable diffusion model", "guidance scale"})),
    ("Easy Diffusion", frozenset({"use_stable_diffusion_model", "prompt"})),
)

#: Keys that many programs use, in lower case. JSON with a prompt and at least two of these keys
#: counts as generation parameters.
_COMMON = (
    *("negative_prompt", "negative prompt", "negativeprompt", "seed", "steps", "sampler"),
    *("num_inference_steps", "guidance_scale", "guidance scale", "cfg_scale", "cfgscale"),
    *("cfg", "sampler_name", "scheduler", "model", "model_name", "guidance", "aspect_ratio"),
)
#: Keys of the prompt, in lower case.
_PROMPTS = frozenset({"prompt", "positive_prompt", "positiveprompt", "input_prompt", "caption"})

#: Maximum number of nodes searched in an InvokeAI graph.
_MAX_NODES = 5000


def read_parameters(value: Mapping[str, Any]) -> Parameters | None:
    """Read generation parameters from a JSON object.

    Parameters
    ----------
    value
        JSON object, or the names and texts of text fields, because some programs write one text
        field per setting.

    Returns
    -------
    Parameters or None
        The parameters, with setting names in lower case; ``None`` if ``value`` contains none.
    """
    if (graph := read_graph(value)) is not None:
        return graph
    if "edges" in value and (invoke := _read_invoke_graph(value.get("nodes"))):
        return invoke
    entries = {str(key).lower(): entry for key, entry in value.items()}
    for tool, keys in _FORMATS:
        if keys <= entries.keys():
            return Parameters(tool, _flatten(entries))
    if _PROMPTS & entries.keys() and count_keys(entries, _COMMON) >= 2:
        return Parameters("", _flatten(entries))
    return None


def _read_invoke_graph(nodes: object) -> Parameters | None:
    """Read the first model and prompt from the nodes of an InvokeAI graph or workflow.

    Return ``None`` if no node names a model.
    """
    entries = list(nodes.values()) if isinstance(nodes, dict) else nodes
    if not isinstance(entries, list):
        return None
    model = prompt = None
    for node in entries[:_MAX_NODES]:
        data = as_dict(as_dict(node).get("data", node))
        inputs = as_dict(data.get("inputs", data))
        entry = inputs.get("model")
        if isinstance(entry, dict) and isinstance(entry.get("value"), dict):
            entry = entry["value"]
        if isinstance(entry, dict):
            model = model or entry.get("name") or entry.get("model_name")
        kind = str(data.get("type"))
        if kind.startswith(("compel", "sdxl_compel", "flux_text_encoder")) and prompt is None:
            text = inputs.get("prompt")
            prompt = text.get("value") if isinstance(text, dict) else text
    return Parameters("InvokeAI", {"model": model, "prompt": prompt}) if model else None


def _flatten(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return generation parameters in one dictionary; some programs nest dictionaries."""
    nested_values = [value.get(key) for key in ("image", "sui_image_params", "v2")]
    flat = {
        str(k).lower(): v
        for part in nested_values
        if isinstance(part, dict)
        for k, v in part.items()
    } | dict(value)
    model = value.get("model") or value.get("basemodel")
    if isinstance(model, dict):  # InvokeAI, Tensor.Art and Hugging Face Spaces
        names = ("name", "model_name", "Model", "model", "modelFileName", "label")
        flat["model"] = next(
            (model[key] for key in names if is_text_or_number(model.get(key))), None
        )
        flat["model_hash"] = model.get("hash") or model.get("Model hash")
    elif "model_weights" in value:  # older versions of InvokeAI
        flat["model"] = value["model_weights"]
    prompt = flat.get("prompt")
    if (
        isinstance(prompt, list) and prompt and isinstance(prompt[0], dict)
    ):  # older versions of InvokeAI
        flat["prompt"] = prompt[0].get("prompt")
    if not is_text_or_number(flat.get("prompt")) and isinstance(v4 := value.get("v4_prompt"), dict):
        caption = v4.get("caption")
        flat["prompt"] = caption.get("base_caption") if isinstance(caption, dict) else None
    return flat
