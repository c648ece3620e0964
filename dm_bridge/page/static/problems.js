// What has not arrived, in both directions, and trying it again.

import { part, post } from "./api.js";
import { button, el, news, said, show, state, time } from "./dom.js";

const STATES = {
  not_delivered: ["bad", "Not delivered"],
  perhaps_delivered: ["warn", "Perhaps not delivered"],
  not_shown: ["bad", "Not shown in Matrix"],
  waiting: ["warn", "Waiting"],
};

export class Problems {
  constructor(place, page) {
    this.place = place;
    this.page = page;
    show(place, el("h2", { tabindex: "-1" }, "Delivery"), el("p", { class: "quiet" }, "One moment …"));
  }

  draw({ deliveries }) {
    const problems = deliveries.problems;
    const able = problems.filter((each) => each.can_retry).length;
    show(
      this.place,
      el(
        "div",
        { class: "head" },
        el("h2", { tabindex: "-1" }, "Delivery"),
        able > 1 ? button("Try all again", () => this.retry("v3/deliveries/retry"), { key: "retry all" }) : null,
      ),
      problems.length
        ? el("ul", { class: "cards" }, problems.toReversed().map((each) => this.card(each)))
        : el("p", { class: "lead" }, "Everything of the last seven days has arrived."),
    );
  }

  async retry(path) {
    news((await post(path, {})).message);
    this.page.refresh();
  }

  card(problem) {
    const out = problem.direction === "to_network";
    const who = el("h3", {}, out ? "To " : "From ", said(problem.contact));
    return el(
      "li",
      { class: "card" },
      el("div", { class: "row" }, el("div", {}, who, el("p", { class: "quiet" }, time(problem.ts))), state(...STATES[problem.state])),
      el("p", {}, problem.reason),
      problem.advice ? el("p", { class: "quiet" }, problem.advice) : null,
      problem.behind ? el("p", { class: "quiet" }, `${problem.behind} more wait behind it.`) : null,
      problem.can_retry
        ? el("div", { class: "buttons" }, button("Try again", () => this.retry(`v3/deliveries/${part(problem.id)}/retry`), { key: `retry ${problem.id}`, label: `Try again: ${out ? "to" : "from"} ${problem.contact}` }))
        : null,
    );
  }
}
