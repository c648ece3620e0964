// The user's logins, and how each is now.

import { part, post } from "./api.js";
import { button, confirmed, el, news, said, show, state, time } from "./dom.js";
import { logIn } from "./login.js";

const STATES = {
  CONNECTED: ["good", "Connected"],
  CONNECTING: ["warn", "Connecting"],
  TRANSIENT_DISCONNECT: ["warn", "Not connected, trying again"],
  BAD_CREDENTIALS: ["bad", "Refused: log in again"],
  LOGGED_OUT: ["bad", "Logged out: log in again"],
  UNKNOWN_ERROR: ["bad", "In trouble, trying again"],
};

/** How a login is, in words. */
export const words = (event) => (STATES[event] ?? ["none", "Not known"])[1];
export const stateOf = (event) => state(...(STATES[event] ?? ["none", "Not known"]));

export class Logins {
  constructor(place, page) {
    this.place = place;
    this.page = page;
    show(place, el("h2", { tabindex: "-1" }, "Logins"), el("p", { class: "quiet" }, "One moment …"));
  }

  draw({ logins }) {
    const networks = Object.entries(this.page.session.networks);
    show(
      this.place,
      el("h2", { tabindex: "-1" }, "Logins"),
      logins.length
        ? el("ul", { class: "cards" }, logins.map((login) => this.card(login)))
        : el("p", { class: "lead" }, "You are not logged in to any network yet. Choose one below; then your private chats appear in Matrix by themselves."),
      networks.length
        ? el("div", { class: "buttons" }, networks.map(([name, title]) => this.add(name, title, logins)))
        : el("p", { class: "lead" }, "The admin has enabled no network."),
    );
  }

  add(name, title, logins) {
    const words = logins.some((each) => each["org.dm_bridge.network"] === name)
      ? `Log in to another ${title} account`
      : `Log in to ${title}`;
    const work = async () => {
      if (await logIn(name, title)) this.done(title);
    };
    return button(words, work, { kind: logins.length ? "" : "main", key: `add ${name}` });
  }

  done(title) {
    news(`You are logged in to ${title}. Your chats appear as messages arrive.`);
    this.page.refresh();
  }

  card(login) {
    const network = login["org.dm_bridge.network"];
    const title = this.page.session.networks[network] ?? network;
    const broken = ["BAD_CREDENTIALS", "LOGGED_OUT"].includes(login.state.state_event);
    const again = async () => {
      if (await logIn(network, title, login.id)) this.done(title);
    };
    const leave = async () => {
      if (!(await confirmed(`Log out of ${login.name}? The bridge forgets the password. Your chats stay.`, "Log out"))) return;
      await post(`v3/logout/${part(login.id)}`, {});
      news(`You are logged out of ${login.name}.`);
      this.page.refresh();
    };
    return el(
      "li",
      { class: "card" },
      el(
        "div",
        { class: "row" },
        el("div", {}, el("h3", {}, said(login.name)), el("p", { class: "quiet" }, title)),
        stateOf(login.state.state_event),
      ),
      login.state.message ? el("p", {}, login.state.message) : null,
      el("p", { class: "quiet" }, "Since ", time(login.state.timestamp * 1000)),
      el(
        "div",
        { class: "buttons" },
        broken ? button("Log in again", again, { kind: "main", key: `again ${login.id}`, label: `Log in again: ${login.name}` }) : null,
        button("Log out", leave, { key: `out ${login.id}`, label: `Log out of ${login.name}` }),
      ),
    );
  }
}
