// The user's chats: whether each is a direct one, and why not.

import { part, post } from "./api.js";
import { button, el, news, said, show, state, time } from "./dom.js";

const STATES = {
  marked: ["good", "Direct chat", ""],
  pending: ["warn", "Not yet", "It becomes a direct chat once you have joined it, and the bridge can reach your account."],
  opted_out: ["none", "Left out", "It was taken out of your direct chats, so the bridge leaves it there."],
  conflict: ["bad", "In conflict", "Another app keeps undoing the mark, so the bridge has stopped. You can have it try again."],
  retired: ["none", "No longer bridged", ""],
};
/** Where a chat stands, in words. */
export const words = (state) => STATES[state][1];
const MANY = 12;

export class Chats {
  constructor(place, page) {
    this.place = place;
    this.page = page;
    show(place, el("h2", { tabindex: "-1" }, "Chats"), el("p", { class: "quiet" }, "One moment …"));
    this.filter = "";
    this.list = el("ul", { class: "cards" });
  }

  draw({ direct, logins }) {
    this.direct = direct;
    const wrong = direct.chats.filter((chat) => chat.state === "conflict").length;
    show(
      this.place,
      el("div", { class: "head" }, el("h2", { tabindex: "-1" }, "Chats"), button("Check and repair", () => this.repair(), { key: "repair" })),
      direct.problem ? el("p", { class: "alert" }, direct.problem) : null,
      wrong ? el("p", { class: "alert" }, `${wrong === 1 ? "One chat is" : `${wrong} chats are`} in conflict: another app keeps undoing the mark.`) : null,
      el("p", { class: "quiet" }, direct.observed, direct.last_seen_ts ? [" Last looked at ", time(direct.last_seen_ts), "."] : null),
      logins.length ? this.opener() : null,
      direct.chats.length > MANY ? this.search() : null,
      direct.chats.length ? this.list : el("p", { class: "lead" }, this.nothing(logins)),
    );
    this.fill();
  }

  nothing(logins) {
    return logins.length
      ? "No chats yet. One appears when somebody writes to you, or when you start one above."
      : "No chats yet. Log in to a network first.";
  }

  fill() {
    const wanted = this.filter.toLowerCase();
    const rank = Object.fromEntries(["conflict", "pending", "marked", "opted_out", "retired"].map((each, place) => [each, place]));
    const chats = this.direct.chats
      .filter((chat) => chat.contact.toLowerCase().includes(wanted))
      .sort((a, b) => rank[a.state] - rank[b.state] || a.contact.localeCompare(b.contact));
    show(this.list, chats.map((chat) => this.card(chat)));
  }

  search() {
    const input = el("input", { type: "search", value: this.filter, "data-key": "filter", autocomplete: "off" });
    input.addEventListener("input", () => {
      this.filter = input.value;
      this.fill();
    });
    return el("label", {}, "Find a chat", input);
  }

  opener() {
    if (this.form) return this.form;
    const who = el("input", { "data-key": "who", autocomplete: "off", autocapitalize: "none", spellcheck: "false", required: true });
    const said_ = el("p", { class: "quiet", role: "status" });
    const form = el(
      "form",
      { class: "inline card" },
      el("label", {}, "Start a chat with (an address on the network)", who),
      el("button", { "data-key": "start" }, "Start"),
      said_,
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      said_.textContent = "One moment …";
      try {
        const person = await post(`v3/create_dm/${part(who.value.trim())}`, {});
        said_.replaceChildren("The chat is there: ", room(person.dm_room_mxid, person.name ?? person.id));
        who.value = "";
        this.page.refresh();
      } catch (error) {
        said_.textContent = error.message;
      }
    });
    this.form = form;
    return form;
  }

  async repair() {
    const { message } = await post("v3/direct/repair", {});
    news(message.replace("`direct history` says what.", "It is in the history.").replace("`direct`", "this button"));
    this.page.refresh();
  }

  card(chat) {
    const [kind, words, why] = STATES[chat.state];
    const decide = (what) => async () => {
      await post(`v3/direct/${what}/${part(chat.room_id)}`, {});
      news(what === "mark" ? `The chat with ${chat.contact} is a direct one.` : `The chat with ${chat.contact} is left out.`);
      this.page.refresh();
    };
    const mark = { marked: null, retired: null, pending: null, opted_out: "Make it direct", conflict: "Try again" }[chat.state];
    const label = (text) => `${text}: ${chat.contact}`;
    return el(
      "li",
      { class: "card" },
      el("div", { class: "row" }, el("h3", {}, said(chat.contact)), state(kind, words)),
      why ? el("p", { class: "quiet" }, why) : null,
      el(
        "div",
        { class: "buttons" },
        room(chat.room_id, "Open", `Open the chat with ${chat.contact}`),
        mark ? button(mark, decide("mark"), { key: `mark ${chat.room_id}`, label: label(mark) }) : null,
        ["marked", "conflict"].includes(chat.state)
          ? button("Leave out", decide("unmark"), { key: `unmark ${chat.room_id}`, label: label("Leave out") })
          : null,
      ),
    );
  }
}

/** A link that opens a room in whatever Matrix client a person has. */
export function room(id, words, label) {
  const href = `https://matrix.to/#/${part(id)}`;
  return el("a", { class: "button", href, rel: "noreferrer noopener", target: "_blank", "aria-label": label, "data-key": `room ${id} ${words}` }, words);
}
