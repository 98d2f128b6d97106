"""The HTTP API."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from whichgen.evidence.evidence_options import EvidenceOptions
from whichgen.inference.answer_table import make_answer_schema
from whichgen.inference.attributor import Attributor
from whichgen.inference.stability import COPIES
from whichgen.inference.verdict import make_verdict
from whichgen.models.saved_model import load_model
from whichgen.service.batcher import Batcher
from whichgen.service.limits import MIB, Limits
from whichgen.service.settings import Settings

from .conftest import EACH, ORIGINS, encode_png, upload

Start = Callable[..., TestClient]


def limit_settings(**limits: int) -> Settings:
    return Settings(limits=replace(Limits(), **limits))


def test_answers_equal_those_of_the_attributor(
    client: TestClient, attributor: Attributor, images: list[Image.Image]
) -> None:
    contents = [encode_png(image) for image in images[::3]]
    response = client.post("/attribute", files=upload(*contents))
    assert response.status_code == 200
    expected = attributor.attribute(contents, nearest=6, stability=True)
    assert len(expected) == len(response.json()["images"]) == 8
    for i, (actual, answer) in enumerate(zip(response.json()["images"], expected, strict=True)):
        assert actual["name"] == f"{i}.png"
        assert actual["origin"] == answer.origin
        assert actual["score"] == pytest.approx(answer.score)
        assert actual["score_percentile"] == answer.score_percentile
        assert actual["coarse_origin"] == answer.coarse_origin
        assert actual["stability"] == answer.stability
        assert actual["differing_copies"] == list(answer.differing_copies or ())
        assert actual["original_answer"] == answer.original_answer
        assert actual["probabilities"] == pytest.approx(answer.probabilities)
        assert actual["verdict"]["words"] == make_verdict(answer).words
        assert [n["origin"] for n in actual["nearest"]] == [n.origin for n in answer.nearest or ()]
        assert (actual["format"], actual["width"], actual["height"]) == ("PNG", 64, 48)


def test_an_unstable_answer_is_explained_in_the_answer_and_the_report(
    service: Start, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Image.new("RGB", (64, 48), "white")
    copies = dict.fromkeys(COPIES, lambda image: image) | {"webp": lambda _: other}
    monkeypatch.setattr("whichgen.inference.attributor.COPIES", copies)
    files = upload(*map(encode_png, images))
    client = service()
    checked = client.post("/attribute", files=files).json()["images"]
    unstable = [a for a in checked if a["coarse_origin"] != a["original_answer"]]
    assert 0 < len(unstable) < len(images)
    sentence = "changes when the image is slightly altered (webp)"
    html = client.post("/report", files=files).text
    for answer in checked:
        assert (sentence in answer["verdict"]["detail"]) == (answer in unstable)
    assert html.count(sentence) == len(unstable)
    unchecked_client = service(Settings(stability=False))
    assert "stability" not in unchecked_client.get("/model").json()["columns"]
    unchecked = unchecked_client.post("/attribute", files=files).json()["images"]
    for before, after in zip(unchecked, checked, strict=True):
        assert (
            before["stability"] is before["differing_copies"] is before["original_answer"] is None
        )
        assert before["coarse_origin"] == after["original_answer"]
        assert after["origin"] == ("unknown" if after in unstable else before["origin"])
        assert after["score_percentile"] == before["score_percentile"]


def test_a_repeated_image_is_computed_once(client: TestClient, images: list[Image.Image]) -> None:
    first, second = (
        client.post("/attribute", files=upload(encode_png(images[0]))).json() for _ in range(2)
    )
    assert first == second
    assert "whichgen_batch_images_count 1.0" in client.get("/metrics").text


def test_unreadable_files_have_an_error_and_do_not_affect_others(
    client: TestClient, images: list[Image.Image]
) -> None:
    whole = encode_png(images[0])
    files = upload(whole, b"no image", whole[:300], b"")
    good, *bad = client.post("/attribute", files=files).json()["images"]
    assert good["origin"] and not good["error"]
    for answer, reason in zip(
        bad, ("not an image", "1.png|2.png", "not in a supported"), strict=True
    ):
        assert answer["origin"] is None and answer["verdict"]["kind"] == "unread"
        assert re.search(reason, answer["error"]), answer["error"]


def test_postscript_is_rejected(client: TestClient) -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    (answer,) = client.post("/attribute", files=upload(eps)).json()["images"]
    assert "a PostScript file" in answer["error"]


def test_file_names_are_cleaned(client: TestClient, images: list[Image.Image]) -> None:
    name = "../../etc/\u202epasswd\x07" + "x" * 400
    (answer,) = client.post("/attribute", files=[("images", (name, encode_png(images[0])))]).json()[
        "images"
    ]
    assert answer["name"].startswith("passwd") and len(answer["name"]) == 200


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"image_bytes": 5000}, "MiB"),
        ({"image_pixels": 64 * 48 - 1}, "(64 × 48)"),
    ],
)
def test_an_image_over_a_limit_has_an_error(
    service: Start, images: list[Image.Image], limits: dict[str, int], reason: str
) -> None:
    client = service(limit_settings(**limits))
    (answer,) = client.post("/attribute", files=upload(encode_png(images[0]))).json()["images"]
    assert reason in answer["error"] and answer["origin"] is None


def test_an_image_at_the_limit_is_attributed(service: Start, images: list[Image.Image]) -> None:
    data = encode_png(images[0])
    client = service(limit_settings(image_bytes=len(data), image_pixels=64 * 48))
    (answer,) = client.post("/attribute", files=upload(data)).json()["images"]
    assert answer["origin"]


def test_too_many_images_are_rejected(service: Start, images: list[Image.Image]) -> None:
    client = service(limit_settings(request_images=2))
    data = encode_png(images[0])
    assert client.post("/attribute", files=upload(data, data)).status_code == 200
    response = client.post("/attribute", files=upload(data, data, data))
    assert response.status_code == 413
    assert "at most 2" in response.json()["detail"]


def test_too_large_body_is_rejected_with_and_without_a_length(service: Start) -> None:
    client = service(limit_settings(image_bytes=MIB // 8))
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}

    def stream() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        for _ in range(20):
            yield b"a" * (MIB // 10)
        yield b"\r\n--x--\r\n"

    for body in (b"".join(stream()), stream()):
        response = client.post("/attribute", content=body, headers=boundary)
        assert response.status_code == 413
        assert response.json() == {
            "detail": "Request larger than 1 MiB. Send fewer or smaller images."
        }


def test_a_full_queue_is_reported_with_the_time_to_retry(
    service: Start, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = service(limit_settings(queue=1, request_images=1))
    assert client.post("/attribute", files=upload(encode_png(images[0]))).status_code == 200
    monkeypatch.setattr(Batcher, "queue_size", 1)
    response = client.post("/attribute", files=upload(encode_png(images[1])))
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) >= 1
    # Cached answers do not use the queue.
    assert client.post("/attribute", files=upload(encode_png(images[0]))).status_code == 200


def test_requests_per_minute_are_limited(service: Start) -> None:
    client = service(limit_settings(per_minute=3))
    codes = [client.get("/model").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    response = client.get("/model")
    assert response.headers["retry-after"] == "60"
    # Requests to the page and the health check are not counted.
    assert client.get("/").status_code == client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"Authorization": "Basic secret"}, 401),
        ({"X-API-Key": "secret"}, 200),
        ({"Authorization": "Bearer secret"}, 200),
    ],
)
def test_the_api_key_is_checked(service: Start, headers: dict[str, str], status: int) -> None:
    client = service(Settings(api_key="secret"))
    assert client.get("/model", headers=headers).status_code == status
    assert client.get("/health").status_code == client.get("/").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": "["},
        {"Origin": "http://["},
    ],
)
def test_cross_origin_requests_are_rejected(
    client: TestClient, images: list[Image.Image], headers: dict[str, str]
) -> None:
    response = client.post("/attribute", files=upload(encode_png(images[0])), headers=headers)
    assert response.status_code == (400 if "Host" in headers else 403)
    own = {"Origin": "http://localhost"}
    assert client.post("/attribute", files=upload(encode_png(images[0])), headers=own).is_success


def test_uploads_are_not_written_to_disk(service: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise AssertionError("an upload was written to disk")

    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8))
    large = encode_png(noisy)
    assert len(large) > 2 * MIB  # Starlette's own limit is 1 MiB
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", fail)
    assert service().post("/attribute", files=upload(large)).status_code == 200


def test_a_heat_map_has_one_value_per_patch(client: TestClient, images: list[Image.Image]) -> None:
    response = client.post("/explain?grid=4", files=upload(encode_png(images[-1]), field="image"))
    assert response.status_code == 200
    assert np.array(response.json()["support"]).shape == (4, 4)
    assert response.json()["origin"] in ORIGINS
    assert client.post("/explain", files=upload(b"no", field="image")).status_code == 422
    assert (
        client.post(
            "/explain?grid=99", files=upload(encode_png(images[0]), field="image")
        ).status_code
        == 422
    )


def test_exemplars_have_thumbnails(
    client: TestClient, attributor: Attributor, images: list[Image.Image]
) -> None:
    answer = client.post("/attribute", files=upload(encode_png(images[5]))).json()["images"][0]
    thumbnail = client.get("/" + answer["nearest"][0]["thumbnail"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert thumbnail.content == attributor.model.exemplars.thumbnails[5]
    # The first exemplar has no thumbnail, and the number after the last is invalid.
    for number in (0, 3 * EACH, -1):
        assert client.get(f"/exemplars/{number}").status_code == 404


def test_the_model_is_described(client: TestClient, attributor: Attributor) -> None:
    description = client.get("/model").json()
    assert description["origins"] == list(ORIGINS)
    assert description["threshold"] == attributor.model.threshold
    assert description["exemplars"] == 3 * EACH and description["enrolling"] is False
    assert (
        description["columns"] == make_answer_schema(ORIGINS, stability=True, evidence=True).names
    )


def test_enrollment_is_disabled_by_default(client: TestClient, images: list[Image.Image]) -> None:
    response = client.post("/enroll", data={"name": "new"}, files=upload(encode_png(images[0])))
    assert response.status_code == 403 and "--enroll-to" in response.json()["detail"]


def test_an_enrolled_origin_is_recognized_and_saved(
    service: Start, noise: Callable[..., Image.Image], tmp_path: Path
) -> None:
    client = service(Settings(enroll_to=tmp_path))
    digest = client.get("/model").json()["digest"]
    new = [encode_png(noise(900 + i, (64, 48), tint=9)) for i in range(6)]
    query = upload(encode_png(noise(990, (64, 48), tint=9)))
    before = client.post("/attribute", files=query).json()
    response = client.post("/enroll", data={"name": "new model"}, files=upload(*new))
    assert response.status_code == 200, response.text
    assert response.json()["images"] == 6
    after = client.post("/attribute", files=query).json()
    assert "new model" not in before["images"][0]["probabilities"]
    assert after["images"][0]["probabilities"]["new model"] > 0.3
    assert digest == before["model"] != after["model"] == client.get("/model").json()["digest"]
    assert load_model(tmp_path / "new model").origins == (*ORIGINS, "new model")
    again = client.post("/enroll", data={"name": "new model"}, files=upload(*new))
    assert again.status_code == 409
    for name in ("../up", "", "unknown", "a/b"):
        bad = client.post("/enroll", data={"name": name}, files=upload(*new))
        assert bad.status_code == 422, name
    assert [p.name for p in tmp_path.iterdir()] == ["new model"]


def test_reports_contain_every_image(client: TestClient, images: list[Image.Image]) -> None:
    files = [
        ("images", ("a <img src=x onerror=alert(1)> ü.png", encode_png(images[0]))),
        ("images", ("b.png", encode_png(images[-1]))),
        ("images", ("c.png", b"no image")),
    ]
    answers = client.post("/attribute", files=files).json()["images"]
    html = client.post("/report", files=files)
    assert html.headers["content-type"].startswith("text/html")
    assert "<img src=x" not in html.text and "&lt;img src=x onerror=alert(1)&gt; ü" in html.text
    assert "http://" not in html.text and "https://" not in html.text
    for answer in answers:
        assert answer["verdict"]["words"] in html.text and answer["sha256"] in html.text
    assert html.text.count("data:image/jpeg;base64,") == 2
    pdf = client.post("/report?format=pdf", files=files)
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-") and pdf.content.rstrip().endswith(b"%%EOF")
    assert pdf.content.count(b"/Subtype /Image") == 2


def test_evidence_and_contradictions_are_reported(
    service: Start, attributor: Attributor, images: list[Image.Image]
) -> None:
    client = service(Settings(stability=False))
    info = PngInfo()
    info.add_itxt("Description", "a cat Job ID: 01234567-89ab-cdef-0123-456789abcdef")
    answers = attributor.attribute(images)
    photograph = next(i for i, a in zip(images, answers, strict=True) if a.origin == "real")
    buffer = io.BytesIO()
    photograph.save(buffer, "PNG", pnginfo=info)
    plain, generated = client.post(
        "/attribute", files=upload(encode_png(photograph), buffer.getvalue())
    ).json()["images"]
    assert plain["provenance"] == {"findings": [], "notes": []}
    assert plain["evidence"] == plain["verdict"]["agreement"]["sentence"] == ""
    (finding,) = generated["provenance"]["findings"]
    assert (finding["indicates"], finding["generator"]) == ("synthetic", "Midjourney")
    assert generated["origin"] == plain["origin"] == "real"  # metadata does not change the answer
    assert generated["evidence_origin"] == "midjourney"
    assert (generated["evidence_strength"], generated["evidence_agrees"]) == ("strong", False)
    verdict = generated["verdict"]
    assert verdict["agreement"]["sentence"] == "The model disagrees: it predicts real."
    assert verdict["evidence"]["sentence"] == generated["evidence"]
    html = client.post("/report", files=upload(buffer.getvalue())).text
    order = [html.index(text) for text in (generated["evidence"], "Model: no sign", "disagrees:")]
    assert order == sorted(order) and "a cat" in html


def test_undecodable_upload_keeps_its_evidence(client: TestClient, shared: Path) -> None:
    data = (shared / "cases/cut_in_pixels.png").read_bytes()
    damaged_header = data[:24] + bytes(5) + data[29:]
    for content in (data, damaged_header):
        (answer,) = client.post("/attribute", files=upload(content)).json()["images"]
        assert answer["error"] and answer["origin"] is None
        assert (answer["evidence_origin"], answer["evidence_agrees"]) == ("dreamshaper_8", None)


def test_evidence_can_be_switched_off(service: Start, shared: Path) -> None:
    client = service(Settings(stability=False, evidence=None))
    data = (shared / "metadata/ideogram_a_real.jpg").read_bytes()
    (answer,) = client.post("/attribute", files=upload(data)).json()["images"]
    assert answer["provenance"] is answer["evidence"] is None
    assert "evidence" not in client.get("/model").json()["columns"]


def test_trust_list_and_aliases_apply_to_uploads(service: Start, shared: Path) -> None:
    options = EvidenceOptions(aliases={"ideogram": "our-ideogram"})
    client = service(Settings(stability=False, evidence=options))
    data = (shared / "metadata/ideogram_a_real.jpg").read_bytes()
    (answer,) = client.post("/attribute", files=upload(data)).json()["images"]
    assert answer["evidence_origin"] == "our-ideogram"


def test_metrics_count_images_and_requests(client: TestClient, images: list[Image.Image]) -> None:
    client.post(
        "/attribute", files=upload(*(encode_png(image) for image in images[:3]), b"no image")
    )
    client.get("/exemplars/99999")
    text = client.get("/metrics").text
    counts = re.findall(r'whichgen_images_total\{kind="(\w+)"\} (\d)', text)
    assert sum(int(n) for kind, n in counts if kind != "unread") == 3
    assert ("unread", "1") in counts
    assert 'whichgen_requests_total{path="/attribute",status="200"} 1.0' in text
    assert 'whichgen_requests_total{path="other",status="404"} 1.0' in text


def test_responses_have_security_headers(client: TestClient) -> None:
    for path in ("/", "/health", "/static/app.js", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_requests_nothing_from_other_hosts(client: TestClient) -> None:
    static = Path(__file__).parents[2] / "src/whichgen/service/static"
    text = client.get("/").text + "".join(
        client.get(f"/static/{file.name}").text for file in static.iterdir()
    )
    addresses = set(re.findall(r"https?://[\w./-]+", text))
    assert addresses <= {
        "http://www.w3.org/2000/svg"
    }  # an XML namespace, which browsers do not load
    for page in ("/docs", "/redoc"):  # they would load scripts from a CDN
        assert client.get(page).status_code == 404


def test_a_thumbnail_is_a_small_jpeg(attributor: Attributor) -> None:
    picture = Image.open(io.BytesIO(attributor.model.exemplars.thumbnails[1]))
    assert picture.format == "JPEG" and max(picture.size) <= 96
