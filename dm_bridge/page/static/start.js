// Starting a chat: with an address, or with somebody who is offered while a part of their name is typed.

import { get, part, post } from "./api.js";
import { el, said } from "./dom.js";
import { room } from "./names.js";
import { phrase } from "./texts.js";

const LEAST = 2; // characters
const PAUSE = 300; // milliseconds without typing, before anybody is asked
const MOST = 8;
const FRESH = 60_000; // milliseconds for which a contact list is good

/**
 * The form. It follows the combobox pattern of WAI-ARIA 1.2, with a list that may be gone through or touched.
 * A <datalist> would not do: it knows values only, so neither the login nor two people of one name; phones and screen
 * readers treat it in ways of their own; and browsers filter it by what stands in it, while servers find by more.
 */
export class Starter {
  constructor(page) {
    Object.assign(this, { page, logins: [], lists: new Map(), unable: new Set(), offers: [], active: -1, busy: false });
    this.who = el("input", {
      role: "combobox",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": "offers",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      required: true,
    });
    this.by = el("select");
    this.byLabel = el("label", { hidden: true }, phrase("page-start-by"), this.by);
    this.send = el("button", {}, phrase("page-start"));
    this.list = el("ul", { id: "offers", role: "listbox", class: "offers", "aria-label": phrase("page-start-people"), hidden: true });
    this.status = el("p", { class: "quiet", role: "status" });
    this.form = el("form", { class: "inline card", hidden: true }, el("label", {}, phrase("page-start-with"), this.who), this.list, this.byLabel, this.send, this.status);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start(this.who.value.trim(), this.by.value);
    });
    this.send.addEventListener("click", (event) => {
      if (event.detail > 1) event.preventDefault(); // of a double click
    });
    this.form.addEventListener("focusout", (event) => {
      if (!this.form.contains(event.relatedTarget)) this.close();
    });
    this.who.addEventListener("input", () => this.search());
    this.who.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** The user's logins are these now: chats are started by those that are connected. */
  update(logins) {
    this.form.hidden = !logins.length;
    const connected = logins.filter((each) => each.state.state_event === "CONNECTED");
    const same = JSON.stringify(connected.map(({ id, name }) => [id, name]));
    if (same === this.same) return;
    this.same = same;
    this.logins = connected;
    const chosen = this.by.value;
    this.by.replaceChildren(...connected.map(({ id, name }) => el("option", { value: id }, name)));
    if (connected.some(({ id }) => id === chosen)) this.by.value = chosen;
    this.byLabel.hidden = connected.length < 2;
  }

  /** Offer people, after a short pause; what was asked before does not count any more. */
  async search() {
    this.close();
    this.status.textContent = "";
    const text = this.who.value.trim();
    if (text.length < LEAST || !this.logins.length) return;
    const { signal } = (this.asking = new AbortController());
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    const wanted = text.toLocaleLowerCase();
    const matches = (person) => [person.name, person.id].some((each) => each?.toLocaleLowerCase().includes(wanted));
    const found = new Map();
    const problems = [];
    const asked = [
      ...this.logins.map((login) => [login, "contacts", async () => (await this.contacts(login, signal)).filter(matches)]),
      ...this.logins.map((login) => [login, "search", async () => (await post(`v3/search_users?login_id=${part(login.id)}`, { query: text }, signal)).results]),
    ];
    for (const [login, what, people] of asked) {
      if (signal.aborted) return;
      if (this.unable.has(`${what} ${login.id}`)) continue;
      try {
        for (const person of await people()) found.set(`${login.id} ${person.id}`, found.get(`${login.id} ${person.id}`) ?? { login, person });
      } catch (error) {
        if (error.code === "M_UNRECOGNIZED") this.unable.add(`${what} ${login.id}`);
        else problems.push(error.message);
      }
      if (!signal.aborted) this.offer([...found.values()].slice(0, MOST));
    }
    if (!signal.aborted && !found.size) this.status.textContent = [phrase("page-start-nobody"), ...problems.slice(0, 1)].join(" ");
  }

  async contacts(login, signal) {
    const list = this.lists.get(login.id);
    if (list && Date.now() - list.at < FRESH) return list.contacts;
    const { contacts } = await get(`v3/contacts?login_id=${part(login.id)}`, signal);
    this.lists.set(login.id, { contacts, at: Date.now() });
    return contacts;
  }

  /** Show these; more of them come after those that are shown already. */
  offer(offers) {
    this.offers = offers;
    this.list.replaceChildren(...offers.map((each, place) => this.option(each, place)));
    this.list.hidden = !offers.length;
    this.who.setAttribute("aria-expanded", `${offers.length > 0}`);
    if (offers.length) this.status.textContent = phrase("page-start-offers", { count: offers.length });
    this.point(this.active);
  }

  option({ login, person }, place) {
    const option = el(
      "li",
      { id: `offer-${place}`, role: "option" },
      el("span", {}, said(person.name ?? person.id)),
      person.name && person.name !== person.id ? el("span", { class: "quiet" }, " ", said(person.id)) : null,
      this.logins.length > 1 ? el("span", { class: "quiet" }, " ", phrase("page-start-offer-by", { login: said(login.name) })) : null,
    );
    option.addEventListener("mousedown", (event) => event.preventDefault()); // what is typed keeps the focus
    option.addEventListener("click", () => this.choose(place));
    return option;
  }

  point(place) {
    this.active = place;
    for (const [each, option] of [...this.list.children].entries()) option.setAttribute("aria-selected", `${each === place}`);
    const option = this.list.children[place];
    if (option) this.who.setAttribute("aria-activedescendant", option.id);
    else this.who.removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  }

  pressed(event) {
    if (event.isComposing) return;
    const count = this.offers.length;
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move && count) this.point(this.active < 0 ? (move > 0 ? 0 : count - 1) : (this.active + move + count) % count);
    else if (event.key === "Enter" && this.active >= 0) this.choose(this.active);
    else if (event.key === "Escape" && count) this.close();
    else return;
    event.preventDefault();
  }

  choose(place) {
    const { login, person } = this.offers[place];
    this.who.value = person.id;
    this.by.value = login.id;
    this.start(person.id, login.id);
  }

  /** Nobody is offered any more. */
  close() {
    this.asking?.abort();
    if (this.offers.length) this.status.textContent = "";
    this.active = -1;
    this.offer([]);
  }

  async start(identifier, login) {
    if (this.busy) return;
    this.close();
    this.working(true);
    try {
      const person = await post(`v3/create_dm/${part(identifier)}${login ? `?login_id=${part(login)}` : ""}`, {});
      const contact = room(person.dm_room_mxid, person.name ?? person.id);
      this.status.replaceChildren(...phrase("page-start-done", { contact }));
      this.who.value = "";
      this.page.refresh();
    } catch (error) {
      this.status.textContent = error.message;
    } finally {
      this.working(false);
    }
  }

  working(busy) {
    this.busy = busy;
    this.who.readOnly = busy;
    this.form.setAttribute("aria-busy", `${busy}`);
    this.send.setAttribute("aria-disabled", `${busy}`);
    if (busy) this.status.textContent = phrase("page-moment");
  }
}
