// Details of one image: answer, probabilities, score, similar images, heat map and evidence.

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

const percent = (p) => (p > 0.999 ? "> 99.9 %" : p < 0.001 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`);
export const spelled = (origin) => origin.replaceAll("_", " ");
export const plain = (score) => (score === null ? "" : Number(score.toPrecision(4)).toString());

export function detail(item, model) {
  const { answer } = item;
  const parts = [
    element("h2", { className: answer.verdict.kind }, answer.verdict.words),
    element("p", {}, answer.verdict.detail),
    ...(answer.evidence?.contradictions ?? []).map((text) =>
      element("p", { className: "contradiction" }, text)),
    picture(item),
  ];
  if (!answer.error) {
    parts.push(
      element("h3", {}, "Known origins"),
      bars(answer),
      element("p", { className: "quiet" },
        answer.origin === "unknown"
          ? "Probabilities if the image were from a known origin, which is unlikely."
          : "Probabilities, given that the image is from a known origin."),
      element("h3", {}, "Similarity to known images"),
      gauge(answer, model),
      element("h3", {}, "Most similar training images"),
      nearest(answer),
    );
  }
  parts.push(element("h3", {}, "Provenance evidence in the file"), ...evidence(answer), facts(answer));
  return parts;
}

function picture(item) {
  const image = element("img", { src: item.url, alt: item.answer.name });
  const frame = element("div", { className: "picture" }, image);
  if (item.answer.error) return frame;
  const note = element("p", { className: "quiet", hidden: true });
  const button = element("button", { type: "button" }, "Explain: which patches matter?");
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
      frame.append(heat(item.heat.support));
      note.hidden = false;
      note.textContent =
        `Orange patches support ${spelled(item.heat.origin)}, blue patches contradict it. Each patch is ` +
        "blurred in turn, and the change in probability is shown. The map explains this answer, " +
        "right or wrong; it does not show what is fake.";
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

function heat(support) {
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

function bars(answer) {
  const box = element("div", { className: "bars" });
  const sorted = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  for (const [origin, p] of sorted.slice(0, 12)) {
    const fill = element("div", { className: "fill" });
    fill.style.width = `${100 * p}%`;
    box.append(
      element("span", { className: "name" }, spelled(origin)),
      element("div", { className: "track", ariaHidden: "true" }, fill),
      element("span", { className: "value" }, percent(p)),
    );
  }
  return box;
}

function gauge(answer, model) {
  const { low, high, known_low, known_high } = model.scale;
  const place = (score) => 4 + 392 * Math.min(1, Math.max(0, (score - low) / (high - low || 1)));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 400 58");
  svg.setAttribute("class", "gauge");
  svg.setAttribute("role", "img");
  const comparison = answer.score < answer.threshold ? "below" : "at or above";
  svg.setAttribute("aria-label",
    `Open-set score ${plain(answer.score)}, ${comparison} the threshold ${plain(answer.threshold)}`);
  const draw = (tag, attributes, text) => {
    const node = document.createElementNS(svg.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text) node.textContent = text;
    svg.append(node);
  };
  const at = place(answer.threshold), mine = place(answer.score);
  draw("rect", { x: 4, y: 22, width: 392, height: 12, rx: 6, fill: "var(--track)" });
  draw("rect", {
    x: place(known_low), y: 22, width: Math.max(2, place(known_high) - place(known_low)),
    height: 12, rx: 6, fill: "var(--bar)", opacity: 0.45,
  });
  draw("line", { x1: at, x2: at, y1: 17, y2: 39, stroke: "currentColor", "stroke-width": 2 });
  const side = (x) => (x > 300 ? "end" : x < 100 ? "start" : "middle");
  draw("text", { x: at, y: 52, "text-anchor": side(at) }, `threshold ${plain(answer.threshold)}`);
  draw("circle", { cx: mine, cy: 28, r: 7, fill: "var(--accent)", stroke: "var(--panel)", "stroke-width": 2 });
  draw("text", { x: mine, y: 12, "text-anchor": side(mine) }, `this image ${plain(answer.score)}`);
  return element("div", {}, svg, element("p", { className: "quiet" },
    "Shaded: the central 90 % of held-out known images. Left of the threshold the answer is unknown."));
}

function nearest(answer) {
  if (!answer.nearest.length) {
    return element("p", { className: "quiet" }, "The model has no exemplars.");
  }
  return element("ul", { className: "nearest" }, ...answer.nearest.map((neighbor) => {
    const image = neighbor.thumbnail
      ? element("img", { alt: `image from ${spelled(neighbor.origin)}` })
      : element("div", { className: "empty" });
    if (neighbor.thumbnail) api.picture(neighbor.thumbnail).then((url) => { image.src = url; });
    return element("li", {}, image, `${spelled(neighbor.origin)} `,
      element("span", { className: "quiet" }, `${neighbor.similarity.toFixed(2)}`));
  }));
}

function evidence(answer) {
  const report = answer.evidence;
  const unproven = element("p", { className: "quiet" },
    "Metadata can be removed and forged: its absence proves nothing, its presence little.");
  if (!report?.findings.length) {
    return [element("p", {}, "No provenance metadata found."), unproven];
  }
  const items = report.findings.map((finding) => element("li", {},
    element("strong", {}, finding.title), finding.detail ? `: ${finding.detail}` : ""));
  const notes = report.notes.map((note) => element("p", { className: "quiet" }, note));
  return [element("ul", { className: "evidence" }, ...items), ...notes, unproven];
}

function facts(answer) {
  const size = answer.width ? `${answer.width} × ${answer.height} pixels` : "";
  const kib = `${(answer.bytes / 1024).toFixed(1)} KiB`;
  return element("dl", { className: "quiet" },
    element("dt", {}, "File"), element("dd", {}, answer.name),
    element("dt", {}, "Format"), element("dd", {}, [answer.format, size, kib].filter(Boolean).join(", ")),
    element("dt", {}, "SHA-256"), element("dd", {}, answer.sha256));
}
