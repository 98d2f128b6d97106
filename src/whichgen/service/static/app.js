// The page: accepts images, requests answers in small groups, lists, sorts, filters and exports them.

import * as api from "./api.js";
import { detail, element, evidenceBadge, percentile } from "./detail.js";

const $ = (id) => document.getElementById(id);
const IMAGES_PER_REQUEST = 8; // small enough to show progress
const PARALLEL_REQUESTS = 2; // send one request while another is computed

let model = null;
let items = []; // {file, url, answer, heat}
let selected = null;
let sort = { by: "", down: false };
let requested = 0;

function showProblem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

async function start() {
  try {
    model = await api.model();
  } catch (error) {
    if (!(error instanceof api.KeyRequired)) return showProblem(error.message);
    $("key").hidden = false;
    $("model-line").textContent = "API key required";
    return;
  }
  $("key").hidden = true;
  const share = (value) => (value == null ? "–" : `${(100 * value).toFixed(1)} %`);
  $("model-line").textContent =
    `${model.origins.length} known origins, ${model.encoder}, ${model.head} head`;
  $("model-list").replaceChildren(...[
    ["Known origins", model.origins.join(", ")],
    ["Test accuracy on known origins", share(model.metrics.accuracy)],
    ["AUROC, known vs. unknown", share(model.metrics.auroc)],
    ["OSCR", share(model.metrics.oscr)],
    ["Open-set score", `${model.score}; its threshold accepts ${share(model.tpr)} of known validation images`],
    ["Digest", model.digest],
    ["Version", `whichgen ${model.whichgen}`],
  ].flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  const { image_bytes, image_pixels } = model.limits;
  $("limits").textContent =
    `Maximum ${Math.floor(image_bytes / 2 ** 20)} MiB and ${image_pixels / 1e6} million pixels per image.`;
}

async function add(files) {
  const images = [...files];
  if (!images.length) return;
  if (!model) return showProblem("The model is not loaded yet. Try again in a moment.");
  showProblem("");
  $("work").hidden = false;
  const added = images.map((file) => ({ file, url: URL.createObjectURL(file), answer: null, heat: null }));
  requested += added.length;
  items.push(...added);
  showProgress();
  const groups = [];
  for (let i = 0; i < added.length; i += IMAGES_PER_REQUEST) groups.push(added.slice(i, i + IMAGES_PER_REQUEST));
  const work = async () => {
    for (let group = groups.shift(); group; group = groups.shift()) {
      try {
        const { images } = await api.attribute(group.map((item) => item.file));
        group.forEach((item, i) => { item.answer = images[i]; });
      } catch (error) {
        if (error instanceof api.KeyRequired) $("key").hidden = false;
        showProblem(error.message);
        items = items.filter((item) => !group.includes(item));
        requested -= group.length;
      }
      if (!selected) select(items.find((item) => item.answer) ?? null);
      showProgress();
      showRows();
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_REQUESTS }, work));
}

function showProgress() {
  const done = items.filter((item) => item.answer).length;
  $("progress").max = Math.max(1, requested);
  $("progress").value = done;
  $("count").textContent = done < requested ? `${done} of ${requested} processed` : `${done} processed`;
  for (const id of ["csv", "html", "pdf"]) $(id).disabled = done === 0 || done < requested;
}

const matchesFilter = ({ answer }) => {
  const kind = $("kind").value, text = $("find").value.toLowerCase();
  if (kind === "evidence" ? !answer.evidence
    : kind === "contradiction" ? answer.evidence_agrees !== false
    : kind && answer.verdict.kind !== kind) return false;
  return `${answer.name} ${answer.evidence ?? ""} ${answer.verdict.words}`.toLowerCase().includes(text);
};

const sortKeys = {
  name: (answer) => answer.name.toLowerCase(),
  words: (answer) => answer.verdict.words,
  score: (answer) => answer.score ?? -Infinity,
};

function visibleItems() {
  const matching = items.filter((item) => item.answer && matchesFilter(item));
  if (!sort.by) return matching;
  const key = sortKeys[sort.by], sign = sort.down ? -1 : 1;
  return matching.sort((a, b) => {
    const x = key(a.answer), y = key(b.answer);
    return sign * (x < y ? -1 : x > y ? 1 : 0);
  });
}

