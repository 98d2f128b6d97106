// Details of one image: answer, probabilities, comparison with known images, heat map and evidence.

import * as api from "./api.js";

export function element(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const formatPercent = (p) => (p > 0.999 ? "> 99.9 %" : p < 0.001 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`);
export const formatOrigin = (origin) => origin.replaceAll("_", " ");
export const percentile = (answer) => answer.score_percentile?.toFixed(0) ?? "";

export function detail(item) {
  const { answer } = item;
  const parts = [...renderVerdict(answer), renderPicture(item)];
  if (!answer.error) {
    parts.push(
      element("h3", {}, "Known origins"),
      renderBars(Object.entries(answer.probabilities)),
      element("p", { className: "quiet" },
        answer.score < answer.threshold
          ? "Probabilities under the assumption that the image is from a known origin, which is unlikely."
          : "Probabilities under the assumption that the image is from a known origin."),
      element("h3", {}, "Similarity to known images"),
      renderBars([["percentile", answer.score_percentile / 100]]),
      element("p", { className: "quiet" }, answer.comparison),
      element("h3", {}, "Most similar training images"),
      renderNearest(answer),
    );
  }
  parts.push(element("h3", {}, "Provenance evidence in the file"), ...renderEvidence(answer), renderFacts(answer));
  return parts;
}

// Evidence comes first; only strong evidence is a heading.
function renderVerdict(answer) {
  const { evidence, agreement, kind, words, detail } = answer.verdict;
  const parts = [];
  if (evidence.sentence) {
    const tag = evidence.strength === "strong" ? "h2" : "p";
    parts.push(element(tag, { className: evidence.indicates },
      `Evidence in the file: ${evidence.sentence}`));
  }
  parts.push(element("h2", { className: kind }, parts.length ? `Model: ${words}` : words));
  if (agreement.sentence) {
    parts.push(element("p", { className: agreement.agrees === false ? "contradiction" : "" },
      agreement.sentence));
  }
  return [...parts, element("p", {}, detail)];
}

// Short summary of the evidence for the table; null without evidence of origin.
export function evidenceBadge(answer) {
  const { indicates, strength, origin } = answer.verdict.evidence;
  if (!strength) return null;
  const name = { camera: "camera", edited: "edited" }[indicates] ?? formatOrigin(origin);
  return strength === "strong"
    ? element("span", { className: `kind ${indicates}` }, `evidence: ${name}`)
    : element("span", { className: "quiet" }, `weak evidence: ${name}`);
}

function renderPicture(item) {
  const image = element("img", { src: item.url, alt: item.answer.name });
  const frame = element("div", { className: "picture" }, image);
  if (item.answer.error) return frame;
  const note = element("p", { className: "quiet", hidden: true });
  const button = element("button", { type: "button" }, "Show the heat map");
  button.addEventListener("click", async () => {
    const map = frame.querySelector("canvas");
    if (map) {
      map.hidden = !map.hidden;
      note.hidden = map.hidden;
      button.textContent = map.hidden ? "Show the heat map" : "Hide the heat map";
      return;
    }
    button.disabled = true;
    button.textContent = "Computing …";
    try {
      item.heat ??= await api.explain(item.file);
      frame.append(renderHeatMap(item.heat.support));
      note.hidden = false;
      note.textContent =
        `Orange patches support ${formatOrigin(item.heat.origin)}, blue patches contradict it. Each patch is ` +
        "blurred in turn, and the change in log-odds is shown. The map explains the prediction, " +
        "whether correct or not; it does not locate manipulated regions.";
      button.textContent = "Hide the heat map";
    } catch (error) {
      note.hidden = false;
      note.textContent = error.message;
      button.textContent = "Try again";
    }
    button.disabled = false;
  });
  return element("div", {}, frame, button, note);
}

function renderHeatMap(support) {
  const canvas = element("canvas", {
    width: support[0].length, height: support.length, role: "img",
    ariaLabel: "Heat map of the patches that support the answer",
  });
  const most = Math.max(1e-9, ...support.flat().map(Math.abs));
  const context = canvas.getContext("2d");
  support.forEach((row, y) => row.forEach((value, x) => {
    const strength = (0.75 * Math.abs(value)) / most;
    context.fillStyle = value > 0 ? `rgba(230,120,0,${strength})` : `rgba(0,90,200,${strength})`;
    context.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

function renderBars(shares) {
  const box = element("div", { className: "bars" });
  const sorted = shares.sort((a, b) => b[1] - a[1]);
  for (const [name, share] of sorted.slice(0, 12)) {
    const fill = element("div", { className: "fill" });
    fill.style.width = `${100 * share}%`;
    box.append(
      element("span", { className: "name" }, formatOrigin(name)),
      element("div", { className: "track", ariaHidden: "true" }, fill),
      element("span", { className: "value" }, formatPercent(share)),
    );
  }
  return box;
}

function renderNearest(answer) {
  if (!answer.nearest.length) {
    return element("p", { className: "quiet" }, "The model has no exemplars.");
  }
  return element("ul", { className: "nearest" }, ...answer.nearest.map((neighbor) => {
    const image = neighbor.thumbnail
      ? element("img", { alt: `image from ${formatOrigin(neighbor.origin)}` })
      : element("div", { className: "empty" });
    if (neighbor.thumbnail) api.picture(neighbor.thumbnail).then((url) => { image.src = url; });
    return element("li", {}, image, `${formatOrigin(neighbor.origin)} `,
      element("span", { className: "quiet" }, `${neighbor.similarity.toFixed(2)}`));
  }));
}

function renderEvidence(answer) {
  const report = answer.provenance;
  if (!report) return [element("p", {}, "Provenance evidence was not collected.")];
  const caveat = element("p", { className: "quiet" },
    "Missing metadata proves nothing. Anyone can write metadata, or sign with a certificate of their own.");
  const items = report.findings.map((finding) => element("li", {},
    finding.indicates === "neutral" ? "" : `${finding.indicates}: `,
    element("strong", {}, finding.title), finding.detail ? `: ${finding.detail}` : ""));
  const notes = report.notes.map((note) => element("p", { className: "quiet" }, note));
  const list = items.length ? [element("ul", { className: "evidence" }, ...items)] : [];
  if (!items.length && !notes.length) list.push(element("p", {}, "No provenance metadata found."));
  return [...list, ...notes, caveat];
}

function renderFacts(answer) {
  const size = answer.width ? `${answer.width} × ${answer.height} pixels` : "";
  const kib = `${(answer.bytes / 1024).toFixed(1)} KiB`;
  return element("dl", { className: "quiet" },
    element("dt", {}, "File"), element("dd", {}, answer.name),
    element("dt", {}, "Format"), element("dd", {}, [answer.format, size, kib].filter(Boolean).join(", ")),
    element("dt", {}, "SHA-256"), element("dd", {}, answer.sha256));
}
