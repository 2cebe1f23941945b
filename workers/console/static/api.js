// Requests to the console, and the events that it sends.

const TIMEOUT_MS = 20000;
const AGAIN_MS = 2000;

export const GONE =
  "The console does not answer. Is `freshet console` still running? This page reconnects by itself.";

/** Failure of an action; the message is for people. */
export class Failure extends Error {}

/** Gets the JSON at `path`, or posts `body` to it. */
export async function ask(path, body = undefined) {
  const request = { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" };
  if (body !== undefined) {
    request.method = "POST";
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  let answer;
  let said;
  try {
    answer = await fetch(path, request);
    said = await answer.json();
  } catch {
    throw new Failure(GONE);
  }
  if (!answer.ok) throw new Failure(said.error ?? GONE);
  return said;
}

/** Follows the console's events and reconnects after a break. `on[name]` is called with each changed part. */
export class Following {
  #source = null;
  #timer = 0;
  #user = null;

  constructor(on, onState) {
    this.on = on;
    this.onState = onState;
  }

  /** Follows this user's clicks, too, from now on. */
  follow(user) {
    this.#user = user;
    this.#open();
  }

  #open() {
    clearTimeout(this.#timer);
    this.#source?.close();
    const query = this.#user === null ? "" : `?${new URLSearchParams({ user: this.#user })}`;
    const source = new EventSource(`/api/stream${query}`);
    this.#source = source;
    source.onopen = () => this.onState("connected");
    source.onerror = () => {
      this.onState("gone");
      // A browser does not retry a stream that was refused.
      if (source.readyState === EventSource.CLOSED) this.#timer = setTimeout(() => this.#open(), AGAIN_MS);
    };
    for (const [name, told] of Object.entries(this.on)) {
      source.addEventListener(name, (event) => told(JSON.parse(event.data)));
    }
  }
}
