// Logging in to a network: a dialog that walks through the steps which the bridge asks for.

import { part, post, tell } from "./api.js";
import { el } from "./dom.js";
import { phrase } from "./texts.js";

/** Log in to a network, or again to one login of it; resolves to whether somebody is logged in then. */
export function logIn(network, title, login = null) {
  return new Promise((resolve) => new LoginDialog(network, title, login, resolve).open());
}

class LoginDialog {
  constructor(network, title, login, done) {
    Object.assign(this, { network, title, login, done, step: null, typed: {}, ended: false });
    this.waiting = new AbortController();
    this.place = el("div");
    this.box = el("dialog", { "aria-labelledby": "login-title" }, this.place);
    this.box.addEventListener("close", () => this.close());
    window.addEventListener("pagehide", () => this.close(), { signal: this.waiting.signal });
  }

  open() {
    this.before = document.activeElement;
    document.body.append(this.box);
    this.draw(el("p", { role: "status" }, phrase("page-moment")));
    this.box.showModal();
    this.begin("");
  }

  close() {
    if (this.waiting.signal.aborted) return;
    this.waiting.abort();
    this.giveUp();
    this.box.remove();
    this.before?.focus();
    this.done(this.ended);
  }

  /** Whatever is under way is not gone on with; a user may have few at a time. */
  giveUp() {
    if (this.step !== null && !this.ended) tell(`v3/login/cancel/${part(this.step.login_id)}`);
    this.step = null;
  }

  async begin(problem) {
    this.giveUp();
    const again = this.login === null ? "" : `?login_id=${part(this.login)}`;
    try {
      await this.take(await post(`v3/login/start/${part(this.network)}${again}`, {}), problem);
    } catch (error) {
      this.fail(problem || error.message);
    }
  }

  async take(step, problem = "") {
    if (this.waiting.signal.aborted) {
      if (step.type !== "complete") tell(`v3/login/cancel/${part(step.login_id)}`);
      return;
    }
    this.step = step;
    if (step.type === "complete") {
      this.ended = true;
      this.box.close();
    } else if (step.type === "user_input") this.askFor(step, problem);
    else await this.wait(step);
  }

  path(step) {
    const where = `v3/login/step/${part(step.login_id)}/${part(step.step_id)}/${step.type}`;
    return `${where}?txn_id=${part(step.txn_id)}`;
  }

  askFor(step, problem) {
    const inputs = new Map();
    const labels = step.user_input.fields.map((field) => {
      const input = control(field, this.typed[field.id] ?? "");
      inputs.set(field.id, input);
      return el("label", {}, field.name, field.description ? el("span", { class: "quiet" }, field.description) : null, input);
    });
    const send = el("button", { class: "main" }, phrase("page-log-in-continue"));
    const busy = el("p", { role: "status", class: "quiet" });
    const form = el("form", { novalidate: true }, ...labels, busy, this.buttons(send));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (form.getAttribute("aria-busy") === "true") return;
      const empty = [...inputs.values()].find((input) => input.required && !input.value);
      if (empty) {
        busy.textContent = phrase("page-log-in-empty");
        empty.focus();
        return;
      }
      const values = Object.fromEntries([...inputs].map(([id, input]) => [id, input.value]));
      for (const field of step.user_input.fields) if (field.type !== "password") this.typed[field.id] = values[field.id];
      form.setAttribute("aria-busy", "true");
      send.disabled = true;
      busy.textContent = phrase("page-log-in-asking");
      try {
        await this.take(await post(this.path(step), values, this.waiting.signal));
      } catch (error) {
        if (!this.waiting.signal.aborted) await this.refused(error);
      }
    });
    this.draw(
      problem ? el("p", { class: "alert", role: "alert" }, problem) : null,
      step.instructions ? el("p", {}, step.instructions) : null,
      form,
    );
    const first = [...inputs.values()];
    (first.find((input) => !input.value) ?? first[0])?.focus();
  }

  /** A login that went wrong is over; most can simply be begun again. */
  async refused(error) {
    if ([400, 403, 410, 502].includes(error.status)) await this.begin(error.message);
    else this.fail(error.message);
  }

  async wait(step) {
    const shown = step.display_and_wait;
    const image = shown["org.dm_bridge.image"];
    this.draw(
      el("p", {}, step.instructions || phrase("page-log-in-elsewhere")),
      image ? el("img", { class: "qr", src: image, alt: phrase("page-log-in-qr") }) : null,
      shown.data && shown.type === "code" ? el("p", { class: "secret-code" }, shown.data) : null,
      shown.data && shown.type === "qr" && !image ? el("p", {}, shown.data) : null,
      el("p", { role: "status", class: "quiet" }, phrase("page-log-in-waiting")),
      this.buttons(),
    );
    try {
      await this.take(await post(this.path(step), undefined, this.waiting.signal));
    } catch (error) {
      if (!this.waiting.signal.aborted) this.fail(error.message);
    }
  }

  fail(problem) {
    const again = el("button", { type: "button", class: "main" }, phrase("page-try-again"));
    again.addEventListener("click", () => {
      again.disabled = true;
      this.begin("");
    });
    this.draw(el("p", { class: "alert", role: "alert" }, problem), this.buttons(again));
    again.focus();
  }

  buttons(...first) {
    return el("div", { class: "buttons" }, ...first, el("button", { type: "button", onclick: () => this.box.close() }, phrase("page-cancel")));
  }

  draw(...children) {
    const words = phrase(this.login === null ? "page-log-in" : "page-log-in-again-to", { network: this.title });
    this.place.replaceChildren(el("h2", { id: "login-title" }, words), ...children.filter((each) => each !== null));
  }
}

function control(field, value) {
  if (field.type === "select") {
    const options = (field.options ?? []).map((option) => el("option", { value: option }, option));
    const made = el("select", { name: field.id }, ...options);
    if (value) made.value = value;
    return made;
  }
  const password = field.type === "password";
  return el("input", {
    name: field.id,
    type: password ? "password" : "text",
    value: password ? null : value,
    required: true,
    autocomplete: password ? "current-password" : "username",
    autocapitalize: "none",
    spellcheck: "false",
  });
}
