// What the page asks of the bridge. Everything is relative to where the page is, and JSON.

import { phrase } from "./texts.js";

export class ApiError extends Error {
  constructor(message, { code = "", status = 0, after = 0 } = {}) {
    super(message);
    this.code = code;
    this.status = status;
    this.after = after; // milliseconds after which the same may succeed
  }
}

const LONGEST = 70_000;
let whose = "page";

/** Ask for a user alone: when somebody else signs in in another tab, this one gets nothing of theirs. */
export const askFor = (user) => {
  whose = encodeURIComponent(user);
};

/** Ask for something; the answer as JSON. Throws ApiError, whose message is for people. */
export async function ask(method, path, body, signal, more = {}) {
  const deadline = AbortSignal.timeout(LONGEST);
  const headers = { "X-DM-Bridge": whose };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  let answer;
  try {
    response = await fetch(`api/${path}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal && AbortSignal.any ? AbortSignal.any([signal, deadline]) : (signal ?? deadline),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error",
      ...more,
    });
    answer = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(phrase("page-away"), { status: response?.status ?? 0 });
  }
  if (response.ok) return answer;
  throw new ApiError(answer.error ?? phrase("page-away"), {
    code: answer.errcode,
    status: response.status,
    after: answer.retry_after_ms ?? 0,
  });
}

export const get = (path, signal) => ask("GET", path, undefined, signal);
export const post = (path, body, signal) => ask("POST", path, body, signal);
/** Say something that is no matter of waiting: it arrives also when the page is being closed. */
export const tell = (path) => ask("POST", path, {}, undefined, { keepalive: true }).catch(() => {});
export const part = encodeURIComponent;
