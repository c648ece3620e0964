// Getting in, the parts of the page, and what keeps them live.

import { askFor, get, part, post } from "./api.js";
import { Admin } from "./admin.js";
import { changes } from "./changes.js";
import { Chats } from "./chats.js";
import { button, el, said, show } from "./dom.js";
import { History } from "./history.js";
import { Logins } from "./logins.js";
import { Problems } from "./problems.js";
import { number, phrase } from "./texts.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const who = document.getElementById("who");
const connection = document.getElementById("connection");

class Page {
  constructor(session) {
    this.session = session;
    this.parts = new Map();
    this.add("logins", phrase("page-logins"), Logins);
    this.add("chats", phrase("page-chats"), Chats);
    this.add("delivery", phrase("page-delivery"), Problems);
    this.add("history", phrase("page-history"), History);
    if (session.admin) this.add("bridge", phrase("page-bridge"), Admin);
    this.watching = null;
    this.ended = false;
  }

  add(name, title, Kind) {
    const place = el("section", { id: name, hidden: true });
    this.parts.set(name, { title, place, part: new Kind(place, this) });
  }

  start() {
    show(main, ...[...this.parts.values()].map((each) => each.place));
    show(who, el("span", {}, said(this.session.user_id)), button(phrase("page-sign-out"), () => this.leave()));
    nav.hidden = false;
    window.addEventListener("hashchange", () => this.turn(true));
    document.addEventListener("visibilitychange", () => this.refresh());
    this.turn(false);
    this.watch();
  }

  /** Show the part that the address names. */
  turn(focus) {
    const wanted = location.hash.slice(1);
    if (this.ended || (wanted === "main" && this.current)) return;
    const name = this.parts.has(wanted) ? wanted : "logins";
    for (const [each, { place }] of this.parts) place.hidden = each !== name;
    this.current = name;
    this.draw();
    const { title, place, part: shown } = this.parts.get(name);
    document.title = phrase("page-title-of", { part: title });
    shown.shown?.();
    if (focus) place.querySelector("h2")?.focus();
  }

  draw() {
    this.drawNav();
    if (this.snapshot) this.parts.get(this.current).part.draw?.(this.snapshot);
  }

  drawNav() {
    const problems = this.snapshot?.deliveries.problems.filter((each) => each.state !== "waiting").length ?? 0;
    const conflicts = this.snapshot?.direct.chats.filter((each) => each.state === "conflict").length ?? 0;
    const counts = {
      delivery: [problems, phrase("page-count-delivery", { count: problems })],
      chats: [conflicts, phrase("page-count-chats", { count: conflicts })],
    };
    show(
      nav,
      [...this.parts].map(([name, { title }]) => {
        const [count, words] = counts[name] ?? [0, ""];
        const badge = count ? el("span", { class: "count", "aria-label": words }, number(count)) : null;
        return el("a", { href: `#${name}`, "data-key": name, "aria-current": name === this.current ? "page" : null }, title, badge);
      }),
    );
  }

  /** Look at once, whatever is being waited for. */
  refresh() {
    this.watching?.abort();
  }

  async watch() {
    let seen = "";
    let pause = 1000;
    while (!this.ended) {
      this.watching = new AbortController();
      try {
        if (document.hidden) await untilShown();
        const snapshot = await get(`v3/watch?seen=${part(seen)}`, this.watching.signal);
        pause = 1000;
        connection.hidden = true;
        if (snapshot.digest === seen) continue;
        seen = snapshot.digest;
        const said = changes(this.snapshot, snapshot);
        if (said.length) document.getElementById("changes").textContent = said.join(" ");
        this.snapshot = snapshot;
        this.draw();
      } catch (error) {
        if (this.watching.signal.aborted) continue;
        if (error.status === 401) return this.out(error.message);
        connection.textContent = error.message;
        connection.hidden = false;
        seen = ""; // the next answer comes at once, and says that all is well again
        await slept(Math.max(pause, error.after));
        pause = Math.min(pause * 2, 30_000);
      }
    }
  }

  async leave() {
    await post("leave", {});
    this.out(phrase("page-signed-out"));
  }

  out(why) {
    this.ended = true;
    this.refresh();
    for (const { place } of this.parts.values()) place.hidden = true;
    for (const box of document.querySelectorAll("dialog[open]")) box.close();
    nav.hidden = true;
    connection.hidden = true;
    show(who);
    outside(why);
  }
}

const slept = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function untilShown() {
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** Nobody is signed in: how to get in. */
async function outside(why) {
  const command = el("code", {}, "page");
  let how;
  try {
    how = phrase("page-outside-how", { command, bot: said((await get("about")).bot) });
  } catch {
    how = phrase("page-outside-how-to-bot", { command });
  }
  show(
    main,
    el(
      "section",
      { class: "card" },
      el("h2", { tabindex: "-1" }, phrase("page-outside")),
      why ? el("p", { class: "note", role: "status" }, why) : null,
      el("p", {}, how),
    ),
  );
  main.querySelector("h2").focus();
}

/** A link was opened: whose is it, and is that the person here? */
async function entering(token) {
  let user;
  try {
    ({ user_id: user } = await post("enter/who", { token }));
  } catch (error) {
    const session = await current();
    return session ? inside(session) : outside(error.message);
  }
  const there = await current();
  const go = async () => {
    try {
      inside(await post("enter", { token }));
    } catch (error) {
      const session = await current();
      if (session?.user_id === user) inside(session);
      else outside(error.message);
    }
  };
  show(
    main,
    el(
      "section",
      { class: "card" },
      el("h2", { tabindex: "-1" }, phrase("page-enter")),
      el("p", {}, phrase("page-enter-whose", { user: el("strong", {}, said(user)) })),
      el("p", { class: "quiet" }, phrase("page-enter-warning")),
      there && there.user_id !== user ? el("p", { class: "note" }, phrase("page-enter-now", { user: said(there.user_id) })) : null,
      el("div", { class: "buttons" }, button(phrase("page-enter-yes"), go, { kind: "main" }), button(phrase("page-enter-no"), async () => outside(phrase("page-enter-nothing")))),
    ),
  );
  main.querySelector("h2").focus();
}

async function current() {
  try {
    return await get("session");
  } catch {
    return null;
  }
}

function inside(session) {
  askFor(session.user_id);
  new Page(session).start();
}

async function begin() {
  const token = /^#enter=([\w-]+)$/.exec(location.hash)?.[1];
  if (token) {
    history.replaceState(null, "", location.pathname + location.search);
    return entering(token);
  }
  const session = await current();
  return session ? inside(session) : outside("");
}

begin();
window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#enter=")) location.reload();
});
