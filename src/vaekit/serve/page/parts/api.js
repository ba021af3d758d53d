// Requests to the API of this server. The browser sends the token itself, as it asked for it when the page was opened.
const BUSY = 503;
const ATTEMPTS = 5;
const JSON_TYPE = "application/json";

// An answer with a status other than success. `message` is the server's, for people; `code` is its short name for programs.
export class ApiError extends Error {
  name = "ApiError";

  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

async function errorOf(answer) {
  try {
    const { error, message } = await answer.json();
    return new ApiError(answer.status, error, message);
  } catch {
    return new ApiError(answer.status, "http", `The server answered with status ${answer.status}.`);
  }
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

// A request, repeated while the server is busy. Options are those of fetch.
async function request(path, options) {
  for (let attempt = 1; ; attempt++) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "unreachable", "The server does not answer. Is `vaekit serve` still running?");
    }
    if (answer.ok) return answer;
    const wait = Number(answer.headers.get("retry-after"));
    if (answer.status !== BUSY || !wait || attempt === ATTEMPTS) throw await errorOf(answer);
    await pause(wait, options.signal);
  }
}

// An address with the name of a VAE in it.
export function vaePath(vae, verb) {
  return `/api/vaes/${encodeURIComponent(vae)}/${verb}`;
}

export async function getJSON(path, { signal } = {}) {
  return (await request(path, { signal })).json();
}

// Send bytes, such as an image file; returns the Response.
export function postBytes(path, body, { type, accept = JSON_TYPE, signal } = {}) {
  return request(path, { method: "POST", body, headers: { "Content-Type": type, Accept: accept }, signal });
}

// Send a value as JSON; returns the Response.
export function postJSON(path, value, { accept = JSON_TYPE, signal } = {}) {
  return postBytes(path, JSON.stringify(value), { type: JSON_TYPE, accept, signal });
}

// A file with its name, { blob, name }; `progress(done, whole)` is called with numbers of bytes.
export async function getFile(path, { signal, progress }) {
  const answer = await request(path, { signal });
  const whole = Number(answer.headers.get("content-length"));
  const parts = [];
  let done = 0;
  for (const reader = answer.body.getReader(); ;) {
    const { value, done: ended } = await reader.read();
    if (ended) break;
    parts.push(value);
    progress(done += value.length, whole);
  }
  const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition"))[1];
  return { blob: new Blob(parts), name };
}

// Raw float32 values of an answer with `shape` and `dtype` in its headers.
export async function tensorOf(answer) {
  const shape = JSON.parse(answer.headers.get("shape"));
  return { shape, values: new Float32Array(await answer.arrayBuffer()) };
}
