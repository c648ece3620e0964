// What has not arrived, in both directions, and trying it again.

import { part, post } from "./api.js";
import { button, el, news, said, show, state, time } from "./dom.js";
import { fullName, nameOf } from "./names.js";
import { phrase } from "./texts.js";

const STATES = {
  not_delivered: ["bad", "page-delivery-not-delivered"],
  perhaps_delivered: ["warn", "page-delivery-perhaps"],
  not_shown: ["bad", "page-delivery-not-shown"],
  waiting: ["warn", "page-delivery-waiting"],
};

export class Problems {
  constructor(place, page) {
    this.place = place;
    this.page = page;
    show(place, el("h2", { tabindex: "-1" }, phrase("page-delivery")), el("p", { class: "quiet" }, phrase("page-moment")));
  }

  draw({ deliveries }) {
    const problems = deliveries.problems;
    const able = problems.filter((each) => each.can_retry).length;
    show(
      this.place,
      el(
        "div",
        { class: "head" },
        el("h2", { tabindex: "-1" }, phrase("page-delivery")),
        able > 1 ? button(phrase("page-delivery-try-all"), () => this.retry("v3/deliveries/retry"), { key: "retry all" }) : null,
      ),
      problems.length
        ? el("ul", { class: "cards" }, problems.toReversed().map((each) => this.card(each)))
        : el("p", { class: "lead" }, phrase("page-delivery-none")),
    );
  }

  async retry(path) {
    news((await post(path, {})).message);
    this.page.refresh();
  }

  card(problem) {
    const out = problem.direction === "to_network";
    const [kind, words] = STATES[problem.state];
    const who = el("h3", {}, phrase(out ? "page-delivery-to" : "page-delivery-from", { contact: said(nameOf(problem)) }));
    const label = phrase(out ? "page-delivery-try-to-label" : "page-delivery-try-from-label", { contact: fullName(problem) });
    return el(
      "li",
      { class: "card" },
      el("div", { class: "row" }, el("div", {}, who, problem.contact_name ? el("p", { class: "quiet" }, said(problem.contact)) : null, el("p", { class: "quiet" }, time(problem.ts))), state(kind, phrase(words))),
      el("p", {}, problem.reason),
      problem.advice ? el("p", { class: "quiet" }, problem.advice) : null,
      problem.behind ? el("p", { class: "quiet" }, phrase("page-delivery-behind", { count: problem.behind })) : null,
      problem.can_retry
        ? el("div", { class: "buttons" }, button(phrase("page-try-again"), () => this.retry(`v3/deliveries/${part(problem.id)}/retry`), { key: `retry ${problem.id}`, label }))
        : null,
    );
  }
}
