// HTTP API calls. Each error has a message of one or two sentences.

let key = sessionStorage.getItem("whichgen-key") ?? "";

export class KeyRequired extends Error {}

export function setKey(value) {
  key = value;
  sessionStorage.setItem("whichgen-key", value);
}

async function call(path, options = {}) {
  const headers = key ? { "X-API-Key": key } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The service does not respond. Check that it is still running.");
  }
  if (response.ok) return response;
  const detail = await response.json().then((body) => body.detail, () => response.statusText);
  if (response.status === 401) throw new KeyRequired(detail);
  const error = new Error(detail);
  error.retry = [429, 503].includes(response.status) ? Number(response.headers.get("Retry-After") ?? 5) : 0;
  throw error;
}

const form = (field, files) => {
  const body = new FormData();
  for (const file of files) body.append(field, file, file.name);
  return { method: "POST", body };
};

// Retry after the time in the Retry-After header if the service is busy.
async function callWithRetry(path, options, tries = 20) {
  for (let remaining = tries; ; remaining--) {
    try {
      return await call(path, options);
    } catch (error) {
      if (!error.retry || remaining === 0) throw error;
      await new Promise((done) => setTimeout(done, 1000 * error.retry));
    }
  }
}

export const model = async () => (await call("model")).json();
export const attribute = async (files) => (await callWithRetry("attribute", form("images", files))).json();
export const explain = async (file) => (await callWithRetry("explain", form("image", [file]))).json();
export const report = async (files, format) =>
  (await callWithRetry(`report?format=${format}`, form("images", files))).blob();

// An <img> element cannot send the API key.
export async function picture(path) {
  if (!key) return path;
  return URL.createObjectURL(await (await call(path)).blob());
}