function showRows() {
  const visible = visibleItems();
  $("none").hidden = visible.length > 0 || !items.some((item) => item.answer);
  $("rows").replaceChildren(...visible.map((item) => {
    const { answer } = item;
    const open = element("button", { className: "open", type: "button" }, answer.name);
    open.addEventListener("click", () => select(item, true));
    const badge = evidenceBadge(answer);
    const verdict = element("td", {},
      badge, badge ? element("br") : null,
      element("span", { className: `kind ${answer.verdict.kind}` },
        badge ? `model: ${answer.verdict.words}` : answer.verdict.words),
      answer.evidence_agrees === false
        ? element("span", { className: "badge" }, "contradiction") : null);
    const row = element("tr", { ariaSelected: String(item === selected) },
      element("td", {}, element("img", { src: item.url, alt: "", loading: "lazy" })),
      element("td", {}, open), verdict,
      element("td", { className: "percentile" }, percentile(answer)));
    return row;
  }));
}

function select(item, focus = false) {
  selected = item;
  $("detail").replaceChildren(...(item ? detail(item) : []));
  showRows();
  if (focus && matchMedia("(max-width: 55rem)").matches) $("detail").scrollIntoView();
}

function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Values of the columns that all answer tables share; pageColumns exist only on this page.
const columnValue = (answer, column) => {
  if (column === "image") return answer.name;
  const origin = column.match(/^p\((.*)\)$/)?.[1];
  const value = origin === undefined ? answer[column] : answer.probabilities[origin];
  return Array.isArray(value) ? value.join(" ") : value;
};

const pageColumns = {
  sha256: (answer) => answer.sha256,
  verdict: (answer) => answer.verdict.words,
  agreement: (answer) => answer.verdict.agreement.sentence,
  findings: (answer) =>
    (answer.provenance?.findings ?? []).map((finding) => finding.title).join("; "),
};

function saveCsv() {
  const cell = (value) => {
    let text = String(value ?? "");
    // A quote prevents spreadsheets from running text as a formula.
    if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const header = [...model.columns, ...Object.keys(pageColumns)];
  const lines = visibleItems().map(({ answer }) => [
    ...model.columns.map((column) => columnValue(answer, column)),
    ...Object.values(pageColumns).map((value) => value(answer))]);
  const text = [header, ...lines].map((line) => line.map(cell).join(",")).join("\r\n");
  save(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" }), "whichgen.csv");
}

async function saveReport(format, button) {
  const label = button.textContent;
  button.disabled = true;
  button.textContent = "Writing …";
  try {
    save(await api.report(visibleItems().map((item) => item.file), format), `whichgen.${format}`);
  } catch (error) {
    showProblem(error.message);
  }
  button.textContent = label;
  button.disabled = false;
}

$("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") add(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => add(event.clipboardData.files));
document.addEventListener("keydown", (event) => {
  if (!["ArrowDown", "ArrowUp"].includes(event.key) || !document.activeElement.matches(".open, body")) return;
  const visible = visibleItems();
  const next = visible[visible.indexOf(selected) + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  select(next);
  document.querySelector('tr[aria-selected="true"] .open').focus();
});
$("find").addEventListener("input", showRows);
$("kind").addEventListener("change", showRows);
for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    const by = button.dataset.sort;
    sort = { by, down: sort.by === by && !sort.down };
    for (const head of document.querySelectorAll("th[aria-sort]")) head.ariaSort = "none";
    button.closest("th").ariaSort = sort.down ? "descending" : "ascending";
    showRows();
  });
}
$("csv").addEventListener("click", saveCsv);
$("html").addEventListener("click", (event) => saveReport("html", event.target));
$("pdf").addEventListener("click", (event) => saveReport("pdf", event.target));
$("clear").addEventListener("click", () => {
  for (const item of items) URL.revokeObjectURL(item.url);
  items = [];
  requested = 0;
  select(null);
  showProgress();
  $("work").hidden = true;
});
$("key").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setKey($("key-field").value);
  showProblem("");
  start();
});
start();
