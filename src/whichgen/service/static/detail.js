// Everything about one image: verdict, bars, gauge, nearest exemplars, heat map, what the file says.

import * as api from "./api.js";

export function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
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
          ? "Were it of a known origin, these would be the probabilities. It is most likely not."
          : "Probabilities, if the image is of a known origin."),
      element("h3", {}, "How much it is like known images"),
      gauge(answer, model),
      element("h3", {}, "Nearest images the model knows"),
      nearest(answer),
    );
  }
  parts.push(element("h3", {}, "What the file itself says"), ...evidence(answer), facts(answer));
  return parts;
}

function picture(item) {
  const image = element("img", { src: item.url, alt: item.answer.name });
  const frame = element("div", { className: "picture" }, image);
  if (item.answer.error) return frame;
  const note = element("p", { className: "quiet", hidden: true });
  const button = element("button", { type: "button" }, "Which patches drove the answer?");
  button.addEventListener("click", async () => {
    const shown = frame.querySelector("canvas");
    if (shown) {
      shown.hidden = !shown.hidden;
      note.hidden = shown.hidden;
      button.textContent = shown.hidden ? "Show the heat map" : "Hide the heat map";
      return;
    }
    button.disabled = true;
    button.textContent = "Covering patch after patch …";
    try {
      item.heat ??= await api.explain(item.file);
      frame.append(heat(item.heat.support));
      note.hidden = false;
      note.textContent =
        `Orange patches speak for ${spelled(item.heat.origin)}, blue ones against it: how much ` +
        "less or more probable it is when the patch alone is blurred. It shows where this answer " +
        "came from, right or wrong; it is not a map of what is fake.";
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
    ariaLabel: "Heat map of the patches that drove the answer",
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
  const verdict = answer.score < answer.threshold ? "below" : "not below";
  svg.setAttribute("aria-label",
    `Open-set score ${plain(answer.score)}, ${verdict} the threshold ${plain(answer.threshold)}`);
  const draw = (tag, attributes, text) => {
    const made = document.createElementNS(svg.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text) made.textContent = text;
    svg.append(made);
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
    "Shaded: nine of ten held-out images of known origins. Left of the threshold the answer is unknown."));
}

function nearest(answer) {
  if (!answer.nearest.length) {
    return element("p", { className: "quiet" }, "The model keeps no exemplars.");
  }
  return element("ul", { className: "nearest" }, ...answer.nearest.map((found) => {
    const shown = found.thumbnail
      ? element("img", { alt: `an image of ${spelled(found.origin)}` })
      : element("div", { className: "empty" });
    if (found.thumbnail) api.picture(found.thumbnail).then((url) => { shown.src = url; });
    return element("li", {}, shown, `${spelled(found.origin)} `,
      element("span", { className: "quiet" }, `${found.similarity.toFixed(2)}`));
  }));
}

function evidence(answer) {
  const found = answer.evidence;
  const unproven = element("p", { className: "quiet" },
    "Metadata can be removed and forged: its absence proves nothing, its presence little.");
  if (!found?.findings.length) {
    return [element("p", {}, "Nothing on its maker: no credentials, no generator's metadata."), unproven];
  }
  const items = found.findings.map((finding) => element("li", {},
    element("strong", {}, finding.title), finding.detail ? `: ${finding.detail}` : ""));
  const notes = found.notes.map((note) => element("p", { className: "quiet" }, note));
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
