// The whole bridge, for its admins: parts, queues, processes, all logins, and how accounts are observed.

import { get, part } from "./api.js";
import { duration, el, said, show, state, time } from "./dom.js";
import { stateOf } from "./logins.js";
import { number, phrase } from "./texts.js";

const EVERY = 5000;
const MODES = {
  pushed: "page-bridge-pushed",
  watched: "page-bridge-watched",
  activity: "page-bridge-activity",
  swept: "page-bridge-swept",
  none: "page-bridge-not-observed",
};
const QUEUES = {
  "to_matrix waiting": "page-bridge-to-matrix-waiting",
  "to_matrix parked": "page-bridge-to-matrix-parked",
  "to_network waiting": "page-bridge-to-network-waiting",
  "to_network parked": "page-bridge-to-network-parked",
};
const STORED = {
  active: ["none", "page-bridge-login-active"],
  bad_credentials: ["bad", "page-bridge-login-refused"],
  logged_out: ["none", "page-bridge-login-logged-out"],
};
const LOGINS = ["page-bridge-login", "page-bridge-login-user", "page-bridge-login-state", "page-bridge-process-of"];
const ACCOUNTS = ["page-bridge-account-user", "page-bridge-account-how", "page-bridge-account-seen", "page-bridge-process-of"];
const PARKED = ["page-bridge-parked-message", "page-bridge-parked-user", "page-bridge-parked-since", "page-bridge-parked-why"];

export class Admin {
  constructor(place) {
    this.place = place;
    this.health = el("div", { class: "cards" });
    this.logins = new Pages(phrase("page-logins"), "v3/admin/logins", "logins", loginRow, LOGINS, true);
    this.accounts = new Pages(phrase("page-bridge-accounts"), "v3/admin/accounts", "accounts", accountRow, ACCOUNTS);
    this.parked = el("div");
    place.append(el("h2", { tabindex: "-1" }, phrase("page-bridge")), this.health, this.logins.place, this.accounts.place, this.parked);
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
    const parts = [[phrase("page-bridge-homeserver"), now.homeserver], [phrase("page-bridge-intake"), now.intake], [phrase("page-bridge-database"), now.database]];
    const health = parts.map(([name, each]) => [name, [each.ok ? state("good", phrase("page-bridge-well")) : state("bad", phrase("page-bridge-trouble")), each.problem ? ` ${each.problem}` : null]]);
    const queues = now.queues.map((each) => [
      phrase(QUEUES[`${each.direction} ${each.state}`]),
      [each.rows ? phrase("page-bridge-queued", { count: each.rows, oldest: duration(each.oldest_seconds) }) : number(0)],
    ]);
    const logins = now.logins_here.map((each) => [each.network, [number(each.logins), " ", stateOf(each.state)]]);
    const observed = now.observed_here.map((each) => [MODES[each.mode] ? phrase(MODES[each.mode]) : each.sentence, [number(each.accounts)]]);
    const processes = now.processes.map((each) => [
      each.this_one ? phrase("page-bridge-this-process", { process: each.id }) : each.id,
      phrase("page-bridge-process", {
        version: each.version,
        users: phrase("page-bridge-users", { count: each.users }),
        logins: phrase("page-bridge-users-logins", { count: each.logins }),
        time: time(each.started_ts),
      }),
    ]);
    show(
      this.health,
      facts(phrase("page-bridge-health"), [
        ...health,
        [phrase("page-bridge-version"), [now.version]],
        [phrase("page-bridge-pausing"), [number(now.pausing)]],
      ]),
      facts(phrase("page-bridge-queues"), queues),
      facts(phrase("page-bridge-processes"), processes),
      facts(phrase("page-bridge-logins-here"), logins),
      facts(phrase("page-bridge-observed-here"), observed),
    );
  }

  drawParked(rows) {
    show(
      this.parked,
      el(
        "div",
        { class: "card" },
        el("h3", {}, phrase("page-bridge-parked")),
        rows.length
          ? table(PARKED, rows.map((row) => [[el("code", {}, row.id)], [said(row.user_id ?? phrase("page-bridge-nobody"))], [time(row.ts)], [row.reason]]))
          : el("p", { class: "quiet" }, phrase("page-bridge-parked-none")),
        rows.length ? el("p", { class: "quiet" }, phrase("page-bridge-parked-how", { command: el("code", {}, "dm-bridge queue") })) : null,
      ),
    );
  }
}

function facts(name, rows) {
  const items = rows.flatMap(([term, said_]) => [el("dt", {}, term), el("dd", {}, ...said_.filter((each) => each !== null))]);
  return el("div", { class: "card" }, el("h3", {}, name), rows.length ? el("dl", { class: "facts" }, items) : el("p", { class: "quiet" }, phrase("page-bridge-none")));
}

/** ``columns``: the messages with their names. */
function table(columns, rows) {
  const names = columns.map((each) => phrase(each));
  const body = rows.map((cells) => el("tr", {}, cells.map((cell, place) => el("td", { "data-label": names[place] }, ...cell))));
  return el("table", { class: "stack" }, el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))), el("tbody", {}, body));
}

/** A long list, one page after the other. */
class Pages {
  constructor(name, path, field, row, columns, searched = false) {
    Object.assign(this, { name, path, field, row, columns, rows: [], next: null, search: "" });
    this.list = el("div");
    this.more = el("button", { type: "button", onclick: () => this.load(true) }, phrase("page-bridge-more"));
    this.place = el("div", { class: "card" }, el("h3", {}, name), searched ? this.box() : null, this.list, this.more);
    this.more.hidden = true;
  }

  box() {
    const input = el("input", { type: "search", autocomplete: "off" });
    const form = el("form", { class: "inline" }, el("label", {}, phrase("page-bridge-search-what"), input), el("button", {}, phrase("page-bridge-search")));
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
      this.list.replaceChildren(this.rows.length ? table(this.columns, this.rows.map(this.row)) : el("p", { class: "quiet" }, phrase("page-bridge-none")));
      this.more.hidden = this.next === null;
    } catch (error) {
      this.list.replaceChildren(el("p", { class: "alert" }, error.message));
    }
  }
}

function loginRow(login) {
  const [kind, words] = STORED[login.stored_state];
  const how = login.state_event ? stateOf(login.state_event) : state(kind, phrase(words));
  return [
    [said(login.name), el("br"), el("span", { class: "quiet" }, login.network)],
    [said(login.user_id)],
    [how, login.message ? el("p", { class: "quiet" }, login.message) : null].filter((each) => each !== null),
    [login.process ?? phrase("page-bridge-no-process")],
  ];
}

function accountRow(account) {
  return [
    [said(account.user_id)],
    [account.problem ?? (MODES[account.mode] ? phrase(MODES[account.mode]) : (account.observed ?? phrase("page-bridge-elsewhere")))],
    account.last_seen_ts ? [time(account.last_seen_ts)] : [phrase("page-bridge-never")],
    [account.process ?? phrase("page-bridge-no-process")],
  ];
}
