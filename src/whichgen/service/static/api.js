// Every call of the service; an error is one sentence.

let key = sessionStorage.getItem("whichgen-key") ?? "";

export class KeyNeeded extends Error {}

export function useKey(given) {
  key = given;
  sessionStorage.setItem("whichgen-key", given);
}

async function call(path, options = {}) {
  const headers = key ? { "X-API-Key": key } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().then((body) => body.detail, () => answer.statusText);
  if (answer.status === 401) throw new KeyNeeded(said);
  const error = new Error(said);
  error.retry = [429, 503].includes(answer.status) ? Number(answer.headers.get("Retry-After") ?? 5) : 0;
  throw error;
}

const form = (field, files) => {
  const body = new FormData();
  for (const file of files) body.append(field, file, file.name);
  return { method: "POST", body };
};

// A busy service says when to come again.
async function patiently(path, options, tries = 20) {
  for (let left = tries; ; left--) {
    try {
      return await call(path, options);
    } catch (error) {
      if (!error.retry || left === 0) throw error;
      await new Promise((done) => setTimeout(done, 1000 * error.retry));
    }
  }
}

export const model = async () => (await call("model")).json();
export const attribute = async (files) => (await patiently("attribute", form("images", files))).json();
export const explain = async (file) => (await patiently("explain", form("image", [file]))).json();
export const report = async (files, format) =>
  (await patiently(`report?format=${format}`, form("images", files))).blob();

// A picture behind a key can't be an <img> address.
export async function picture(path) {
  if (!key) return path;
  return URL.createObjectURL(await (await call(path)).blob());
}
