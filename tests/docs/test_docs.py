"""The code and the figures in the documentation are tested as printed."""

from __future__ import annotations

import re
import shlex
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml

from cli.conftest import whichgen
from models.test_hub import Hub
from test_readme import ROOT, code_blocks, create_workspace, shell
from whichgen.cli.app import expand_blocks
from whichgen.cli.parser import build_app
from whichgen.heads.method_registry import HEAD_METHODS
from whichgen.openset.score_registry import SCORES

DOCS = ROOT / "docs"
RUN = Path("output/linear-probe/openai/clip-vit-base-patch16/my_images")
FUSION = Path("output/fusion/openai/clip-vit-base-patch16+traces/my_images")

#: Runs the code of a page and returns the global names of its Python blocks.
RunPage = Callable[[str], dict[str, Any]]


def shell_commands(text: str) -> list[str]:
    """Return the commands of a shell block, without comments."""
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def trained_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder with a trained model."""
    folder = create_workspace(tmp_path_factory.mktemp("reader"))
    with pytest.MonkeyPatch.context() as patch:
        enter_workspace(folder, patch)
        done = whichgen("linear", "--data", "my_images", "--unknown", "new-model,other-model")
        assert done.code == 0, done.err
    return folder


def enter_workspace(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Run this process in the folder, with all caches inside it."""
    patch.chdir(folder)
    patch.setenv("WHICHGEN_CACHE", str(folder / "cache"))
    patch.setenv("LOKY_MAX_CPU_COUNT", "1")
    patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub" / "hub"))
    # Tested elsewhere, and most of the time of a small run.
    patch.setattr("whichgen.report.run_folder.plot_run", lambda _: [])
    patch.setattr("whichgen.training.shortcut_check.check_shortcuts", lambda *_, **__: None)


class Service:
    """``whichgen serve`` in a thread, one at a time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch, self._servers = patch, list[uvicorn.Server]()
        started = self._servers

        class RecordedServer(uvicorn.Server):
            def __init__(self, config: uvicorn.Config) -> None:
                super().__init__(config)
                started.append(self)

        patch.setattr("uvicorn.Server", RecordedServer)
        self._thread: threading.Thread | None = None

    def start(self, arguments: list[str]) -> None:
        """Stop the previous service, start a new one and wait until it accepts requests."""
        self.stop()
        command = partial(build_app(), expand_blocks(arguments), standalone_mode=False)
        self._thread = threading.Thread(target=command)
        self._thread.start()
        while not (self._servers and self._servers[-1].started):
            assert self._thread.is_alive(), "the service did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the service as Ctrl-C does."""
        if self._thread is not None:
            self._servers.pop().should_exit = True
            self._thread.join(20)
            self._thread = None


