"""Text fields: what each tool writes into a PNG, and the same in comments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whichgen.evidence.parameters.comfyui import read_graph

from .conftest import encode, findings, png, xmp

A1111 = (
    'a "big" cat,\nby night\nNegative prompt: bad, worse\nSteps: 20, Sampler: DPM++ 2M Karras, '
    "CFG scale: 7, Seed: 42, Size: 512x768, Model hash: 6ce0161689, Model: toy-mix_v2, "
    'Lora hashes: "one: 1, two: 2", Version: f2.0.1'
)
GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 5,
            "steps": 20,
            "sampler_name": "euler",
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["2", 0],
            "latent_image": ["5", 0],
        },
    },
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a bad dog", "clip": ["4", 1]}},
    "1": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "up_4x.pth"}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "toy_xl.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 512}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog", "clip": ["4", 1]}},
}
WORKFLOW = {
    "last_node_id": 9,
    "nodes": [
        {"id": 1, "type": "CheckpointLoaderSimple", "widgets_values": ["toy_xl.safetensors"]},
        {"id": 2, "type": "CLIPTextEncode", "widgets_values": ["a bad dog"]},
        {"id": 3, "type": "CLIPTextEncode", "widgets_values": ["a dog"]},
        {
            "id": 4,
            "type": "KSampler",
            "inputs": [
                {"name": "negative", "link": 7},
                {"name": "positive", "link": 8},
                {"name": "model", "link": 9},
            ],
            "widgets_values": [5, "randomize", 20, 8, "euler", "normal", 1],
        },
        {"type": "Note"},
    ],
    "links": [
        [7, 2, 0, 4, 0, "CONDITIONING"],
        [8, 3, 0, 4, 1, "CONDITIONING"],
        [9, 1, 0, 4, 2, "MODEL"],
    ],
}


@pytest.mark.parametrize("compressed", [False, True])
def test_web_ui_parameters(compressed: bool) -> None:
    (finding,) = findings(png({"parameters": A1111}, compressed=compressed), "text")
    assert finding.title == (
        "parameters: generation parameters in the format of a Stable Diffusion web UI (f2.0.1)"
    )
    assert finding.detail == (
        "model toy-mix_v2; model hash 6ce0161689; sampler DPM++ 2M Karras; steps 20; seed 42; "
        'size 512x768; prompt a "big" cat, by night'
    )
    assert (finding.indicates, finding.generator) == ("synthetic", "toy-mix_v2")


def test_parameters_in_comments_of_jpeg_and_gif_and_a_prompt_cut_at_its_limit() -> None:
    long = A1111.replace("by night", "very " * 200)
    for kind in ("JPEG", "GIF"):
        (finding,) = findings(encode(kind, comment=long.encode()), "text")
        assert finding.indicates == "synthetic"
        assert len(finding.detail) == 300
        assert finding.detail.endswith("…")


@pytest.mark.parametrize(
    ("field", "value", "tool", "generator", "detail"),
    [
        (
            "prompt",
            GRAPH,
            "ComfyUI",
            "toy_xl",
            "sampler euler; steps 20; seed 5; size 640x512; prompt a dog",
        ),
        (
            "workflow",
            WORKFLOW,
            "ComfyUI",
            "toy_xl",
            "sampler euler; steps 20; seed 5; prompt a dog",
        ),
        (
            "invokeai_metadata",
            {
                "app_version": "4.2",
                "generation_mode": "txt2img",
                "positive_prompt": "p",
                "seed": 3,
                "scheduler": "euler",
                "width": 1024,
                "height": 768,
                "model": {"name": "Toy XL", "hash": "blake3:ab"},
            },
            "InvokeAI",
            "Toy XL",
            "model hash blake3:ab; sampler euler; seed 3; size 1024x768; prompt p",
        ),
        (
            "sd-metadata",
            {
                "model": "stable diffusion",
                "model_weights": "toy-1.5",
                "app_version": "2.3",
                "image": {"steps": 50, "sampler": "k_lms", "seed": 7, "width": 64, "height": 32},
            },
            "InvokeAI",
            "toy-1.5",
            "sampler k_lms; steps 50; seed 7; size 64x32",
        ),
        (
            "Comment",
            {"prompt": "g", "steps": 28, "scale": 5.0, "seed": 1, "sampler": "k_euler", "uc": "b"},
            "NovelAI",
            "NovelAI",
            "sampler k_euler; steps 28; seed 1; prompt g",
        ),
        (
            "parameters",
            {"base_model": "toyXL", "performance": "Speed", "seed": "12", "prompt": "q"},
            "Fooocus",
            "toyXL",
            "seed 12; prompt q",
        ),
        (
            "parameters",
            {"sui_image_params": {"model": "toy", "prompt": "w", "steps": 9}},
            "SwarmUI",
            "toy",
            "steps 9; prompt w",
        ),
    ],
)
def test_json_of_each_tool(
    field: str, value: dict[str, Any], tool: str, generator: str, detail: str
) -> None:
    (finding,) = findings(png({field: json.dumps(value)}), "text")
    assert finding.title == f"{field}: generation parameters in the format of {tool}"
    assert (finding.indicates, finding.generator) == ("synthetic", generator)
    assert finding.detail.endswith(detail)


def test_novelai_and_midjourney_fields() -> None:
    texts = {"Software": "NovelAI", "Source": "Stable Diffusion 81274D13", "Title": "untitled"}
    assert [(f.indicates, f.generator) for f in findings(png(texts), "text")] == [
        ("synthetic", "NovelAI"),
        ("synthetic", "Stable Diffusion"),
        ("neutral", ""),
    ]
    job = "a red fox --v 5.2 Job ID: 0b5e3d2a-1c4f-4b7e-9a3d-2f1e0c9b8a7d"
    finding, author = findings(png({"Description": job, "Author": "me"}), "text")
    assert finding.generator == "Midjourney"
    assert (author.title, author.detail, author.indicates) == ("Author", "me", "neutral")


@pytest.mark.parametrize(
    "text",
    [
        *("Steps: many, and a sampler", '{"prompt": "a cat"}', "[1, 2]", "{broken", "a cat"),
        *("Steps: 3, then bake", "Model: Anna, Size: 36", "Gemini 12", "Imagen 12", "Flux"),
        *("A talk on Midjourney", "not generated by AI", "Firefly at dusk", "drawn by Sora"),
        *("Photo: Dalle Müller", "Canon EOS, SD 2.0", "Taken in Gemini, Ohio"),
    ],
)
def test_unknown_text_is_listed_as_neutral(text: str) -> None:
    (finding,) = findings(png({"Comment": text}), "text")
    assert (finding.indicates, finding.generator, finding.detail) == ("neutral", "", text)


def test_blank_text_has_no_finding() -> None:
    assert findings(png({"Comment": " "}), "text") == []


def test_text_behind_the_pixels_is_read() -> None:
    packet = xmp('xmp:CreatorTool="Midjourney"').decode()
    plain, made = encode(), png({"Software": "NovelAI", "XML:com.adobe.xmp": packet})
    start, end = made.index(b"tEXt") - 4, made.index(b"IDAT") - 4
    data = plain[:-12] + made[start:end] + plain[-12:]
    assert [f.generator for f in findings(data, "text")] == ["NovelAI"]
    assert [f.generator for f in findings(data, "xmp")] == ["Midjourney"]


def test_json_object_without_graph_is_none() -> None:
    assert read_graph({"nodes": 3, "a": {"class_type": 4, "inputs": {}}}) is None
