// What became of the user's list of direct chats: in words, with before and after.

import { get } from "./api.js";
import { el, said, show, time } from "./dom.js";

const MOST = 50;

export class History {
  constructor(place) {
    this.place = place;
    this.seen = "";
    this.direct = { chats: [] };
    show(place, el("h2", { tabindex: "-1" }, "History"), el("p", { class: "quiet" }, "One moment …"));
  }

  /** Read it again whenever something about the list is different. */
  async draw({ direct }) {
    const now = JSON.stringify(direct.chats);
    if (now === this.seen) return;
    this.seen = now;
    this.direct = direct;
    await this.load();
  }

  async load() {
    let changes;
    try {
      ({ changes } = await get(`v3/direct/history?limit=${MOST}`));
    } catch (error) {
      this.seen = "";
      show(this.place, el("h2", { tabindex: "-1" }, "History"), el("p", { class: "alert" }, error.message));
      return;
    }
    show(
      this.place,
      el("h2", { tabindex: "-1" }, "History"),
      el("p", { class: "lead" }, "What became of your list of direct chats (m.direct): who changed it, and what stood there before and after. Newest first."),
      changes.length
        ? el("ol", { class: "cards" }, changes.toReversed().map((change) => this.card(change)))
        : el("p", { class: "lead" }, "Nothing yet."),
    );
  }

  card(change) {
    const people = [...new Set([...Object.keys(change.before), ...Object.keys(change.after)])].sort();
    return el(
      "li",
      { class: "card" },
      el("h3", {}, change.sentence.replace(/^I wrote/, "The bridge wrote")),
      el("p", { class: "quiet" }, time(change.ts)),
      change.details.length ? el("ul", {}, change.details.map((each) => el("li", {}, each))) : null,
      people.length ? this.compared(change, people) : null,
    );
  }

  compared(change, people) {
    const rows = people.map((who) =>
      el("tr", {}, el("th", { scope: "row" }, said(who)), cell("Before", this.rooms(change.before[who])), cell("After", this.rooms(change.after[who]))),
    );
    return el(
      "details",
      { "data-key": `change ${change.ts} ${change.sentence}` },
      el("summary", {}, "Before and after"),
      el(
        "table",
        { class: "stack" },
        el("caption", {}, "The rooms under each user id"),
        el("thead", {}, el("tr", {}, ["User id", "Before", "After"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, rows),
      ),
    );
  }

  rooms(ids) {
    if (ids === undefined) return ["not there"];
    if (!ids.length) return ["no rooms"];
    const contact = new Map(this.direct.chats.map((chat) => [chat.room_id, chat.contact]));
    return ids.flatMap((id, place) => [place ? el("br") : null, contact.has(id) ? said(contact.get(id)) : null, contact.has(id) ? " " : null, el("code", {}, id)]);
  }
}

function cell(label, children) {
  return el("td", { "data-label": label }, ...children);
}