@pytest.fixture
def run_page(trained_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPage]:
    """Run the blocks of a page in order, as a reader who has trained a first model."""
    enter_workspace(trained_workspace, monkeypatch)
    service = Service(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def run_command(line: str) -> None:
        words = shlex.split(line)
        while "=" in words[0]:
            monkeypatch.setenv(*words.pop(0).split("=", 1))
        if words[:2] == ["whichgen", "serve"]:
            service.start(words[1:])
        elif "--engine" in words:
            shell(line, trained_workspace)  # Ray's workers inherit the environment, not the patches
        elif words[0] == "whichgen":
            done = whichgen(*words[1:])
            assert done.code == 0, f"{line}\n{done.out}\n{done.err}"
        elif words[0] in ("openssl", "python"):
            shell(line, trained_workspace)
        elif words[0] == "curl":
            shell(f"curl --silent --show-error --fail {shlex.join(words[1:])}", trained_workspace)
        else:
            assert words[:2] == ["pip", "install"], f"untested command: {line!r}"
            extras = set(re.findall(r"\w+", words[2]))
            assert extras <= set(project()["optional-dependencies"]), line

    def run(page: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": page}
        text = (DOCS / page).read_text(encoding="utf-8").replace("8000", str(port))
        for kind, block in code_blocks(text):
            assert kind in ("sh", "python", "text", "yaml"), f"{page}: a block of {kind}"
            if kind == "yaml":
                names.setdefault("yaml", []).append(yaml.safe_load(block))
            if kind == "sh":
                for line in shell_commands(block):
                    run_command(line)
            elif kind == "python":
                # Without this file's __future__ imports, as in a reader's program.
                exec(compile(block, page, "exec", dont_inherit=True), names)
        return names

    yield run
    service.stop()


def project() -> dict[str, Any]:
    """Return the project table of ``pyproject.toml``."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_every_page_with_code_has_a_test() -> None:
    tested = set(re.findall(r'run_page\("([^"]+)"\)', Path(__file__).read_text(encoding="utf-8")))
    pages = {
        str(file.relative_to(DOCS))
        for file in DOCS.rglob("*.md")
        if {kind for kind, _ in code_blocks(file.read_text(encoding="utf-8"))} - {"text"}
    }
    assert pages == tested


def test_quick_start(run_page: RunPage) -> None:
    run_page("index.md")
    assert (FUSION / "model" / "model.json").is_file()


def test_builtin_model(run_page: RunPage) -> None:
    run_page("how-to/builtin.md")


def test_training(run_page: RunPage) -> None:
    images = sorted(path.relative_to("my_images") for path in Path("my_images").rglob("*.png"))
    lines = [f"{path.as_posix()}\t{path.parts[0]}-{i % 8}" for i, path in enumerate(images)]
    Path("sources.tsv").write_text("\n".join(["path\tsource", *lines]), encoding="utf-8")
    names = run_page("how-to/train.md")
    assert (RUN / "report.html").is_file() and (RUN / "robustness.md").is_file()
    assert names["answer"].origin in {"unknown", "real", "gan-a", "gan-b"}
    assert len(names["answer"].nearest) == 3 and names["heat"].support.shape == (4, 4)


def test_a_papers_split(run_page: RunPage) -> None:
    names = run_page("how-to/benchmark.md")
    note = "PROTOCOL OF THE REFERENCE IMPLEMENTATION"
    reports = Path("output").rglob("report.md")
    paper = [report for report in reports if note in report.read_text(encoding="utf-8")]
    assert [r.parts[1] for r in paper] == ["paper"]
    assert len(names["dataset"].known) > 3 and len(names["dataset"].test_unknown)


def test_a_new_generator(run_page: RunPage) -> None:
    names = run_page("how-to/new-generator.md")
    assert names["wider"].model.origins == ("real", "gan-a", "gan-b", "fresh")
    assert names["result"].n_images == 5
    assert (RUN.with_name("my_images+fresh-model") / "model" / "model.json").is_file()


def test_a_gallery(run_page: RunPage) -> None:
    names = run_page("how-to/gallery.md")
    assert names["gallery"].description.kind == "flat"
    assert len(names["answer"].nearest) == 3


def test_evidence(run_page: RunPage) -> None:
    names = run_page("how-to/evidence.md")
    assert {finding.kind for finding in names["evidence"].findings} == {"jpeg"}
    assert "photo.jpg" in Path("case.html").read_text(encoding="utf-8")


def test_the_service(run_page: RunPage) -> None:
    names = run_page("how-to/serve.md")
    first, second = names["answers"]["images"]
    assert (first["name"], second["name"]) == ("photo.jpg", "0.png")
    assert first["error"] == "" and second["verdict"]["words"]
    assert "photo.jpg" in Path("case.html").read_text(encoding="utf-8")


def test_scaling_out(run_page: RunPage) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'whichgen[ray]'")
    job, machines = run_page("how-to/scale-out.md")["yaml"]
    assert len(list(Path("answers").glob("part-*.parquet"))) == 1
    # The YAML cannot be run here; check that its commands use existing options.
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:2] == ["whichgen", "extract"]
    help_text = whichgen("extract", "--help").out
    assert all(word in help_text for word in words if word.startswith("--"))
    assert job["spec"]["rayClusterSpec"]["rayVersion"] in machines["setup_commands"][0]


def test_sharing(run_page: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
    # No hub is reachable: put uploads where the hub client looks first.
    place = Path("hub/hub/models--you--my-origins").absolute()
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("one")
    pushed = place / "snapshots" / "one"
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: Hub(pushed))
    names = run_page("how-to/share.md")
    files = {"README.md", "SHA256SUMS", "head.safetensors", "model.json"}
    assert {f.name for f in pushed.iterdir()} == files
    assert names["attributor"].model.exemplars.thumbnails == ()


def test_verifying(run_page: RunPage, monkeypatch: pytest.MonkeyPatch) -> None:
    # The deterministic mode lasts until the process ends, which runs other tests, too.
    calls: list[bool] = []
    monkeypatch.setattr("whichgen.cli.parser.enable_deterministic_mode", lambda: calls.append(True))
    run_page("how-to/verify.md")
    assert calls == [True]
    assert (RUN / "model" / "model.sig").is_file()


def test_an_encoder(run_page: RunPage) -> None:
    names = run_page("how-to/encoder.md")
    assert names["encoder"].block_dims == (16, 32, 64)
    assert names["attributor"].model.encoder["name"] == "tiny"
    assert names["result"].evaluation.closed.accuracy > 0.5


def test_a_head(run_page: RunPage) -> None:
    names = run_page("how-to/head.md")
    del HEAD_METHODS["centroid"]
    assert names["attributor"].model.head_method == "centroid"
    assert names["result"].evaluation.closed.accuracy > 0.5


def test_an_open_set_score(run_page: RunPage) -> None:
    names = run_page("how-to/score.md")
    del SCORES["length"]
    assert names["changed"].score_method == "length"
    assert 0 <= names["result"].oscr <= names["result"].closed.accuracy


def test_commands_of_the_reference_implementation(run_page: RunPage) -> None:
    run_page("reference-implementation.md")
    assert list(Path("output/paper").rglob("report.md"))


def test_worked_example(run_page: RunPage) -> None:
    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| (\w+) \| (\w) \| (0\.\d\d) \|$", text, re.MULTILINE)
    assert len(rows) == 7
    names = run_page("concepts.md")
    known, unknown, result = names["known"], names["unknown"], names["result"]
    scores = [float(score) for _, _, score in rows]
    assert [*known.scores.tolist(), *unknown.scores.tolist()] == scores
    predicted = [*known.predicted.tolist(), *unknown.predicted.tolist()]
    # Both origins are equally probable for image 6; the page names the second.
    assert [("A", "B")[i] for i in predicted[:5]] == [origin for _, origin, _ in rows[:5]]
    assert known.origins.tolist() == [origin for origin, _, _ in rows[:4]]
    figures = [float(f) for f in re.findall(r"\d/\d+ =\s(0\.\d{3})", text)]
    assert figures == pytest.approx(
        [
            result.closed.accuracy,
            result.detection.auroc,
            result.oscr,
            result.acceptance_rate,
            result.rejection_rate,
            result.open_accuracy,
        ],
        abs=5e-4,
    )
    picture = (DOCS / "pictures" / "oscr.svg").read_text(encoding="utf-8")
    assert "AUROC = 10/12" in picture and "OSCR = 8/12" in picture


def test_messages_exist_in_the_source() -> None:
    files = (ROOT / "src").rglob("*.py")
    # Join string literals that span lines.
    source = re.sub(r'"\s+f?"', "", "".join(file.read_text("utf-8") for file in files))
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    assert len(messages) > 5
    for message in messages:
        for part in (p.strip() for p in message.split("…")):
            assert part in source, message


def test_files_named_in_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = re.findall(r"`([a-z_]+(?:/[a-z_]+)+(?:\.py|/))`", text)
    assert len(names) > 20
    folders = (ROOT, ROOT / "src" / "whichgen")
    assert [n for n in names if not any((folder / n).exists() for folder in folders)] == []


def test_shell_completion(tmp_path: Path) -> None:
    output = shell(
        "whichgen --install-completion bash; _WHICHGEN_COMPLETE=complete_bash "
        'COMP_WORDS="whichgen li" COMP_CWORD=1 whichgen',
        tmp_path,
        HOME=str(tmp_path),
    )
    assert "linear" in output.split()
    assert "whichgen" in (tmp_path / ".bashrc").read_text()
