// The whole bridge, for its admins: parts, queues, processes, all logins, and how accounts are observed.

import { get, part } from "./api.js";
import { el, said, show, state, time } from "./dom.js";
import { stateOf } from "./logins.js";

const EVERY = 5000;
const MODES = {
  pushed: "The homeserver tells of every change at once",
  watched: "Watched: every change is noticed at once",
  activity: "Looked at after activity in a bridged chat, and now and then",
  swept: "Looked at now and then",
  none: "Not at all: no access to the account",
};

export class Admin {
  constructor(place) {
    this.place = place;
    this.health = el("div", { class: "cards" });
    this.logins = new Pages("Logins", "v3/admin/logins", "logins", loginRow, ["Login", "User", "State", "Process"], true);
    this.accounts = new Pages("How accounts are observed", "v3/admin/accounts", "accounts", accountRow, ["User", "How", "Last seen", "Process"]);
    this.parked = el("div");
    place.append(el("h2", { tabindex: "-1" }, "The bridge"), this.health, this.logins.place, this.accounts.place, this.parked);
  }

  /** Look now, and again and again for as long as this part is shown. */
  async shown() {
    clearTimeout(this.timer);
    this.logins.load();
    this.accounts.load();
    await this.look();
  }

  async look() {
    clearTimeout(this.timer);
    if (this.place.hidden) return;
    if (!document.hidden) {
      try {
        const [overview, parked] = await Promise.all([get("v3/admin/overview"), get("v3/admin/parked")]);
        this.drawHealth(overview);
        this.drawParked(parked.rows);
      } catch (error) {
        show(this.health, el("p", { class: "alert" }, error.message));
      }
    }
    this.timer = setTimeout(() => this.look(), EVERY);
  }

  drawHealth(now) {
    const parts = [["Homeserver", now.homeserver], ["What the homeserver pushes", now.intake], ["Database", now.database]];
    const health = parts.map(([name, each]) => [name, [state(each.ok ? "good" : "bad", each.ok ? "Well" : "In trouble"), each.problem ? ` ${each.problem}` : null]]);
    const queues = now.queues.map((each) => [
      `${each.direction === "to_matrix" ? "To Matrix" : "To networks"}, ${each.state}`,
      [`${each.rows}`, each.rows ? `, the oldest for ${duration(each.oldest_seconds)}` : null],
    ]);
    const logins = now.logins_here.map((each) => [each.network, [`${each.logins} `, stateOf(each.state)]]);
    const observed = now.observed_here.map((each) => [MODES[each.mode] ?? each.sentence, [`${each.accounts}`]]);
    const processes = now.processes.map((each) => [
      each.id + (each.this_one ? " (this one)" : ""),
      [`version ${each.version}, ${count(each.users, "user")}, ${count(each.logins, "login")}, since `, time(each.started_ts)],
    ]);
    show(
      this.health,
      facts("Health", [...health, ["Version", [now.version]], ["Chats that pause after trouble", [`${now.pausing}`]]]),
      facts("Queues", queues),
      facts("Processes", processes),
      facts("Logins of this process", logins),
      facts("How this process observes accounts", observed),
    );
  }

  drawParked(rows) {
    show(
      this.parked,
      el(
        "div",
        { class: "card" },
        el("h3", {}, "Parked"),
        rows.length
          ? table(["Message", "User", "Since", "Why"], rows.map((row) => [[el("code", {}, row.id)], [said(row.user_id ?? "nobody")], [time(row.ts)], [row.reason]]))
          : el("p", { class: "quiet" }, "Nothing is parked."),
        rows.length ? el("p", { class: "quiet" }, "dm-bridge queue, on the bridge's machine, puts a message back or away.") : null,
      ),
    );
  }
}

function facts(name, rows) {
  const items = rows.flatMap(([term, said_]) => [el("dt", {}, term), el("dd", {}, ...said_.filter((each) => each !== null))]);
  return el("div", { class: "card" }, el("h3", {}, name), rows.length ? el("dl", { class: "facts" }, items) : el("p", { class: "quiet" }, "None."));
}

function table(names, rows) {
  const body = rows.map((cells) => el("tr", {}, cells.map((cell, place) => el("td", { "data-label": names[place] }, ...cell))));
  return el("table", { class: "stack" }, el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, body));
}

/** A long list, one page after the other. */
class Pages {
  constructor(name, path, field, row, names, searched = false) {
    Object.assign(this, { name, path, field, row, names, rows: [], next: null, search: "" });
    this.list = el("div");
    this.more = el("button", { type: "button", onclick: () => this.load(true) }, "Show more");
    this.place = el("div", { class: "card" }, el("h3", {}, name), searched ? this.box() : null, this.list, this.more);
    this.more.hidden = true;
  }

  box() {
    const input = el("input", { type: "search", autocomplete: "off" });
    const form = el("form", { class: "inline" }, el("label", {}, "Part of a user id or an address", input), el("button", {}, "Search"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.search = input.value.trim();
      this.load();
    });
    return form;
  }

  async load(more = false) {
    const after = more && this.next ? `&after=${part(this.next)}` : "";
    const search = this.search ? `&search=${part(this.search)}` : "";
    try {
      const got = await get(`${this.path}?limit=50${after}${search}`);
      this.rows = more ? [...this.rows, ...got[this.field]] : got[this.field];
      this.next = got.next ?? null;
      this.list.replaceChildren(this.rows.length ? table(this.names, this.rows.map(this.row)) : el("p", { class: "quiet" }, "None."));
      this.more.hidden = this.next === null;
    } catch (error) {
      this.list.replaceChildren(el("p", { class: "alert" }, error.message));
    }
  }
}

function loginRow(login) {
  const stored = { active: ["none", "To be connected"], bad_credentials: ["bad", "Refused"], logged_out: ["none", "Logged out"] };
  const how = login.state_event ? stateOf(login.state_event) : state(...stored[login.stored_state]);
  return [
    [said(login.name), el("br"), el("span", { class: "quiet" }, login.network)],
    [said(login.user_id)],
    [how, login.message ? el("p", { class: "quiet" }, login.message) : null].filter((each) => each !== null),
    [login.process ?? "none"],
  ];
}

function accountRow(account) {
  return [
    [said(account.user_id)],
    [account.problem ?? MODES[account.mode] ?? account.observed ?? "Only its own process knows."],
    account.last_seen_ts ? [time(account.last_seen_ts)] : ["never"],
    [account.process ?? "none"],
  ];
}

function count(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
