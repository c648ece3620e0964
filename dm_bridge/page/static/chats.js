// The user's chats: whether each is a direct one, and why not.

import { part, post } from "./api.js";
import { button, el, news, said, show, state, time } from "./dom.js";
import { fullName, nameOf, room } from "./names.js";
import { Starter } from "./start.js";
import { language, phrase } from "./texts.js";

const STATES = {
  conflict: ["bad", "page-chat-conflict", "page-chat-conflict-why"],
  pending: ["warn", "page-chat-pending", "page-chat-pending-why"],
  marked: ["good", "page-chat-marked", ""],
  opted_out: ["none", "page-chat-opted-out", "page-chat-opted-out-why"],
  retired: ["none", "page-chat-retired", ""],
};
const ORDER = Object.keys(STATES);
const REPAIRS = { right: "page-repair-right", repaired: "page-repair-done", slow: "page-repair-slow" };

/** Where a chat stands, in words. */
export const words = (state) => phrase(STATES[state][1]);
const MANY = 12;

export class Chats {
  constructor(place, page) {
    this.page = page;
    this.filter = "";
    this.starter = new Starter(page);
    this.above = el("div", { class: "part" }, el("h2", { tabindex: "-1" }, phrase("page-chats")), el("p", { class: "quiet" }, phrase("page-moment")));
    this.below = el("div", { class: "part" });
    this.list = el("ul", { class: "cards" });
    show(place, this.above, this.starter.form, this.below);
  }

  /** What is typed into the form stays there: it is not drawn anew. */
  draw({ direct, logins }) {
    this.direct = direct;
    const wrong = direct.chats.filter((chat) => chat.state === "conflict").length;
    show(
      this.above,
      el("div", { class: "head" }, el("h2", { tabindex: "-1" }, phrase("page-chats")), button(phrase("page-chats-repair"), () => this.repair(), { key: "repair" })),
      direct.problem ? el("p", { class: "alert" }, direct.problem) : null,
      wrong ? el("p", { class: "alert" }, phrase("page-chats-conflicts", { count: wrong })) : null,
      el("p", { class: "quiet" }, direct.observed, " ", direct.last_seen_ts ? phrase("page-chats-looked", { time: time(direct.last_seen_ts) }) : null),
    );
    this.starter.update(logins);
    show(
      this.below,
      direct.chats.length > MANY ? this.search() : null,
      direct.chats.length ? this.list : el("p", { class: "lead" }, phrase(logins.length ? "page-chats-none" : "page-chats-none-no-login")),
    );
    this.fill();
  }

  fill() {
    const wanted = this.filter.toLocaleLowerCase();
    const chats = this.direct.chats
      .filter((chat) => fullName(chat).toLocaleLowerCase().includes(wanted))
      .sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || nameOf(a).localeCompare(nameOf(b), language));
    show(this.list, chats.map((chat) => this.card(chat)));
  }

  search() {
    const input = el("input", { type: "search", value: this.filter, "data-key": "filter", autocomplete: "off" });
    input.addEventListener("input", () => {
      this.filter = input.value;
      this.fill();
    });
    return el("label", {}, phrase("page-chats-find"), input);
  }

  async repair() {
    const { outcome, repaired, message } = await post("v3/direct/repair", {});
    news(outcome === "refused" ? message : phrase(REPAIRS[outcome], { count: repaired }));
    this.page.refresh();
  }

  card(chat) {
    const [kind, words, why] = STATES[chat.state];
    const contact = fullName(chat);
    const decide = (what) => async () => {
      await post(`v3/direct/${what}/${part(chat.room_id)}`, {});
      news(phrase(what === "mark" ? "page-chat-marked-now" : "page-chat-unmarked-now", { contact }));
      this.page.refresh();
    };
    const mark = {
      opted_out: [phrase("page-chat-mark"), phrase("page-chat-mark-label", { contact })],
      conflict: [phrase("page-try-again"), phrase("page-chat-mark-again-label", { contact })],
    }[chat.state];
    const address = chat.contact_name ? el("p", { class: "quiet" }, said(chat.contact)) : null;
    return el(
      "li",
      { class: "card" },
      el("div", { class: "row" }, el("div", {}, el("h3", {}, said(nameOf(chat))), address), state(kind, phrase(words))),
      why ? el("p", { class: "quiet" }, phrase(why)) : null,
      el(
        "div",
        { class: "buttons" },
        room(chat.room_id, phrase("page-chat-open"), phrase("page-chat-open-label", { contact })),
        mark ? button(mark[0], decide("mark"), { key: `mark ${chat.room_id}`, label: mark[1] }) : null,
        ["marked", "conflict"].includes(chat.state)
          ? button(phrase("page-chat-unmark"), decide("unmark"), { key: `unmark ${chat.room_id}`, label: phrase("page-chat-unmark-label", { contact }) })
          : null,
      ),
    );
  }
}
