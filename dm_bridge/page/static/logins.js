// The user's logins, and how each is now.

import { part, post } from "./api.js";
import { button, confirmed, el, news, said, show, state, time } from "./dom.js";
import { logIn } from "./login.js";
import { phrase } from "./texts.js";

const STATES = {
  CONNECTED: ["good", "page-login-connected"],
  CONNECTING: ["warn", "page-login-connecting"],
  TRANSIENT_DISCONNECT: ["warn", "page-login-disconnected"],
  BAD_CREDENTIALS: ["bad", "page-login-refused"],
  LOGGED_OUT: ["bad", "page-login-logged-out"],
  UNKNOWN_ERROR: ["bad", "page-login-trouble"],
};
const UNKNOWN = ["none", "page-login-unknown"];

/** How a login is, in words. */
export const words = (event) => phrase((STATES[event] ?? UNKNOWN)[1]);
export const stateOf = (event) => state((STATES[event] ?? UNKNOWN)[0], words(event));

export class Logins {
  constructor(place, page) {
    this.place = place;
    this.page = page;
    show(place, el("h2", { tabindex: "-1" }, phrase("page-logins")), el("p", { class: "quiet" }, phrase("page-moment")));
  }

  draw({ logins }) {
    const networks = Object.entries(this.page.session.networks);
    show(
      this.place,
      el("h2", { tabindex: "-1" }, phrase("page-logins")),
      logins.length
        ? el("ul", { class: "cards" }, logins.map((login) => this.card(login)))
        : el("p", { class: "lead" }, phrase("page-logins-none")),
      networks.length
        ? el("div", { class: "buttons" }, networks.map(([name, title]) => this.add(name, title, logins)))
        : el("p", { class: "lead" }, phrase("page-logins-no-network")),
    );
  }

  add(name, title, logins) {
    const another = logins.some((each) => each["org.dm_bridge.network"] === name);
    const words = phrase(another ? "page-log-in-another" : "page-log-in", { network: title });
    const work = async () => {
      if (await logIn(name, title)) this.done(title);
    };
    return button(words, work, { kind: logins.length ? "" : "main", key: `add ${name}` });
  }

  done(title) {
    news(phrase("page-log-in-done", { network: title }));
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
      if (!(await confirmed(phrase("page-log-out-sure", { login: login.name }), phrase("page-log-out")))) return;
      await post(`v3/logout/${part(login.id)}`, {});
      news(phrase("page-log-out-done", { login: login.name }));
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
      el("p", { class: "quiet" }, phrase("page-login-since", { time: time(login.state.timestamp * 1000) })),
      el(
        "div",
        { class: "buttons" },
        broken ? button(phrase("page-log-in-again"), again, { kind: "main", key: `again ${login.id}`, label: phrase("page-log-in-again-label", { login: login.name }) }) : null,
        button(phrase("page-log-out"), leave, { key: `out ${login.id}`, label: phrase("page-log-out-label", { login: login.name }) }),
      ),
    );
  }
}
