// What became of the user's list of direct chats: in words, with before and after.

import { get } from "./api.js";
import { el, said, show, time } from "./dom.js";
import { fullName, nameOf } from "./names.js";
import { phrase } from "./texts.js";

const MOST = 50;
const HEAD = ["page-history-user", "page-history-before", "page-history-after"];

export class History {
  constructor(place) {
    this.place = place;
    this.seen = "";
    this.direct = { chats: [] };
    show(place, el("h2", { tabindex: "-1" }, phrase("page-history")), el("p", { class: "quiet" }, phrase("page-moment")));
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
      show(this.place, el("h2", { tabindex: "-1" }, phrase("page-history")), el("p", { class: "alert" }, error.message));
      return;
    }
    show(
      this.place,
      el("h2", { tabindex: "-1" }, phrase("page-history")),
      el("p", { class: "lead" }, phrase("page-history-about")),
      changes.length
        ? el("ol", { class: "cards" }, changes.toReversed().map((change) => this.card(change)))
        : el("p", { class: "lead" }, phrase("page-history-none")),
    );
  }

  card(change) {
    const people = [...new Set([...Object.keys(change.before), ...Object.keys(change.after)])].sort();
    return el(
      "li",
      { class: "card" },
      el("h3", {}, change.by_bridge ? phrase("page-history-bridge-wrote") : change.sentence),
      el("p", { class: "quiet" }, time(change.ts)),
      change.details.length ? el("ul", {}, change.details.map((each) => el("li", {}, each))) : null,
      people.length ? this.compared(change, people) : null,
    );
  }

  compared(change, people) {
    const rows = people.map((who) =>
      el("tr", {}, el("th", { scope: "row" }, this.person(who)), cell(phrase("page-history-before"), this.rooms(change.before[who])), cell(phrase("page-history-after"), this.rooms(change.after[who]))),
    );
    return el(
      "details",
      { "data-key": `change ${change.ts} ${change.sentence}` },
      el("summary", {}, phrase("page-history-compare")),
      el(
        "table",
        { class: "stack" },
        el("caption", {}, phrase("page-history-compare-about")),
        el("thead", {}, el("tr", {}, HEAD.map((name) => el("th", { scope: "col" }, phrase(name))))),
        el("tbody", {}, rows),
      ),
    );
  }

  /** A user id, with the name of the contact for whom it stands. */
  person(id) {
    const chat = this.direct.chats.find((each) => each.mxid === id);
    return chat ? [said(fullName(chat)), el("br"), el("span", { class: "quiet" }, said(id))] : said(id);
  }

  rooms(ids) {
    if (ids === undefined) return [phrase("page-history-not-there")];
    if (!ids.length) return [phrase("page-history-no-rooms")];
    const chats = new Map(this.direct.chats.map((chat) => [chat.room_id, chat]));
    return ids.flatMap((id, place) => [place ? el("br") : null, chats.has(id) ? [said(nameOf(chats.get(id))), " "] : null, el("code", {}, id)]);
  }
}

function cell(label, children) {
  return el("td", { "data-label": label }, ...children);
}
